//! The lab itself, on any kernel with veth and bridges.

#![allow(clippy::unwrap_used, reason = "in what the tests share, too")]

use lab::{Host, Port, Sandbox, Switch};
use packet::{Payload, Transport};
use std::fs;
use trunkline_lab as lab;

fn two_hosts(switch: &Switch) -> (Host, Host) {
    let (one, two) = (Host::new("one").unwrap(), Host::new("two").unwrap());
    one.plug(switch, "eth0", &Port::Plain).unwrap();
    two.plug(switch, "eth0", &Port::Plain).unwrap();
    one.add_address("eth0", "192.168.1.1/24").unwrap();
    two.add_address("eth0", "192.168.1.2/24").unwrap();
    (one, two)
}

#[test]
fn two_hosts_on_a_switch_reach_each_other() {
    let switch = Switch::plain().unwrap();
    let (one, two) = two_hosts(&switch);
    let capture = two.capture("eth0").unwrap();
    let output = one.run("ping", ["-c", "1", "192.168.1.2"]).unwrap();
    assert!(output.stdout.contains(" 0% packet loss"), "{output}");

    let request = capture
        .wait_for(|frame| matches!(frame.payload, Payload::Arp(arp) if arp.request && arp.target.octets()[3] == 2))
        .unwrap();
    assert_eq!(request.source, one.mac("eth0").unwrap());
    assert_eq!(capture.count(|frame| matches!(frame.payload, Payload::Arp(arp) if !arp.request)), 1);
    let echoes = capture.count(|frame| match &frame.payload {
        Payload::Ip(datagram) => matches!(datagram.transport, Transport::Echo { sequence: 1, .. }),
        _ => false,
    });
    assert_eq!(echoes, 2, "request and reply");
}

#[test]
fn a_router_between_two_hosts() {
    let router = Host::new("router").unwrap();
    let (near, far) = (Host::new("near").unwrap(), Host::new("far").unwrap());
    router.wire("eth0", &near, "eth0").unwrap();
    router.wire("eth1", &far, "eth0").unwrap();
    router.forward().unwrap();
    for (host, link, address) in [
        (&router, "eth0", "10.0.1.1/24"),
        (&router, "eth1", "fd00:2::1/64"),
        (&router, "eth1", "10.0.2.1/24"),
        (&router, "eth0", "fd00:1::1/64"),
        (&near, "eth0", "10.0.1.2/24"),
        (&near, "eth0", "fd00:1::2/64"),
        (&far, "eth0", "10.0.2.2/24"),
        (&far, "eth0", "fd00:2::2/64"),
    ] {
        host.add_address(link, address).unwrap();
    }
    near.add_route("0.0.0.0/0", "10.0.1.1").unwrap();
    near.add_route("::/0", "fd00:1::1").unwrap();
    far.add_route("0.0.0.0/0", "10.0.2.1").unwrap();
    far.add_route("::/0", "fd00:2::1").unwrap();
    near.run("ping", ["-c", "1", "10.0.2.2"]).unwrap();
    near.run("ping", ["-c", "1", "fd00:2::2"]).unwrap();
}

#[test]
fn programs_see_their_own_host_only() {
    let switch = Switch::plain().unwrap();
    let (one, _two) = two_hosts(&switch);
    let links = one.run("ls", ["/sys/class/net"]).unwrap().stdout;
    let mut links: Vec<_> = links.split_whitespace().filter(|link| *link != "bonding_masters").collect();
    links.sort_unstable();
    assert_eq!(links, ["eth0", "lo"]);
    let mut known = one.links().unwrap();
    known.sort_unstable();
    assert_eq!(known, ["eth0", "lo"]);
    let inside = one.enter(|| fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
    let seen = one.run("readlink", ["/proc/self/ns/net"]).unwrap();
    assert_eq!(seen.stdout.trim(), inside.to_str().unwrap());
    let other = std::process::Command::new("readlink").arg(one.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&other.stdout).trim(), inside.to_str().unwrap());
}

#[test]
fn nothing_is_left_of_a_host() {
    let host = Host::new("short-lived").unwrap();
    let sandbox = Sandbox::new().unwrap();
    let paths = [host.path(), sandbox.path()];
    let namespaces = paths.clone().map(|path| fs::read_link(path).unwrap());
    drop((host, sandbox));
    // A descriptor of another test may have taken the number meanwhile.
    for (path, namespace) in paths.iter().zip(namespaces) {
        assert_ne!(fs::read_link(path).ok(), Some(namespace));
    }
}

#[test]
fn a_refusal_names_the_object_and_the_kernels_reason() {
    let host = Host::new("h").unwrap();
    let error = host.add_address("eth7", "10.0.0.1/8").unwrap_err();
    assert_eq!(error.to_string(), "host h has no link eth7");
    host.add_address("lo", "10.0.0.1/8").unwrap();
    let error = host.add_address("lo", "10.0.0.1/8").unwrap_err();
    assert_eq!(error.errno(), Some(17));
    assert!(error.to_string().starts_with("cannot add address 10.0.0.1/8 to lo on h: File exists"), "{error}");
    let error = host.run("ping", ["-c", "1", "192.0.2.1"]).unwrap_err();
    assert!(error.to_string().starts_with("`ping -c 1 192.0.2.1` on h ended with exit status: "), "{error}");
}

#[test]
fn a_service_answers_until_it_is_dropped() {
    let host = Host::new("server").unwrap();
    let address = "127.0.0.1:22".parse().unwrap();
    let connect = || host.enter(|| std::net::TcpStream::connect(address).map(drop)).unwrap();
    let service = host.listen(address).unwrap();
    connect().unwrap();
    drop(service);
    assert_eq!(connect().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}
