//! The daemon killed 40 times under load (200 times where processes are quick: `ns_crash`): macvlan and ipvlan on trunks that it provisions, and on dummies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chance;
mod crash;

use lab::Host;
use model::NetworkSpec;

#[test]
fn kill_9_forty_times() {
    let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
    host.wire("eth0", &other, "eth0").unwrap();
    host.set_up("eth0").unwrap();
    let network = |name: &str, driver: &str, subnet: &str, options: &[(&str, &str)]| NetworkSpec {
        name: name.into(),
        driver: driver.into(),
        subnets: vec![subnet.into()],
        options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..NetworkSpec::default()
    };
    let specs = vec![
        // Two on one trunk, whose link goes with the last of them.
        network("macvlan1", "macvlan", "10.7.1.0/24", &[("parent", "eth0.31")]),
        network("macvlan2", "macvlan", "10.7.2.0/24", &[("parent", "eth0.31"), ("host_access", "true")]),
        network("qinq", "macvlan", "10.7.3.0/24", &[("parent", "eth0.100.10")]),
        network("l2", "ipvlan", "10.7.4.0/24", &[("parent", "eth0.40")]),
        network("l3", "ipvlan", "10.7.5.0/24", &[("parent", "eth0.52"), ("ipvlan_mode", "l3")]),
        network("dummy", "ipvlan", "10.7.6.0/24", &[]),
    ];
    crash::survive(&host, specs, 40);
}
