//! `trunkline completions` and `trunkline man`: what is written from the table of commands.

use crate::command::Cli;
use crate::error::Error;
use crate::output;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The directory, such as /usr/local/share/man/man1
    directory: PathBuf,
}

pub(crate) fn completions(args: &CompletionArgs) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trunkline", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

pub(crate) fn man(args: &ManArgs) -> Result<u8, Error> {
    pages(&args.directory)?;
    Ok(0)
}

/// Writes trunkline.1, trunkline-network.1, trunkline-network-create.1 …
fn pages(directory: &Path) -> Result<(), Error> {
    let failed = |operation| move |source| Error::File { operation, path: directory.into(), source };
    std::fs::create_dir_all(directory).map_err(failed("make the directory"))?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed("write the man pages into"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn completions_of_every_shell_know_the_driver_options() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "trunkline", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("disconnect"), "{shell}");
            if matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish) {
                assert!(script.contains("ipvlan_mode=l3s"), "{shell}");
            }
        }
    }

    #[test]
    fn man_pages() {
        let directory = std::env::temp_dir().join(format!("trunkline-man-{}", std::process::id()));
        pages(&directory).unwrap();
        let page = std::fs::read_to_string(directory.join("trunkline-network-create.1")).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let page = page.replace("\\*(Aq", "'").replace("\\-", "-");
        for option in crate::options::known() {
            assert!(page.contains(option.help), "{}", option.key);
        }
    }
}
