//! What the shared store is still to be told: endpoints that went, and endpoints that took their addresses over,
//! while it was away. Kept in the host's own store until the shared one has heard it.
//!
//! An address whose endpoint went stays this host's claim until then, so it can be used again here, and nowhere
//! else: that is the one case in which an attach is safe without the store.

use crate::admission::Wish;
use crate::reservation::{Reservation, Reservations};
use crate::state::State;
use crate::{Engine, Error, records};
use model::{Endpoint, EndpointId, EndpointInterface, Network};
use serde::{Deserialize, Serialize};
use store::Txn;

const PREFIX: &str = "outbox/";

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    network: Network,
    /// The endpoint that went.
    gone: Endpoint,
    /// The one that has its addresses now.
    instead: Option<Endpoint>,
    /// Whether its claims were this host's for certain; otherwise its addresses are nobody's to use.
    claimed: bool,
}

fn key(gone: &EndpointId) -> String {
    format!("{PREFIX}{gone}/")
}

impl Letter {
    /// The transaction on the shared store.
    fn txn(&self) -> Txn {
        let Some(instead) = &self.instead else { return records::delete_endpoint(&self.network, &self.gone) };
        let old = records::endpoint_key(&self.gone);
        let mut txn = Txn::new().exists(old.clone()).delete(old);
        let (was, is) = (records::endpoint_name_key(&self.gone), records::endpoint_name_key(instead));
        if was != is {
            txn = txn.delete(was).absent(is.clone());
        }
        txn = txn.put(is, instead.id.as_str()).put(records::endpoint_key(instead), records::json(instead));
        let owner = format!("endpoint {}", instead.id);
        let mine = |a: &ipnet::IpNet| instead.ep_iface.addresses().any(|b| b.addr() == a.addr());
        self.gone.ep_iface.addresses().fold(txn, |txn, address| {
            let key = records::claim_key(&self.network, address.addr());
            if mine(&address) { txn.put(key, owner.clone()) } else { txn.delete(key) }
        })
    }
}

/// What an attach without the store gets: addresses, whose they were, and the right to them.
pub(crate) type Held<'a> = (EndpointInterface, (Network, Endpoint), Reservation<'a>);

/// An address of this host's that no endpoint has, for an endpoint of this network.
pub(crate) fn take_held<'a>(
    state: &mut State,
    reservations: &'a Reservations,
    network: &Network,
    wish: &Wish,
) -> Option<Held<'a>> {
    let fits = |e: &Endpoint| {
        let iface = &e.ep_iface;
        e.network == network.id
            && wish.ip.is_none_or(|ip| iface.addr.is_some_and(|a| a.addr() == ip))
            && wish.ip6.is_none_or(|ip| iface.addrv6.is_some_and(|a| a.addr() == ip))
    };
    let certain = |id: &EndpointId| !state.doubtful.contains(id);
    let fitting = state.held.iter().filter(|(id, (_, e))| fits(e) && certain(id)).map(|(id, _)| id.clone());
    // The store may be about to hear that one of them is free.
    let (id, kept) = fitting.collect::<Vec<_>>().into_iter().find_map(|id| {
        let kept = reservations.try_take(id.to_string())?;
        Some((id, kept))
    })?;
    let held = state.held.remove(&id)?;
    let own = &held.1.ep_iface;
    Some((EndpointInterface { mac: wish.mac.or(own.mac), ..own.clone() }, held, kept))
}

impl Engine {
    /// Notes durably what the shared store is to be told.
    fn post(&self, letter: &Letter) -> Result<(), Error> {
        let key = key(&letter.gone.id);
        let txn = Txn::new().put(key, records::json(letter));
        self.local.commit(txn).map_err(Error::store("note the end of endpoint", &letter.gone.name))?;
        self.shared.iter().for_each(crate::reach::Shared::owe);
        Ok(())
    }

    fn letter(&self, gone: &EndpointId) -> Result<Option<Letter>, Error> {
        let key = key(gone);
        let entry = self.local.get(&key).map_err(Error::store("get", &key))?;
        entry.map(|e| records::read(&key, &e.value)).transpose()
    }

    fn letters(&self) -> Result<Vec<Letter>, Error> {
        records::list(self.local.as_ref(), PREFIX)
    }

    /// An endpoint went while the store is away: it is told later, and its addresses stay ours until then.
    pub(crate) fn hold(&self, network: &Network, endpoint: &Endpoint, claimed: bool) -> Result<(), Error> {
        // It may itself have an address that another one left. The caller has this one reserved, not that one.
        let left = self.state().untold.get(&endpoint.id).cloned();
        let _theirs = left.as_ref().map(|gone| self.reservations.take([gone.to_string()]));
        let taken_over = match &left {
            Some(gone) => self.letter(gone)?.filter(|l| l.instead.as_ref().is_some_and(|e| e.id == endpoint.id)),
            None => None,
        };
        let letter = match taken_over {
            Some(letter) => Letter { instead: None, ..letter },
            None => Letter { network: network.clone(), gone: endpoint.clone(), instead: None, claimed },
        };
        self.post(&letter)?;
        let mut state = self.state();
        let known = state.forget_link(endpoint) || state.held.contains_key(&letter.gone.id);
        if !known && state.networks.contains_key(&network.id) {
            state.occupy(network, endpoint);
        }
        if !letter.claimed {
            state.doubtful.insert(letter.gone.id.clone());
        }
        state.held.insert(letter.gone.id.clone(), (letter.network, letter.gone));
        Ok(())
    }

    /// An endpoint has the address of one that went.
    pub(crate) fn take_over_held(&self, held: (Network, Endpoint), endpoint: &Endpoint) -> Result<(), Error> {
        self.post(&Letter { network: held.0, gone: held.1, instead: Some(endpoint.clone()), claimed: true })
    }

    /// An endpoint that was to have such an address did not come to be.
    pub(crate) fn hold_again(&self, network: &Network, gone: &Endpoint) -> Result<(), Error> {
        self.post(&Letter { network: network.clone(), gone: gone.clone(), instead: None, claimed: true })
    }

    /// At the start: what is still to be told counts already.
    pub(crate) fn load_outbox(&self) -> Result<(), Error> {
        for letter in self.letters()? {
            let mut state = self.state();
            if !state.networks.contains_key(&letter.network.id) {
                continue;
            }
            // Seen in the last view of the store as if it were there.
            let known = state.forget_link(&letter.gone);
            if !known {
                state.occupy(&letter.network, &letter.gone);
            }
            match letter.instead {
                Some(endpoint) => {
                    endpoint.way_out.iter().for_each(|a| crate::gateway::replay(&mut state.gateway, *a));
                    state.untold.insert(endpoint.id.clone(), letter.gone.id.clone());
                    state.add_endpoint(&endpoint);
                }
                None => {
                    if !letter.claimed {
                        state.doubtful.insert(letter.gone.id.clone());
                    }
                    state.held.insert(letter.gone.id.clone(), (letter.network, letter.gone));
                }
            }
        }
        Ok(())
    }

    /// Tells the shared store what it missed.
    pub(crate) fn drain_outbox(&self) {
        let letters = match self.letters() {
            Ok(letters) => letters,
            Err(error) => return tracing::error!(%error, "the outbox cannot be read"),
        };
        for letter in letters {
            if self.away().is_some() {
                // A try would keep its address from being used again for as long as it takes to fail.
                self.shared.iter().for_each(crate::reach::Shared::owe);
                return;
            }
            match self.deliver(&letter.gone.id) {
                Ok(None) => {}
                Ok(Some(missing)) => self.record_lost(&missing),
                Err(error) => {
                    self.shared.iter().for_each(crate::reach::Shared::owe);
                    return tracing::warn!(%error, "the store is to be told later");
                }
            }
        }
    }

    /// After a conflict: whether an earlier try, whose answer was lost, had taken effect.
    fn told_before(&self, letter: &Letter) -> Result<Option<u64>, Error> {
        let Some(instead) = &letter.instead else { return Ok(None) };
        let entry =
            self.store.get(&records::endpoint_key(instead)).map_err(Error::store("get endpoint", &instead.name))?;
        Ok(entry.map(|e| e.revision))
    }

    /// Tells of one. The endpoint that the store does not have even so, if that is how it is.
    fn deliver(&self, gone: &EndpointId) -> Result<Option<EndpointId>, Error> {
        // An attach may be taking the address over just now, or a detach be giving it back.
        let Some(_mine) = self.reservations.try_take(gone.to_string()) else {
            self.shared.iter().for_each(crate::reach::Shared::owe);
            return Ok(None);
        };
        let Some(letter) = self.letter(gone)? else { return Ok(None) };
        let told = match self.store.commit(letter.txn()) {
            Ok(commit) => Some(commit.revision),
            Err(error) if error.is_conflict() => self.told_before(&letter)?,
            Err(error) => {
                self.store_failed(&error);
                if error.unsettled() && letter.instead.is_none() {
                    // What may be released already may be another's by now.
                    self.state().doubtful.insert(letter.gone.id.clone());
                    self.post(&Letter { claimed: false, ..letter.clone() })?;
                }
                return Err(Error::store("settle endpoint", &letter.gone.name)(error));
            }
        };
        if let Some(endpoint) = &letter.instead {
            self.view_own(endpoint).wait().map_err(Error::store("settle endpoint", &endpoint.name))?;
            let leaving = {
                let state = self.state();
                state.unsettled.contains(endpoint.id.as_str()) || !state.endpoints.contains_key(&endpoint.id)
            };
            if leaving {
                // Its detach took it out of the view before this brought it in.
                self.view_gone(endpoint).wait().map_err(Error::store("settle endpoint", &endpoint.name))?;
            }
        }
        let done = Txn::new().delete(key(&letter.gone.id));
        self.local.commit(done).map_err(Error::store("settle endpoint", &letter.gone.name))?;
        match &letter.instead {
            None => {
                let mut state = self.state();
                state.doubtful.remove(&letter.gone.id);
                if state.held.remove(&letter.gone.id).is_some() {
                    state.release_addresses(&letter.network, &letter.gone);
                }
            }
            Some(endpoint) => {
                let mut state = self.state();
                state.untold.remove(&endpoint.id);
                match told {
                    Some(revision) if state.endpoints.contains_key(&endpoint.id) => {
                        state.committed.insert(endpoint.id.clone(), revision);
                    }
                    Some(_) => {}
                    // Somebody released what this host held: the address may be free still.
                    None => return Ok(Some(endpoint.id.clone())),
                }
            }
        }
        Ok(None)
    }
}
