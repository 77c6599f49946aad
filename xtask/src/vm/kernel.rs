//! Debian's cloud kernels, fetched once into the cache and unpacked there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::files;
use crate::error::Error;
use crate::{apt, process};

/// Which Debian release carries a series as its own, for machines whose package lists have none of it.
const HOMES: [(&str, &str); 2] = [("6.1", "bookworm"), ("6.12", "trixie")];

/// An unpacked kernel.
pub(super) struct Kernel {
    dir: PathBuf,
    /// As `uname -r` gives it.
    pub(super) release: String,
}

impl Kernel {
    /// The newest kernel of a series that Debian has, from the cache where it has been used before.
    pub(super) fn prepare(series: &str) -> Result<Kernel, Error> {
        if series.is_empty() || !series.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(Error::Usage(format!("--kernel {series}: a series such as 6.12 is wanted")));
        }
        let cache = apt::cache()?;
        let dir = cache.join(format!("kernel-{series}"));
        let lock = File::create(cache.join("lock")).map_err(Error::file("make", cache.join("lock")))?;
        lock.lock().map_err(Error::file("lock", cache.join("lock")))?;
        if !dir.exists() {
            let scratch = cache.join(format!("new-{:016x}", files::random()));
            fs::create_dir(&scratch).map_err(Error::file("make", &scratch))?;
            let fetched = fetch(series, &cache, &scratch)
                .and_then(|()| fs::rename(scratch.join("root"), &dir).map_err(Error::file("make", &dir)));
            let _ = fs::remove_dir_all(&scratch);
            fetched?;
        }
        let release = only_entry(&dir.join("lib/modules"))?;
        Ok(Kernel { dir, release })
    }

    /// The compressed image that a boot loader takes.
    pub(super) fn image(&self) -> PathBuf {
        self.dir.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// The directory that holds the release's directory of modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules")
    }

    /// The files to load for a module, dependencies first. Empty for one that is built in.
    pub(super) fn module_files(&self, module: &str) -> Result<Vec<PathBuf>, Error> {
        let mut command = process::command("modprobe");
        command.arg("-d").arg(&self.dir).args(["-S", &self.release, "-D", module]);
        let lines = process::output(&mut command)?;
        let insmod = |line: &str| line.strip_prefix("insmod ").map(|path| PathBuf::from(path.trim()));
        Ok(lines.lines().filter_map(insmod).collect())
    }
}

/// Downloads and unpacks the series' newest kernel into `scratch/root`.
fn fetch(series: &str, cache: &Path, scratch: &Path) -> Result<(), Error> {
    if !download_from(&[], series, scratch)? {
        // Lists that are missing or old; a user who is not root goes on to lists of their own.
        let renewed = process::is_root() && apt::get(&[], &["update"]).is_ok() && download_from(&[], series, scratch)?;
        if !renewed {
            let options = private_lists(series, cache)?;
            apt::get(&options, &["update"])?;
            if !download_from(&options, series, scratch)? {
                let reason = "not in the machine's lists, and not in those of the release that carries it".to_owned();
                return Err(Error::NoKernel { series: series.to_owned(), reason });
            }
        }
    }
    let root = scratch.join("root");
    fs::create_dir(&root).map_err(Error::file("make", &root))?;
    unpack(scratch, &root)?;
    let release = only_entry(&root.join("lib/modules"))?;
    process::run(process::command("depmod").arg("-b").arg(&root).arg(&release))
}

/// Downloads the newest package of the series that the lists name; false when there is none that can be had.
fn download_from(options: &[String], series: &str, dir: &Path) -> Result<bool, Error> {
    let pattern = format!("^linux-image-{}\\.[^ ]*-cloud-amd64(-unsigned)?$", series.replace('.', "\\."));
    let mut packages = apt::search(options, &pattern)?;
    packages.sort_by_key(|package| std::cmp::Reverse(version_key(package)));
    let Some(newest) = packages.first() else { return Ok(false) };
    eprintln!("+ apt-get download {newest}");
    // Old lists name packages that the mirror has replaced: the caller renews them.
    Ok(apt::download(options, newest, dir).is_ok())
}

/// The numbers in a package's name, which order it among its kind.
fn version_key(package: &str) -> Vec<u64> {
    package.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// apt's settings for lists of our own, of the release that carries the series: the machine's stay as they are.
fn private_lists(series: &str, cache: &Path) -> Result<Vec<String>, Error> {
    let Some((_, suite)) = HOMES.iter().find(|(known, _)| *known == series) else {
        let reason = "in the machine's lists there is none, and no other release is known to carry it".to_owned();
        return Err(Error::NoKernel { series: series.to_owned(), reason });
    };
    apt::private_lists(suite, cache)
}

/// Takes the image and the modules out of the package in `dir`; the modules uncompressed, so that no guest has to do it.
fn unpack(dir: &Path, root: &Path) -> Result<(), Error> {
    let script = r#"
        set -e -o pipefail
        dpkg --fsys-tarfile "$1"/*.deb | tar -x -C "$2"
        [ -d "$2/lib/modules" ] || { mkdir -p "$2/lib"; mv "$2/usr/lib/modules" "$2/lib/"; }
        rm -rf "$2/usr" "$2/etc"
        find "$2/lib/modules" -name '*.ko.xz' -print0 | xargs -0 -r -n64 xz -d
    "#;
    let mut command = process::command("bash");
    command.args(["-c", script, "unpack"]).arg(dir).arg(root).stdin(Stdio::null());
    match process::status(&mut command)? {
        status if status.success() => Ok(()),
        status => Err(Error::Failed { command: "unpacking the kernel's package".to_owned(), status }),
    }
}

fn only_entry(dir: &Path) -> Result<String, Error> {
    let entry = fs::read_dir(dir).map_err(Error::file("read", dir))?.next();
    let entry = entry.unwrap_or_else(|| Err(std::io::ErrorKind::NotFound.into()));
    let entry = entry.map_err(Error::file("find a kernel in", dir))?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::version_key;

    #[test]
    fn packages_are_ordered_by_their_numbers() {
        let older = ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.12.9+deb12-cloud-amd64-unsigned"];
        let newer = ["linux-image-6.1.0-56-cloud-amd64", "linux-image-6.12.117+deb12-cloud-amd64-unsigned"];
        for (older, newer) in older.iter().zip(newer) {
            assert!(version_key(older) < version_key(newer), "{older} {newer}");
        }
    }
}
