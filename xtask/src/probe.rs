//! Whether this machine's own kernel has what the full-kernel tests need. Proven by making the links, not by looking for files.

use std::process::Stdio;

use crate::error::Error;
use crate::process;

/// The modules that a trimmed kernel lacks first.
const MODULES: [&str; 3] = ["ipvlan", "8021q", "dummy"];

/// One link of each kind, in a network namespace that ends with the shell.
const LINKS: &str = "ip link add d0 type dummy \
    && ip link add link d0 name d0.5 type vlan id 5 \
    && ip link add link d0 name i0 type ipvlan mode l2";

/// Whether dummy, VLAN and ipvlan links can be made here.
pub(crate) fn full_kernel() -> Result<bool, Error> {
    let quiet = |command: &mut std::process::Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        process::status(command)
    };
    let mut unshare = process::command("unshare");
    if process::is_root() {
        // rtnetlink asks for a missing module itself; where it may not, this does. A failure shows below.
        if process::find("modprobe").is_some() {
            let _ = quiet(process::command("modprobe").arg("-a").args(MODULES))?;
        }
        unshare.arg("--net");
    } else {
        unshare.args(["--map-root-user", "--net"]);
    }
    Ok(quiet(unshare.args(["--", "sh", "-c", LINKS]))?.success())
}
