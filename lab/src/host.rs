//! A host of a lab: a namespace with its links.

use crate::{
    Error, Listener, Output, Port, Switch, SwitchPort,
    capture::Capture,
    command,
    links::{self, NEW},
    mounts::Mounts,
    namespace::Sandbox,
    netlink::Netlink,
};
use ipnet::IpNet;
use model::MacAddr;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use std::{
    ffi::OsStr,
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Child, Command},
};

/// A network namespace, and mounts of its own, with its loopback link up, IPv6 without duplicate address detection and without
/// router advertisements.
pub struct Host {
    name: String,
    namespace: Sandbox,
    mounts: Mounts,
    pub(crate) netlink: Netlink,
}

impl Host {
    /// A fresh one; `name` stands in errors only.
    pub fn new(name: &str) -> Result<Self, Error> {
        let namespace = Sandbox::new()?;
        let netlink = Netlink::open_in(&namespace)?;
        let mounts = Mounts::new(&namespace)?;
        let host = Self { name: name.to_owned(), namespace, mounts, netlink };
        for setting in ["accept_dad", "accept_ra"] {
            host.sysctl(&format!("net/ipv6/conf/default/{setting}"), "0")?;
        }
        host.set_up("lo")?;
        Ok(host)
    }

    /// A fresh one whose `eth0` is on a switch, with this address (`192.168.1.2/24`).
    pub fn joined(name: &str, switch: &Switch, address: &str) -> Result<Self, Error> {
        let host = Self::new(name)?;
        host.plug(switch, "eth0", &Port::Plain)?;
        host.add_address("eth0", address)?;
        Ok(host)
    }

    /// What it is called in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file by which other processes find the namespace, fit for `trunkline network connect`.
    pub fn path(&self) -> PathBuf {
        self.namespace.path()
    }

    /// Runs a closure on a thread inside, and waits for it.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.namespace.enter(inside)
    }

    /// A command that will run inside, to be changed further; not to be started after this value is
    /// dropped.
    pub fn command<I: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        command::place(&mut command, &self.namespace, &self.mounts);
        command
    }

    /// Runs a program inside to its end, with its output captured, whatever its exit code.
    pub fn output<I: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = I>,
    ) -> Result<Output, Error> {
        command::run(&self.name, self.command(program, arguments))
    }

    /// Runs a program inside, which must succeed.
    pub fn run<I: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = I>) -> Result<Output, Error> {
        let output = self.output(program, arguments)?;
        if output.success() {
            return Ok(output);
        }
        let stderr = [output.stdout.trim(), output.stderr.trim()].join(" ").trim().replace('\n', "; ");
        Err(Error::Failed { command: output.command, host: self.name.clone(), status: output.status, stderr })
    }

    /// Starts a program inside that dies with this process, with what the command says of its streams.
    pub fn spawn(&self, command: Command) -> Result<Child, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        command::spawn(command).map_err(|source| Error::Program { program, host: self.name.clone(), source })
    }

    /// Connects a new link to a switch: this host's end is called `link`, and up.
    pub fn plug(&self, switch: &Switch, link: &str, port: &Port) -> Result<SwitchPort, Error> {
        let port = switch.add_port(link, &self.namespace, port)?;
        self.set_up(link)?;
        Ok(port)
    }

    /// Connects a new link to another host directly; both ends are up.
    pub fn wire(&self, link: &str, other: &Self, other_link: &str) -> Result<(), Error> {
        let op = || format!("connect link {link} of {} to {other_link} of {}", self.name, other.name);
        self.netlink.ask(op, links::veth(link, other_link, other.namespace.raw_fd()), NEW)?;
        self.set_up(link)?;
        other.set_up(other_link)
    }

    /// Makes a dummy, down.
    pub fn add_dummy(&self, link: &str) -> Result<(), Error> {
        self.netlink.ask(|| self.op("add dummy", link), links::dummy(link), NEW)
    }

    /// Makes an 802.1Q sub-interface by hand, down.
    pub fn add_vlan(&self, lower: &str, link: &str, id: u16) -> Result<(), Error> {
        let lower = self.index(lower)?;
        self.netlink.ask(|| self.op("add VLAN link", link), links::vlan(link, lower, id), NEW)
    }

    /// Sets a link up.
    pub fn set_up(&self, link: &str) -> Result<(), Error> {
        let index = self.index(link)?;
        self.netlink.ask(|| self.op("set up", link), links::set_state(index, true), 0)
    }

    /// Sets a link down.
    pub fn set_down(&self, link: &str) -> Result<(), Error> {
        let index = self.index(link)?;
        self.netlink.ask(|| self.op("set down", link), links::set_state(index, false), 0)
    }

    /// Deletes a link; it is gone on return.
    pub fn delete(&self, link: &str) -> Result<(), Error> {
        let index = self.index(link)?;
        self.netlink.ask(|| self.op("delete", link), links::delete(index), 0)
    }

    /// Adds an address with its prefix length (`192.168.1.2/24`).
    pub fn add_address(&self, link: &str, address: &str) -> Result<(), Error> {
        let index = self.index(link)?;
        let parsed = parse::<IpNet>(address, "address with a prefix length")?;
        self.netlink.ask(|| self.op(&format!("add address {address} to"), link), links::address(index, parsed), NEW)
    }

    /// Adds a route to a prefix (`0.0.0.0/0`) by a next hop.
    pub fn add_route(&self, destination: &str, via: &str) -> Result<(), Error> {
        let message = links::route(parse(destination, "prefix")?, parse::<IpAddr>(via, "address")?);
        self.netlink.ask(|| format!("add route {destination} via {via} on {}", self.name), message, NEW)
    }

    /// Makes it a router, for both families.
    pub fn forward(&self) -> Result<(), Error> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv6/conf/all/forwarding", "1")
    }

    /// Writes a setting under /proc/sys, named with slashes.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), Error> {
        // The kernel resolves /proc/sys/net by the namespace of the thread that opens it.
        self.enter(|| fs::write(format!("/proc/sys/{key}"), value))?
            .map_err(Error::io(format!("set {key} to {value} on {}", self.name)))
    }

    /// The names of its links.
    pub fn links(&self) -> Result<Vec<String>, Error> {
        Ok(self.netlink.links()?.iter().filter_map(name_of).collect())
    }

    /// Whether it has a link of this name.
    pub fn has_link(&self, link: &str) -> Result<bool, Error> {
        Ok(self.netlink.link(link)?.is_some())
    }

    /// A link's MAC address.
    pub fn mac(&self, link: &str) -> Result<MacAddr, Error> {
        let found = self.netlink.link(link)?.and_then(|message| mac_of(&message));
        found.ok_or_else(|| self.no_link(link))
    }

    /// Captures the frames that a link sends and receives from now on.
    pub fn capture(&self, link: &str) -> Result<Capture, Error> {
        Capture::start(&self.name, &self.namespace, link, self.index(link)?)
    }

    /// A TCP service on an address of this host: it accepts, and closes.
    pub fn listen(&self, address: SocketAddr) -> Result<Listener, Error> {
        self.enter(|| Listener::start(address))?.map_err(Error::io(format!("listen on {address} of {}", self.name)))
    }

    fn index(&self, link: &str) -> Result<u32, Error> {
        let found = self.netlink.link(link)?;
        found.map(|message| message.header.index).ok_or_else(|| self.no_link(link))
    }

    fn no_link(&self, link: &str) -> Error {
        Error::NoLink { host: self.name.clone(), link: link.to_owned() }
    }

    fn op(&self, what: &str, link: &str) -> String {
        format!("{what} {link} on {}", self.name)
    }
}

fn parse<T: std::str::FromStr>(text: &str, expected: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Syntax { text: text.to_owned(), expected })
}

fn name_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn mac_of(message: &LinkMessage) -> Option<MacAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })
}
