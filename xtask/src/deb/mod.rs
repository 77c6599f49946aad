//! `cargo xtask deb`: a Debian package of the programs that `cargo xtask dist` builds. A tree of files, and dpkg-deb.

mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Metadata};
use crate::error::Error;
use crate::{dist, process};
use tree::Tree;

/// The arguments of `cargo xtask deb`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A directory of programs to pack, instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Pack them without compression
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    dist: dist::DistArgs,
}

/// How it is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Small.
    Release,
    /// Quickly, for tests.
    Test,
}

/// Builds the package, and prints its path.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let programs = match &args.programs {
        Some(directory) => directory.clone(),
        None => dist::build(&args.dist)?,
    };
    println!("{}", build(&programs, if args.fast { Packing::Test } else { Packing::Release })?.display());
    Ok(())
}

/// Packs the programs of a directory; the package's path.
pub(crate) fn build(programs: &Path, packing: Packing) -> Result<PathBuf, Error> {
    let metadata = cargo::metadata()?;
    let architecture = process::output(process::command("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let directory = metadata.target_directory.join("deb");
    let name = format!("trunkline_{version}_{architecture}");
    let tree = Tree::new(directory.join(&name))?;
    fill(&tree, &metadata, programs)?;
    tree.control(version, &architecture, packing)?;
    let package = directory.join(format!("{name}.deb"));
    let compression = match packing {
        Packing::Release => "-Zxz",
        Packing::Test => "-Znone",
    };
    let mut command = process::command("dpkg-deb");
    command.args(["--root-owner-group", compression, "--build"]).arg(tree.root()).arg(&package);
    // The same sources make the same package: no time in it is later than the last change.
    command.env("SOURCE_DATE_EPOCH", last_change()).stdout(std::process::Stdio::null());
    process::status(&mut command).and_then(|status| match status.success() {
        true => Ok(()),
        false => Err(Error::Failed { command: "dpkg-deb --build".to_owned(), status }),
    })?;
    fs::remove_dir_all(tree.root()).map_err(Error::file("remove", tree.root()))?;
    Ok(package)
}

/// When the sources were last changed, in seconds since 1970.
fn last_change() -> String {
    let told = process::output(process::command("git").args(["log", "-1", "--format=%ct"]).current_dir(cargo::root()));
    told.ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).unwrap_or_else(|| "0".to_owned())
}

/// The files that are installed.
fn fill(tree: &Tree, metadata: &Metadata, programs: &Path) -> Result<(), Error> {
    let packaging = metadata.workspace_root.join("packaging");
    let mut main = PathBuf::new();
    for program in dist::programs(metadata) {
        let name = program.name;
        let source = programs.join(name);
        let target = if name == "trunkline" { "usr/bin" } else { "usr/lib/trunkline" };
        let placed = tree.copy(&source, &format!("{target}/{name}"), 0o755)?;
        if name == "trunkline" {
            main = placed;
        }
    }
    // netavark's drivers by their files' names, for `netavark_plugin_dirs`.
    for driver in ["macvlan", "ipvlan", "overlay"] {
        tree.link("../trunkline-netavark", &format!("usr/lib/trunkline/netavark/trunkline-{driver}"))?;
    }
    for unit in files(&packaging.join("systemd"))? {
        tree.copy(&unit, &format!("usr/lib/systemd/system/{}", name(&unit)), 0o644)?;
    }
    for directory in ["examples", "cni"] {
        for example in files(&packaging.join(directory))? {
            tree.copy(&example, &format!("usr/share/doc/trunkline/{directory}/{}", name(&example)), 0o644)?;
        }
    }
    tree.copy(&packaging.join("trunkline.toml"), "etc/trunkline/trunkline.toml", 0o644)?;
    tree.copy(&packaging.join("debian/copyright"), "usr/share/doc/trunkline/copyright", 0o644)?;
    tree.copy(&packaging.join("debian/lintian-overrides"), "usr/share/lintian/overrides/trunkline", 0o644)?;
    tree.changelog(env!("CARGO_PKG_VERSION"), &last_change())?;
    for (shell, file) in [
        ("bash", "bash-completion/completions/trunkline"),
        ("zsh", "zsh/vendor-completions/_trunkline"),
        ("fish", "fish/vendor_completions.d/trunkline.fish"),
    ] {
        let script = process::output(process::command(&main.to_string_lossy()).args(["completions", shell]))?;
        tree.write(&format!("usr/share/{file}"), &script, 0o644)?;
    }
    tree.manual(&main)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(directory).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    let mut found: Vec<PathBuf> = read.map_err(Error::file("read", directory))?;
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
