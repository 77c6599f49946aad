//! The overlay document's own queries, unmodified but for the words `docker`, against a real Consul whose keys lie
//! where Docker's lay.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod cluster;

use cluster::{Underlay, until};
use lab::{ConsulOptions, ConsulServer, Host, StoreServer, TestDaemon};
use serde_json::Value;

/// The document's script, with the standard library's HTTP in the place of the module `consul`.
const ENDPOINTS: &str = r#"
import json, base64, urllib.request
url = "http://192.168.56.5:8500/v1/kv/docker/network/v1.0/endpoint/?recurse"
endpoints = json.load(urllib.request.urlopen(url))
epdata = [base64.b64decode(ep['Value']) for ep in endpoints if ep['Value'] is not None]
for data in epdata:
    jsondata = json.loads(data)
    print("Endpoint Name: %s" % jsondata["name"])
    print("IP address: %s" % jsondata["ep_iface"]["addr"])
    print("MAC address: %s" % jsondata["ep_iface"]["mac"])
    print("Locator: %s\n" % jsondata["locator"])
"#;

fn shell(host: &Host, line: &str) -> String {
    let output = host.run("sh", ["-c", line]).unwrap();
    output.stdout
}

#[test]
fn the_documents_queries_on_consul() {
    let underlay = Underlay::new(2);
    let consul = ConsulServer::start_with(underlay.site(0), ConsulOptions::default()).unwrap();
    let store = consul.url();
    let daemons: Vec<TestDaemon<'_>> = underlay
        .hosts
        .iter()
        .map(|host| {
            let prefix = ["--store-prefix", "docker/network/v1.0"];
            let arguments = [&["--store", &store, "--advertise", "eth0", "--host-name", host.name()], &prefix[..]];
            TestDaemon::start_with(host, &arguments.concat()).unwrap()
        })
        .collect();
    daemons[0]
        .ok(["network", "create", "--driver", "overlay", "--internal", "--subnet", "192.168.0.0/24", "demonet"])
        .unwrap();
    until(|| daemons[1].cli(["network", "inspect", "demonet"]).unwrap().success());
    daemons[0].ok(["run", "-d", "--ip", "192.168.0.100", "--net", "demonet", "--name", "C0", "sleep", "3600"]).unwrap();
    daemons[1].ok(["run", "-d", "--net", "demonet", "--name", "D0", "sleep", "3600"]).unwrap();
    let host = &underlay.hosts[0];
    let net = daemons[0].shell("trunkline network inspect demonet -f {{.Id}}").unwrap().stdout.trim().to_owned();
    let record = shell(
        host,
        &format!(
            "curl -s http://192.168.56.5:8500/v1/kv/docker/network/v1.0/network/{net}/ | jq -r '.[0].Value' | base64 -d | jq ."
        ),
    );
    let record: Value = serde_json::from_str(&record).unwrap();
    for (field, value) in [
        ("addrSpace", Value::from("GlobalDefault")),
        ("attachable", false.into()),
        ("enableIPv6", false.into()),
        ("id", net.as_str().into()),
        ("inDelete", false.into()),
        ("ingress", false.into()),
        ("internal", true.into()),
        ("ipamType", "default".into()),
        ("name", "demonet".into()),
        ("networkType", "overlay".into()),
        ("persist", true.into()),
        ("postIPv6", false.into()),
        ("scope", "global".into()),
    ] {
        assert_eq!(record[field], value, "{field} in {record}");
    }
    for field in ["created", "generic", "ipamOptions", "labels", "ipamV4Config", "ipamV4Info"] {
        assert!(!record[field].is_null(), "{field} in {record}");
    }
    assert!(record["created"].as_str().unwrap().ends_with('Z'));
    let config: Value = serde_json::from_str(record["ipamV4Config"].as_str().unwrap()).unwrap();
    assert_eq!(config[0]["PreferredPool"], "192.168.0.0/24");
    let listing = host.run("python3", ["-c", ENDPOINTS]).unwrap().stdout;
    for (name, address, mac, locator) in [
        ("C0", "192.168.0.100/24", "02:42:c0:a8:00:64", "192.168.56.11"),
        ("D0", "192.168.0.2/24", "02:42:c0:a8:00:02", "192.168.56.12"),
    ] {
        let expected =
            format!("Endpoint Name: {name}\nIP address: {address}\nMAC address: {mac}\nLocator: {locator}\n");
        assert!(listing.contains(&expected), "{expected}\nin\n{listing}");
    }
    assert_eq!(listing.matches("Endpoint Name").count(), 2, "{listing}");
    daemons[1].ok(["exec", "D0", "ping", "-c", "1", "192.168.0.100"]).unwrap();
}
