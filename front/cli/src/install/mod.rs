//! `trunkline install`: what container engines need to find Trunkline.

mod item;
mod place;

use crate::error::Error;
use crate::output;
use item::{Item, Outcome};
use place::Root;
use std::path::PathBuf;

/// Puts links and files where container engines look for their plugins. What is there already stays as it is, and
/// what is somebody else's is never touched.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("engine").required(true).multiple(true))]
pub(crate) struct Args {
    /// A link to the CNI plugin, for containerd, CRI-O, Podman 4.3, cnitool
    #[arg(long, group = "engine")]
    cni: bool,
    /// The sockets of the network and IPAM plugins, for Docker
    #[arg(long, group = "engine")]
    docker: bool,
    /// Links to the netavark plugin under the drivers' names, for Podman from 4.4 on
    #[arg(long, group = "engine")]
    podman: bool,
    /// Take away what an earlier call put there, instead
    #[arg(long)]
    uninstall: bool,
    /// The directory where the runtime looks for CNI plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    cni_bin: PathBuf,
    /// The directory where netavark looks for plugins; any but Podman's usual ones is made known to it
    #[arg(long, value_name = "DIR", default_value = place::NETAVARK)]
    netavark_dir: PathBuf,
    /// The directory of trunkline-cni and trunkline-netavark [default: beside this program, or ../lib/trunkline from there]
    #[arg(long, value_name = "DIR")]
    lib: Option<PathBuf>,
    /// Act on the file system of another machine or image, mounted here
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<u8, Error> {
    let root = Root::new(&args.root)?;
    let relative = [Some(&args.cni_bin), Some(&args.netavark_dir), args.lib.as_ref()];
    if let Some(path) = relative.into_iter().flatten().find(|path| !path.is_absolute()) {
        // A link's relative target would be looked for beside the link.
        let (text, expected) = (path.display().to_string(), "an absolute path expected".into());
        return Err(Error::Value { what: "directory", text, expected });
    }
    let mut items = Vec::new();
    if args.cni {
        items.extend(root.cni(args)?);
    }
    if args.docker {
        items.extend(root.docker());
    }
    if args.podman {
        items.extend(root.podman(args)?);
    }
    if args.uninstall {
        return items.iter().rev().try_for_each(|item| say(item, item.remove(&root)?)).map(|()| 0);
    }
    // All or nothing: somebody else's file is found before the first of ours is made.
    items.iter().try_for_each(|item| item.check(&root))?;
    items.iter().try_for_each(|item| say(item, item.make(&root)?))?;
    root.advice(args).iter().try_for_each(|line| output::line(line))?;
    Ok(0)
}

fn say(item: &Item, outcome: Outcome) -> Result<(), Error> {
    let path = item.path.display();
    output::line(&match outcome {
        Outcome::Made => format!("made {path}: {}", item.purpose),
        Outcome::Renewed => format!("renewed {path}: {}", item.purpose),
        Outcome::Present => format!("{path} is there already"),
        Outcome::Removed => format!("removed {path}"),
        Outcome::Absent => format!("{path} is not there"),
        Outcome::Foreign => format!("{path} is not ours: left as it is"),
    })
}
