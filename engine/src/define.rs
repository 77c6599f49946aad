//! Networks that come with a request: made by the first, and the same for all that follow.

use crate::{Engine, Error};
use model::{LinkName, Network, NetworkSpec, Parent, Resolved, Subnet};
use std::net::IpAddr;
use std::time::Duration;

/// How often a network that is being made or removed by somebody else is looked for, and the pause in between.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

impl Engine {
    /// Makes the network of this definition, unless it is there and as defined.
    pub(crate) fn ensure_network(&self, reference: &str, spec: &NetworkSpec) -> Result<(), Error> {
        if reference != spec.name {
            return Err(Error::Invalid(format!(
                "the request is for network {reference}, and defines network {}: give both one name",
                spec.name
            )));
        }
        let resolved = spec.resolve()?;
        if self.is_as_defined(&resolved)? {
            return Ok(());
        }
        // Many may come at once: one makes it.
        let _mine = self.reservations.take([format!("definition {}", spec.name)]);
        for _ in 0..TRIES {
            if self.is_as_defined(&resolved)? {
                return Ok(());
            }
            match self.create_network(spec) {
                // Made meanwhile, by another host or by somebody's hand.
                Err(Error::Conflict(_)) if self.knows(&spec.name) => std::thread::sleep(PAUSE),
                made => return made.map(drop),
            }
        }
        Err(Error::Conflict(format!("network {} is being made or removed: try again", spec.name)))
    }

    fn knows(&self, name: &str) -> bool {
        self.state().names.contains_key(name)
    }

    /// Whether the network is there, which then must be as defined.
    pub(crate) fn is_as_defined(&self, definition: &Resolved) -> Result<bool, Error> {
        let known = {
            let state = self.state();
            let known = state.names.get(definition.name.as_str()).and_then(|id| state.networks.get(id));
            known.filter(|n| !state.unsettled.contains(n.id.as_str())).cloned()
        };
        let Some(network) = known else { return Ok(false) };
        let mut parent = asked_parent(definition).cloned();
        if let Some(asked) = parent.as_ref().filter(|_| network.parent != parent)
            && let Ok(Some(link)) = self.kernel.host_link(asked)
        {
            // By another name of the link's.
            parent = link.name.parse().ok();
        }
        match difference(&network, definition, parent.as_ref()) {
            None => Ok(true),
            Some(difference) => Err(Error::DefinedOtherwise { network: network.name.to_string(), difference }),
        }
    }
}

/// The parent's name, as the definition has it.
fn asked_parent(definition: &Resolved) -> Option<&LinkName> {
    match &definition.parent {
        Parent::None => None,
        Parent::Named { name, .. } => Some(name),
        Parent::Vlan(step) => Some(&step.name),
    }
}

/// The first in which a network is another than defined, in words. What a definition leaves open may be anything.
/// `parent` is the defined one, by the name that it goes by.
fn difference(network: &Network, definition: &Resolved, parent: Option<&LinkName>) -> Option<String> {
    let (has, asked) = (&network.settings, &definition.settings);
    if has.driver != asked.driver {
        return Some(format!("is {}, not {}", has.driver, asked.driver));
    }
    let mtu = |mtu: Option<u32>| mtu.map_or_else(|| "its parent's".to_owned(), |mtu| mtu.to_string());
    if has.mtu != asked.mtu {
        return Some(format!("its MTU is {}, not {}", mtu(has.mtu), mtu(asked.mtu)));
    }
    if has.internal != asked.internal {
        return Some(format!("is {}internal", if has.internal { "" } else { "not " }));
    }
    if has != asked {
        return Some("has other options".into());
    }
    let own_dummy = parent.is_none() && network.has_own_dummy();
    if network.parent.as_ref() != parent && !own_dummy {
        let name = |parent: Option<&LinkName>| parent.map_or_else(|| "none".to_owned(), ToString::to_string);
        return Some(format!("its parent is {}, not {}", name(network.parent.as_ref()), name(parent)));
    }
    if let Some(vni) = definition.vni.filter(|vni| network.vni != Some(*vni)) {
        return Some(format!("its VNI is {}, not {vni}", crate::draft::words(network.vni.as_ref())));
    }
    subnets_difference(network, definition)
}

fn subnets_difference(network: &Network, definition: &Resolved) -> Option<String> {
    let listed = |subnets: &[Subnet]| subnets.iter().map(|s| s.prefix.to_string()).collect::<Vec<_>>().join(", ");
    // Those that it chose itself are not in its definition.
    let chosen = |s: &&Subnet| match s.is_ipv6() {
        true => definition.default_ipv6,
        false => definition.default_ipv4,
    };
    let given = network.subnets.iter().filter(|s| !chosen(s)).count();
    let same = |s: &Subnet| network.subnets.iter().find(|has| has.prefix == s.prefix);
    if given != definition.subnets.len() || !definition.subnets.iter().all(|s| same(s).is_some()) {
        return Some(format!("has {}, not {}", listed(&network.subnets), listed(&definition.subnets)));
    }
    for asked in &definition.subnets {
        let Some(has) = same(asked) else { continue };
        if has.range != asked.range {
            let range = |s: &Subnet| s.range.map_or_else(|| s.prefix.to_string(), |r| r.to_string());
            return Some(format!("gives out {}, not {}", range(has), range(asked)));
        }
        if asked.gateway.is_some() && has.gateway != asked.gateway {
            let words = crate::draft::words;
            let (has, asked) = (words(has.gateway.as_ref()), words(asked.gateway.as_ref()));
            return Some(format!("its gateway is {has}, not {asked}"));
        }
        let kept = |address: &IpAddr| has.gateway == Some(*address) || has.aux.values().any(|aux| aux == address);
        if let Some((name, address)) = asked.aux.iter().find(|(_, address)| !kept(address)) {
            return Some(format!("does not keep {address} ({name}) free"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::now;
    use model::NetworkId;

    fn definition() -> NetworkSpec {
        NetworkSpec {
            name: "n".into(),
            subnets: vec!["10.1.0.0/24".into(), "fd00:1::/64".into()],
            gateways: vec!["10.1.0.1".into()],
            ip_ranges: vec!["10.1.0.10-10.1.0.20".into()],
            options: [("parent".into(), "eth0".into())].into(),
            ..NetworkSpec::default()
        }
    }

    fn network(spec: &NetworkSpec) -> Network {
        let resolved = spec.resolve().unwrap();
        Network {
            schema: Network::SCHEMA,
            id: NetworkId::from_entropy([7; 32]),
            name: resolved.name,
            parent: Some("eth0".parse().unwrap()),
            vni: None,
            settings: resolved.settings,
            subnets: resolved.subnets,
            labels: spec.labels.clone(),
            options: spec.options.clone(),
            in_delete: false,
            shim: Vec::new(),
            created: now(),
        }
    }

    #[test]
    fn every_difference_is_told() {
        let there = network(&definition());
        let told = |change: &dyn Fn(&mut NetworkSpec)| {
            let mut spec = definition();
            change(&mut spec);
            let resolved = spec.resolve().unwrap();
            difference(&there, &resolved, asked_parent(&resolved)).unwrap_or_default()
        };
        assert_eq!(told(&|_| {}), "");
        assert_eq!(told(&|s| s.gateways.clear()), "", "left open");
        assert_eq!(told(&|s| s.subnets.reverse()), "");
        let option = |s: &mut NetworkSpec, key: &str, value: &str| drop(s.options.insert(key.into(), value.into()));
        assert_eq!(told(&|s| option(s, "mtu", "1400")), "its MTU is its parent's, not 1400");
        assert_eq!(told(&|s| option(s, "macvlan_mode", "vepa")), "is macvlan mode bridge, not macvlan mode vepa");
        assert_eq!(told(&|s| option(s, "parent", "eth1")), "its parent is eth0, not eth1");
        assert_eq!(told(&|s| option(s, "dad", "true")), "has other options");
        assert_eq!(told(&|s| s.internal = true), "is not internal");
        assert_eq!(told(&|s| s.gateways = vec!["10.1.0.2".into()]), "its gateway is 10.1.0.1, not 10.1.0.2");
        assert_eq!(told(&|s| s.ip_ranges.clear()), "gives out 10.1.0.10-10.1.0.20, not 10.1.0.0/24");
        assert_eq!(told(&|s| drop(s.subnets.pop())), "has 10.1.0.0/24, fd00:1::/64, not 10.1.0.0/24");
        let aux = |s: &mut NetworkSpec| drop(s.aux_addresses.insert("r".into(), "10.1.0.9".into()));
        assert_eq!(told(&aux), "does not keep 10.1.0.9 (r) free");
        let router = |s: &mut NetworkSpec| {
            s.gateways.clear();
            s.aux_addresses.insert("router".into(), "10.1.0.1".into());
        };
        assert_eq!(told(&router), "", "it is the gateway");
    }
}
