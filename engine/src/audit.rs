//! Comparing everything with everything: `check` tells, `gc` takes away what nobody owns.

use crate::intent::Intent;
use crate::target::place;
use crate::{Engine, Error, records};
use kernel::Place;
use model::view::Finding;
use model::{Endpoint, SandboxStatus};
use std::collections::BTreeSet;

fn finding(object: &str, name: impl ToString, problem: impl ToString) -> Finding {
    Finding { object: object.into(), name: name.to_string(), problem: problem.to_string() }
}

impl Engine {
    /// What differs between the store, the address plan and the kernel. Changes nothing.
    pub fn check(&self) -> Result<Vec<Finding>, Error> {
        let mut found = Vec::new();
        for (_, drift) in self.host_drift()? {
            found.push(finding("link", &drift.plan.link.alias, changes(&drift.ops)));
        }
        for network in self.settled_networks() {
            found.extend(self.parent_trouble(&network).map(|reason| finding("network", &network.name, reason)));
            for endpoint in self.settled_endpoints(network.id.as_str()) {
                match self.endpoint_drift(&network, &endpoint) {
                    Ok(None) => {}
                    Ok(Some(drift)) => found.push(finding("endpoint", &endpoint.name, changes(&drift.ops))),
                    Err(error) => found.push(finding("endpoint", &endpoint.name, error)),
                }
            }
        }
        found.extend(self.check_claims()?);
        found.extend(self.unknown_links()?);
        found.extend(
            self.stale_intents()?
                .iter()
                .map(|i| finding("intent", intent_name(i), "an unfinished operation: `trunkline gc` settles it")),
        );
        Ok(found)
    }

    fn settled_endpoints(&self, network: &str) -> Vec<Endpoint> {
        let state = self.state();
        let mine = state.endpoints.values().filter(|e| e.network.as_str() == network);
        mine.filter(|e| !state.unsettled.contains(e.id.as_str())).cloned().collect()
    }

    /// Claims in the store without an owner, and owners without their claims.
    fn check_claims(&self) -> Result<Vec<Finding>, Error> {
        let stored: BTreeSet<String> = self.stored_claims()?.into_iter().collect();
        let state = self.state();
        let mut known = BTreeSet::new();
        let mut unsettled = BTreeSet::new();
        for network in state.networks.values() {
            let shim = network.shim.iter().map(|a| (network.id.as_str(), records::claim_key(network, *a)));
            let endpoints = state.endpoints_of(&network.id).into_iter().flat_map(|e| {
                e.ep_iface
                    .addresses()
                    .map(|a| (e.id.as_str(), records::claim_key(network, a.addr())))
                    .collect::<Vec<_>>()
            });
            for (owner, key) in shim.chain(endpoints).collect::<Vec<_>>() {
                let set = if state.unsettled.contains(owner) { &mut unsettled } else { &mut known };
                set.insert(key);
            }
        }
        let missing =
            known.difference(&stored).map(|key| finding("claim", key, "an address in use has no claim in the store"));
        let strays = stored.difference(&known).filter(|k| !unsettled.contains(*k));
        let strays =
            strays.map(|key| finding("claim", key, "nobody owns this claim: it is released at the next start"));
        Ok(missing.chain(strays).collect())
    }

    /// Links of the host that say they are ours but that no record knows. Told, never touched: an alias can
    /// be forged.
    fn unknown_links(&self) -> Result<Vec<Finding>, Error> {
        let links = self.kernel.host_links().map_err(Error::kernel("list", "the host's links"))?;
        let state = self.state();
        let mut tags: BTreeSet<u32> = state.provisioned.values().map(|p| p.group).collect();
        tags.extend(state.networks.values().map(|n| plan::shim_tag(n).0));
        let ours = |l: &&plan::LinkInfo| l.alias.as_deref().is_some_and(|a| a.starts_with("trunkline "));
        let unknown = links.iter().filter(ours).filter(|l| !tags.contains(&l.group));
        Ok(unknown
            .map(|l| {
                finding("link", &l.name, format!("marked as Trunkline's but in no record: ip link del {}", l.name))
            })
            .collect())
    }

    /// Intents of operations that are not under way.
    fn stale_intents(&self) -> Result<Vec<Intent>, Error> {
        let stale = |intent: &Intent| self.reservations.try_take(intent_key(intent)).is_some();
        let found: Vec<Intent> = self.runs.intents()?.into_iter().filter(stale).collect();
        // One that was under way when the directory was read may have ended in peace since.
        let left = self.runs.intents()?;
        Ok(found.into_iter().filter(|i| left.contains(i)).collect())
    }

    /// Takes away what nobody owns any more: endpoints of sandboxes that are gone, and what unfinished
    /// operations left. With `dry_run` only tells.
    pub fn gc(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        let mut done = Vec::new();
        for intent in self.stale_intents()? {
            done.push(finding("intent", intent_name(&intent), "an unfinished operation is undone"));
            if !dry_run {
                let _mine = self.reservations.take([intent_key(&intent)]);
                self.settle(&intent)?;
            }
        }
        let running: Vec<_> = {
            let state = self.state();
            state.sandboxes.values().filter(|s| s.status == SandboxStatus::Running).cloned().collect()
        };
        if !dry_run {
            running.iter().try_for_each(|sandbox| self.check_sandbox(sandbox))?;
        }
        let endpoints: Vec<Endpoint> = self.state().endpoints.values().cloned().collect();
        for endpoint in endpoints {
            let Place::Sandbox(at) = place(&endpoint.attachment) else { continue };
            if self.kernel.namespace(&at.path).is_ok_and(|id| id == at.id) {
                continue;
            }
            done.push(finding("endpoint", &endpoint.name, "its sandbox is gone: released"));
            if !dry_run {
                let _mine = self.reservations.take([endpoint.id.to_string()]);
                self.detach(&endpoint.id)?;
            }
        }
        Ok(done)
    }

    /// What the watch does now and then: settle, collect, mend.
    pub(crate) fn audit(&self) {
        if let Err(error) = self.gc(false) {
            tracing::warn!(%error, "the audit could not take everything away that nobody owns");
        }
        self.reconcile_all();
    }
}

fn changes(ops: &[plan::Op]) -> String {
    let word = |op: &plan::Op| match op {
        plan::Op::AddLink(_) => "the link is missing".to_owned(),
        plan::Op::SetSysctl(s) => format!("{} is not {}", s.key, s.value),
        plan::Op::SetMtu(mtu) => format!("MTU is not {mtu}"),
        plan::Op::SetUp { .. } => "it is down or its alias is gone".into(),
        plan::Op::AddAddress { address, .. } => format!("address {address} is missing"),
        plan::Op::DelAddress(address) => format!("address {address} is too many"),
        plan::Op::AddRoute(route) => format!("route {} is missing", route.destination),
        plan::Op::DelRoute(route) => format!("route {} is too many", route.destination),
        plan::Op::DelLink => "the link is another than planned".into(),
    };
    // A missing link lacks everything else too.
    let told = ops.iter().position(|op| matches!(op, plan::Op::AddLink(_))).map_or(ops, |at| &ops[..=at]);
    told.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// The key under which an intent's operation holds its object.
fn intent_key(intent: &Intent) -> String {
    match intent {
        Intent::Network { network, .. } => network.id.to_string(),
        Intent::Endpoint { endpoint, .. } => endpoint.id.to_string(),
        Intent::Sandbox { sandbox } => sandbox.id.to_string(),
    }
}

fn intent_name(intent: &Intent) -> String {
    match intent {
        Intent::Network { network, .. } => network.name.to_string(),
        Intent::Endpoint { endpoint, .. } => endpoint.name.to_string(),
        Intent::Sandbox { sandbox } => sandbox.name.to_string(),
    }
}
