//! Results (section 5), in the shape of each version.

use crate::Version;
use ipnet::IpNet;
use model::EndpointRoute;
use model::view::{EndpointView, WayOutView};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A result, and a `prevResult`. What a version does not have is left out when it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Output {
    /// The version of its shape.
    pub cni_version: String,
    /// All links that the plugins made, in the container and on the host.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Ip>,
    /// Routes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name servers.
    #[serde(deserialize_with = "or_default")]
    pub dns: Dns,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its MAC address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in bytes, from 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace that it is in; none: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Of other plugins, from 1.1.0 on.
    #[serde(rename = "socketPath", default, skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// Of other plugins, from 1.1.0 on.
    #[serde(rename = "pciID", default, skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// "4" or "6", before 1.0.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The address with its prefix length.
    #[serde(default)]
    pub address: String,
    /// Its subnet's gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The place of its link in `interfaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    #[serde(default)]
    pub dst: String,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<String>,
    /// From 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<i64>,
    /// From 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<i64>,
    /// From 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// From 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<i64>,
    /// From 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<i64>,
}

/// Name servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Their addresses.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search domains.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// null stands for nothing.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The result of an attach: what came before, and the endpoint.
pub fn output(
    version: Version,
    earlier: Option<Output>,
    endpoint: &EndpointView,
    ifname: &str,
    sandbox: &str,
    dns: Dns,
) -> Output {
    let mut output = earlier.unwrap_or_default();
    let link = Interface {
        name: endpoint.link.clone().unwrap_or_else(|| ifname.to_owned()),
        mac: endpoint.link_mac.or(endpoint.mac).map(|mac| mac.to_string()),
        mtu: endpoint.mtu,
        sandbox: Some(sandbox.to_owned()),
        ..Interface::default()
    };
    output.add(link, &endpoint.addresses, &endpoint.gateways, &endpoint.routes);
    // After the network's own: a runtime takes the first address for the container's.
    if let Some(WayOutView { link: Some(name), mac, mtu, addresses, routes }) = &endpoint.way_out {
        let (name, mac, sandbox) = (name.clone(), mac.map(|mac| mac.to_string()), Some(sandbox.to_owned()));
        let gateways: Vec<IpAddr> = routes.iter().filter_map(|route| route.gateway).collect();
        output.add(Interface { name, mac, mtu: *mtu, sandbox, ..Interface::default() }, addresses, &gateways, routes);
    }
    if dns != Dns::default() {
        output.dns = dns;
    }
    output.into_version(version)
}

impl Output {
    /// A link of the container with what is on it. Each address is told the gateway that it reaches.
    fn add(&mut self, link: Interface, addresses: &[IpNet], gateways: &[IpAddr], routes: &[EndpointRoute]) {
        let place = self.interfaces.len();
        self.interfaces.push(link);
        self.ips.extend(addresses.iter().map(|address| Ip {
            version: None,
            address: address.to_string(),
            gateway: gateways.iter().find(|gateway| address.contains(*gateway)).map(ToString::to_string),
            interface: Some(place),
        }));
        self.routes.extend(routes.iter().map(|route| Route {
            dst: route.destination.to_string(),
            gw: route.gateway.map(|gateway| gateway.to_string()),
            priority: route.metric,
            ..Route::default()
        }));
    }

    /// Writes the version's own keys, and takes away what it does not have.
    fn into_version(mut self, version: Version) -> Self {
        version.word().clone_into(&mut self.cni_version);
        for ip in &mut self.ips {
            let family = if ip.address.contains(':') { "6" } else { "4" };
            ip.version = (version < Version::V100).then(|| family.to_owned());
        }
        if version < Version::V110 {
            for interface in &mut self.interfaces {
                (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
            }
            for Route { dst, gw, .. } in std::mem::take(&mut self.routes) {
                self.routes.push(Route { dst, gw, ..Route::default() });
            }
        }
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::view::Health;
    use model::{EndpointId, HostId, NamespaceId, NetworkId, Timestamp};

    /// An endpoint with both families on `eth0`.
    pub(crate) fn endpoint() -> EndpointView {
        EndpointView {
            id: EndpointId::from_entropy([1; 32]),
            name: "c1".into(),
            network_id: NetworkId::from_entropy([2; 32]),
            network: "n".into(),
            addresses: vec!["10.0.0.5/24".parse().unwrap(), "fd00::5/64".parse().unwrap()],
            mac: Some("02:42:0a:00:00:05".parse().unwrap()),
            host: HostId::from_entropy([3; 32]),
            host_name: None,
            locator: None,
            path: "/n".into(),
            namespace: NamespaceId { device: 4, inode: 5, boot: "b".into() },
            sandbox: None,
            owner: Some(crate::wish::owner("c1", "eth0")),
            gateways: vec!["10.0.0.1".parse().unwrap()],
            routes: vec![EndpointRoute {
                destination: "0.0.0.0/0".parse().unwrap(),
                gateway: Some("10.0.0.1".parse().unwrap()),
                metric: Some(100),
            }],
            link: Some("eth0".into()),
            link_mac: Some("02:42:0a:00:00:05".parse().unwrap()),
            mtu: Some(1400),
            way_out: None,
            health: Health::Ready,
            created: Timestamp(0),
        }
    }

    fn written(version: Version, earlier: Option<&str>) -> serde_json::Value {
        let earlier = earlier.map(|text| serde_json::from_str(text).unwrap());
        serde_json::to_value(output(version, earlier, &endpoint(), "eth0", "/n", Dns::default())).unwrap()
    }

    #[test]
    fn the_shape_of_each_version() {
        let newest = written(Version::V110, None);
        let expected = serde_json::json!({
            "cniVersion": "1.1.0",
            "interfaces": [{ "name": "eth0", "mac": "02:42:0a:00:00:05", "mtu": 1400, "sandbox": "/n" }],
            "ips": [
                { "address": "10.0.0.5/24", "gateway": "10.0.0.1", "interface": 0 },
                { "address": "fd00::5/64", "interface": 0 },
            ],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "10.0.0.1", "priority": 100 }],
            "dns": {},
        });
        assert_eq!(newest, expected);
        let older = written(Version::V100, None);
        assert_eq!(older["interfaces"][0].get("mtu"), None);
        assert_eq!(older["routes"][0].get("priority"), None);
        assert_eq!(older["ips"][0].get("version"), None);
        for version in [Version::V030, Version::V031, Version::V040] {
            let old = written(version, None);
            assert_eq!(old["cniVersion"], version.word());
            assert_eq!((&old["ips"][0]["version"], &old["ips"][1]["version"]), (&"4".into(), &"6".into()));
        }
    }

    #[test]
    fn an_overlays_way_out_comes_last() {
        let mut endpoint = endpoint();
        let gateway = Some("172.18.0.1".parse().unwrap());
        endpoint.routes.clear();
        endpoint.way_out = Some(WayOutView {
            link: Some("eth1".into()),
            mac: Some("02:42:ac:12:00:02".parse().unwrap()),
            mtu: Some(1500),
            addresses: vec!["172.18.0.2/16".parse().unwrap()],
            routes: vec![EndpointRoute { destination: "0.0.0.0/0".parse().unwrap(), gateway, metric: None }],
        });
        let result = output(Version::V110, None, &endpoint, "eth0", "/n", Dns::default());
        let result = serde_json::to_value(result).unwrap();
        let link = serde_json::json!({ "name": "eth1", "mac": "02:42:ac:12:00:02", "mtu": 1500, "sandbox": "/n" });
        assert_eq!(result["interfaces"][1], link);
        let address = serde_json::json!({ "address": "172.18.0.2/16", "gateway": "172.18.0.1", "interface": 1 });
        assert_eq!(result["ips"][2], address);
        assert_eq!(result["routes"], serde_json::json!([{ "dst": "0.0.0.0/0", "gw": "172.18.0.1" }]));
        // One that nobody has seen since the daemon began has no name to tell.
        endpoint.way_out.as_mut().unwrap().link = None;
        let result = output(Version::V110, None, &endpoint, "eth0", "/n", Dns::default());
        assert_eq!((result.interfaces.len(), result.ips.len()), (1, 2));
    }

    #[test]
    fn what_came_before_stays() {
        let earlier = r#"{"cniVersion": "1.0.0", "interfaces": [{"name": "br0"}, {"name": "lo", "sandbox": "/n"}],
            "ips": [{"address": "127.0.0.1/8", "interface": 1}], "routes": null, "dns": {"nameservers": ["10.0.0.1"]}}"#;
        let merged = written(Version::V100, Some(earlier));
        assert_eq!(merged["interfaces"].as_array().unwrap().len(), 3);
        assert_eq!((&merged["ips"][0]["interface"], &merged["ips"][1]["interface"]), (&1.into(), &2.into()));
        assert_eq!(merged["dns"]["nameservers"][0], "10.0.0.1");
    }
}
