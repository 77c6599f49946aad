//! The daemon killed 200 times under load: macvlan on cards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chance;
mod crash;

use lab::Host;
use model::NetworkSpec;

#[test]
fn kill_9_two_hundred_times() {
    let (host, other) = (Host::new("host").unwrap(), Host::new("other").unwrap());
    let mut specs = Vec::new();
    for n in 0..6 {
        let card = format!("eth{n}");
        host.wire(&card, &other, &card).unwrap();
        host.set_up(&card).unwrap();
        let mut spec = NetworkSpec { name: format!("net{n}"), driver: "macvlan".into(), ..NetworkSpec::default() };
        spec.subnets = vec![format!("10.7.{n}.0/24"), format!("fd07:{n}::/64")];
        spec.options = [("parent", card.as_str()), ("host_access", "true")].map(|(k, v)| (k.into(), v.into())).into();
        specs.push(spec);
    }
    crash::survive(&host, specs, 200);
}
