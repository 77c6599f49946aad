//! What the store holds.

use super::super::player::{Player, say};
use super::stage::{Hosts, Stage};
use lab::{Error, StoreServer};

/// The document's script, for etcd: name, address, MAC and locator of every endpoint.
const ENDPOINTS: &str = r#"jq -r '"Endpoint Name: \(.name)\nIP address: \(.ep_iface.addr)\nMAC address: \(.ep_iface.mac)\nLocator: \(.locator)\n"'"#;

pub(super) fn of_the_store(player: &mut Player<'_>, hosts: &Hosts, stage: &Stage<'_>) -> Result<(), Error> {
    player.section("The store's content");
    let etcdctl = format!("ETCDCTL_API=3 etcdctl --endpoints={}", stage.etcd.address());
    let keys = player.run_on(&hosts.store, &format!("{etcdctl} get --prefix --keys-only trunkline/v1/ | grep ."))?;
    let has = |word: &str| keys.stdout.contains(word);
    let all = [
        "trunkline/v1/network/",
        "trunkline/v1/endpoint/",
        "trunkline/v1/claim/",
        "trunkline/v1/host/",
        "trunkline/v1/vni/256/",
    ];
    player.expect("networks, endpoints, claims, hosts and the VNI", all.iter().all(|word| has(word)));
    let net = player.on("docker0").run("trunkline network inspect -f '{{.id}}' demonet")?.stdout.trim().to_owned();
    let record =
        player.run_on(&hosts.store, &format!("{etcdctl} get --print-value-only trunkline/v1/network/{net}/ | jq ."))?;
    let fields = [
        r#""name": "demonet""#,
        r#""networkType": "overlay""#,
        r#""scope": "global""#,
        r#""addrSpace": "GlobalDefault""#,
        r#""ipamV4Config""#,
    ];
    player.expect(
        "the network's record, with the fields that Docker's had",
        fields.iter().all(|f| record.stdout.contains(f)),
    );
    let endpoints = player.run_on(
        &hosts.store,
        &format!("{etcdctl} get --prefix --print-value-only trunkline/v1/endpoint/{net}/ | {ENDPOINTS}"),
    )?;
    let lines = [
        "Endpoint Name: C0",
        "IP address: 192.168.0.100/24",
        "MAC address: 02:42:c0:a8:00:64",
        "Locator: 192.168.56.11",
        "Locator: 192.168.56.12",
    ];
    player
        .expect("name, address, MAC and locator of every endpoint", lines.iter().all(|l| endpoints.stdout.contains(l)));
    say("");
    Ok(())
}
