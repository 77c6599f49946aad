//! An engine's networks: each stands for one of ours. One that was made for the engine says so by a label, and goes with
//! the engine's; one that existed already is bound by a note in this host's own store
//! (`engine-network/<engine>/<id>/`), and stays.

use crate::{Engine, Error, records};
use ipnet::IpNet;
use model::view::NetworkCreated;
use model::{EndpointId, EngineKind, Network, NetworkId, NetworkSpec};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use store::Txn;

const PREFIX: &str = "engine-network/";

/// What an engine says of a network of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// The engine's identifier.
    pub id: String,
    /// The network that it stands for, if that exists already; none: one is made.
    pub existing: Option<String>,
    /// The network as it would be made. Its ranges are those that the engine asked pools for.
    pub spec: NetworkSpec,
}

/// A note that an engine's network stands for one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binding {
    pub(crate) engine: EngineKind,
    pub(crate) id: String,
    pub(crate) network: NetworkId,
}

fn key(engine: EngineKind, id: &str) -> String {
    format!("{PREFIX}{engine}/{id}/")
}

/// The label that names the engine's network.
fn label(engine: EngineKind) -> String {
    format!("{engine}.network")
}

impl Engine {
    /// Has an engine's network stand for one of ours, which is made unless it is to exist.
    pub fn bind_network(&self, engine: EngineKind, asked: &EngineNetwork) -> Result<NetworkCreated, Error> {
        let _turn = self.reservations.take([key(engine, &asked.id)]);
        if let Ok(network) = self.bound_network(engine, &asked.id) {
            // A first try may have made the network and no more.
            self.forget_pools_of(&network)?;
            return Ok(NetworkCreated { id: network.id, warnings: Vec::new() });
        }
        match &asked.existing {
            Some(name) => self.bind_existing(engine, asked, name),
            None => self.make_bound(engine, asked),
        }
    }

    fn bind_existing(&self, engine: EngineKind, asked: &EngineNetwork, name: &str) -> Result<NetworkCreated, Error> {
        let network = self.state().network(name)?.clone();
        let (kind, wanted) = (network.settings.driver.kind(), &asked.spec.driver);
        if kind.to_string() != *wanted {
            return Err(Error::Invalid(format!(
                "network {name} is of driver {kind}, not {wanted}: use -d trunkline-{kind}"
            )));
        }
        for text in &asked.spec.subnets {
            let known = |s: &model::Subnet| s.prefix.to_string() == *text;
            if !network.subnets.iter().any(known) {
                let own: Vec<_> = network.subnets.iter().map(|s| s.prefix.to_string()).collect();
                return Err(Error::Invalid(format!(
                    "network {name} has no subnet {text} but {}: add --ipam-driver trunkline --ipam-opt network={name}, and \
                     give one of these or none",
                    own.join(", ")
                )));
            }
        }
        if asked.spec.internal && !network.settings.internal {
            return Err(Error::Invalid(format!("network {name} is not internal: leave --internal out")));
        }
        let binding = Binding { engine, id: asked.id.clone(), network: network.id.clone() };
        let txn = Txn::new().put(key(engine, &asked.id), records::json(&binding));
        self.commit_local("note what stands for network", &network.name, txn)?;
        self.state().bindings.insert((engine, asked.id.clone()), network.id.clone());
        let attributes = [("engine", engine.to_string()), ("engine_network", asked.id.clone())];
        self.emit("network", "bind", network.id.as_str(), network.name.as_str(), &attributes);
        Ok(NetworkCreated { id: network.id, warnings: Vec::new() })
    }

    fn make_bound(&self, engine: EngineKind, asked: &EngineNetwork) -> Result<NetworkCreated, Error> {
        let mut spec = asked.spec.clone();
        spec.labels.insert(label(engine), asked.id.clone());
        if spec.name.is_empty() {
            spec.name = format!("{engine}-{}", asked.id.get(..12).unwrap_or(&asked.id));
        }
        let pools = self.take_pools(&mut spec)?;
        match self.create_network(&spec) {
            Ok(created) => {
                for warning in &created.warnings {
                    tracing::warn!(network = spec.name, "{warning}");
                }
                self.forget_pools(pools.iter().map(|pool| pool.id))?;
                Ok(created)
            }
            Err(error) => {
                self.restore_pools(pools);
                Err(error)
            }
        }
    }

    /// The network that stands for one of an engine's.
    pub(crate) fn bound_network(&self, engine: EngineKind, id: &str) -> Result<Network, Error> {
        let (state, label) = (self.state(), label(engine));
        let made = |n: &&Network| n.labels.get(&label).is_some_and(|l| l == id);
        let found = match state.bindings.get(&(engine, id.to_owned())) {
            Some(network) => state.networks.get(network),
            None => state.networks.values().find(made),
        };
        let settled = found.filter(|n| !state.unsettled.contains(n.id.as_str()));
        let hint = ": the network that it stood for is not there any more";
        settled.cloned().ok_or_else(|| Error::NotFound { object: "network", name: id.to_owned(), hint })
    }

    /// An engine removes a network. What was made for it goes; one that is not known was gone before.
    pub fn unbind_network(&self, engine: EngineKind, id: &str) -> Result<(), Error> {
        let _turn = self.reservations.take([key(engine, id)]);
        // The engine has no endpoints on it any more, whatever we remember.
        let left: Vec<EndpointId> = {
            let state = self.state();
            state.handed.values().filter(|h| h.network == id).map(|h| h.endpoint.clone()).collect()
        };
        for endpoint in left {
            let _mine = self.reservations.take([endpoint.to_string()]);
            self.detach(&endpoint)?;
        }
        let bound = self.state().bindings.contains_key(&(engine, id.to_owned()));
        if bound {
            self.commit_local("forget what stood for network", id, Txn::new().delete(key(engine, id)))?;
            self.state().bindings.remove(&(engine, id.to_owned()));
            return Ok(());
        }
        match self.bound_network(engine, id) {
            Ok(network) => {
                // The store may be still to hear of an endpoint that went while it was away.
                if self.is_shared() && self.away().is_none() {
                    self.drain_outbox();
                }
                self.remove_network(network.id.as_str()).map(drop)
            }
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn load_bindings(&self) -> Result<(), Error> {
        let all: Vec<Binding> = records::list(self.local.as_ref(), PREFIX)?;
        self.state().bindings = all.into_iter().map(|b| ((b.engine, b.id), b.network)).collect();
        Ok(())
    }

    /// The network that has this subnet with this range.
    pub(crate) fn network_of_pool(&self, subnet: &IpNet, range: Option<model::AddressRange>) -> Option<Network> {
        let state = self.state();
        let has = |n: &&Network| n.subnets.iter().any(|s| s.prefix == *subnet && s.range == range);
        state.settled().find(has).cloned()
    }
}

/// Whether an address is kept from endpoints by its network itself.
pub(crate) fn is_reserved(network: &Network, address: IpAddr) -> bool {
    let reserves = |s: &model::Subnet| s.gateway == Some(address) || s.aux.values().any(|a| *a == address);
    network.subnets.iter().any(reserves) || network.shim.contains(&address)
}
