use super::*;
use model::NetworkSpec;
use serde_json::{Map, Value, json};

/// A network with all that records have.
pub(crate) fn network(id: u8, name: &str, subnet: &str) -> Network {
    let options = [("com.docker.network.driver.overlay.vxlanid_list", "256"), ("peers", "lazy")];
    let spec = NetworkSpec {
        name: name.into(),
        driver: "overlay".into(),
        subnets: vec![subnet.into(), "fd00:1::/64".into()],
        gateways: vec!["192.168.0.1".into()],
        options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..NetworkSpec::default()
    };
    let resolved = spec.resolve().unwrap();
    Network {
        schema: Network::SCHEMA,
        id: NetworkId::from_entropy([id; 32]),
        name: resolved.name,
        parent: None,
        vni: resolved.vni,
        settings: resolved.settings,
        subnets: resolved.subnets,
        labels: spec.labels.clone(),
        options: spec.options.clone(),
        in_delete: false,
        shim: Vec::new(),
        created: model::Timestamp(1_492_965_182_442),
    }
}

#[test]
fn a_networks_record_has_what_libnetworks_has_and_reads_back_equal() {
    let mut network = network(1, "demonet", "192.168.0.0/24");
    let key = network_key(&network.id);
    let fields: Map<String, Value> = serde_json::from_slice(&network_json(&network)).unwrap();
    // As the overlay document prints it.
    for name in [
        "addrSpace",
        "attachable",
        "created",
        "enableIPv6",
        "generic",
        "id",
        "inDelete",
        "ingress",
        "internal",
        "ipamOptions",
        "ipamType",
        "ipamV4Config",
        "ipamV4Info",
        "labels",
        "name",
        "networkType",
        "persist",
        "postIPv6",
        "scope",
    ] {
        assert!(fields.contains_key(name), "{name}");
    }
    assert_eq!(fields["created"], "2017-04-23T16:33:02.442Z");
    assert_eq!((&fields["scope"], &fields["networkType"]), (&json!("global"), &json!("overlay")));
    assert!(fields["ipamV4Config"].as_str().unwrap().contains(r#""PreferredPool":"192.168.0.0/24""#));
    assert!(fields.contains_key("schema"));
    assert_eq!(read_network(&key, &network_json(&network)).unwrap(), network);
    network.in_delete = true;
    assert_eq!(read_network(&key, &network_json(&network)).unwrap(), network);
}

#[test]
fn a_record_of_a_later_version_is_refused_not_cut_short() {
    let network = network(1, "demonet", "192.168.0.0/24");
    let mut fields: Map<String, Value> = serde_json::from_slice(&network_json(&network)).unwrap();
    fields.insert("colour".into(), "blue".into());
    let error = read_network("network/x/", &json(&fields)).unwrap_err();
    assert!(error.to_string().contains("colour") && error.to_string().contains("network/x/"), "{error}");
    assert!(read_network("network/x/", b"no json").is_err());
}

#[test]
fn claims_name_their_subnet_and_address() {
    let network = network(1, "n", "192.168.0.0/24");
    for address in ["192.168.0.7", "fd00:1::7"] {
        let address: IpAddr = address.parse().unwrap();
        let key = claim_key(&network, address);
        let (subnet, read) = parse_claim(&key).unwrap();
        assert!(read == address && subnet.contains(&address) && key.ends_with('/'), "{key}");
    }
    assert_eq!(parse_claim("claim/192.168.0.0_24/"), None);
    assert_eq!(parse_claim("endpoint/a/b/"), None);
}
