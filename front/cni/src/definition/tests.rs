use super::*;

fn read(text: &str) -> Result<Option<NetworkSpec>, Error> {
    definition(&Config::read(text.as_bytes())?)
}

/// A definition with these keys beside name and master.
fn with(keys: &str) -> Result<NetworkSpec, Error> {
    read(&format!(r#"{{"name": "n", "master": "eth0", {keys}}}"#)).map(Option::unwrap)
}

#[test]
fn as_the_reference_plugins_have_it() {
    let spec = with(
        r#""type": "trunkline-cni", "mode": "bridge", "mtu": 1400, "vlanId": 20, "ipam": {"type": "host-local",
           "subnet": "10.1.0.0/16", "rangeStart": "10.1.2.3", "rangeEnd": "10.1.9.9", "dataDir": "/x",
           "routes": [{"dst": "0.0.0.0/0"}]}"#,
    )
    .unwrap();
    assert_eq!((spec.name.as_str(), spec.driver.as_str()), ("n", "macvlan"));
    assert_eq!((spec.subnets, spec.gateways), (vec!["10.1.0.0/16".to_owned()], vec!["10.1.0.1".to_owned()]));
    assert_eq!(spec.ip_ranges, ["10.1.2.3-10.1.9.9"]);
    let options = [("parent", "eth0"), ("macvlan_mode", "bridge"), ("vlan", "20"), ("mtu", "1400")];
    assert_eq!(spec.options, options.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[test]
fn sets_of_ranges() {
    let spec = with(
        r#""driver": "ipvlan", "mode": "l2", "ipam": {"ranges": [
            [{"subnet": "10.10.0.0/16", "rangeStart": "10.10.1.20", "rangeEnd": "10.10.3.50", "gateway": "10.10.0.254"},
             {"subnet": "172.16.5.0/24"}],
            [{"subnet": "3ffe:ffff:0:01ff::/64", "rangeEnd": "3ffe:ffff:0:01ff::20"}]]},
           "runtimeConfig": {"ipRanges": []}"#,
    )
    .unwrap();
    assert_eq!(spec.subnets, ["10.10.0.0/16", "172.16.5.0/24", "3ffe:ffff:0:1ff::/64"]);
    assert_eq!(spec.gateways, ["10.10.0.254", "172.16.5.1", "3ffe:ffff:0:1ff::1"]);
    assert_eq!(spec.ip_ranges, ["10.10.1.20-10.10.3.50", "3ffe:ffff:0:1ff::-3ffe:ffff:0:1ff::20"]);
    let spec = with(r#""ipam": {}, "runtimeConfig": {"ipRanges": [[{"subnet": "10.2.0.0/24"}]]}"#).unwrap();
    assert_eq!(spec.subnets, ["10.2.0.0/24"]);
    // A whole subnet is no range of it.
    let whole = r#""ipam": {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.0", "rangeEnd": "10.2.0.255"}"#;
    assert!(with(whole).unwrap().ip_ranges.is_empty());
}

#[test]
fn prefixes_of_static_addresses() {
    let spec = with(
        r#""ipam": {"type": "static", "addresses": [{"address": "10.3.0.7/24", "gateway": "10.3.0.254"},
           {"address": "fd00:3::7/64"}]}"#,
    )
    .unwrap();
    assert_eq!(spec.subnets, ["10.3.0.0/24", "fd00:3::/64"]);
    assert_eq!(spec.gateways, ["10.3.0.254"]);
}

#[test]
fn a_network_by_name_or_defined_but_not_both() {
    assert_eq!(read(r#"{"name": "n", "network": "mcv", "ipam": {"routes": []}}"#).unwrap(), None);
    for key in [
        r#""master": "eth0""#,
        r#""mode": "bridge""#,
        r#""mtu": 1400"#,
        r#""vlan": 5"#,
        r#""options": {"dad": "true"}"#,
        r#""ipam": {"subnet": "10.0.0.0/8"}"#,
        r#""ipam": {"ranges": [[{"subnet": "10.0.0.0/8"}]]}"#,
        r#""runtimeConfig": {"ipRanges": [[{"subnet": "10.0.0.0/8"}]]}"#,
    ] {
        let error = read(&format!(r#"{{"name": "n", "network": "mcv", {key}}}"#)).unwrap_err();
        assert_eq!(error.code(), 7, "{key}");
    }
}

#[test]
fn an_overlay_needs_neither_parent_nor_prefix() {
    let spec = read(r#"{"name": "o", "driver": "overlay", "mtu": 0}"#).unwrap().unwrap();
    assert!(spec.subnets.is_empty() && spec.options.is_empty());
    assert_eq!(read(r#"{"name": "o", "driver": "overlay", "mode": "l2"}"#).unwrap_err().code(), 7);
}

#[test]
fn what_is_refused() {
    for (keys, code) in [
        (r#""ipam": {}"#, 7),
        (r#""linkInContainer": true, "ipam": {"subnet": "10.1.0.0/16"}"#, 2),
        (r#""bcqueuelen": 5000, "ipam": {"subnet": "10.1.0.0/16"}"#, 2),
        (r#""ipam": {"type": "dhcp"}"#, 2),
        (r#""ipam": {"subnet": "10.1.0.5/16"}"#, 7),
        (r#""ipam": {"subnet": "10.1.0.0"}"#, 7),
        (r#""ipam": {"rangeStart": "10.1.0.5"}"#, 7),
        (r#""ipam": {"subnet": "10.1.0.0/16", "rangeStart": "10.2.0.5"}"#, 7),
        (r#""ipam": {"subnet": "10.1.0.0/16", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.4"}"#, 7),
        (r#""ipam": {"subnet": "10.1.0.0/16", "gateway": "fd00::1"}"#, 7),
        (r#""ipam": {"ranges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "fd00::/64"}]]}"#, 7),
        (r#""ipam": {"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.2.0.0/16"}]]}"#, 2),
        (r#""ipam": {"ranges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.0.0/16"}]]}"#, 2),
        (r#""ipam": {"type": "static", "addresses": [{"address": "10.1.0.5"}]}"#, 7),
        (r#""vlan": 5, "vlanId": 6, "ipam": {"subnet": "10.1.0.0/16"}"#, 7),
        (r#""options": {"parent": "eth1"}, "ipam": {"subnet": "10.1.0.0/16"}"#, 7),
    ] {
        assert_eq!(with(keys).unwrap_err().code(), code, "{keys}");
    }
    assert_eq!(read(r#"{"name": "n", "ipam": {"subnet": "10.1.0.0/16"}}"#).unwrap_err().code(), 7);
    assert_eq!(read(r#"{"master": "eth0"}"#).unwrap_err().code(), 7);
    assert_eq!(read(r#"{"name": "-n"}"#).unwrap_err().code(), 7);
    assert_eq!(read("[]").unwrap_err().code(), 6);
    assert_eq!(read(r#"{"mtu": "x"}"#).unwrap_err().code(), 6);
}

/// The examples mean something, and what they say.
#[test]
fn the_examples() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/cni");
    let mut seen = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "conflist") {
            continue;
        }
        let list: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut first = list["plugins"][0].clone();
        (first["name"], first["cniVersion"]) = (list["name"].clone(), list["cniVersion"].clone());
        let config = Config::read(first.to_string().as_bytes()).unwrap();
        config.version().unwrap();
        let defined = definition(&config).unwrap().map(|spec| {
            spec.resolve().unwrap();
            spec.driver
        });
        seen.push(defined.unwrap_or_else(|| "named".into()));
    }
    seen.sort();
    assert_eq!(seen, ["ipvlan", "macvlan", "named", "overlay"]);
}
