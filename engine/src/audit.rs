//! Comparing everything with everything: `check` tells, `gc` takes away what nobody owns.

use crate::intent::Intent;
use crate::target::place;
use crate::{Engine, Error};
use kernel::Place;
use model::view::Finding;
use model::{Endpoint, SandboxStatus};
use std::collections::BTreeSet;

pub(crate) fn finding(object: &str, name: impl ToString, problem: impl ToString) -> Finding {
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
            let endpoints = self.settled_endpoints(network.id.as_str());
            found.extend(self.check_overlay(&network, &endpoints)?);
            for endpoint in endpoints {
                if let Some(stage) = self.stage(&endpoint.id) {
                    found.extend(self.check_handed(&network, &endpoint, stage));
                    continue;
                }
                match self.endpoint_drift(&network, &endpoint) {
                    Ok(None) => {}
                    Ok(Some(drift)) => found.push(finding("endpoint", &endpoint.name, changes(&drift.ops))),
                    Err(error) => found.push(finding("endpoint", &endpoint.name, error)),
                }
            }
        }
        found.extend(self.mtu_findings());
        found.extend(self.check_strays()?);
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

    /// Links of the host that say they are ours but that no record knows. Told, never touched: an alias can
    /// be forged.
    fn unknown_links(&self) -> Result<Vec<Finding>, Error> {
        let links = self.kernel.host_links().map_err(Error::kernel("list", "the host's links"))?;
        let state = self.state();
        let mut tags: BTreeSet<u32> = state.provisioned.values().map(|p| p.group).collect();
        tags.extend(state.networks.values().map(|n| plan::shim_tag(n).0));
        tags.insert(plan::overlay::GATEWAY_TAG.0);
        tags.extend(state.endpoints.values().map(|e| plan::overlay::way_out_tag(e).0));
        let ours = |l: &&plan::LinkInfo| l.alias.as_deref().is_some_and(|a| a.starts_with("trunkline "));
        let unknown = links.iter().filter(ours).filter(|l| !tags.contains(&l.group));
        Ok(unknown
            .map(|l| {
                finding("link", &l.name, format!("marked as Trunkline's but in no record: ip link del {}", l.name))
            })
            .collect())
    }

    /// Intents of operations that are not under way.
    fn stale_intents(&self) -> Result<Vec<Intent<'static>>, Error> {
        let stale = |intent: &Intent<'_>| self.reservations.try_take(intent_key(intent)).is_some();
        let found: Vec<_> = self.runs.intents()?.into_iter().filter(stale).collect();
        // One that was under way when the directory was read may have ended in peace since.
        let left = self.runs.intents()?;
        Ok(found.into_iter().filter(|i| left.contains(i)).collect())
    }

    /// Takes away what nobody owns any more: endpoints of sandboxes that are gone, and what unfinished
    /// operations left. With `dry_run` only tells.
    pub fn gc(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        let stale = self.stale_intents()?;
        let mut done: Vec<Finding> =
            stale.iter().map(|i| finding("intent", intent_name(i), "an unfinished operation is undone")).collect();
        // One that can't be settled yet must not keep the others.
        let mut settled = if dry_run { Ok(()) } else { self.settle_all(&stale) };
        done.extend(self.collect_parents(dry_run)?);
        done.extend(self.collect_strays(dry_run)?);
        done.extend(self.collect_orphans(dry_run)?);
        done.extend(self.sweep_handed(dry_run)?);
        done.extend(self.sweep_claims(dry_run)?);
        done.extend(self.sweep_pools(dry_run)?);
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
            match self.kernel.is_there(&at) {
                Ok(true) => continue,
                Ok(false) => {}
                // What can't be told, for want of descriptors perhaps, is no end, and keeps none of the others.
                Err(error) => {
                    let error = Error::kernel("look for the sandbox of endpoint", &endpoint.name)(error);
                    settled = settled.and(Err(error));
                    continue;
                }
            }
            done.push(finding("endpoint", &endpoint.name, "its sandbox is gone: released"));
            if !dry_run {
                let _mine = self.reservations.take([endpoint.id.to_string()]);
                self.detach(&endpoint.id)?;
            }
        }
        settled.map(|()| done)
    }

    /// Undoes what unfinished operations left.
    pub(crate) fn settle_stale(&self) -> Result<(), Error> {
        self.settle_all(&self.stale_intents()?)
    }

    /// All that can be settled; the first error.
    fn settle_all(&self, intents: &[Intent<'_>]) -> Result<(), Error> {
        let mut outcome = Ok(());
        for intent in intents {
            let _mine = self.reservations.take([intent_key(intent)]);
            // Its operation may have ended in peace since.
            if self.runs.is_open(&intent.subject()) {
                outcome = outcome.and(self.settle(intent));
            }
        }
        outcome
    }

    pub(crate) fn gc_parents(&self) -> Result<(), Error> {
        self.collect_parents(false).map(drop)
    }

    /// Provisioned parents that no network stands on: where the store is shared they are recorded apart from it, and
    /// what comes between leaves one.
    fn collect_parents(&self, dry_run: bool) -> Result<Vec<Finding>, Error> {
        let mut done = Vec::new();
        if self.state().loading {
            return Ok(done);
        }
        loop {
            let unneeded = {
                let state = self.state();
                let needed = |name: &model::LinkName| {
                    state.networks.values().any(|n| n.parent.as_ref() == Some(name))
                        || state.provisioned.values().any(|upper| upper.lower() == Some(name))
                };
                let mut idle = state.provisioned.values().filter(|p| !needed(&p.name));
                idle.find_map(|p| Some((p.clone(), self.reservations.try_take(format!("parent {}", p.name))?)))
            };
            let Some((link, _mine)) = unneeded else { return Ok(done) };
            if self.state().networks.values().any(|n| n.parent.as_ref() == Some(&link.name)) {
                continue;
            }
            done.push(finding("link", &link.name, "no network stands on this provisioned parent: removed"));
            if dry_run {
                return Ok(done);
            }
            self.remove_parents(std::slice::from_ref(&link))?;
        }
    }

    /// What the watch does now and then: settle, collect, mend.
    pub(crate) fn audit(&self) {
        if let Err(error) = self.gc(false) {
            tracing::warn!(%error, "the audit could not take everything away that nobody owns");
        }
        self.age_peers();
        self.reconcile_all();
    }
}

pub(crate) fn changes(ops: &[plan::Op]) -> String {
    let word = |op: &plan::Op| match op {
        plan::Op::AddLink(_) => "the link is missing".to_owned(),
        plan::Op::SetSysctl(s) => format!("{} is not {}", s.key, s.value),
        plan::Op::SetMtu(mtu) => format!("MTU is not {mtu}"),
        plan::Op::SetMaster(bridge) => format!("it is no port of {bridge}"),
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
fn intent_key(intent: &Intent<'_>) -> String {
    match intent {
        Intent::Network { network, .. } => network.id.to_string(),
        Intent::Endpoint { endpoint, .. } => endpoint.id.to_string(),
        Intent::Sandbox { sandbox } => sandbox.id.to_string(),
    }
}

fn intent_name(intent: &Intent<'_>) -> String {
    match intent {
        Intent::Network { network, .. } => network.name.to_string(),
        Intent::Endpoint { endpoint, .. } => endpoint.name.to_string(),
        Intent::Sandbox { sandbox } => sandbox.name.to_string(),
    }
}
