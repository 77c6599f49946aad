//! firewalld for the tests: installed as a package it would start as a service, and shut the machine off. It is unpacked
//! into the cache, where the tests find it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::error::Error;
use crate::{apt, process};

/// The packages of firewalld itself.
const PACKAGES: [&str; 2] = ["firewalld", "python3-firewall"];

/// Fetches it unless it is there.
pub(crate) fn install() -> Result<(), Error> {
    let cache = apt::cache()?;
    let dir = cache.join("firewalld");
    let lock = File::create(cache.join("lock")).map_err(Error::file("make", cache.join("lock")))?;
    lock.lock().map_err(Error::file("lock", cache.join("lock")))?;
    if dir.exists() {
        return Ok(());
    }
    let scratch = cache.join("new-firewalld");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir(&scratch).map_err(Error::file("make", &scratch))?;
    let fetched =
        fetch(&scratch).and_then(|()| fs::rename(scratch.join("root"), &dir).map_err(Error::file("make", &dir)));
    let _ = fs::remove_dir_all(&scratch);
    fetched
}

fn fetch(scratch: &Path) -> Result<(), Error> {
    eprintln!("+ apt-get download {}", PACKAGES.join(" "));
    for package in PACKAGES {
        if apt::download(&[], package, scratch).is_err() {
            apt::get(&[], &["update"])?;
            apt::download(&[], package, scratch)?;
        }
    }
    let mut command = process::command("bash");
    let script = r#"set -e; for file in "$1"/*.deb; do dpkg-deb -x "$file" "$1/root"; done"#;
    command.args(["-c", script, "unpack"]).arg(scratch).stdin(Stdio::null());
    match process::status(&mut command)? {
        status if status.success() => Ok(()),
        status => Err(Error::Failed { command: "unpacking firewalld's packages".to_owned(), status }),
    }
}
