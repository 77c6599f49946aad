//! The files of a package before they are packed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Packing;
use crate::error::Error;
use crate::{cargo, process};

/// A directory that is a package's root.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// An empty one.
    pub(super) fn new(root: PathBuf) -> Result<Self, Error> {
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).map_err(Error::file("make", &root))?;
        let tree = Self { root };
        tree.mode(&tree.root, 0o755)?;
        Ok(tree)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of the package is here, in a directory that is there.
    fn place(&self, path: &str) -> Result<PathBuf, Error> {
        let place = self.root.join(path);
        let mut missing: Vec<&Path> = place.ancestors().skip(1).take_while(|directory| !directory.exists()).collect();
        while let Some(directory) = missing.pop() {
            fs::create_dir(directory).map_err(Error::file("make", directory))?;
            // Whatever the mask of whoever builds it.
            self.mode(directory, 0o755)?;
        }
        Ok(place)
    }

    fn mode(&self, path: &Path, mode: u32) -> Result<(), Error> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::file("set the mode of", path))
    }

    pub(super) fn copy(&self, source: &Path, path: &str, mode: u32) -> Result<PathBuf, Error> {
        let place = self.place(path)?;
        fs::copy(source, &place).map_err(Error::file("copy", source))?;
        self.mode(&place, mode)?;
        Ok(place)
    }

    pub(super) fn write(&self, path: &str, text: &str, mode: u32) -> Result<PathBuf, Error> {
        let place = self.place(path)?;
        fs::write(&place, text).map_err(Error::file("write", &place))?;
        self.mode(&place, mode)?;
        Ok(place)
    }

    pub(super) fn link(&self, target: &str, path: &str) -> Result<(), Error> {
        let place = self.place(path)?;
        symlink(target, &place).map_err(Error::file("make", &place))
    }

    /// The manual pages that the program writes, compressed as Debian wants them: without a time in them.
    pub(super) fn manual(&self, program: &Path) -> Result<(), Error> {
        let directory = self.place("usr/share/man/man1/x")?.with_file_name("");
        process::output(process::command(&program.to_string_lossy()).arg("man").arg(&directory))?;
        for page in super::files(&directory)? {
            compress(&page)?;
            self.mode(&page.with_extension("1.gz"), 0o644)?;
        }
        Ok(())
    }

    /// Debian's own changelog: what changed for people stands in the project's.
    pub(super) fn changelog(&self, version: &str, changed: &str) -> Result<(), Error> {
        let date = process::output(process::command("date").args(["-u", "-R", "-d", &format!("@{changed}")]))?;
        let text = format!(
            "trunkline ({version}) unstable; urgency=medium\n\n  * Built from the sources of this version.\n\n -- {MAINTAINER}  {}\n",
            date.trim()
        );
        let path = "usr/share/doc/trunkline/changelog";
        compress(&self.write(path, &text, 0o644)?)?;
        let news = self.copy(&cargo::root().join("CHANGELOG.md"), "usr/share/doc/trunkline/NEWS.md", 0o644)?;
        compress(&news)
    }

    /// What dpkg reads: description, scripts, checksums.
    pub(super) fn control(&self, version: &str, architecture: &str, packing: Packing) -> Result<(), Error> {
        let installed = process::output(process::command("du").args(["-sk", "--apparent-size"]).arg(&self.root))?;
        let kibibytes = installed.split_whitespace().next().unwrap_or("0");
        let control = format!(
            "Package: trunkline\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
             Installed-Size: {kibibytes}\nPre-Depends: init-system-helpers (>= 1.54~)\n\
             Recommends: nftables\nSuggests: docker.io, podman (>= 4.4), containerd, iptables\nSection: net\nPriority: optional\n\
             Homepage: https://github.com/trunkline/trunkline\n{DESCRIPTION}"
        );
        self.write("DEBIAN/control", &control, 0o644)?;
        self.write("DEBIAN/conffiles", "/etc/trunkline/trunkline.toml\n", 0o644)?;
        for script in ["postinst", "prerm", "postrm"] {
            self.copy(&cargo::root().join("packaging/debian").join(script), &format!("DEBIAN/{script}"), 0o755)?;
        }
        if packing == Packing::Release {
            let sums = "find . -path ./DEBIAN -prune -o -type f -print0 | sort -z | xargs -0 md5sum | sed 's, \\./, ,'";
            let sums = process::output(process::command("sh").args(["-c", sums]).current_dir(&self.root))?;
            self.write("DEBIAN/md5sums", &sums, 0o644)?;
        }
        Ok(())
    }
}

const MAINTAINER: &str = "Trunkline maintainers <trunkline@users.noreply.github.com>";

const DESCRIPTION: &str = "Description: real networks for containers and plain processes
 Trunkline joins containers and processes to the networks around them: macvlan,
 ipvlan, 802.1Q trunks that provision themselves, and VXLAN overlays between
 hosts, with one address plan for Docker, Podman, CNI runtimes and plain
 processes. Traffic never depends on the daemon.
";

fn compress(file: &Path) -> Result<(), Error> {
    process::output(process::command("gzip").args(["-9", "-n", "-f"]).arg(file)).map(drop)
}
