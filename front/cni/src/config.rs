//! The network's configuration, on standard input (section 1), with the keys of the reference plugins.

use crate::environment::{NAME_RULE, is_name};
use crate::result::{Dns, Output};
use crate::{Error, Version};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A configuration. Keys that nobody here knows are other plugins', and left alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The specification's version, as written.
    pub cni_version: Option<String>,
    /// The runtime's name for the network.
    pub name: Option<String>,
    /// The daemon's socket; none: where it usually is.
    pub socket: Option<PathBuf>,
    /// A network of Trunkline's, which is there; none: the one that the following keys define.
    pub network: Option<String>,
    /// macvlan (none says so too), ipvlan or overlay.
    pub driver: Option<String>,
    /// The parent.
    pub master: Option<String>,
    /// The driver's mode.
    pub mode: Option<String>,
    /// The parent's VLAN.
    pub vlan: Option<u32>,
    /// The same, as the reference plugin calls it.
    pub vlan_id: Option<u32>,
    /// MTU in bytes; 0: the parent's.
    pub mtu: Option<u32>,
    /// A MAC address.
    pub mac: Option<String>,
    /// No way out.
    pub internal: Option<bool>,
    /// Further driver options, as of `trunkline network create -o`.
    pub options: Option<BTreeMap<String, String>>,
    /// Of the reference plugins: not done.
    pub link_in_container: Option<bool>,
    /// Of the reference macvlan: not done.
    pub bcqueuelen: Option<u32>,
    /// Addresses.
    pub ipam: Option<Ipam>,
    /// Name servers for the result.
    pub dns: Option<Dns>,
    /// What the runtime fills in by the capabilities of the configuration.
    pub runtime_config: Option<RuntimeConfig>,
    /// What users fill in by conventions.
    pub args: Option<Args>,
    /// The result of the plugin before this one, or of the ADD.
    pub prev_result: Option<Value>,
    /// GC: what is still attached.
    #[serde(rename = "cni.dev/valid-attachments", default, deserialize_with = "present")]
    pub valid_attachments: Option<Option<Vec<Attachment>>>,
    /// The same, as early libraries wrote it.
    #[serde(rename = "cni.dev/attachments", default, deserialize_with = "present")]
    pub attachments: Option<Option<Vec<Attachment>>>,
}

/// Addresses, with the keys of host-local and static.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipam {
    /// host-local, static, trunkline or none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A range of its own.
    #[serde(flatten)]
    pub range: Range,
    /// Sets of ranges: of each set one address.
    pub ranges: Option<Vec<Vec<Range>>>,
    /// The container's routes.
    pub routes: Option<Vec<RouteConfig>>,
    /// static: the container's addresses.
    pub addresses: Option<Vec<AddressConfig>>,
    /// A file to take name servers from.
    pub resolv_conf: Option<PathBuf>,
}

/// A range of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The prefix.
    pub subnet: Option<String>,
    /// The first address that is given out.
    pub range_start: Option<String>,
    /// The last.
    pub range_end: Option<String>,
    /// The gateway; none: the first address.
    pub gateway: Option<String>,
}

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteConfig {
    /// Where to.
    pub dst: Option<String>,
    /// The next hop; none: the gateway.
    pub gw: Option<String>,
    /// Its metric.
    pub priority: Option<u32>,
    /// Not done.
    pub mtu: Option<Value>,
    /// Not done.
    pub advmss: Option<Value>,
    /// Not done.
    pub table: Option<Value>,
    /// Not done.
    pub scope: Option<Value>,
}

/// An address of static.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct AddressConfig {
    /// The address with its prefix length.
    pub address: Option<String>,
    /// Its gateway.
    pub gateway: Option<String>,
}

/// What the runtime fills in (`CONVENTIONS.md`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// Addresses.
    pub ips: Option<Vec<String>>,
    /// A MAC address.
    pub mac: Option<String>,
    /// Sets of ranges, before those of the configuration.
    pub ip_ranges: Option<Vec<Vec<Range>>>,
    /// Name servers.
    pub dns: Option<RuntimeDns>,
}

/// The capability `dns`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RuntimeDns {
    /// Name servers.
    pub servers: Option<Vec<String>>,
    /// Search domains.
    pub searches: Option<Vec<String>>,
    /// Options of the resolver.
    pub options: Option<Vec<String>>,
}

/// The convention `args`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Args {
    /// Those that plugins share.
    pub cni: Option<CniArgs>,
}

/// Those that plugins share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct CniArgs {
    /// Addresses.
    pub ips: Option<Vec<String>>,
    /// A MAC address.
    pub mac: Option<String>,
}

/// What is attached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The link's name in it.
    pub ifname: String,
}

/// A key that is there is told from one that is not, even if it is null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn read(text: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Decode { what: "the network configuration", reason };
        // serde would take an array for a struct, its items for the fields in order.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(wrong("a JSON object expected".into()));
        }
        serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))
    }

    /// The version of the specification that it is of.
    ///
    /// # Errors
    /// [`Error::Version`].
    pub fn version(&self) -> Result<Version, Error> {
        Version::of(self.cni_version.as_deref())
    }

    /// The name of the network of Trunkline's that it means.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn network_name(&self) -> Result<&str, Error> {
        let name = self.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(Error::Config("name is missing".into()));
        }
        if !is_name(name) {
            return Err(Error::Config(format!("invalid name {name:?}: {NAME_RULE}")));
        }
        Ok(self.network.as_deref().filter(|network| !network.is_empty()).unwrap_or(name))
    }

    /// The earlier result, if there is any.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn earlier(&self) -> Result<Option<Output>, Error> {
        let Some(value) = self.prev_result.as_ref().filter(|value| !value.is_null()) else { return Ok(None) };
        let read = serde_json::from_value(value.clone());
        read.map(Some).map_err(|error| Error::Decode { what: "prevResult", reason: error.to_string() })
    }

    /// GC: what is still attached.
    ///
    /// # Errors
    /// [`Error::Config`] if the runtime does not say: without a word of it everything would go.
    pub fn attached(&self) -> Result<&[Attachment], Error> {
        let given = self.valid_attachments.as_ref().or(self.attachments.as_ref());
        let given = given.ok_or_else(|| Error::Config("GC needs cni.dev/valid-attachments".into()))?;
        Ok(given.as_deref().unwrap_or_default())
    }
}
