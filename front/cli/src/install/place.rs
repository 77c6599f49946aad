//! Where engines look for plugins, and where ours are.

use super::Args;
use super::item::{Content, Item};
use crate::error::Error;
use std::path::{Path, PathBuf};

/// The first place where netavark looks (containers-common, `netavark_plugin_dirs`).
pub(super) const NETAVARK: &str = "/usr/local/libexec/netavark";

/// Where it looks besides, unless a file of its configuration says otherwise.
const NETAVARK_MORE: [&str; 3] = ["/usr/libexec/netavark", "/usr/local/lib/netavark", "/usr/lib/netavark"];

/// A file that makes another directory known to Podman. Settings of its kind replace each other as a whole, so the
/// usual ones stand in it, too.
const DROP_IN: &str = "/etc/containers/containers.conf.d/50-trunkline.conf";

/// Where systemd looks for the units of packages.
const UNITS: &str = "/usr/lib/systemd/system";

/// Where systemd looks for what it is to start with the other sockets.
const WANTS: &str = "/etc/systemd/system/sockets.target.wants";

/// Where Docker looks for plugins whose sockets are not there yet.
const SPECS: &str = "/etc/docker/plugins";

/// Where Docker looks for sockets of plugins.
const SOCKETS: &str = "/run/docker/plugins";

/// The names of the drivers, for Docker and netavark.
const DRIVERS: [&str; 3] = ["trunkline-macvlan", "trunkline-ipvlan", "trunkline-overlay"];

/// The name of the IPAM driver, for Docker.
const IPAM: &str = "trunkline";

/// The root of a file system.
#[derive(Debug)]
pub(super) struct Root {
    directory: PathBuf,
}

impl Root {
    pub(super) fn new(directory: &Path) -> Result<Self, Error> {
        match directory.is_dir() {
            true => Ok(Self { directory: directory.into() }),
            false => Err(Error::Value {
                what: "--root",
                text: directory.display().to_string(),
                expected: "a directory expected".into(),
            }),
        }
    }

    /// The path here of what is at `path` there.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        self.directory.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path there of a program of ours.
    fn program(&self, name: &'static str, args: &Args) -> Result<PathBuf, Error> {
        let own = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
        let candidates = match &args.lib {
            Some(directory) => vec![directory.clone()],
            // Another machine's programs are where its package has them.
            None if self.directory != Path::new("/") => {
                vec!["/usr/lib/trunkline".into(), "/usr/local/lib/trunkline".into()]
            }
            None => own.iter().flat_map(|bin| [bin.clone(), bin.with_file_name("lib").join("trunkline")]).collect(),
        };
        let found = candidates.iter().map(|directory| directory.join(name)).find(|path| self.inside(path).is_file());
        // To take links away, what they lead to need not be there.
        let missing = candidates.first().filter(|_| args.uninstall).map(|directory| directory.join(name));
        found.or(missing).ok_or_else(|| {
            let directories: Vec<_> = candidates.iter().map(|d| d.display().to_string()).collect();
            Error::NoPlugin { name, directories: directories.join(" or ") }
        })
    }

    pub(super) fn cni(&self, args: &Args) -> Result<Vec<Item>, Error> {
        let target = self.program("trunkline-cni", args)?;
        let path = args.cni_bin.join("trunkline-cni");
        Ok(vec![Item {
            path,
            content: Content::Link(target),
            purpose: "\"type\": \"trunkline-cni\" in a CNI configuration",
        }])
    }

    pub(super) fn podman(&self, args: &Args) -> Result<Vec<Item>, Error> {
        let target = self.program("trunkline-netavark", args)?;
        let link = |name: &&str| Item {
            path: args.netavark_dir.join(name),
            content: Content::Link(target.clone()),
            purpose: "a driver for `podman network create -d`",
        };
        let mut items: Vec<Item> = DRIVERS.iter().map(link).collect();
        let known = |directory: &str| args.netavark_dir == Path::new(directory);
        if !known(NETAVARK) && !NETAVARK_MORE.into_iter().any(known) {
            items.push(Item {
                path: DROP_IN.into(),
                content: Content::Text(drop_in(&args.netavark_dir)),
                purpose: "makes that directory known to Podman",
            });
        }
        Ok(items)
    }

    /// With systemd and our units, their sockets are enabled as `systemctl enable` does it; otherwise Docker is told
    /// where the daemon's will be, so that it waits for them, instead of calling the driver unknown.
    pub(super) fn docker(&self) -> Vec<Item> {
        DRIVERS.iter().chain([&IPAM]).map(|name| self.docker_plugin(name)).collect()
    }

    fn docker_plugin(&self, name: &str) -> Item {
        let unit = socket_unit(name);
        let file = Path::new(UNITS).join(&unit);
        match self.inside(&file).is_file() {
            true => Item {
                path: Path::new(WANTS).join(unit),
                content: Content::Link(file),
                purpose: "systemd listens there for Docker",
            },
            false => Item {
                path: Path::new(SPECS).join(format!("{name}.spec")),
                content: Content::Text(format!("unix://{SOCKETS}/{name}.sock\n")),
                purpose: "Docker looks there for the daemon's socket",
            },
        }
    }

    /// What remains to be done by hand.
    pub(super) fn advice(&self, args: &Args) -> Vec<String> {
        let mut lines = Vec::new();
        if args.docker && self.inside(&Path::new(UNITS).join(socket_unit(IPAM))).is_file() {
            let units: Vec<String> = DRIVERS.iter().chain([&IPAM]).map(|name| socket_unit(name)).collect();
            // systemd starts no socket beside its running service.
            lines.push(format!(
                "next: systemctl daemon-reload && systemctl stop trunkline.service && systemctl start {} trunkline.service",
                units.join(" ")
            ));
        } else if args.docker {
            lines.push(format!("next: run the daemon with --docker-plugins {SOCKETS}"));
        }
        if args.podman {
            lines.extend(self.overruling(&args.netavark_dir).iter().map(|file| {
                let (file, directory) = (file.display(), args.netavark_dir.display());
                format!("note: {file} sets netavark_plugin_dirs without {directory}: add it there")
            }));
        }
        lines
    }

    /// Files of Podman's configuration that say where netavark is to look, and do not name the directory.
    fn overruling(&self, directory: &Path) -> Vec<PathBuf> {
        let etc = Path::new("/etc/containers");
        let own = Path::new(DROP_IN);
        let more = std::fs::read_dir(self.inside(&etc.join("containers.conf.d"))).into_iter().flatten().flatten();
        let more = more.map(|entry| etc.join("containers.conf.d").join(entry.file_name()));
        let mut files: Vec<PathBuf> = std::iter::once(etc.join("containers.conf")).chain(more).collect();
        files.sort();
        let overrules = |file: &PathBuf| {
            let text = std::fs::read_to_string(self.inside(file)).unwrap_or_default();
            let set = text.lines().any(|line| line.trim_start().starts_with("netavark_plugin_dirs"));
            file != own && set && !text.contains(&format!("\"{}\"", directory.display()))
        };
        files.into_iter().filter(overrules).collect()
    }
}

/// The unit that listens for Docker's plugin of this name.
fn socket_unit(plugin: &str) -> String {
    match plugin.strip_prefix("trunkline-") {
        Some(driver) => format!("trunkline-docker-{driver}.socket"),
        None => "trunkline-docker-ipam.socket".into(),
    }
}

fn drop_in(directory: &Path) -> String {
    let own = directory.display().to_string();
    let all = [own.as_str(), NETAVARK].into_iter().chain(NETAVARK_MORE);
    let list: Vec<String> = all.map(|d| format!("\"{}\"", d.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!(
        "# Written by `trunkline install --podman`; `--uninstall` removes it.\n[network]\nnetavark_plugin_dirs = [{}]\n",
        list.join(", ")
    )
}
