//! `cargo xtask install`: what tests, demonstration and benchmarks start as separate programs. Silent when nothing is missing.

use std::path::Path;
use std::process::Stdio;

use crate::error::Error;
use crate::{apt, cargo, consul, firewalld, podman, process, train, vm};

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
const TOOLS: &[Program] = &[
    program("ip", "iproute2"),
    program("tcpdump", "tcpdump"),
    program("nmap", "nmap"),
    program("fping", "fping"),
    program("traceroute", "traceroute"),
    program("ping", "iputils-ping"),
    program("serf", "serf"),
    program("nft", "nftables"),
    program("iptables-nft", "iptables"),
    program("jq", "jq"),
    program("curl", "curl"),
    program("nsenter", "util-linux"),
    program("etcd", "etcd-server"),
    program("etcdctl", "etcd-client"),
    program("openssl", "openssl"),
    // The suite of CNI plugins runs against these, too.
    program("/usr/lib/cni/macvlan", "containernetworking-plugins"),
];

/// What tests alone start: container engines and a firewall.
const ENGINES: &[Program] = &[
    // What firewalld runs on.
    program("dbus-daemon", "dbus-daemon"),
    program("/usr/lib/python3/dist-packages/dbus", "python3-dbus"),
    program("/usr/lib/python3/dist-packages/gi", "python3-gi"),
    program("/usr/lib/python3/dist-packages/nftables", "python3-nftables"),
    program("debootstrap", "debootstrap"),
    program("/usr/sbin/dockerd", "docker.io"),
    program("/usr/bin/docker", "docker.io"),
    program("containerd", "containerd"),
    program("ctr", "containerd"),
    program("runc", "runc"),
    // Podman 4, on its CNI backend; the one with netavark's plugins is in a tree of its own.
    program("podman", "podman"),
    program("crun", "crun"),
    program("/bin/busybox", "busybox-static"),
];

/// What `bench attach` measures beside Trunkline, as Debian ships it.
const PEERS: &[Program] =
    &[program("/usr/lib/cni/macvlan", "containernetworking-plugins"), program("/usr/lib/podman/netavark", "netavark")];

/// Everything, for all commands.
pub(crate) fn everything() -> Result<(), Error> {
    install(&[TOOLS, ENGINES, PEERS])?;
    consul::install()?;
    firewalld::install()?;
    podman::install()?;
    vm::install_programs()?;
    cargo_deny()?;
    // Last: not every compiler's LLVM is among Debian's packages.
    train::profdata().map(drop)
}

/// The programs that the demonstration starts.
pub(crate) fn for_demo() -> Result<(), Error> {
    install(&[TOOLS])?;
    consul::install()
}

/// The programs that tests start.
pub(crate) fn for_tests() -> Result<(), Error> {
    for_demo()?;
    install(&[ENGINES])?;
    firewalld::install()?;
    podman::install()
}

/// The programs that the benchmarks compare with.
pub(crate) fn for_benchmarks() -> Result<(), Error> {
    install(&[TOOLS, ENGINES, PEERS])?;
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
