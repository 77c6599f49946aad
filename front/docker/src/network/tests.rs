use super::*;
use plan::Route;
use serde_json::json;

fn asked(body: Value) -> Result<EngineNetwork, Error> {
    network(DriverKind::Macvlan, serde_json::from_value(body).unwrap())
}

#[test]
fn networks_as_docker_asks_for_them() {
    // As Docker 20.10 sends it, but for the identifier.
    let body = json!({
        "NetworkID": "f0e1",
        "Options": {
            "com.docker.network.enable_ipv6": true,
            "com.docker.network.internal": true,
            "com.docker.network.generic": { "parent": "eth0.215", "macvlan_mode": "bridge", "name": "mcv" },
        },
        "IPv4Data": [
            { "AddressSpace": "trunkline", "Pool": "192.168.215.0/24", "Gateway": "192.168.215.1/24",
              "AuxAddresses": { "router": "192.168.215.2/24" } },
            { "AddressSpace": "trunkline", "Pool": "192.168.217.0/24", "Gateway": "192.168.217.0/24" },
        ],
        "IPv6Data": [{ "AddressSpace": "", "Pool": "fd00:215::/64" }],
    });
    let network = asked(body).unwrap();
    assert_eq!((network.id.as_str(), network.existing, network.spec.name.as_str()), ("f0e1", None, "mcv"));
    assert_eq!(network.spec.subnets, ["192.168.215.0/24", "192.168.217.0/24", "fd00:215::/64"]);
    assert_eq!(network.spec.gateways, ["192.168.215.1"]);
    assert_eq!(network.spec.aux_addresses["router"], "192.168.215.2");
    assert!(network.spec.ipv6 && network.spec.internal);
    assert_eq!(network.spec.options.keys().collect::<Vec<_>>(), ["macvlan_mode", "parent"]);
}

#[test]
fn what_is_null_is_empty() {
    let network = asked(json!({
        "NetworkID": "f0e1", "Options": { "com.docker.network.generic": null },
        "IPv4Data": [{ "Pool": "0.0.0.0/0", "AuxAddresses": null }], "IPv6Data": null,
    }));
    assert_eq!(network.unwrap().spec.subnets, Vec::<String>::new());
    let wrong = asked(json!({ "IPv4Data": [{ "Pool": "10.1.0.0" }] })).unwrap_err();
    assert_eq!(wrong.to_string(), "Pool: \"10.1.0.0\" is no address with a prefix length");
    let wrong = asked(json!({ "Options": { "com.docker.network.generic": { "parent": [] } } })).unwrap_err();
    assert_eq!(wrong.to_string(), "option parent: a text is expected");
}

fn route(destination: &str, via: Option<&str>) -> Route {
    let via = via.map(|v| v.parse().unwrap());
    Route { destination: destination.parse().unwrap(), via, source: None, metric: None }
}

fn answered(routes: Vec<Route>, lets_out: bool) -> Value {
    serde_json::to_value(joined(HandOver { link: "tl0".into(), routes, lets_out })).unwrap()
}

#[test]
fn gateways_are_fields_and_links_are_routes() {
    let lan = answered(vec![route("0.0.0.0/0", Some("10.1.0.1")), route("::/0", Some("fd00::1"))], false);
    assert_eq!((&lan["Gateway"], &lan["GatewayIPv6"]), (&json!("10.1.0.1"), &json!("fd00::1")));
    assert_eq!((&lan["StaticRoutes"], &lan["DisableGatewayService"]), (&json!([]), &json!(false)));
    let routed = answered(vec![route("0.0.0.0/0", None)], false);
    assert_eq!(routed["StaticRoutes"], json!([{ "Destination": "0.0.0.0/0", "RouteType": 1 }]));
    assert_eq!((&routed["Gateway"], &routed["DisableGatewayService"]), (&json!(""), &json!(true)));
    let overlay = answered(vec![route("10.2.0.0/24", Some("10.1.0.1"))], true);
    let other = json!([{ "Destination": "10.2.0.0/24", "RouteType": 0, "NextHop": "10.1.0.1" }]);
    assert_eq!((&overlay["StaticRoutes"], &overlay["DisableGatewayService"]), (&other, &json!(false)));
}
