//! An overlay's namespace on this host: made with its first endpoint here, gone with its last.

use crate::target::place;
use crate::{Engine, Error};
use kernel::{Made, Place, SandboxPath};
use model::{Driver, Endpoint, Network, NetworkId, PeersMode, Resolution};
use plan::{LinkPlan, Op};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::PoisonError;

/// The MTU of an underlay that is not known.
const USUAL_MTU: u32 = 1500;

/// An overlay's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Where it is.
    pub(crate) namespace: SandboxPath,
    /// The MTU of its links.
    pub(crate) mtu: u32,
}

impl Seat {
    pub(crate) fn place(&self) -> Place {
        Place::Overlay(self.namespace.clone())
    }
}

/// Which namespaces stand, by network.
pub(crate) type Seats = BTreeMap<NetworkId, Seat>;

/// Who makes or removes an overlay's namespace has it by its file's name.
fn key(network: &Network) -> String {
    format!("overlay {}", plan::overlay::namespace_name(network))
}

impl Engine {
    /// An overlay's namespace, if it stands.
    pub(crate) fn seat(&self, network: &NetworkId) -> Option<Seat> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).get(network).cloned()
    }

    fn set_seat(&self, network: &NetworkId, seat: Option<Seat>) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        match seat {
            Some(seat) => seats.insert(network.clone(), seat),
            None => seats.remove(network),
        };
    }

    /// Where overlays' namespaces are mounted.
    pub(crate) fn namespace_dir(&self) -> PathBuf {
        self.runs.path().join("netns")
    }

    fn namespace_path(&self, network: &Network) -> PathBuf {
        self.namespace_dir().join(plan::overlay::namespace_name(network))
    }

    /// The largest packet that leaves by the underlay, in bytes.
    pub(crate) fn underlay_mtu(&self) -> u32 {
        self.vtep().and_then(|vtep| self.mtu_of_address(vtep)).unwrap_or(USUAL_MTU)
    }

    /// The MTU of the link that has an address.
    fn mtu_of_address(&self, address: IpAddr) -> Option<u32> {
        let addresses = self.kernel.host_addresses(None).ok()?;
        let (index, _) = addresses.into_iter().find(|(_, a)| a.addr() == address)?;
        self.kernel.host_links().ok()?.into_iter().find(|l| l.index == index).map(|l| l.mtu)
    }

    /// The MTU of an overlay's links: what fits into the underlay, unless it was chosen.
    fn overlay_mtu(&self, network: &Network) -> u32 {
        let remote = match network.settings.driver {
            Driver::Overlay { resolution: Resolution::Remote(address) | Resolution::Group(address), .. } => {
                Some(address)
            }
            _ => self.vtep(),
        };
        let overhead = plan::overlay::overhead(remote.is_some_and(|a| a.is_ipv6()));
        let derived = || match remote.filter(|_| !network.settings.driver.has_stored_peers()) {
            Some(remote) => self.kernel.route_to(remote).ok().flatten().map_or(USUAL_MTU, |r| r.mtu),
            None => self.underlay_mtu(),
        };
        network.settings.mtu.unwrap_or_else(|| derived().saturating_sub(overhead))
    }

    /// The source address of an overlay's packets. Point-to-point and multicast overlays take it from the route.
    fn overlay_source(&self, network: &Network) -> Option<IpAddr> {
        let family = match network.settings.driver {
            Driver::Overlay { resolution: Resolution::Remote(a) | Resolution::Group(a), .. } => a.is_ipv6(),
            _ => return self.vtep(),
        };
        self.vtep().filter(|vtep| vtep.is_ipv6() == family)
    }

    /// The plans of an overlay's bridge and VXLAN device.
    pub(crate) fn segment(&self, network: &Network, mtu: u32) -> Result<[LinkPlan; 2], Error> {
        let source = self.overlay_source(network);
        if network.settings.driver.has_stored_peers() && source.is_none() {
            return Err(Error::Invalid(format!(
                "network {} is an overlay, and this host has no address that others could reach: start the daemon \
                 with --advertise IP",
                network.name
            )));
        }
        plan::overlay::segment(network, source, mtu)
            .ok_or_else(|| Error::Invalid(format!("network {} has no VNI", network.name)))
    }

    /// The overlay's namespace with its bridge, its VXLAN device and its peers, made where it is missing.
    pub(crate) fn ensure_seat(&self, network: &Network) -> Result<Seat, Error> {
        if let Some(seat) = self.seat(&network.id) {
            return Ok(seat);
        }
        let _mine = self.reservations.take([key(network)]);
        match self.seat(&network.id) {
            Some(seat) => Ok(seat),
            None => self.make_seat(network),
        }
    }

    fn make_seat(&self, network: &Network) -> Result<Seat, Error> {
        let failed = || Error::kernel("make the namespace of overlay", &network.name);
        let path = self.namespace_path(network);
        let mtu = self.overlay_mtu(network);
        let plans = self.segment(network, mtu)?;
        let stood = self.kernel.namespace(&path).is_ok();
        let id = self.kernel.create_namespace(&path).map_err(failed())?;
        let seat = Seat { namespace: SandboxPath { path, id }, mtu };
        let made = self.mend_segment(&seat, &plans).and_then(|()| {
            self.kernel.watch_overlay(&seat.namespace).map_err(failed())?;
            // What is decided from here on is programmed there, too.
            let _programming = self.programming();
            self.sync_peers(network, &seat)?;
            self.set_seat(&network.id, Some(seat.clone()));
            Ok(())
        });
        if let Err(error) = made {
            if stood {
                // Endpoints may live in it.
                return Err(error);
            }
            // Nobody is in it: the next attach begins anew.
            if let Err(undo) = self.kernel.remove_namespace(&seat.namespace.path) {
                tracing::error!(network = %network.name, error = %undo, "an unfinished namespace stays");
            }
            return Err(error);
        }
        Ok(seat)
    }

    fn mend_segment(&self, seat: &Seat, plans: &[LinkPlan]) -> Result<(), Error> {
        let tags: Vec<_> = plans.iter().map(|p| p.link.tag).collect();
        let seen = self.kernel.observe(&seat.place(), Some(&tags)).map_err(Error::kernel("look into", "an overlay"))?;
        for plan in plans {
            let ops = plan::delta(plan, seen.iter().find(|s| s.info.has_tag(plan.link.tag)));
            if !ops.is_empty() {
                self.kernel
                    .apply(&seat.place(), plan.link.tag, &ops)
                    .map_err(Error::kernel("make", &plan.link.alias))?;
            }
        }
        Ok(())
    }

    /// The commands that make an overlay's namespace and an endpoint in it, for a look beforehand.
    pub(crate) fn sample_overlay(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        sandbox: &str,
    ) -> Result<Vec<String>, Error> {
        let overlay = plan::overlay::namespace_name(network).to_owned();
        let mtu = self.overlay_mtu(network);
        let show = |plan: &LinkPlan, place: &str| plan::commands(&plan::delta(plan, None), &plan.link, Some(place));
        let mut commands =
            vec!["# with the first endpoint on each host:".to_owned(), format!("ip netns add {overlay}")];
        commands.extend(self.segment(network, mtu)?.iter().flat_map(|plan| show(plan, &overlay)));
        commands.push(format!("# then for each endpoint, here the first, in namespace {sandbox}:"));
        let namespace = model::NamespaceId { device: 0, inode: 0, boot: String::new() };
        let seat = (PathBuf::from(&overlay), namespace);
        commands.extend(show(&plan::overlay::endpoint(network, endpoint, Some(&seat), mtu), sandbox));
        commands.extend(plan::overlay::port(network, endpoint, mtu).iter().flat_map(|plan| show(plan, &overlay)));
        Ok(commands)
    }

    /// Makes an endpoint's links: the pair between its sandbox and the overlay, and the way out. The bare link comes
    /// first; `claimed` returns when the endpoint's claims are this host's.
    pub(crate) fn make_overlay_links(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        claimed: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Option<Made>, Error> {
        let failed = || Error::kernel("attach to network", &network.name);
        let seat = self.ensure_seat(network)?;
        let at = (seat.namespace.path.clone(), seat.namespace.id.clone());
        let plan = plan::overlay::endpoint(network, endpoint, Some(&at), seat.mtu);
        let ops = plan::delta(&plan, None);
        let bare = ops.iter().take_while(|op| !matches!(op, Op::AddAddress { .. } | Op::SetUp { .. })).count();
        let (bare, rest) = ops.split_at(bare);
        let here = place(&endpoint.attachment);
        if let Err(error) = self.kernel.apply(&here, plan.link.tag, bare) {
            self.forget_lost_seat(network, &seat);
            return Err(failed()(error));
        }
        claimed()?;
        if let Some(port) = plan::overlay::port(network, endpoint, seat.mtu) {
            let ops = plan::delta(&port, None);
            self.kernel.apply(&seat.place(), port.link.tag, &ops).map_err(failed())?;
        }
        let link = self.kernel.apply(&here, plan.link.tag, rest).map_err(failed())?;
        self.mend_way_out(network, endpoint)?;
        Ok(link)
    }

    /// After its namespace was taken away under us: it is made afresh next time, unless it was already.
    fn forget_lost_seat(&self, network: &Network, lost: &Seat) {
        let _mine = self.reservations.take([key(network)]);
        if !self.stands(lost) && self.seat(&network.id).as_ref() == Some(lost) {
            self.set_seat(&network.id, None);
        }
    }

    /// Makes an endpoint's second link what it must be, with its port on the gateway bridge.
    pub(crate) fn mend_way_out(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        if endpoint.way_out.is_empty() {
            return Ok(());
        }
        self.ensure_gateway(false)?;
        let here = place(&endpoint.attachment);
        let plan = plan::overlay::way_out(network, endpoint, &endpoint.way_out);
        let Some(port) = plan::overlay::way_out_port(endpoint) else { return Ok(()) };
        let failed = || Error::kernel("give a way out to endpoint", &endpoint.name);
        let mend = |place: &Place, plan: &LinkPlan| {
            let seen = self.kernel.observe(place, Some(&[plan.link.tag])).map_err(failed())?;
            let ops = plan::delta(plan, seen.first());
            match ops.is_empty() {
                true => Ok(seen.first().map(|link| Made::from(&link.info))),
                false => self.kernel.apply(place, plan.link.tag, &ops).map_err(failed()),
            }
        };
        let link = mend(&here, &plan)?;
        self.state().ways_out.extend(link.map(|link| (endpoint.id.clone(), link)));
        mend(&Place::Host, &port).map(drop)
    }

    /// Takes an endpoint's links away.
    pub(crate) fn remove_overlay_links(&self, endpoint: &Endpoint) -> Result<(), kernel::Error> {
        let here = place(&endpoint.attachment);
        if !endpoint.way_out.is_empty() {
            self.kernel.apply(&here, plan::overlay::way_out_tag(endpoint), &[Op::DelLink])?;
        }
        self.kernel.apply(&here, plan::LinkTag::of(endpoint.id.as_str()), &[Op::DelLink]).map(drop)
    }

    /// Removes an overlay's namespace when no endpoint of this host needs it.
    pub(crate) fn drop_idle_seat(&self, network: &Network) -> Result<(), Error> {
        let _mine = self.reservations.take([key(network)]);
        {
            // In one moment: an attach that comes after it finds no namespace, and waits for its turn to make one.
            let state = self.state();
            if !state.endpoints_of(&network.id).is_empty() {
                return Ok(());
            }
            self.set_seat(&network.id, None);
        }
        self.forget_resolved(&network.id);
        let failed = Error::kernel("remove the namespace of overlay", &network.name);
        self.kernel.remove_namespace(&self.namespace_path(network)).map_err(failed)
    }

    /// An overlay's segment and ports as they must be, after a restart or a repair.
    pub(crate) fn reconcile_overlay(&self, network: &Network) -> Result<(), Error> {
        if !network.settings.driver.is_overlay() {
            return Ok(());
        }
        let _mine = self.reservations.take([key(network)]);
        if self.state().endpoints_of(&network.id).is_empty() {
            return Ok(());
        }
        let Some(seat) = self.seat(&network.id).filter(|seat| self.stands(seat)) else {
            return self.make_seat(network).map(drop);
        };
        self.mend_segment(&seat, &self.segment(network, seat.mtu)?)?;
        let _programming = self.programming();
        self.sync_peers(network, &seat)
    }

    pub(crate) fn stands(&self, seat: &Seat) -> bool {
        self.kernel.namespace(&seat.namespace.path).is_ok_and(|id| id == seat.namespace.id)
    }

    /// An endpoint's port on the bridge, as it must be.
    pub(crate) fn mend_port(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(seat) = self.seat(&network.id) else { return Ok(()) };
        let Some(port) = plan::overlay::port(network, endpoint, seat.mtu) else { return Ok(()) };
        let failed = || Error::kernel("mend the port of endpoint", &endpoint.name);
        let seen = self.kernel.observe(&seat.place(), Some(&[port.link.tag])).map_err(failed())?;
        let ops = plan::delta(&port, seen.first());
        if !ops.is_empty() && !seen.is_empty() {
            self.kernel.apply(&seat.place(), port.link.tag, &ops).map_err(failed())?;
        }
        Ok(())
    }

    /// Namespaces of overlays that this host has no endpoint of: a crash may have left them.
    pub(crate) fn stray_seats(&self) -> Result<Vec<PathBuf>, Error> {
        let dir = self.namespace_dir();
        let found = self.kernel.namespaces(&dir).map_err(Error::kernel("list the namespaces in", dir.display()))?;
        let state = self.state();
        if state.loading {
            // Whose they are, only the store can tell.
            return Ok(Vec::new());
        }
        let needed: Vec<PathBuf> = state
            .networks
            .values()
            .filter(|n| !state.endpoints_of(&n.id).is_empty())
            .map(|n| self.namespace_path(n))
            .collect();
        Ok(found.into_iter().filter(|path| !needed.contains(path)).collect())
    }

    /// Removes them.
    pub(crate) fn drop_stray_seats(&self) {
        let found = match self.stray_seats() {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "the overlays' namespaces could not be listed"),
        };
        for path in found {
            let Some(_mine) = self.reservations.try_take(format!("overlay {}", file_name(&path))) else { continue };
            // An endpoint may have come since.
            if !self.stray_seats().is_ok_and(|stray| stray.contains(&path)) {
                continue;
            }
            match self.kernel.remove_namespace(&path) {
                Ok(()) => tracing::warn!(path = %path.display(), "a namespace without endpoints is removed"),
                Err(error) => tracing::error!(path = %path.display(), %error, "it could not be removed"),
            }
        }
    }

    /// Whether peers of this network are programmed only when they are asked for.
    pub(crate) fn is_lazy(network: &Network) -> bool {
        matches!(network.settings.driver, Driver::Overlay { peers: PeersMode::Lazy, .. })
    }
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
