//! The macvlan/ipvlan document's transcript, by Docker's own command line on a real Docker Engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in what the tests share, too")]

mod docker;

use docker::{Pair, until};
use lab::{Host, Port, Switch};

const MACVLAN: &str = "network create -d trunkline-macvlan --ipam-driver trunkline";
const IPVLAN: &str = "network create -d trunkline-ipvlan --ipam-driver trunkline";

fn links(pair: &Pair<'_>) -> Vec<String> {
    let mut links = pair.host.links().unwrap();
    // Docker's own.
    links.retain(|link| link != "docker0");
    links.sort();
    links
}

fn ping6(pair: &Pair<'_>, container: &str, to: &str) {
    until(&format!("{container} reaches {to}"), || {
        pair.try_docker(&format!("exec {container} ping -6 -c 1 -W 1 {to}")).success()
    });
}

#[test]
fn macvlan_bridge_and_ipvlan_l2() {
    let switch = Switch::new().unwrap();
    let (host, server) = (Host::new("host").unwrap(), Host::new("server").unwrap());
    host.plug(&switch, "eth0", &Port::trunk([215]).native(1)).unwrap();
    host.plug(&switch, "eth1", &Port::Access(1)).unwrap();
    server.plug(&switch, "eth0", &Port::Access(1)).unwrap();
    server.add_address("eth0", "192.168.1.254/24").unwrap();
    let pair = Pair::start(&host);
    let before = links(&pair);
    pair.docker(&format!("{MACVLAN} --subnet 192.168.1.0/24 --gateway 192.168.1.254 -o parent=eth0 mcv"));
    let ping = pair.docker("run --net=mcv --rm busybox ping -c 4 192.168.1.254");
    assert!(ping.contains("4 packets received") || ping.contains("4 packets transmitted, 4"), "{ping}");
    pair.sleeper("--net=mcv --ip=192.168.1.30", "m1");
    assert!(pair.inside("m1", "ip address show eth0").contains("192.168.1.30/24"));
    assert!(pair.inside("m1", "ip route").contains("default via 192.168.1.254 dev eth0"));
    // Explicit ranges and excluded addresses.
    pair.docker(&format!(
        "{MACVLAN} --subnet 192.168.32.0/24 --ip-range 192.168.32.128/25 --gateway 192.168.32.254 --aux-address \
         exclude1=192.168.32.128 --aux-address exclude2=192.168.32.129 -o parent=eth0 -o name=macnet32 macnet32"
    ));
    pair.sleeper("--net=macnet32", "m2");
    assert!(pair.inside("m2", "ip address show eth0").contains("192.168.32.130/24"));
    // ipvlan l2 on another parent: no MAC of its own.
    pair.docker(&format!("{IPVLAN} --subnet 192.168.1.0/24 --ip-range 192.168.1.64/26 --gateway 192.168.1.254 -o ipvlan_mode=l2 -o parent=eth1 db_net"));
    pair.sleeper("--net=db_net", "d1");
    let parent = host.mac("eth1").unwrap().to_string();
    assert!(pair.inside("d1", "ip link show eth0").contains(&parent));
    pair.ping("d1", "192.168.1.254");
    pair.ping("d1", "192.168.1.30");
    pair.refuse("run --rm --net=db_net --mac-address 02:00:00:00:00:01 busybox true", &["custom mac address"]);
    pair.check();
    pair.docker("rm -f m1 m2 d1");
    pair.docker("network rm mcv macnet32 db_net");
    assert_eq!(links(&pair), before);
    pair.check();
}

#[test]
fn trunks_by_hand_and_provisioned() {
    let switch = Switch::new().unwrap();
    let hosts = ["one", "two"].map(|name| Host::new(name).unwrap());
    for host in &hosts {
        host.plug(&switch, "eth0", &Port::trunk([40, 215]).native(1)).unwrap();
    }
    let [host, other] = &hosts;
    other.add_vlan("eth0", "eth0.215", 215).unwrap();
    other.set_up("eth0.215").unwrap();
    other.add_address("eth0.215", "192.168.215.254/24").unwrap();
    let mut pair = Pair::start(host);
    // ip link add link eth0 name foo type vlan id 40
    host.add_vlan("eth0", "foo", 40).unwrap();
    host.set_up("foo").unwrap();
    let before = links(&pair);
    pair.docker(&format!("{IPVLAN} --subnet=192.168.40.0/24 --gateway=192.168.40.1 -o parent=foo ipvlan40"));
    pair.sleeper("--net=ipvlan40", "ivlan_test5");
    pair.sleeper("--net=ipvlan40 --ip 192.168.40.66", "ivlan_test6");
    pair.ping("ivlan_test5", "192.168.40.66");
    // The sub-interface that is not there is made.
    pair.docker(&format!(
        "{MACVLAN} --subnet=192.168.215.0/24 --gateway=192.168.215.1 --subnet=192.168.217.0/24 \
         --gateway=192.168.217.1 -o parent=eth0.215 -o macvlan_mode=bridge macnet215"
    ));
    assert!(host.has_link("eth0.215").unwrap());
    pair.sleeper("--net=macnet215 --ip=192.168.215.10", "va");
    pair.sleeper("--net=macnet215 --ip=192.168.217.10", "vb");
    pair.ping("va", "192.168.215.254");
    pair.docker("run --net=macnet215 --ip=192.168.217.11 --rm busybox ping -c 2 192.168.217.10");
    // It outlives both daemons, as the network does.
    pair.daemon.restart().unwrap();
    pair.dockerd.restart().unwrap();
    pair.docker("start va vb");
    pair.ping("va", "192.168.215.254");
    pair.check();
    pair.docker("rm -f ivlan_test5 ivlan_test6 va vb");
    pair.docker("network rm macnet215 ipvlan40");
    assert_eq!(links(&pair), before, "eth0.215 is gone, and foo is there");
    pair.check();
}

#[test]
fn ipvlan_l3_dual_stack() {
    let host = Host::new("host").unwrap();
    host.add_dummy("dm0").unwrap();
    host.set_up("dm0").unwrap();
    let pair = Pair::start(&host);
    // Gateways are ignored: default dev eth0.
    pair.docker(&format!(
        "{IPVLAN} --subnet=192.168.10.0/24 --subnet=192.168.12.0/24 --gateway=192.168.12.1 --ipv6 \
         --subnet=fded:7a74:dec4:5a18::/64 --gateway=fded:7a74:dec4:5a18::1 --subnet=fded:7a74:dec4:5a19::/64 \
         -o parent=dm0.10 -o ipvlan_mode=l3 dualstack"
    ));
    for (flags, name) in [
        ("--ip6=fded:7a74:dec4:5a18::81", "t1"),
        ("--ip=192.168.10.80 --ip6=fded:7a74:dec4:5a18::80", "t2"),
        ("--ip=192.168.12.90 --ip6=fded:7a74:dec4:5a19::90", "t3"),
    ] {
        pair.sleeper(&format!("--net=dualstack {flags}"), name);
    }
    for family in ["-4", "-6"] {
        let routes = pair.inside("t2", &format!("ip {family} route"));
        assert!(routes.contains("default dev eth0"), "{routes}");
    }
    // One link, and no ARP.
    assert_eq!(pair.inside("t2", "ls /sys/class/net").split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    assert!(pair.inside("t2", "ip link show eth0").contains("NOARP"));
    pair.ping("t2", "192.168.12.90");
    pair.ping("t3", "192.168.10.80");
    ping6(&pair, "t2", "fded:7a74:dec4:5a18::81");
    ping6(&pair, "t3", "fded:7a74:dec4:5a18::80");
    ping6(&pair, "t1", "fded:7a74:dec4:5a19::90");
    pair.check();
    // Without a parent: internal, on a dummy of its own.
    pair.docker(&format!("{IPVLAN} --subnet=10.50.0.0/24 -o ipvlan_mode=l3 inner"));
    pair.docker("network connect inner t1");
    pair.docker("network connect inner t2");
    let address = pair.docker("inspect -f {{.NetworkSettings.Networks.inner.IPAddress}} t1");
    pair.ping("t2", &address);
    pair.docker("rm -f t1 t2 t3");
    pair.docker("network rm dualstack inner");
    let mut left = links(&pair);
    left.retain(|link| link != "lo");
    assert_eq!(left, ["dm0"]);
    pair.check();
}
