//! Real stores on hosts of a lab, reached over its network.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{IpAddr, TcpStream};
use trunkline_lab::{
    ConsulCluster, ConsulOptions, ConsulServer, EtcdCluster, EtcdOptions, EtcdServer, Host, Site, StoreServer,
};

/// Hosts with an address each, on one plain bridge.
fn hosts(bridge: &Host, n: u8) -> Vec<(Host, IpAddr)> {
    bridge.run("ip", ["link", "add", "br0", "up", "type", "bridge"]).unwrap();
    let host = |i: u8| {
        let (host, port) = (Host::new(&format!("h{i}")).unwrap(), format!("p{i}"));
        host.wire("eth0", bridge, &port).unwrap();
        bridge.run("ip", ["link", "set", &port, "master", "br0"]).unwrap();
        host.add_address("eth0", &format!("192.0.2.{i}/24")).unwrap();
        (host, IpAddr::from([192, 0, 2, i]))
    };
    (1..=n).map(host).collect()
}

#[test]
fn etcd_on_three_hosts() {
    let bridge = Host::new("bridge").unwrap();
    let hosts = hosts(&bridge, 4);
    let sites: Vec<Site<'_>> = hosts[..3].iter().map(|(host, address)| Site::on(host, *address)).collect();
    let mut cluster = EtcdCluster::start_with(&sites, &EtcdOptions::default()).unwrap();
    assert_eq!(cluster.addresses(), "192.0.2.1:2379,192.0.2.2:2379,192.0.2.3:2379");
    cluster.members[0].ctl(&["put", "a", "1"]).unwrap();
    assert_eq!(cluster.members[2].ctl(&["get", "--print-value-only", "a"]).unwrap().trim(), "1");
    cluster.members[0].kill9().unwrap();
    // It may have been the leader: what is asked before there is another may be given up.
    while cluster.members[1].ctl(&["put", "a", "2"]).is_err() {}
    cluster.members[0].launch().unwrap();
    assert_eq!(cluster.members[0].ctl(&["get", "--print-value-only", "a"]).unwrap().trim(), "2");
    // Seen by the fourth host, and not by this machine.
    let address = cluster.members[0].address();
    hosts[3].0.enter(|| TcpStream::connect(address)).unwrap().unwrap();
    let local = EtcdServer::start().unwrap();
    assert!(local.address().ip().is_loopback());
}

#[test]
fn consul_on_three_hosts() {
    let bridge = Host::new("bridge").unwrap();
    let hosts = hosts(&bridge, 3);
    let sites: Vec<Site<'_>> = hosts.iter().map(|(host, address)| Site::on(host, *address)).collect();
    let cluster = ConsulCluster::start_with(&sites, &ConsulOptions::default()).unwrap();
    cluster.members[0].ctl(&["kv", "put", "a", "1"]).unwrap();
    assert_eq!(cluster.members[2].ctl(&["kv", "get", "a"]).unwrap().trim(), "1");
    let local = ConsulServer::start().unwrap();
    let snapshot = local.snapshot().unwrap();
    local.ctl(&["kv", "put", "b", "1"]).unwrap();
    local.restore(&snapshot).unwrap();
    assert!(local.ctl(&["kv", "get", "b"]).is_err());
}
