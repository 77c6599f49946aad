//! A switch: a bridge in a namespace of its own.

use crate::{
    Error,
    capture::Capture,
    links::{self, NEW},
    namespace::Sandbox,
    netlink::Netlink,
};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What a switch does with the frames of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Nothing about VLANs: for [`Switch::plain`].
    Plain,
    /// Untagged frames, which belong to this VLAN.
    Access(u16),
    /// Tagged frames of several VLANs (`switchport mode trunk`).
    Trunk {
        /// The VLAN of untagged frames, if there are to be any.
        native: Option<u16>,
        /// `switchport trunk allowed vlan`.
        tagged: Vec<u16>,
    },
}

impl Port {
    /// A trunk of these VLANs, with no untagged frames.
    pub fn trunk(tagged: impl IntoIterator<Item = u16>) -> Self {
        Self::Trunk { native: None, tagged: tagged.into_iter().collect() }
    }

    /// The trunk with untagged frames, which belong to this VLAN.
    pub fn native(self, vlan: u16) -> Self {
        match self {
            Self::Trunk { tagged, .. } => Self::Trunk { native: Some(vlan), tagged },
            Self::Plain | Self::Access(_) => Self::Access(vlan),
        }
    }
}

/// A port of a switch: its number, and the link on the switch's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchPort {
    link: String,
    index: u32,
}

/// A learning switch.
pub struct Switch {
    namespace: Sandbox,
    netlink: Netlink,
    bridge: u32,
    ports: AtomicU32,
}

/// The bridge's name in its namespace.
const BRIDGE: &str = "br0";

impl Switch {
    /// One that keeps VLANs apart. Needs CONFIG_BRIDGE_VLAN_FILTERING.
    pub fn new() -> Result<Self, Error> {
        Self::of_kind(true)
    }

    /// One that knows no VLANs and passes tags on untouched: for any kernel.
    pub fn plain() -> Result<Self, Error> {
        Self::of_kind(false)
    }

    fn of_kind(vlans: bool) -> Result<Self, Error> {
        let namespace = Sandbox::new()?;
        let netlink = Netlink::open_in(&namespace)?;
        // The switch itself shall say nothing on the networks that it joins.
        namespace
            .enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))?
            .map_err(Error::io("switch IPv6 off in a switch"))?;
        let op = || format!("add a switch's bridge{}", if vlans { " with VLAN filtering" } else { "" });
        netlink.ask(op, links::bridge(BRIDGE, vlans), NEW)?;
        let bridge = index(&netlink, BRIDGE)?;
        netlink.ask(|| "set a switch's bridge up".to_owned(), links::set_state(bridge, true), 0)?;
        Ok(Self { namespace, netlink, bridge, ports: AtomicU32::new(1) })
    }

    /// Makes the pair of links of a new port, the far one in place in `namespace`.
    pub(crate) fn add_port(&self, far: &str, namespace: &Sandbox, port: &Port) -> Result<SwitchPort, Error> {
        let near = format!("port{}", self.ports.fetch_add(1, Relaxed));
        let op = |what: &str| {
            let text = format!("{what} switch port {near} to {far}");
            move || text
        };
        self.netlink.ask(op("add"), links::veth(&near, far, namespace.raw_fd()), NEW)?;
        let index = index(&self.netlink, &near)?;
        self.netlink.ask(op("join to the bridge"), links::set_master(index, self.bridge), 0)?;
        let vlans = match port {
            Port::Plain => None,
            Port::Access(vlan) => Some(links::port_vlans(index, Some(*vlan), &[])),
            Port::Trunk { native, tagged } => Some(links::port_vlans(index, *native, tagged)),
        };
        if let Some(message) = vlans {
            self.netlink.ask(op("set the VLANs of"), message, 0)?;
        }
        self.netlink.ask(op("set up"), links::set_state(index, true), 0)?;
        Ok(SwitchPort { link: near, index })
    }

    /// Captures the frames of a port as they pass the wire, with their tags, from now on.
    pub fn capture(&self, port: &SwitchPort) -> Result<Capture, Error> {
        Capture::start("the switch", &self.namespace, &port.link, port.index)
    }

    /// Takes a port's carrier away, as when a cable is pulled, or gives it back.
    pub fn set_port_state(&self, port: &SwitchPort, up: bool) -> Result<(), Error> {
        let op = || format!("set switch port {} {}", port.link, if up { "up" } else { "down" });
        self.netlink.ask(op, links::set_state(port.index, up), 0)
    }
}

fn index(netlink: &Netlink, link: &str) -> Result<u32, Error> {
    let found = netlink.link(link)?;
    let missing = || Error::NoLink { host: "switch".to_owned(), link: link.to_owned() };
    found.map(|message| message.header.index).ok_or_else(missing)
}
