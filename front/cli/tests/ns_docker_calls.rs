//! What Docker asks its plugins, asked by hand: every question twice, as Docker does that lost an answer, and with the
//! daemon killed after each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in what the tests share, too")]

use lab::{Host, TestDaemon};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What a plugin answers: its status and its body.
fn ask(plugins: &Path, plugin: &str, method: &str, body: &Value) -> (u16, String) {
    let mut stream = UnixStream::connect(plugins.join(format!("{plugin}.sock"))).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    // As Docker does: no content type.
    let head = "Host: plugin.moby.localhost\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\nConnection: close";
    write!(stream, "POST /{method} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

struct Plugins<'h> {
    daemon: TestDaemon<'h>,
    directory: tempfile::TempDir,
    /// Whether each question is asked twice, and the daemon killed in between.
    harsh: bool,
}

const MACVLAN: &str = "trunkline-macvlan";
const IPAM: &str = "trunkline";
const EID: &str = "e1d0000000000000000000000000000000000000000000000000000000000001";
const NID: &str = "d0c0000000000000000000000000000000000000000000000000000000000001";

impl<'h> Plugins<'h> {
    fn start(host: &'h Host, harsh: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display().to_string();
        let daemon = TestDaemon::start_with(host, &["--docker-plugins", &at]).unwrap();
        Self { daemon, directory, harsh }
    }

    fn once(&self, plugin: &str, method: &str, body: &Value) -> Value {
        let (status, text) = ask(self.directory.path(), plugin, method, body);
        assert_eq!(status, 200, "{method} {body}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A question that is answered.
    fn ask(&mut self, plugin: &str, method: &str, body: Value) -> Value {
        let first = self.once(plugin, method, &body);
        assert!(first.get("Err").is_none() && first.get("Error").is_none(), "{method} {body}: {first}");
        if self.harsh {
            assert_eq!(self.once(plugin, method, &body), first, "{method} {body}");
            self.daemon.kill9().unwrap();
            self.daemon.launch().unwrap();
            assert_eq!(self.once(plugin, method, &body), first, "{method} {body} after a kill");
        }
        first
    }

    /// A question that is refused, in these words.
    fn refused(&self, plugin: &str, method: &str, body: &Value) -> String {
        let answer = self.once(plugin, method, body);
        let field = if plugin == IPAM { "Error" } else { "Err" };
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
        answer[field].as_str().unwrap().to_owned()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.daemon.ok(line.split(' ').chain(["--format", "json"])).unwrap()).unwrap()
    }
}

/// A network with one endpoint from its pool to its end.
fn life(plugins: &mut Plugins<'_>, host: &Host, sandbox: &Host) {
    let pool = json!({ "AddressSpace": "trunkline", "Pool": "10.1.0.0/24", "SubPool": "", "Options": {}, "V6": false });
    let pool = plugins.ask(IPAM, "IpamDriver.RequestPool", pool);
    assert_eq!((&pool["Pool"], &pool["PoolID"]), (&json!("10.1.0.0/24"), &json!("trunkline/10.1.0.0/24")));
    let gateway = json!({ "PoolID": pool["PoolID"], "Address": "10.1.0.254",
        "Options": { "RequestAddressType": "com.docker.network.gateway" } });
    let gateway = plugins.ask(IPAM, "IpamDriver.RequestAddress", gateway);
    assert_eq!(gateway["Address"], "10.1.0.254/24");
    let network = json!({ "NetworkID": NID, "IPv6Data": [],
        "Options": { "com.docker.network.enable_ipv6": false, "com.docker.network.generic": { "parent": "eth0" } },
        "IPv4Data": [{ "AddressSpace": "trunkline", "Pool": "10.1.0.0/24", "Gateway": "10.1.0.254/24" }] });
    plugins.ask(MACVLAN, "NetworkDriver.CreateNetwork", network);
    let address = json!({ "PoolID": pool["PoolID"], "Address": "10.1.0.7", "Options": null });
    assert_eq!(plugins.ask(IPAM, "IpamDriver.RequestAddress", address.clone())["Address"], "10.1.0.7/24");
    let endpoint = json!({ "NetworkID": NID, "EndpointID": EID, "Options": {},
        "Interface": { "Address": "10.1.0.7/24", "AddressIPv6": "", "MacAddress": "" } });
    let endpoint = plugins.ask(MACVLAN, "NetworkDriver.CreateEndpoint", endpoint);
    assert_eq!(endpoint["Interface"], json!({ "MacAddress": "02:42:0a:01:00:07" }), "nothing that was given");
    assert!(plugins.refused(IPAM, "IpamDriver.RequestAddress", &address).contains("in use"));
    let both = json!({ "NetworkID": NID, "EndpointID": EID });
    assert_eq!(plugins.ask(MACVLAN, "NetworkDriver.EndpointOperInfo", both.clone()), json!({ "Value": {} }));
    let join = json!({ "NetworkID": NID, "EndpointID": EID, "SandboxKey": sandbox.path(), "Options": {} });
    let join = plugins.ask(MACVLAN, "NetworkDriver.Join", join);
    assert_eq!((&join["Gateway"], &join["DisableGatewayService"]), (&json!("10.1.0.254"), &json!(false)));
    let link = join["InterfaceName"]["SrcName"].as_str().unwrap().to_owned();
    assert_eq!(join["InterfaceName"]["DstPrefix"], "eth");
    // The engine takes it.
    let take = format!("ip link set {link} netns /proc/self/fd/9 9<{}", sandbox.path().display());
    host.run("sh", ["-c", &take]).unwrap();
    for line in
        [format!("link set {link} name eth0"), "address add 10.1.0.7/24 dev eth0".into(), "link set eth0 up".into()]
    {
        sandbox.run("ip", line.split(' ')).unwrap();
    }
    for _ in 0..100 {
        if plugins.json("endpoint ls")[0]["path"] == json!(sandbox.path()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(plugins.json("endpoint ls")[0]["path"], json!(sandbox.path()), "{}", plugins.daemon.log());
    // What it did there is its own.
    sandbox.run("ip", ["address", "del", "10.1.0.7/24", "dev", "eth0"]).unwrap();
    sandbox.run("ip", ["address", "add", "10.1.0.99/24", "dev", "eth0"]).unwrap();
    assert_eq!(plugins.json("check"), json!([]));
    plugins.daemon.restart().unwrap();
    let shown = sandbox.run("ip", ["address", "show", "eth0"]).unwrap().stdout;
    assert!(shown.contains("10.1.0.99/24") && !shown.contains("10.1.0.7/24"), "{shown}");

    plugins.ask(MACVLAN, "NetworkDriver.Leave", both.clone());
    plugins.ask(MACVLAN, "NetworkDriver.DeleteEndpoint", both);
    assert!(!sandbox.has_link("eth0").unwrap(), "deleted where it was");
    // The address is kept until it is given back.
    let claims = plugins.daemon.ok(["store", "export"]).unwrap();
    assert!(claims.contains("claim/10.1.0.0_24/10.1.0.7/"), "{claims}");
    plugins.ask(IPAM, "IpamDriver.ReleaseAddress", address);
    let claims = plugins.daemon.ok(["store", "export"]).unwrap();
    assert!(!claims.contains("claim/10.1.0.0_24/10.1.0.7/"), "{claims}");
    plugins.ask(MACVLAN, "NetworkDriver.DeleteNetwork", json!({ "NetworkID": NID }));
    plugins.ask(IPAM, "IpamDriver.ReleaseAddress", json!({ "PoolID": pool["PoolID"], "Address": "10.1.0.254" }));
    plugins.ask(IPAM, "IpamDriver.ReleasePool", json!({ "PoolID": pool["PoolID"] }));
    for listing in ["check", "network ls", "endpoint ls"] {
        assert_eq!(plugins.json(listing), json!([]), "{listing}");
    }
}

fn host() -> (Host, Host) {
    let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
    host.wire("eth0", &other, "eth0").unwrap();
    (host, other)
}

#[test]
fn each_question_once() {
    let (host, _other) = host();
    let mut plugins = Plugins::start(&host, false);
    // Twice over: nothing of the first is left.
    for _ in 0..2 {
        life(&mut plugins, &host, &Host::new("sandbox").unwrap());
    }
}

#[test]
fn each_question_three_times_and_killed_in_between() {
    let (host, _other) = host();
    let mut plugins = Plugins::start(&host, true);
    life(&mut plugins, &host, &Host::new("sandbox").unwrap());
}

#[test]
fn discovery_and_nonsense() {
    let (host, _other) = host();
    let plugins = Plugins::start(&host, false);
    for (plugin, implements) in [
        ("trunkline-macvlan", "NetworkDriver"),
        ("trunkline-ipvlan", "NetworkDriver"),
        ("trunkline-overlay", "NetworkDriver"),
        (IPAM, "IpamDriver"),
    ] {
        assert_eq!(plugins.once(plugin, "Plugin.Activate", &Value::Null), json!({ "Implements": [implements] }));
    }
    let capabilities = plugins.once(MACVLAN, "NetworkDriver.GetCapabilities", &Value::Null);
    assert_eq!(capabilities, json!({ "Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": true }));
    let check = |plugin: &str, generic: Value| {
        plugins.once(
            plugin,
            "NetworkDriver.GwAllocCheck",
            &json!({ "Options": { "com.docker.network.generic": generic } }),
        )
    };
    let answer = |skip: bool| json!({ "SkipIPv4": skip, "SkipIPv6": skip });
    assert_eq!(check(MACVLAN, Value::Null), answer(true));
    assert_eq!(check("trunkline-overlay", Value::Null), answer(false));
    assert_eq!(check("trunkline-overlay", json!({ "network": "n" })), answer(true));
    for (plugin, method) in
        [(MACVLAN, "NetworkDriver.AllocateNetwork"), (MACVLAN, "IpamDriver.RequestPool"), (IPAM, "x")]
    {
        assert_eq!(ask(plugins.directory.path(), plugin, method, &Value::Null).0, 404, "{method}");
    }
    let unknown = json!({ "NetworkID": NID, "EndpointID": EID, "SandboxKey": "/x" });
    for method in ["Leave", "DeleteEndpoint", "DeleteNetwork"] {
        assert_eq!(plugins.once(MACVLAN, &format!("NetworkDriver.{method}"), &unknown), json!({}), "gone before");
    }
    assert!(plugins.refused(MACVLAN, "NetworkDriver.Join", &unknown).contains("not found"));
    assert!(plugins.refused(MACVLAN, "NetworkDriver.CreateEndpoint", &unknown).contains("not found"));
    assert!(plugins.refused(MACVLAN, "NetworkDriver.Join", &json!("x")).contains("cannot be read"));
    assert!(plugins.refused(IPAM, "IpamDriver.RequestPool", &json!({ "SubPool": "10.1.0.0/25" })).contains("--subnet"));
    assert!(plugins.refused(IPAM, "IpamDriver.RequestPool", &json!({ "Pool": "10.1.0.1/24" })).contains("10.1.0.1/24"));
    assert!(
        plugins
            .refused(IPAM, "IpamDriver.RequestAddress", &json!({ "PoolID": "LocalDefault/10.1.0.0/24" }))
            .contains("PoolID")
    );
    // Any of our choice, one after the other, in both families.
    let chosen = |ipv6: bool| plugins.once(IPAM, "IpamDriver.RequestPool", &json!({ "V6": ipv6 }))["Pool"].clone();
    let (first, second) = (chosen(false), chosen(false));
    assert!(first != second && chosen(true).as_str().unwrap().starts_with("fd"), "{first} {second}");
    assert_eq!(plugins.json("check"), json!([]));
}
