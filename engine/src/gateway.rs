//! The way out of overlays: one bridge on each host, with addresses of its own and NAT, as docker_gwbridge.

use crate::engine::entropy;
use crate::state::State;
use crate::{Engine, Error, records};
use ipam::{AddressSpace, Family, PoolSpec, SplitPool};
use ipnet::IpNet;
use kernel::{Place, WayOut};
use model::view::Finding;
use model::{LinkName, Name, NameKind, Network};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use store::Txn;

/// Where the bridge's prefixes are kept, in the host's own store: they stay the same for good.
const KEY: &str = "gateway/";

/// How often in a row rules that somebody takes away are put back before the audit's turn.
const TRIES: u32 = 5;

/// What the last look at the host's rules has shown.
#[derive(Debug, Default)]
pub(crate) struct WayOutLook {
    /// Rules that keep packets from leaving and that only others can change.
    refused: Vec<String>,
    /// How often in a row something was missing and put back.
    tries: u32,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Prefixes {
    v4: Option<IpNet>,
    v6: Option<IpNet>,
}

/// Where the IPv4 prefix comes from: Docker's default pools from their end, for a Docker that starts later wants them
/// from their beginning.
fn pools() -> Result<Vec<SplitPool>, Error> {
    let mut pools = Vec::new();
    for pool in ipam::local_default_pools().into_iter().rev() {
        let base = pool.base();
        let blocks: Vec<IpNet> = base.subnets(pool.size()).map_err(|e| Error::Invalid(e.to_string()))?.collect();
        for block in blocks.into_iter().rev() {
            pools.push(SplitPool::new(block, pool.size()).map_err(Error::ipam("the gateway bridge"))?);
        }
    }
    // A /16 of 172.16.0.0/12 as Docker's own bridges have, before the /20s of 192.168.0.0/16.
    pools.sort_by_key(SplitPool::size);
    Ok(pools)
}

fn owner() -> Result<Name, Error> {
    Ok(Name::new(NameKind::Network, plan::overlay::GATEWAY_BRIDGE)?)
}

/// Gives an endpoint's address on the bridge back.
pub(crate) fn release(space: &mut AddressSpace<Name>, address: IpNet) {
    if let Ok(owner) = owner()
        && let Err(error) = space.release(&owner, address.addr())
    {
        tracing::debug!(%address, %error, "an address of the gateway bridge was not claimed");
    }
}

/// Takes an endpoint's recorded address on the bridge.
pub(crate) fn replay(space: &mut AddressSpace<Name>, address: IpNet) {
    if let Ok(owner) = owner()
        && let Err(error) = space.replay(&owner, address.addr())
    {
        tracing::warn!(%address, %error, "an endpoint's address on the gateway bridge is not free");
    }
}

/// Addresses on the bridge for an endpoint of this network: IPv4 always, IPv6 if the network has it.
pub(crate) fn claim(state: &mut State, network: &Network) -> Result<Vec<IpNet>, Error> {
    let owner = owner()?;
    let mut take = |family| state.gateway.claim_dynamic(&owner, family).map(|c| c.cidr());
    let mut taken = vec![take(Family::V4).map_err(Error::ipam(&owner))?];
    if network.ipv6() {
        taken.extend(take(Family::V6));
    }
    Ok(taken)
}

impl Engine {
    /// Reads the bridge's prefixes, if it was ever needed here.
    pub(crate) fn load_gateway(&self) -> Result<(), Error> {
        let entry = self.local.get(KEY).map_err(Error::store("get", KEY))?;
        let Some(entry) = entry else { return Ok(()) };
        let prefixes: Prefixes = records::read(KEY, &entry.value)?;
        self.adopt_gateway(&prefixes)
    }

    fn adopt_gateway(&self, prefixes: &Prefixes) -> Result<(), Error> {
        let pool = |prefix: IpNet| PoolSpec {
            subnet: prefix,
            range: None,
            gateway: plan::overlay::gateway_address(&prefix).map(|a| a.addr()),
            aux: std::collections::BTreeMap::default(),
        };
        let pools: Vec<_> = [prefixes.v4, prefixes.v6].into_iter().flatten().map(pool).collect();
        let owner = owner()?;
        let mut state = self.state();
        if state.gateway.subnets(&owner).is_err() {
            state.gateway.add_network(owner.clone(), &pools).map_err(Error::ipam(&owner))?;
        }
        Ok(())
    }

    /// The bridge's prefixes; none: it was never needed here.
    pub(crate) fn gateway_prefixes(&self) -> Vec<IpNet> {
        let state = self.state();
        let known = owner().ok().and_then(|owner| state.gateway.subnets(&owner).ok().map(<[IpNet]>::to_vec));
        known.unwrap_or_default()
    }

    /// Chooses the bridge's prefixes, which must not be in use on this host, once and for all.
    pub(crate) fn settle_gateway(&self) -> Result<(), Error> {
        if !self.gateway_prefixes().is_empty() {
            return Ok(());
        }
        let _mine = self.reservations.take([KEY.to_owned()]);
        if !self.gateway_prefixes().is_empty() {
            return Ok(());
        }
        let avoid = self.host_prefixes()?;
        let prefixes = {
            let state = self.state();
            let ula = crate::draft::ula_prefix(entropy()?);
            Prefixes {
                v4: Some(state.space.next_from(&pools()?, &avoid).map_err(Error::ipam("the gateway bridge"))?),
                v6: Some(state.space.next_default_v6(ula, &avoid).map_err(Error::ipam("the gateway bridge"))?),
            }
        };
        let txn = Txn::new().put(KEY, records::json(&prefixes));
        self.local.commit(txn).map_err(Error::store("record", "the gateway bridge"))?;
        self.adopt_gateway(&prefixes)
    }

    /// Makes the bridge and its NAT what they must be.
    pub(crate) fn ensure_gateway(&self, afresh: bool) -> Result<(), Error> {
        // Its removal may be under way.
        let _mine = self.reservations.take(["gateway bridge".to_owned()]);
        if !afresh && self.gateway_stands.load(Ordering::SeqCst) {
            return Ok(());
        }
        let prefixes = self.gateway_prefixes();
        let Some(plan) = plan::overlay::gateway_bridge(&prefixes) else { return Ok(()) };
        let failed = || Error::kernel("make", "the gateway bridge");
        let seen = self.kernel.observe(&Place::Host, Some(&[plan.link.tag])).map_err(failed())?;
        let ops = plan::delta(&plan, seen.first());
        if !ops.is_empty() {
            self.kernel.apply(&Place::Host, plan.link.tag, &ops).map_err(failed())?;
        }
        let Some(bridge) = plan.link.title.exact() else { return Ok(()) };
        self.kernel.masquerade(bridge, &prefixes).map_err(Error::kernel("give overlays a way out by", bridge))?;
        self.gateway_stands.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// What the bridge differs by from what it must be; none: no endpoint needs it, or it is right.
    pub(crate) fn gateway_drift(&self) -> Result<Option<(plan::LinkPlan, Vec<plan::Op>)>, Error> {
        if !self.is_gateway_needed() {
            return Ok(None);
        }
        let Some(plan) = plan::overlay::gateway_bridge(&self.gateway_prefixes()) else { return Ok(None) };
        let failed = Error::kernel("look at", "the gateway bridge");
        let seen = self.kernel.observe(&Place::Host, Some(&[plan.link.tag])).map_err(failed)?;
        let ops = plan::delta(&plan, seen.first());
        Ok((!ops.is_empty()).then_some((plan, ops)))
    }

    fn is_gateway_needed(&self) -> bool {
        self.state().endpoints.values().any(|e| !e.way_out.is_empty())
    }

    /// Whether the bridge stands though no endpoint needs it.
    pub(crate) fn is_gateway_idle(&self) -> Result<bool, Error> {
        if self.is_gateway_needed() {
            return Ok(false);
        }
        let failed = Error::kernel("look at", "the gateway bridge");
        let seen = self.kernel.observe(&Place::Host, Some(&[plan::overlay::GATEWAY_TAG])).map_err(failed)?;
        Ok(!seen.is_empty() && !self.is_gateway_needed())
    }

    /// The bridge and its NAT as they must be, or gone.
    pub(crate) fn reconcile_gateway(&self) {
        let done = match self.is_gateway_needed() {
            true => self.ensure_gateway(true),
            false => self.drop_idle_gateway(),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the way out of overlays could not be mended");
        }
    }

    /// Removes the bridge and its NAT when no endpoint needs them.
    pub(crate) fn drop_idle_gateway(&self) -> Result<(), Error> {
        if self.gateway_prefixes().is_empty() {
            return Ok(());
        }
        let _mine = self.reservations.take(["gateway bridge".to_owned()]);
        if self.is_gateway_needed() {
            return Ok(());
        }
        self.gateway_stands.store(false, Ordering::SeqCst);
        *self.way_out() = WayOutLook::default();
        let failed = || Error::kernel("remove", "the gateway bridge");
        let gone = self.kernel.apply(&Place::Host, plan::overlay::GATEWAY_TAG, &[plan::Op::DelLink]);
        gone.map_err(failed())?;
        if let Ok(bridge) = plan::overlay::GATEWAY_BRIDGE.parse() {
            self.kernel.unmasquerade(&bridge).map_err(failed())?;
        }
        Ok(())
    }

    /// What the way out lacks, and whose rules are in its way; none: nobody needs it.
    fn look_at_way_out(&self) -> Result<Option<WayOut>, Error> {
        if !self.is_gateway_needed() || !self.gateway_stands.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let bridge: LinkName = plan::overlay::GATEWAY_BRIDGE.parse()?;
        let seen = self.kernel.examine_way_out(&bridge, &self.gateway_prefixes());
        let seen = seen.map_err(Error::kernel("look at the rules for", &bridge))?;
        let mut look = self.way_out();
        for reason in seen.refused.iter().filter(|reason| !look.refused.contains(reason)) {
            tracing::warn!(reason, "overlays have no way out");
        }
        look.refused.clone_from(&seen.refused);
        Ok(Some(seen))
    }

    /// The host's rules were changed: what others flushed with theirs comes back.
    pub(crate) fn rules_changed(&self) {
        let look = || match self.look_at_way_out() {
            Ok(seen) => seen.map(|seen| seen.missing).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "the rules could not be compared");
                Vec::new()
            }
        };
        let missing = look();
        // Putting them back is a change, too. What doesn't stay is left to the audit.
        if missing.is_empty() || self.way_out().tries >= TRIES {
            self.way_out().tries = 0;
            return;
        }
        tracing::info!(?missing, "rules of the way out are gone: put back");
        self.reconcile_gateway();
        let stays = look().is_empty();
        let mut way_out = self.way_out();
        way_out.tries = if stays { 0 } else { way_out.tries + 1 };
    }

    fn way_out(&self) -> MutexGuard<'_, WayOutLook> {
        self.way_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `check` finds wrong with the host's rules.
    pub(crate) fn check_way_out(&self) -> Result<Vec<Finding>, Error> {
        let seen = self.look_at_way_out()?.unwrap_or_default();
        let missing = seen.missing.iter().map(|what| format!("{what} is missing"));
        Ok(missing.chain(seen.refused).map(|problem| way_out_finding(&problem)).collect())
    }

    /// Whose rules were in the way at the last look.
    pub(crate) fn way_out_trouble(&self) -> Vec<Finding> {
        let look = self.way_out();
        look.refused.iter().map(|problem| way_out_finding(problem)).collect()
    }
}

fn way_out_finding(problem: &str) -> Finding {
    Finding { object: "way out".into(), name: plan::overlay::GATEWAY_BRIDGE.into(), problem: problem.into() }
}
