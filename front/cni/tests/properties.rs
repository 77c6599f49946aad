//! What is written reads the same again, and what is asked for arrives, whatever it is.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use trunkline_cni::config::Config;
use trunkline_cni::definition::definition;
use trunkline_cni::{Environment, Verb, wish};

fn name() -> impl Strategy<Value = String> {
    // As the specification has them.
    "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,150}"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the container is called, the endpoint's name is one, and no two of one length of container have the
    /// same.
    #[test]
    fn names_of_endpoints(containers in prop::collection::btree_set(name(), 2..6), ifname in "[a-z]{1,10}[0-9]?") {
        let config = Config::read(br#"{"name": "n", "network": "n"}"#).unwrap();
        let named = |container: &String| {
            let request = Environment {
                verb: Verb::Add,
                container: container.clone(),
                netns: Some("/n".into()),
                ifname: ifname.clone(),
                arguments: String::new(),
            };
            wish::wish(&request, &config, false).unwrap().name
        };
        let names: std::collections::BTreeSet<String> = containers.iter().map(named).collect();
        prop_assert_eq!(names.len(), containers.len());
        for name in names {
            prop_assert!(model::Name::new(model::NameKind::Endpoint, &name).is_ok(), "{}", name);
        }
    }

    /// A range from one address to another gives out these and no others.
    #[test]
    fn ranges_are_exact(subnet in any::<u32>(), length in 8u8..=29, from in any::<u32>(), to in any::<u32>()) {
        let prefix = ipnet::Ipv4Net::new(Ipv4Addr::from_bits(subnet), length).unwrap().trunc();
        let within = |n: u32| Ipv4Addr::from_bits(prefix.network().to_bits() | (n & prefix.hostmask().to_bits()));
        let (first, last) = (within(from).min(within(to)), within(from).max(within(to)));
        let config = json!({ "name": "n", "master": "eth0", "ipam": {
            "subnet": prefix.to_string(), "rangeStart": first.to_string(), "rangeEnd": last.to_string() } });
        let spec = definition(&Config::read(config.to_string().as_bytes()).unwrap()).unwrap().unwrap();
        let resolved = spec.resolve().unwrap();
        let range = resolved.subnets[0].range.unwrap_or(resolved.subnets[0].prefix.into());
        prop_assert_eq!((range.first(), range.last()), (IpAddr::V4(first), IpAddr::V4(last)));
        prop_assert_eq!(resolved.subnets[0].gateway, Some(IpAddr::V4(within(1))));
    }
}
