//! A host whose underlay carries less than the others'.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod rig;

use rig::cluster::Cluster;
use rig::{eventually, spec};

const WARNING: &str = "host host2 takes packets of 1400 bytes, this overlay sends up to 1500: make it with -o \
                       mtu=1350, or raise the MTU there";

#[test]
fn it_is_told_where_it_matters_until_it_is_mended() {
    let cluster = Cluster::new(3);
    let [a, b, c] = &cluster.hosts[..] else { unreachable!() };
    b.kernel.change_host_link("eth0", |link| link.mtu = 1400);
    let known = |mtu| {
        let is_so = |h: &model::view::HostView| h.name == b.name && h.underlay_mtu == Some(mtu);
        [a, c].iter().all(|host| host.engine().hosts().iter().any(is_so))
    };
    eventually("the others know", || known(1400));
    let plan = spec("overlay", "n", &["10.9.0.0/24"], &[]);
    assert_eq!(a.engine().plan_network(&plan).unwrap().warnings, [WARNING]);
    assert_eq!(a.engine().create_network(&plan).unwrap().warnings, [WARNING]);
    cluster.await_network("n");
    let shown = |host: &rig::cluster::Member| host.engine().network("n").unwrap().warnings;
    assert_eq!((shown(a), shown(c), shown(b)), (vec![WARNING.to_owned()], vec![WARNING.to_owned()], vec![]));
    // Of no concern to a host that has nothing on it.
    let told = || a.engine().status().degraded.into_iter().map(|f| f.problem).collect::<Vec<_>>();
    assert_eq!((told(), a.findings()), (vec![], vec![]));
    a.attach("n", "c0").unwrap();
    assert_eq!((told(), a.findings()), (vec![WARNING.to_owned()], vec![format!("overlay n: {WARNING}")]));
    // One that was made for it has nothing to warn of, nor have other drivers.
    let small = a.engine().create_network(&spec("overlay", "small", &["10.10.0.0/24"], &[("mtu", "1350")])).unwrap();
    let lan = a.engine().create_network(&spec("macvlan", "lan", &["192.168.9.0/24"], &[("parent", "eth0")])).unwrap();
    assert_eq!((small.warnings, lan.warnings), (vec![], vec![]));
    let large = a.engine().create_network(&spec("overlay", "large", &["10.11.0.0/24"], &[("mtu", "8000")])).unwrap();
    assert_eq!(large.warnings.len(), 2, "{:?}", large.warnings);
    // The MTU is raised: the host tells the others.
    b.kernel.change_host_link("eth0", |link| link.mtu = 1500);
    eventually("the others know", || known(1500));
    assert_eq!((told(), a.findings(), shown(c)), (vec![], vec![], vec![]));
}
