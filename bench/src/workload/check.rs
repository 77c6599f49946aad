//! Whether the kernel shows what the daemon says: all of it, not a sample.

use super::spec::Workload;
use crate::Error;
use crate::raw::{Attachment, Parent};
use api::{Client, call};
use kernel::{Kernel, Place, Rtnl, SandboxPath};
use lab::Sandbox;
use model::LinkName;
use model::view::{EndpointView, NetworkView};
use plan::{SeenKind, SeenLink};
use std::collections::{BTreeMap, BTreeSet};

/// What a round made, as the kernel shows it: the floor makes the same.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The parents that were provisioned, the lowest first.
    pub(crate) parents: Vec<Parent>,
    /// The endpoints, one a sandbox.
    pub(crate) attachments: Vec<Attachment>,
}

/// The names of the host's links.
pub(crate) fn links_of_host(kernel: &Rtnl) -> Result<BTreeSet<String>, Error> {
    Ok(kernel.host_links()?.into_iter().map(|link| link.name).collect())
}

/// Asserts that every endpoint has its link, up, with the addresses asked for and promised, and that
/// the daemon finds no fault itself.
pub(crate) fn all_is_there(
    workload: &Workload,
    kernel: &Rtnl,
    sandboxes: &[Sandbox],
    views: &[EndpointView],
    client: &mut Client,
) -> Result<Made, Error> {
    let networks = client.send(&call::networks()).map_err(Error::api("list the networks"))?;
    if networks.len() != workload.networks.len() {
        return Err(Error::Wrong(format!("{} networks were made of {}", networks.len(), workload.networks.len())));
    }
    let findings = client.send(&call::check()).map_err(Error::api("check"))?;
    if let Some(finding) = findings.first() {
        return Err(Error::Wrong(format!("check: {} {}: {}", finding.object, finding.name, finding.problem)));
    }
    let parents: BTreeMap<&str, &str> = networks.iter().map(|n| (n.name.as_str(), n.parent.as_str())).collect();
    let mut attachments = Vec::with_capacity(views.len());
    for ((spec, sandbox), view) in workload.endpoints.iter().zip(sandboxes).zip(views) {
        let seen = seen(kernel, sandbox)?;
        let wrong = |what: String| Error::Wrong(format!("endpoint {} of network {}: {what}", view.name, view.network));
        let [link] = seen.as_slice() else { return Err(wrong(format!("{} links in its sandbox", seen.len()))) };
        let promised: BTreeSet<_> = view.addresses.iter().collect();
        if !link.info.up || Some(&link.info.name) != view.link.as_ref() || promised != link.addresses.iter().collect() {
            return Err(wrong(format!("{:?} was promised and {link:?} is there", view.addresses)));
        }
        for asked in spec.ip.iter().chain(&spec.ip6) {
            if !view.addresses.iter().any(|a| a.addr().to_string() == *asked) {
                return Err(wrong(format!("{asked} was asked for and {:?} given", view.addresses)));
            }
        }
        let parent = parents.get(view.network.as_str()).copied().unwrap_or_default();
        attachments.push(Attachment::like(link, &named(parent)?)?);
    }
    Ok(Made { parents: provisioned(kernel, &networks)?, attachments })
}

/// Asserts that links and records are as before.
pub(crate) fn nothing_is_left(
    kernel: &Rtnl,
    sandboxes: &[Sandbox],
    before: &BTreeSet<String>,
    client: &mut Client,
) -> Result<(), Error> {
    let after = links_of_host(kernel)?;
    if after != *before {
        let differ: Vec<_> = after.symmetric_difference(before).map(String::as_str).collect();
        return Err(Error::Wrong(format!("the host's links are not what they were before: {}", differ.join(", "))));
    }
    for sandbox in sandboxes {
        if let Some(link) = seen(kernel, sandbox)?.first() {
            return Err(Error::Wrong(format!("{} is left in a sandbox", link.info.name)));
        }
    }
    let networks = client.send(&call::networks()).map_err(Error::api("list the networks"))?.len();
    let endpoints = client.send(&call::endpoints()).map_err(Error::api("list the endpoints"))?.len();
    let leftovers = client.send(&call::gc(true)).map_err(Error::api("gc"))?.len();
    if networks + endpoints + leftovers > 0 {
        return Err(Error::Wrong(format!("left: {networks} networks, {endpoints} endpoints, {leftovers} leftovers")));
    }
    Ok(())
}

/// The macvlans and ipvlans in a sandbox.
fn seen(kernel: &Rtnl, sandbox: &Sandbox) -> Result<Vec<SeenLink>, Error> {
    let path = sandbox.path();
    let place = Place::Sandbox(SandboxPath { id: kernel.namespace(&path)?, path });
    let mut seen = kernel.observe(&place, None)?;
    seen.retain(|link| matches!(link.info.kind, SeenKind::Macvlan(_) | SeenKind::Ipvlan(..)));
    for link in &mut seen {
        // Kernels before 5.18 don't tell the link-local one from the others.
        link.addresses.retain(|a| !matches!(a, ipnet::IpNet::V6(a) if a.addr().is_unicast_link_local()));
    }
    Ok(seen)
}

fn provisioned(kernel: &Rtnl, networks: &[NetworkView]) -> Result<Vec<Parent>, Error> {
    let links = kernel.observe(&Place::Host, None)?;
    let names: BTreeMap<u32, &str> = links.iter().map(|l| (l.info.index, l.info.name.as_str())).collect();
    let ours: BTreeSet<&str> = networks.iter().filter(|n| n.parent_provisioned).map(|n| n.parent.as_str()).collect();
    let parent = |link: &SeenLink| {
        let lower = link.info.lower.and_then(|index| names.get(&index)).map(|name| named(name)).transpose()?;
        Parent::like(link, lower)
    };
    // By rising index: what was made earlier lies below.
    let mut made: Vec<_> = links.iter().filter(|l| ours.contains(l.info.name.as_str())).collect();
    made.sort_by_key(|link| link.info.index);
    made.into_iter().map(parent).collect()
}

fn named(name: &str) -> Result<LinkName, Error> {
    name.parse().map_err(|e: model::Error| Error::Wrong(e.to_string()))
}
