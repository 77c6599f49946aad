//! Consul for the tests, out of Debian 11's package: later releases have none. It is unpacked into
//! the cache, where `lab` finds it; the system's own packages stay as they are.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::error::Error;
use crate::{apt, process};

/// The last release of Debian with a package, and what is in it.
const SUITE: &str = "bullseye";
const VERSION: &str = "1.8";

/// Fetches it unless it is there, or in the PATH.
pub(crate) fn install() -> Result<(), Error> {
    if process::find("consul").is_some() {
        return Ok(());
    }
    let cache = apt::cache()?;
    let dir = cache.join(format!("consul-{VERSION}"));
    let lock = File::create(cache.join("lock")).map_err(Error::file("make", cache.join("lock")))?;
    lock.lock().map_err(Error::file("lock", cache.join("lock")))?;
    if dir.join("consul").exists() {
        return Ok(());
    }
    let scratch = cache.join("new-consul");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir(&scratch).map_err(Error::file("make", &scratch))?;
    let fetched = fetch(&cache, &scratch)
        .and_then(|()| fs::rename(scratch.join("root/usr/bin"), &dir).map_err(Error::file("make", &dir)));
    let _ = fs::remove_dir_all(&scratch);
    fetched
}

/// apt verifies the package against the lists, and those against Debian's keys.
fn fetch(cache: &Path, scratch: &Path) -> Result<(), Error> {
    let options = apt::private_lists(SUITE, cache)?;
    eprintln!("+ apt-get download consul ({SUITE})");
    apt::get(&options, &["update"])?;
    apt::download(&options, "consul", scratch)?;
    let mut command = process::command("bash");
    let script = r#"set -e; dpkg-deb -x "$1"/consul_*.deb "$1/root""#;
    command.args(["-c", script, "unpack"]).arg(scratch).stdin(Stdio::null());
    match process::status(&mut command)? {
        status if status.success() => Ok(()),
        status => Err(Error::Failed { command: "unpacking Consul's package".to_owned(), status }),
    }
}
