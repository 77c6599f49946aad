//! `cargo xtask install`: what tests, demonstration and benchmarks start as separate programs. Silent when nothing is missing.

use std::path::Path;
use std::process::Stdio;

use crate::error::Error;
use crate::{apt, cargo, consul, process, vm};

/// The version that deny.toml was written for.
const CARGO_DENY: &str = "0.20.2";

/// A program and the package that brings it.
struct Program {
    /// A name to look for along PATH, or a path.
    name: &'static str,
    package: &'static str,
}

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

/// Used by tests and the demonstration, beside the project's own binaries.
const TESTS: &[Program] = &[
    program("ip", "iproute2"),
    program("tcpdump", "tcpdump"),
    program("nmap", "nmap"),
    program("fping", "fping"),
    program("traceroute", "traceroute"),
    program("ping", "iputils-ping"),
    program("serf", "serf"),
    program("nft", "nftables"),
    program("iptables-nft", "iptables"),
    program("tcpdump", "tcpdump"),
    program("jq", "jq"),
    program("curl", "curl"),
    program("nsenter", "util-linux"),
    program("etcd", "etcd-server"),
    program("etcdctl", "etcd-client"),
    program("openssl", "openssl"),
];

/// What `bench attach` measures beside Trunkline, as Debian ships it.
const PEERS: &[Program] =
    &[program("/usr/lib/cni/macvlan", "containernetworking-plugins"), program("/usr/lib/podman/netavark", "netavark")];

/// Everything, for all commands.
pub(crate) fn everything() -> Result<(), Error> {
    install(&[TESTS, PEERS])?;
    consul::install()?;
    vm::install_programs()?;
    cargo_deny()
}

/// The programs that tests and the demonstration start.
pub(crate) fn for_tests() -> Result<(), Error> {
    install(&[TESTS])?;
    consul::install()
}

/// The programs that the benchmarks compare with.
pub(crate) fn for_benchmarks() -> Result<(), Error> {
    install(&[TESTS, PEERS])?;
    consul::install()
}

fn install(lists: &[&[Program]]) -> Result<(), Error> {
    let missing: Vec<&str> = lists.iter().copied().flatten().filter(|p| !present(p.name)).map(|p| p.package).collect();
    apt::install(&missing)
}

fn present(name: &str) -> bool {
    if name.starts_with('/') { Path::new(name).exists() } else { process::find(name).is_some() }
}

/// cargo-deny, built from its source (two minutes on two processors): Debian has no package of it.
pub(crate) fn cargo_deny() -> Result<(), Error> {
    let mut version = cargo::command();
    version.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if process::status(&mut version)?.success() {
        return Ok(());
    }
    let mut command = cargo::command();
    // Its build stays out of the project's target directory: features and profiles differ.
    command.env_remove("CARGO_TARGET_DIR");
    process::run(command.args(["install", "cargo-deny", "--locked", "--quiet", "--version", CARGO_DENY]))
}
