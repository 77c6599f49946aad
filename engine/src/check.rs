//! What `check` looks at where hosts share a store or an overlay stands: claims and records of this host, the
//! overlays' namespaces with what belongs in them, and the way out.

use crate::audit::{changes, finding};
use crate::target::place;
use crate::{Engine, Error, claim, records, shim};
use kernel::Place;
use model::view::Finding;
use model::{Endpoint, Network, Stage};
use plan::{LinkPlan, PeerOp};
use std::collections::{BTreeMap, BTreeSet};
use store::{Entry, Txn};

/// A record of the shared store that nobody stands for.
pub(crate) struct Orphan {
    pub(crate) found: Finding,
    pub(crate) remove: Txn,
}

impl Engine {
    /// Whose addresses lack their claim, and claims and records that nobody stands for.
    pub(crate) fn check_claims(&self) -> Result<Vec<Finding>, Error> {
        if let Some(reason) = self.away() {
            return Ok(vec![finding(
                "store",
                &self.store_name,
                format!("it is away, claims were not compared: {reason}"),
            )]);
        }
        // First what is known, then what is stored: what is attached in between is not known, and missed by nobody.
        let known = self.own_claims();
        let (entries, _) = self.store.list("").map_err(Error::store("list", "claims"))?;
        let stored: BTreeSet<&str> =
            entries.iter().map(|e| e.key.as_str()).filter(|k| k.starts_with(records::CLAIMS)).collect();
        let now = self.own_claims();
        let missing =
            known.iter().filter(|(key, owner)| !stored.contains(key.as_str()) && now.get(*key) == Some(owner));
        let mut found: Vec<Finding> =
            missing.map(|(key, _)| finding("claim", key, "an address in use has no claim in the store")).collect();
        found.extend(self.orphans(&entries)?.into_iter().map(|orphan| orphan.found));
        Ok(found)
    }

    /// The claims of this host's endpoints and networks that stand, with their owners.
    fn own_claims(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let mut all = BTreeMap::new();
        let settled = |id: &str| !state.unsettled.contains(id);
        for network in state.networks.values().filter(|n| settled(n.id.as_str())) {
            let shim = state.shim_of(network);
            all.extend(shim.iter().map(|a| (records::claim_key(network, *a), network.id.to_string())));
        }
        for endpoint in state.endpoints.values() {
            let Some(network) = state.networks.get(&endpoint.network) else { continue };
            if settled(endpoint.id.as_str()) && !state.untold.contains_key(&endpoint.id) {
                let claims = endpoint.ep_iface.addresses().map(|a| records::claim_key(network, a.addr()));
                all.extend(claims.map(|key| (key, endpoint.id.to_string())));
            }
        }
        all
    }

    /// Of everything in the store, at one moment: claims without the record of their owner, and this host's records
    /// without their endpoints.
    pub(crate) fn orphans(&self, entries: &[Entry]) -> Result<Vec<Orphan>, Error> {
        let below = |prefix: &'static str| entries.iter().filter(move |e| e.key.starts_with(prefix));
        let last = |key: &str| key.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let owners: BTreeSet<String> = below(records::ENDPOINTS)
            .map(|e| format!("endpoint {}", last(&e.key)))
            .chain(below(records::NETWORKS).map(|e| format!("host {}", last(&e.key))))
            .chain(
                below(records::SHIMS).filter_map(|e| shim::parse_key(&e.key)).map(|(n, host)| shim::owner(&n, &host)),
            )
            .collect();
        let mut found = Vec::new();
        let hosts: BTreeSet<&str> =
            below(records::KNOWN_HOSTS).filter_map(|e| e.key.trim_end_matches('/').rsplit('/').next()).collect();
        // One that stands alone is its host's to release, as long as that may come back.
        let alone = |claim: &Entry| {
            claim::read_owner(&claim.value).is_some_and(|(host, _)| match host == self.me {
                true => self.state().standalone.contains_key(&claim.key),
                false => hosts.contains(host.as_str()),
            })
        };
        let owned = |claim: &Entry| owners.contains(&*String::from_utf8_lossy(&claim.value)) || alone(claim);
        for claim in below(records::CLAIMS).filter(|e| !owned(e)) {
            found.push(Orphan {
                found: finding("claim", &claim.key, "nobody owns this claim: `trunkline gc` releases it"),
                remove: Txn::new().unchanged(claim.key.clone(), claim.revision).delete(claim.key.clone()),
            });
        }
        for entry in below(records::ENDPOINTS) {
            let Ok(endpoint) = records::read::<Endpoint>(&entry.key, &entry.value) else { continue };
            let network = {
                let state = self.state();
                let left = state.held.contains_key(&endpoint.id) || state.untold.values().any(|g| *g == endpoint.id);
                let known = left || state.endpoints.contains_key(&endpoint.id);
                state.networks.get(&endpoint.network).filter(|_| !known && endpoint.host == self.me).cloned()
            };
            let Some(network) = network else { continue };
            // It may have been detached since the list.
            if self.store.get(&entry.key).map_err(Error::store("get", &entry.key))?.is_some() {
                found.push(Orphan {
                    found: finding("endpoint", &endpoint.name, "recorded for this host, which does not have it"),
                    remove: records::delete_endpoint(&network, &endpoint),
                });
            }
        }
        Ok(found)
    }

    /// Releases what nobody stands for.
    pub(crate) fn collect_orphans(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        if self.away().is_some() || self.state().loading {
            return Ok(Vec::new());
        }
        let (entries, _) = self.store.list("").map_err(Error::store("list", "claims"))?;
        let mut done = Vec::new();
        for orphan in self.orphans(&entries)? {
            if !dry_run {
                match self.store.commit(orphan.remove) {
                    Err(error) if !error.is_conflict() => {
                        return Err(Error::store("release", &orphan.found.name)(error));
                    }
                    _ => {}
                }
            }
            done.push(orphan.found);
        }
        Ok(done)
    }

    /// What is wrong with an overlay on this host.
    pub(crate) fn check_overlay(&self, network: &Network, endpoints: &[Endpoint]) -> Result<Vec<Finding>, Error> {
        // Those that have no link yet need nothing.
        let reserved = |e: &&Endpoint| self.stage(&e.id) == Some(Stage::Reserved);
        let endpoints: Vec<&Endpoint> = endpoints.iter().filter(|e| !reserved(e)).collect();
        if !network.settings.driver.is_overlay() || endpoints.is_empty() {
            return Ok(Vec::new());
        }
        let about = |problem: String| finding("overlay", &network.name, problem);
        let Some(seat) = self.seat(&network.id).filter(|seat| self.stands(seat)) else {
            return Ok(vec![about("its namespace is missing".into())]);
        };
        let mut found = Vec::new();
        for plan in self.segment(network, seat.mtu)? {
            let title = plan.link.alias.clone();
            found.extend(self.plan_drift(&seat.place(), plan)?.map(|problem| about(format!("{title}: {problem}"))));
        }
        for op in self.peer_drift(network, &seat)? {
            found.push(about(match op {
                PeerOp::Put(entry) => format!("peer entry {entry:?} is missing"),
                PeerOp::Delete(entry) => format!("peer entry {entry:?} is in the kernel's tables only"),
            }));
        }
        for endpoint in endpoints {
            let port = plan::overlay::port(network, endpoint, seat.mtu).map(|plan| (seat.place(), plan));
            let way_out = (!endpoint.way_out.is_empty()).then(|| {
                let link = plan::overlay::way_out(network, endpoint, &endpoint.way_out);
                let port = plan::overlay::way_out_port(endpoint).map(|port| (Place::Host, port));
                [Some((place(&endpoint.attachment), link)), port]
            });
            for (at, plan) in port.into_iter().chain(way_out.into_iter().flatten().flatten()) {
                let title = plan.link.alias.clone();
                match self.plan_drift(&at, plan) {
                    Ok(problem) => {
                        found.extend(problem.map(|p| finding("endpoint", &endpoint.name, format!("{title}: {p}"))));
                    }
                    Err(error) => found.push(finding("endpoint", &endpoint.name, error)),
                }
            }
        }
        Ok(found)
    }

    fn plan_drift(&self, at: &Place, plan: LinkPlan) -> Result<Option<String>, Error> {
        let failed = Error::kernel("look at", &plan.link.alias);
        let seen = self.kernel.observe(at, Some(&[plan.link.tag])).map_err(failed)?;
        let ops = plan::delta(&plan, seen.first());
        Ok((!ops.is_empty()).then(|| changes(&ops)))
    }

    /// Namespaces without an overlay, and the way out where nobody needs it or where it is not as it must be.
    pub(crate) fn check_strays(&self) -> Result<Vec<Finding>, Error> {
        let stray = self.stray_seats()?;
        let mut found: Vec<Finding> = stray
            .into_iter()
            .map(|path| {
                finding("namespace", path.display(), "no endpoint of this host needs it: `trunkline gc` removes it")
            })
            .collect();
        if let Some((plan, ops)) = self.gateway_drift()? {
            found.push(finding("link", &plan.link.alias, changes(&ops)));
        }
        found.extend(self.check_way_out()?);
        if self.is_gateway_idle()? {
            found.push(finding(
                "link",
                plan::overlay::GATEWAY_BRIDGE,
                "no endpoint needs it: `trunkline gc` removes it",
            ));
        }
        Ok(found)
    }

    /// Takes away what [`Engine::check_strays`] finds too many.
    pub(crate) fn collect_strays(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        let stray = self.stray_seats()?;
        let mut done: Vec<Finding> =
            stray.iter().map(|path| finding("namespace", path.display(), "no endpoint needs it: removed")).collect();
        let idle = self.is_gateway_idle()?;
        if idle {
            done.push(finding("link", plan::overlay::GATEWAY_BRIDGE, "no endpoint needs it: removed"));
        }
        if !dry_run {
            self.drop_stray_seats();
            if idle {
                self.drop_idle_gateway()?;
            }
        }
        Ok(done)
    }
}
