//! The lab's VLANs, on a kernel with 802.1Q, dummies and VLAN filtering in bridges.

#![allow(clippy::unwrap_used, reason = "in what the tests share, too")]

use lab::{Host, Port, Switch};
use packet::{Payload, Transport};
use trunkline_lab as lab;

fn access(switch: &Switch, name: &str, vlan: u16, address: &str) -> Host {
    let host = Host::new(name).unwrap();
    host.plug(switch, "eth0", &Port::Access(vlan)).unwrap();
    host.add_address("eth0", address).unwrap();
    host
}

fn is_echo(payload: &Payload) -> bool {
    matches!(payload, Payload::Ip(datagram) if matches!(datagram.transport, Transport::Echo { .. }))
}

#[test]
fn a_trunk_carries_tags_and_an_access_port_none() {
    let switch = Switch::new().unwrap();
    let host = Host::new("host").unwrap();
    let trunk = host.plug(&switch, "eth0", &Port::trunk([10, 20]).native(1)).unwrap();
    for (link, id, address) in [("eth0.10", 10, "192.168.10.1/24"), ("foo", 20, "192.168.20.1/24")] {
        host.add_vlan("eth0", link, id).unwrap();
        host.set_up(link).unwrap();
        host.add_address(link, address).unwrap();
    }
    host.add_address("eth0", "192.168.1.1/24").unwrap();
    let on_ten = access(&switch, "ten", 10, "192.168.10.2/24");
    let _on_twenty = access(&switch, "twenty", 20, "192.168.20.2/24");
    let _native = access(&switch, "native", 1, "192.168.1.2/24");

    let on_trunk = switch.capture(&trunk).unwrap();
    let on_access = on_ten.capture("eth0").unwrap();
    for address in ["192.168.10.2", "192.168.20.2", "192.168.1.2"] {
        host.run("ping", ["-c", "1", address]).unwrap();
    }
    let echoes = |vlans: &[u16]| on_trunk.count(|frame| is_echo(&frame.payload) && frame.vlans() == vlans);
    assert_eq!([echoes(&[10]), echoes(&[20]), echoes(&[])], [2, 2, 2]);
    assert_eq!(on_access.count(|frame| !frame.tags.is_empty()), 0);
    assert_eq!(on_access.count(|frame| is_echo(&frame.payload)), 2);
    on_trunk.wait_for(|frame| frame.tags.first().is_some_and(|tag| tag.protocol == 0x8100 && tag.id == 20)).unwrap();
}

#[test]
fn vlans_are_kept_apart() {
    let switch = Switch::new().unwrap();
    let one = access(&switch, "one", 10, "192.168.1.1/24");
    let _same = access(&switch, "same", 10, "192.168.1.2/24");
    let other = access(&switch, "other", 20, "192.168.1.3/24");
    let capture = other.capture("eth0").unwrap();
    one.run("ping", ["-c", "1", "192.168.1.2"]).unwrap();
    let output = one.output("ping", ["-c", "1", "-W", "1", "192.168.1.3"]).unwrap();
    assert!(!output.success(), "{output}");
    let from_one = one.mac("eth0").unwrap();
    assert_eq!(capture.count(|frame| frame.source == from_one), 0);
}

#[test]
fn pre_made_links() {
    let host = Host::new("host").unwrap();
    host.add_dummy("dm0").unwrap();
    host.add_vlan("dm0", "dm0.40", 40).unwrap();
    assert!(host.has_link("dm0.40").unwrap());
    let shown = host.run("ip", ["-d", "link", "show", "dm0.40"]).unwrap().stdout;
    assert!(shown.contains("dm0.40@dm0") && shown.contains("vlan protocol 802.1Q id 40"), "{shown}");
    host.delete("dm0").unwrap();
    assert_eq!(host.links().unwrap(), ["lo"]);
}
