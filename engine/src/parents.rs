//! The host's links as parents.

use crate::{Engine, Error};
use model::LinkName;
use model::view::ParentView;
use plan::parent::{self, Tenant};
use plan::{LinkInfo, SeenKind};

impl Engine {
    /// The host's links that could be parents, by name.
    pub fn parents(&self) -> Result<Vec<ParentView>, Error> {
        let failed = || Error::kernel("list", "the host's links");
        let links = self.kernel.host_links().map_err(failed())?;
        let addresses = self.kernel.host_addresses(None).map_err(failed())?;
        let routes = self.kernel.host_routes(None).map_err(failed())?;
        let candidates = links.iter().filter(|l| is_candidate(l));
        let mut views: Vec<ParentView> = candidates
            .map(|link| {
                let mine = addresses.iter().filter(|(index, _)| *index == link.index);
                let default = routes.iter().filter(|r| r.link == link.index && r.route.destination.prefix_len() == 0);
                let mut view = self.parent_view(link, &links);
                view.subnets = mine.map(|(_, a)| a.trunc()).filter(|p| !plan::is_link_local(p)).collect();
                view.subnets.dedup();
                view.gateways = default.filter_map(|r| r.route.via).collect();
                view
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    fn parent_view(&self, link: &LinkInfo, links: &[LinkInfo]) -> ParentView {
        let name = link.name.parse::<LinkName>().ok();
        let card = parent::card(link, links).name.parse();
        let hardware = card.map(|card| self.kernel.hardware(&card)).unwrap_or_default();
        let state = self.state();
        let mut tenants: Vec<Tenant> = state
            .settled()
            .filter(|n| n.parent.as_ref().is_some_and(|p| p.as_str() == link.name))
            .map(|n| Tenant { network: n.name.to_string(), driver: n.settings.driver })
            .collect();
        tenants.sort_by(|a, b| a.network.cmp(&b.network));
        let mut warnings = parent::caveats(link, &tenants, links, &hardware);
        if let Some(master) = links.iter().find(|l| Some(l.index) == link.master) {
            warnings.insert(0, format!("a port of {}: use {} itself", master.name, master.name));
        }
        ParentView {
            name: link.name.clone(),
            kind: kind_word(&link.kind),
            provisioned: name.is_some_and(|n| state.provisioned.contains_key(&n)),
            up: link.up,
            mtu: link.mtu,
            subnets: Vec::new(),
            gateways: Vec::new(),
            networks: tenants.into_iter().map(|tenant| tenant.network).collect(),
            warnings,
        }
    }
}

fn is_candidate(link: &LinkInfo) -> bool {
    !matches!(link.kind, SeenKind::Loopback | SeenKind::Macvlan(_) | SeenKind::Ipvlan(..))
}

fn kind_word(kind: &SeenKind) -> String {
    match kind {
        SeenKind::Physical => "physical".into(),
        SeenKind::Loopback => "loopback".into(),
        SeenKind::Macvlan(_) => "macvlan".into(),
        SeenKind::Ipvlan(..) => "ipvlan".into(),
        SeenKind::Vlan(tag) => format!("vlan {}", tag.id),
        SeenKind::Dummy => "dummy".into(),
        SeenKind::Bridge => "bridge".into(),
        SeenKind::Vxlan(_) => "vxlan".into(),
        SeenKind::Veth => "veth".into(),
        SeenKind::Other(kind) => kind.clone(),
    }
}
