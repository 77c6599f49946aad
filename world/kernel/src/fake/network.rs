//! One namespace of the fake kernel.

use ipnet::IpNet;
use model::MacAddr;
use plan::{LinkInfo, PeerEntry, PeerKey, Route, SeenKind, SeenLink};
use std::collections::BTreeMap;

/// A link and what hangs on it.
#[derive(Debug, Clone)]
pub(super) struct FakeLink {
    pub(super) info: LinkInfo,
    /// The index of its lower link in the host's namespace.
    pub(super) lower: Option<u32>,
    /// The other end of a veth pair: its namespace and its index there.
    pub(super) peer: Option<(u64, u32)>,
    /// A bridge: whether it has had a port.
    pub(super) had_ports: bool,
    /// A bridge: whether its MTU was ever changed by an op.
    pub(super) fixed_mtu: bool,
    pub(super) addresses: Vec<IpNet>,
    pub(super) routes: Vec<Route>,
    pub(super) sysctls: BTreeMap<String, String>,
}

impl FakeLink {
    pub(super) fn new(info: LinkInfo, lower: Option<u32>) -> Self {
        Self {
            info,
            lower,
            peer: None,
            had_ports: false,
            fixed_mtu: false,
            addresses: Vec::new(),
            routes: Vec::new(),
            sysctls: BTreeMap::new(),
        }
    }

    fn seen(&self, master: Option<String>) -> SeenLink {
        let (info, addresses, routes) = (self.info.clone(), self.addresses.clone(), self.routes.clone());
        SeenLink { info, master, addresses, routes }
    }

    /// The routes that the kernel derives from the addresses, while the link is up.
    pub(super) fn connected(&self) -> impl Iterator<Item = Route> {
        let addresses = self.addresses.iter().filter(|_| self.info.up);
        addresses.filter(|address| address.prefix_len() < address.max_prefix_len()).map(|address| Route {
            destination: address.trunc(),
            via: None,
            source: address.addr().is_ipv4().then(|| address.addr()),
            metric: None,
        })
    }

    pub(super) fn all_routes(&self) -> impl Iterator<Item = Route> {
        self.connected().chain(self.routes.iter().cloned())
    }
}

/// Links by index.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) links: BTreeMap<u32, FakeLink>,
    /// The permanent entries of the VXLAN devices.
    pub(super) peers: BTreeMap<PeerKey, PeerEntry>,
    last_index: u32,
}

impl Network {
    /// With the loopback link, down, as in a fresh namespace.
    pub(super) fn fresh() -> Self {
        let mut lo = plain(1, "lo", SeenKind::Loopback, MacAddr([0; 6]));
        lo.mtu = 65536;
        Self { links: BTreeMap::from([(1, FakeLink::new(lo, None))]), peers: BTreeMap::new(), last_index: 1 }
    }

    /// Indexes are never used again while the namespace lives.
    pub(super) fn free_index(&mut self) -> u32 {
        self.last_index += 1;
        self.last_index
    }

    pub(super) fn named(&self, name: &str) -> Option<&FakeLink> {
        self.links.values().find(|link| link.info.name == name)
    }

    pub(super) fn named_mut(&mut self, name: &str) -> Option<&mut FakeLink> {
        self.links.values_mut().find(|link| link.info.name == name)
    }

    /// A link as it is shown.
    pub(super) fn seen(&self, link: &FakeLink) -> SeenLink {
        let master = link.info.master.and_then(|master| self.links.get(&master));
        link.seen(master.map(|master| master.info.name.clone()))
    }

    /// A bridge has a carrier if a port of its has (br_stp.c, `br_port_state_selection`), or if it never had one.
    pub(super) fn refresh_bridges(&mut self) {
        let live: Vec<_> = self.links.values().filter(|l| l.info.up && l.info.carrier).map(|l| l.info.master).collect();
        for link in self.links.values_mut().filter(|link| link.info.kind == SeenKind::Bridge) {
            let carrier = !link.had_ports || live.contains(&Some(link.info.index));
            link.info.carrier = link.info.up && carrier;
        }
    }

    /// A bridge has its ports' least MTU unless somebody has set it (br_if.c, `br_mtu_auto_adjust`).
    pub(super) fn refresh_mtu(&mut self, bridge: u32) {
        let least = self.links.values().filter(|link| link.info.master == Some(bridge)).map(|link| link.info.mtu).min();
        let bridge = self.links.get_mut(&bridge).filter(|link| link.info.kind == SeenKind::Bridge && !link.fixed_mtu);
        bridge.into_iter().for_each(|bridge| bridge.info.mtu = least.unwrap_or(1500));
    }

    /// The prefix and the lowest number that is free (net/core/dev.c, `__dev_alloc_name`).
    pub(super) fn numbered(&self, prefix: &str) -> String {
        let mut number = 0_u32;
        while self.named(&format!("{prefix}{number}")).is_some() {
            number += 1;
        }
        format!("{prefix}{number}")
    }
}

pub(super) fn plain(index: u32, name: &str, kind: SeenKind, mac: MacAddr) -> LinkInfo {
    LinkInfo {
        index,
        name: name.to_owned(),
        kind,
        lower: None,
        lower_elsewhere: false,
        master: None,
        mac: Some(mac),
        mtu: 1500,
        up: false,
        carrier: false,
        group: 0,
        alias: None,
    }
}
