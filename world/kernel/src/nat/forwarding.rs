//! Forwarding on the host, without which nothing of a sandbox gets out.

use crate::Error;
use ipnet::IpNet;
use std::{fs, path::Path};

const NET: &str = "/proc/sys/net";

/// Switches it on for the families of `prefixes`, in the calling thread's namespace, if it is off.
pub(super) fn switch_on(prefixes: &[IpNet], op: &str) -> Result<(), Error> {
    if prefixes.iter().any(|prefix| prefix.addr().is_ipv4()) {
        set("ipv4/ip_forward", op)?;
    }
    if prefixes.iter().any(|prefix| prefix.addr().is_ipv6()) && !is("ipv6/conf/all/forwarding", "1") {
        keep_router_advertisements(op)?;
        set("ipv6/conf/all/forwarding", op)?;
    }
    Ok(())
}

fn is(key: &str, value: &str) -> bool {
    fs::read_to_string(Path::new(NET).join(key)).is_ok_and(|text| text.trim() == value)
}

fn set(key: &str, op: &str) -> Result<(), Error> {
    if !is(key, "1") {
        write(key, "1", op)?;
    }
    Ok(())
}

fn write(key: &str, value: &str, op: &str) -> Result<(), Error> {
    let name = key.replace('/', ".");
    let written = fs::write(Path::new(NET).join(key), value);
    written.map_err(|error| Error::io(format!("{op}: sysctl net.{name}={value}"), &error))?;
    tracing::info!("set net.{name}={value}: {op}");
    Ok(())
}

/// A host that forwards takes no router advertisements (accept_ra 1), and so would lose its own default route in a
/// while; 2 means: even then (Documentation/networking/ip-sysctl.rst).
fn keep_router_advertisements(op: &str) -> Result<(), Error> {
    let Ok(links) = fs::read_dir(Path::new(NET).join("ipv6/conf")) else { return Ok(()) };
    for link in links.flatten() {
        let name = link.file_name().to_string_lossy().into_owned();
        let key = format!("ipv6/conf/{name}/accept_ra");
        if name != "lo" && name != "all" && is(&key, "1") {
            write(&key, "2", op)?;
        }
    }
    Ok(())
}
