//! Podman for the tests, with a netavark that takes plugins: Debian 12's is too old for that, so a minimal tree of
//! Debian 13 goes into the cache, where `lab` finds it; the system's own packages stay as they are.

use std::fs::{self, File};
use std::process::Stdio;

use crate::error::Error;
use crate::{apt, process};

const SUITE: &str = "trixie";

/// What is in the tree beside Debian's essential packages. `busybox-static` is the image of the tests' containers; with
/// systemd the tree is a machine to install our own package on.
const PACKAGES: &str = "podman,netavark,crun,busybox-static,systemd,nftables,iproute2,iputils-ping";

/// Makes the tree unless it is there.
pub(crate) fn install() -> Result<(), Error> {
    let cache = apt::cache()?;
    let tree = cache.join(format!("podman-{SUITE}"));
    let lock = File::create(cache.join("lock")).map_err(Error::file("make", cache.join("lock")))?;
    lock.lock().map_err(Error::file("lock", cache.join("lock")))?;
    if tree.exists() {
        return Ok(());
    }
    if !process::is_root() {
        return Err(Error::NeedsRoot { packages: PACKAGES.split(',').map(str::to_owned).collect() });
    }
    let scratch = cache.join(format!("new-podman-{SUITE}"));
    let _ = fs::remove_dir_all(&scratch);
    let (mirror, _) = apt::mirrors();
    eprintln!("+ debootstrap {SUITE} (Podman, into the cache)");
    let mut command = process::command("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(&scratch).arg(&mirror);
    let output = command.stdin(Stdio::null()).output().map_err(process::start_error(&command))?;
    if !output.status.success() {
        // It tells of its failures on standard output.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), &output.stdout);
        return Err(Error::Failed { command: format!("debootstrap {SUITE}"), status: output.status });
    }
    fs::rename(&scratch, &tree).map_err(Error::file("make", &tree))
}
