//! What is made: the talk's workload as written, and its form on macvlan alone.

use crate::Error;
use model::NetworkSpec;
use model::request::EndpointSpec;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The talk's workload: `workload.json` beside the sources.
const TALK: &str = include_str!("../../workload.json");

/// The macvlan form: networks, each on a parent of its own, and sandboxes.
const PLAIN: (usize, usize) = (50, 125);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[allow(dead_code, reason = "for people who read the file")]
    about: String,
    manual_links: Vec<ManualLink>,
    networks: Vec<NetworkEntry>,
    containers: Vec<Container>,
}

/// A VLAN sub-interface that is there before, made by hand, and must be there afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManualLink {
    #[allow(dead_code, reason = "for people who read the file")]
    group: String,
    /// The link below.
    pub(crate) link: String,
    /// Its name.
    pub(crate) name: String,
    /// Its VLAN identifier.
    pub(crate) vlan: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkEntry {
    #[allow(dead_code, reason = "for people who read the file")]
    group: String,
    driver: String,
    subnets: Vec<String>,
    gateways: Vec<String>,
    ip_ranges: Vec<String>,
    aux: BTreeMap<String, String>,
    internal: bool,
    options: BTreeMap<String, String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    #[allow(dead_code, reason = "for people who read the file")]
    group: String,
    net: String,
    #[serde(default)]
    name: String,
    ip: Option<String>,
    ip6: Option<String>,
}

/// Everything that a run makes.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Veth pairs to be there before.
    pub(crate) given: Vec<String>,
    /// VLANs to be there before.
    pub(crate) manual: Vec<ManualLink>,
    /// The networks.
    pub(crate) networks: Vec<NetworkSpec>,
    /// The endpoints, one a sandbox.
    pub(crate) endpoints: Vec<EndpointSpec>,
}

impl Workload {
    /// The talk's.
    pub(crate) fn talk() -> Result<Self, Error> {
        let file: File = serde_json::from_str(TALK).map_err(|e| Error::Wrong(format!("workload.json: {e}")))?;
        Ok(Self {
            given: vec!["eth0".into()],
            manual: file.manual_links,
            networks: file.networks.into_iter().map(network).collect(),
            endpoints: file.containers.into_iter().map(endpoint).collect(),
        })
    }

    /// Macvlan networks on veth parents, a /24 each: runs on kernels without VLANs.
    pub(crate) fn plain() -> Self {
        let (networks, sandboxes) = PLAIN;
        let network = |n: usize| NetworkSpec {
            name: format!("net{n}"),
            driver: "macvlan".into(),
            subnets: vec![format!("10.50.{n}.0/24")],
            gateways: vec![format!("10.50.{n}.1")],
            options: BTreeMap::from([("parent".into(), format!("pv{n}"))]),
            ..NetworkSpec::default()
        };
        let endpoint = |n: usize| EndpointSpec { network: format!("net{}", n % networks), ..EndpointSpec::default() };
        Self {
            given: (0..networks).map(|n| format!("pv{n}")).collect(),
            manual: Vec::new(),
            networks: (0..networks).map(network).collect(),
            endpoints: (0..sandboxes).map(endpoint).collect(),
        }
    }
}

fn network(entry: NetworkEntry) -> NetworkSpec {
    NetworkSpec {
        name: entry.name,
        driver: entry.driver,
        subnets: entry.subnets,
        gateways: entry.gateways,
        ip_ranges: entry.ip_ranges,
        aux_addresses: entry.aux,
        internal: entry.internal,
        options: entry.options,
        ..NetworkSpec::default()
    }
}

fn endpoint(container: Container) -> EndpointSpec {
    EndpointSpec {
        network: container.net,
        name: container.name,
        ip: container.ip,
        ip6: container.ip6,
        ..EndpointSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_talk_has_54_networks_and_123_containers() {
        let talk = Workload::talk().unwrap();
        assert_eq!((talk.networks.len(), talk.endpoints.len(), talk.manual.len()), (54, 123, 5));
        assert!(talk.manual.iter().any(|l| l.name == "foo.19" && l.vlan == 19 && l.link == "eth0"));
        let names: BTreeSet<_> = talk.networks.iter().map(|n| &n.name).collect();
        assert_eq!(names.len(), 54);
        assert!(talk.endpoints.iter().all(|e| names.contains(&e.network)));
        for spec in &talk.networks {
            spec.resolve().unwrap();
        }
    }

    #[test]
    fn the_plain_form_has_50_networks_and_125_sandboxes() {
        let plain = Workload::plain();
        assert_eq!((plain.networks.len(), plain.endpoints.len(), plain.given.len()), (50, 125, 50));
        for spec in &plain.networks {
            spec.resolve().unwrap();
        }
    }
}
