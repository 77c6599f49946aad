//! Endpoints: attaching and detaching.

use crate::admission::{Wish, admit, claim, free_route_priority};
use crate::engine::{entropy, now};
use crate::intent::{Intent, Subject};
use crate::reservation::Reservation;
use crate::target::place;
use crate::{Engine, Error, records};
use kernel::{Announcement, Made, Place};
use model::request::{ConnectRequest, EndpointSpec, Target};
use model::view::EndpointView;
use model::{Attachment, Endpoint, EndpointId, EndpointRoute, Name, NameKind, Network};
use std::time::Duration;

/// macvlan refuses to come up beside a link with its MAC on the same parent, and ipvlan to take an address
/// that another link of the port has (EADDRINUSE: drivers/net/macvlan.c `macvlan_open`, ipvlan
/// `ipvlan_addr4_validator_event`): a namespace that is closing holds its links for some 20 ms.
const ADDRESS_IN_USE: i32 = 98;
/// EEXIST.
const EXISTS: i32 = 17;
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The last rank tried for a default route in a sandbox where somebody else has some.
const LAST_RANK: u32 = 8;

/// How often an attach that lost a race on a shared store is tried, and the pause before the next try.
const TRIES: u32 = 32;
const RACE: Duration = Duration::from_millis(5);

/// What may help an attach that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    Nothing,
    /// A default route of a later rank.
    Rank(u32),
    /// Another look at the address plan: another host was quicker.
    Race,
}

struct Failed {
    error: Error,
    retry: Retry,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Nothing }
    }
}

/// An endpoint whose name and addresses are taken in memory.
struct Reserved<'a> {
    network: Network,
    endpoint: Endpoint,
    /// The network's record as it was seen on a shared store.
    seen: Option<u64>,
    /// The endpoint that its addresses come from, while the store is away.
    held: Option<(Network, Endpoint)>,
    /// Keeps the outbox from telling of that one meanwhile.
    _kept: Option<Reservation<'a>>,
}

impl Engine {
    /// Attaches a namespace to a network.
    pub fn connect(&self, network: &str, request: &ConnectRequest) -> Result<EndpointView, Error> {
        let attachment = self.locate(&request.target)?;
        if let Some(definition) = &request.define {
            self.ensure_network(network, definition)?;
        }
        let endpoint = self.attach(network, &request.endpoint, attachment)?;
        self.endpoint_view(&endpoint.id)
    }

    /// Detaches a namespace from a network.
    pub fn disconnect(&self, network: &str, target: &Target) -> Result<EndpointView, Error> {
        let id = self.find_endpoint(network, target)?;
        let _mine = self.reservations.take([id.to_string()]);
        let view = self.endpoint_view(&id)?;
        self.detach(&id)?;
        Ok(view)
    }

    pub(crate) fn attach(&self, network: &str, spec: &EndpointSpec, at: Attachment) -> Result<Endpoint, Error> {
        let (mut rank, mut tries) = (0, 0);
        loop {
            match self.attach_ranked(network, spec, at.clone(), rank) {
                Err(Failed { retry: Retry::Rank(next), .. }) if next <= LAST_RANK => rank = next,
                Err(Failed { retry: Retry::Race, .. }) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(RACE * tries.min(10));
                }
                done => return done.map_err(|failed| self.in_words(network, failed.error)),
            }
        }
    }

    /// Attaches with a default route of this rank or a later one.
    fn attach_ranked(&self, network: &str, spec: &EndpointSpec, at: Attachment, rank: u32) -> Result<Endpoint, Failed> {
        let wish = Wish::read(spec)?;
        self.prepare(network)?;
        let id = EndpointId::from_entropy(entropy()?);
        let _mine = self.reservations.take([id.to_string()]);
        let fixed = wish.ip.is_some() || wish.ip6.is_some();
        let reserved = self.reserve_endpoint(id, network, wish, at, rank)?;
        let (network, endpoint) = (&reserved.network, &reserved.endpoint);
        match self.realise(&reserved) {
            Ok(link) => {
                self.attached(network, endpoint, link.as_ref());
                Ok(reserved.endpoint)
            }
            Err(error) => {
                if let Err(undo) = self.withdraw_failed(&reserved) {
                    tracing::error!(endpoint = %endpoint.name, error = %undo, "a failed attach is still to be undone");
                    return Err(error.into());
                }
                if rank_is_taken(network, endpoint, &error) {
                    return Err(Failed { error, retry: Retry::Rank(endpoint.route_priority + 1) });
                }
                Err(self.lost_race(network, endpoint, error, fixed))
            }
        }
    }

    /// What a network needs on this host before its first endpoint here.
    fn prepare(&self, reference: &str) -> Result<(), Error> {
        let network = self.state().network(reference)?.clone();
        if plan::overlay::has_way_out(&network) {
            self.settle_gateway()?;
        }
        self.ensure_parent(&network)
    }

    fn withdraw_failed(&self, reserved: &Reserved<'_>) -> Result<(), Error> {
        let Some((network, held)) = &reserved.held else {
            return self.withdraw_unclaimed(&reserved.network, &reserved.endpoint);
        };
        // Its addresses were another's before, and are held again.
        self.remove_links_of(&reserved.network, &reserved.endpoint)?;
        self.hold_again(network, held)?;
        {
            let mut state = self.state();
            state.forget_link(&reserved.endpoint);
            state.held.insert(held.id.clone(), (network.clone(), held.clone()));
        }
        self.drop_idle(&reserved.network)?;
        self.runs.settle(Subject::Endpoint(reserved.endpoint.id.clone()))
    }

    /// What a conflict on a shared store means: another host was quicker.
    fn lost_race(&self, network: &Network, endpoint: &Endpoint, error: Error, fixed: bool) -> Failed {
        let Some(key) = error.conflicting_key().filter(|_| self.is_shared()).map(str::to_owned) else {
            return error.into();
        };
        if let Some((_, address)) = records::parse_claim(&key) {
            let mut state = self.state();
            // What the watch has told already is noted, or over.
            if error.conflicting_revision().is_none_or(|found| found > state.seen) {
                state.note_foreign(&key, &network.name, address);
            }
            drop(state);
            if fixed {
                return Error::Conflict(format!(
                    "network {}: address {address} is in use on another host",
                    network.name
                ))
                .into();
            }
        } else if key == records::endpoint_name_key(endpoint) {
            let (name, network) = (&endpoint.name, &network.name);
            return Error::Conflict(format!("endpoint with name {name} already exists in network {network}")).into();
        }
        Failed { error, retry: Retry::Race }
    }

    /// Decides on name, addresses and MAC, and takes them in the address plan.
    fn reserve_endpoint(
        &self,
        id: EndpointId,
        reference: &str,
        wish: Wish,
        at: Attachment,
        rank: u32,
    ) -> Result<Reserved<'_>, Error> {
        let random: [u8; 6] = entropy()?;
        let mut state = self.state();
        let network = state.network(reference)?.clone();
        let name = match (&wish.name, at.sandbox.as_ref().and_then(|s| state.sandboxes.get(s))) {
            (Some(name), _) => name.clone(),
            (None, Some(sandbox)) => sandbox.name.clone(),
            (None, None) => Name::new(NameKind::Endpoint, &format!("ep-{}", id.short()))?,
        };
        admit(&state, &network, &name, &wish, &at)?;
        let (ep_iface, held, kept) = match self.away() {
            None => (claim(&mut state, &network, &wish, random)?, None, None),
            Some(reason) => {
                let found = crate::outbox::take_held(&mut state, &self.reservations, &network, &wish);
                let (iface, held, kept) =
                    found.ok_or_else(|| Error::Away { network: network.name.to_string(), reason })?;
                (iface, Some(held), Some(kept))
            }
        };
        // One who asks for a default route by the network itself wants no other.
        let default = |routes: &Vec<EndpointRoute>| routes.iter().any(|r| r.destination.prefix_len() == 0);
        let leaves = plan::overlay::has_way_out(&network) && !wish.routes.as_ref().is_some_and(default);
        let way_out = match leaves {
            true => crate::gateway::claim(&mut state, &network),
            false => Ok(Vec::new()),
        };
        let mut endpoint = Endpoint {
            schema: Endpoint::SCHEMA,
            id,
            name,
            network: network.id.clone(),
            ep_iface,
            host: self.me.clone(),
            locator: self.vtep(),
            way_out: Vec::new(),
            attachment: at,
            owner: wish.owner,
            ifname: wish.ifname,
            routes: wish.routes,
            route_priority: 0,
            created: now(),
        };
        match way_out {
            Ok(addresses) => endpoint.way_out = addresses,
            Err(error) => {
                match held {
                    Some(held) => drop(state.held.insert(held.1.id.clone(), held)),
                    None => state.release_addresses(&network, &endpoint),
                }
                return Err(error);
            }
        }
        if plan::gives_default_route(&network, &endpoint) {
            endpoint.route_priority = free_route_priority(&state, &endpoint, rank);
        }
        if let Some((_, gone)) = &held {
            // In the same moment: one that left and is neither held nor succeeded would count as this host's still.
            state.untold.insert(endpoint.id.clone(), gone.id.clone());
        }
        state.add_endpoint(&endpoint);
        state.unsettled.insert(endpoint.id.to_string());
        let seen = state.revisions.get(&network.id).copied();
        Ok(Reserved { network, endpoint, seen, held, _kept: kept })
    }

    /// Writes the intent, then the record and the kernel at the same time. Where this host alone decides, the claim is
    /// ours in memory already, so neither need wait for the other; on a shared store only a bare link may come before
    /// the claim, so that whoever loses it has sent nothing.
    fn realise(&self, reserved: &Reserved<'_>) -> Result<Option<Made>, Error> {
        let Reserved { network, endpoint, seen, held, .. } = reserved;
        self.runs.write(&Intent::endpoint(network, endpoint))?;
        let failed = || Error::store("record endpoint", &endpoint.name);
        let link = match held {
            Some(held) => {
                // Before the link: after a crash the letter says who has the address.
                self.take_over_held(held.clone(), endpoint)?;
                let link = self.make_links(network, endpoint, || Ok(()))?;
                self.introduce(network, endpoint, link.as_ref());
                link
            }
            None if self.is_shared() => {
                let viewed = self.view_own(endpoint);
                let pending = self.store.submit(records::put_endpoint(network, endpoint, *seen));
                let claimed = || {
                    let committed = pending.wait();
                    let committed = committed.inspect_err(|error| self.store_failed(error)).map_err(failed())?;
                    self.state().committed.insert(endpoint.id.clone(), committed.revision);
                    Ok(())
                };
                let link = self.make_links(network, endpoint, claimed)?;
                viewed.wait().map_err(failed())?;
                self.introduce(network, endpoint, link.as_ref());
                link
            }
            None => {
                let pending = self.store.submit(records::put_endpoint(network, endpoint, None));
                let link = self.make_links(network, endpoint, || Ok(()));
                if let Ok(link) = &link {
                    self.introduce(network, endpoint, link.as_ref());
                }
                let committed = pending.wait();
                let link = link?;
                committed.map_err(failed())?;
                link
            }
        };
        if network.settings.host_access {
            self.refresh_shim(network)?;
        }
        self.runs.settle(Subject::Endpoint(endpoint.id.clone()))?;
        Ok(link)
    }

    fn introduce(&self, network: &Network, endpoint: &Endpoint, link: Option<&Made>) {
        if let Some(link) = link {
            self.watch_and_announce(network, endpoint, link);
        }
    }

    /// Makes an endpoint's links; `claimed` returns when it may have its addresses.
    fn make_links(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        claimed: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Option<Made>, Error> {
        if network.settings.driver.is_overlay() {
            return self.make_overlay_links(network, endpoint, claimed);
        }
        if self.is_shared() {
            claimed()?;
        }
        self.make_link(network, endpoint)
    }

    fn make_link(&self, network: &Network, endpoint: &Endpoint) -> Result<Option<Made>, Error> {
        let plan = plan::endpoint(network, endpoint);
        let (place, tag) = (place(&endpoint.attachment), plan.link.tag);
        let ops = plan::delta(&plan, None);
        let failed = |error| Error::kernel("attach to network", &network.name)(error);
        for attempt in 1.. {
            match self.kernel.apply(&place, tag, &ops) {
                Err(error) if error.errno() == Some(ADDRESS_IN_USE) && attempt < PATIENCE => {
                    self.kernel.apply(&place, tag, &[plan::Op::DelLink]).map_err(failed)?;
                    std::thread::sleep(PAUSE);
                }
                made => return made.map_err(failed),
            }
        }
        Ok(None)
    }

    fn attached(&self, network: &Network, endpoint: &Endpoint, link: Option<&Made>) {
        {
            let mut state = self.state();
            state.unsettled.remove(endpoint.id.as_str());
            state.links.extend(link.map(|l| (endpoint.id.clone(), l.clone())));
        }
        self.tell_gossip(network, endpoint, "join");
        let addresses: Vec<_> = endpoint.ep_iface.addresses().map(|a| a.to_string()).collect();
        let attributes = [("network", network.name.to_string()), ("addresses", addresses.join(" "))];
        self.emit("endpoint", "connect", endpoint.id.as_str(), endpoint.name.as_str(), &attributes);
    }

    /// After a link was made: hears of its namespace's end, and lets neighbours forget an older MAC.
    pub(crate) fn watch_and_announce(&self, network: &Network, endpoint: &Endpoint, link: &Made) {
        let Place::Sandbox(sandbox) = place(&endpoint.attachment) else { return };
        if let Err(error) = self.kernel.watch_sandbox(&sandbox) {
            tracing::warn!(endpoint = %endpoint.name, %error, "its namespace's end will be seen by the audit only");
        }
        let advertise = network.settings.advertise;
        // Routed links answer no ARP: nobody remembers a MAC for them.
        let silent = network.settings.driver.is_routed();
        if let (Some(mac), false, 1..) = (link.mac, silent, advertise.count) {
            self.kernel.announce(Announcement {
                sandbox,
                link: link.name.clone(),
                index: link.index,
                mac,
                addresses: endpoint.ep_iface.addresses().map(|a| a.addr()).collect(),
                count: advertise.count,
                interval: Duration::from_millis(advertise.interval_ms.into()),
            });
        }
    }

    pub(crate) fn find_endpoint(&self, network: &str, target: &Target) -> Result<EndpointId, Error> {
        let not_found =
            |name: String| Error::NotFound { object: "endpoint", name, hint: ": see `trunkline endpoint ls`" };
        if let Target::Sandbox(reference) = target {
            let state = self.state();
            let network = state.network(network)?;
            let sandbox = state.sandbox(reference).ok().map(|s| s.id.clone());
            let matches = |e: &&Endpoint| {
                e.name.as_str() == reference
                    || e.id.as_str() == reference
                    || (sandbox.is_some() && e.attachment.sandbox == sandbox)
            };
            let found = state.endpoints_of(&network.id).into_iter().find(matches);
            return found
                .map(|e| e.id.clone())
                .ok_or_else(|| not_found(format!("{reference} on network {}", network.name)));
        }
        if let Target::Owner(owner) = target {
            let state = self.state();
            let network = state.network(network)?;
            let found = state.endpoints_of(&network.id).into_iter().find(|e| e.owner.as_ref() == Some(owner));
            return found
                .map(|e| e.id.clone())
                .ok_or_else(|| not_found(format!("of {owner} on network {}", network.name)));
        }
        let namespace = match target {
            // The namespace may be gone: then its path names it still.
            Target::Path(path) => self.locate(target).map(|a| a.namespace).or_else(|error| {
                let state = self.state();
                let known = state.endpoints.values().find(|e| e.attachment.path == *path);
                known.map(|e| e.attachment.namespace.clone()).ok_or(error)
            })?,
            _ => self.locate(target)?.namespace,
        };
        let state = self.state();
        let network = state.network(network)?;
        let found = state.endpoints_of(&network.id).into_iter().find(|e| e.attachment.namespace == namespace);
        found.map(|e| e.id.clone()).ok_or_else(|| not_found(format!("of {namespace} on network {}", network.name)))
    }

    /// Takes an endpoint away. The caller has it reserved.
    pub(crate) fn detach(&self, id: &EndpointId) -> Result<(), Error> {
        let (network, endpoint) = {
            let mut state = self.state();
            let Some(endpoint) = state.endpoints.get(id).cloned() else { return Ok(()) };
            let Some(network) = state.networks.get(&endpoint.network).cloned() else { return Ok(()) };
            state.unsettled.insert(id.to_string());
            (network, endpoint)
        };
        if let Err(error) = self.runs.write(&Intent::endpoint(&network, &endpoint)) {
            self.state().unsettled.remove(id.as_str());
            return Err(error);
        }
        self.withdraw_endpoint(&network, &endpoint)?;
        self.tell_gossip(&network, &endpoint, "leave");
        let attributes = [("network", network.name.to_string())];
        self.emit("endpoint", "disconnect", id.as_str(), endpoint.name.as_str(), &attributes);
        Ok(())
    }
}

/// Whether the kernel refused a default route because one of its metric is there already: not ours, for ours
/// are known, but that of an engine or of the sandbox's owner.
fn rank_is_taken(network: &Network, endpoint: &Endpoint, error: &Error) -> bool {
    let Error::Kernel { source, .. } = error else { return false };
    let ops = plan::delta(&plan::endpoint(network, endpoint), None);
    let refused = source.step().and_then(|step| ops.get(step));
    let default = matches!(refused, Some(plan::Op::AddRoute(route)) if route.destination.prefix_len() == 0);
    default && source.errno() == Some(EXISTS)
}
