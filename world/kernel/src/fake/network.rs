//! One namespace of the fake kernel.

use ipnet::IpNet;
use model::MacAddr;
use plan::{LinkInfo, Route, SeenKind, SeenLink};
use std::collections::BTreeMap;

/// A link and what hangs on it.
#[derive(Debug, Clone)]
pub(super) struct FakeLink {
    pub(super) info: LinkInfo,
    /// The index of its lower link in the host's namespace.
    pub(super) lower: Option<u32>,
    pub(super) addresses: Vec<IpNet>,
    pub(super) routes: Vec<Route>,
    pub(super) sysctls: BTreeMap<String, String>,
}

impl FakeLink {
    pub(super) fn new(info: LinkInfo, lower: Option<u32>) -> Self {
        Self { info, lower, addresses: Vec::new(), routes: Vec::new(), sysctls: BTreeMap::new() }
    }

    pub(super) fn seen(&self) -> SeenLink {
        SeenLink { info: self.info.clone(), addresses: self.addresses.clone(), routes: self.routes.clone() }
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
    last_index: u32,
}

impl Network {
    /// With the loopback link, down, as in a fresh namespace.
    pub(super) fn fresh() -> Self {
        let mut lo = plain(1, "lo", SeenKind::Loopback, MacAddr([0; 6]));
        lo.mtu = 65536;
        Self { links: BTreeMap::from([(1, FakeLink::new(lo, None))]), last_index: 1 }
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
