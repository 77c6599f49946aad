//! What the demonstration needs of the machine.

use lab::{Error, Host, Switch};
use std::path::{Path, PathBuf};

/// Programs, and the Debian packages that bring them.
const PROGRAMS: &[(&str, &str)] =
    &[("ip", "iproute2"), ("ping", "iputils-ping"), ("nmap", "nmap"), ("fping", "fping"), ("traceroute", "traceroute")];

/// Kinds of links beside dummies, and how to make one on a dummy.
const LINKS: &[(&str, &str, &[&str])] = &[
    ("macvlan", "macvlan", &["macvlan", "mode", "bridge"]),
    ("ipvlan", "ipvlan", &["ipvlan", "mode", "l2"]),
    ("802.1Q", "8021q", &["vlan", "id", "5"]),
];

/// A line for each thing that is missing.
pub(super) fn missing() -> Result<Vec<String>, Error> {
    if let Some(line) = programs_missing(PROGRAMS) {
        return Ok(vec![line]);
    }
    let modules = modules_missing()?;
    if modules.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "this machine's kernel lacks {}: in a checkout of the project, `cargo xtask demo` plays it in a virtual machine",
        modules.join(", ")
    )])
}

/// A line about the programs that are missing, if any are.
pub(super) fn programs_missing(needed: &[(&str, &str)]) -> Option<String> {
    let missing: Vec<_> = needed.iter().filter(|(program, _)| !installed(program)).collect();
    let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: std::collections::BTreeSet<_> = missing.iter().map(|(_, package)| *package).collect();
    let packages: Vec<_> = packages.into_iter().collect();
    let (names, packages) = (names.join(", "), packages.join(" "));
    (!missing.is_empty()).then(|| format!("the demonstration needs {names}: install the packages `{packages}`"))
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).any(|directory| directory.join(program).is_file())
}

/// Proven by making the links, not by looking for files: a kernel may have them built in, or load them.
fn modules_missing() -> Result<Vec<String>, Error> {
    let host = Host::new("scratch")?;
    let mut missing = Vec::new();
    if host.add_dummy("dm0").is_err() {
        missing.push("dummy links (module dummy)".to_owned());
        // The others can be tried on any link.
        host.wire("dm0", &host, "dm1")?;
    }
    for (word, module, kind) in LINKS {
        let arguments = ["link", "add", "link", "dm0", "name", "probe", "type"].iter().chain(*kind);
        let ip = if Path::new("/usr/sbin/ip").exists() { "/usr/sbin/ip" } else { "ip" };
        if host.output(ip, arguments)?.success() {
            host.delete("probe")?;
        } else {
            missing.push(format!("{word} links (module {module})"));
        }
    }
    if Switch::new().is_err() {
        missing.push("bridges with VLAN filtering (module bridge, CONFIG_BRIDGE_VLAN_FILTERING)".to_owned());
    }
    Ok(missing)
}
