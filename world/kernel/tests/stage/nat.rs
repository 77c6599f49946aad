//! A network behind a host's address, beside the rules of others.

use super::{
    Sandbox,
    overlay::{Host, link, name, on_two_hosts, plan, put},
};
use ipnet::IpNet;
use model::LinkName;
use plan::{LinkKind, LinkTag, LinkTitle, VethPeer};
use trunkline_kernel::{Kernel, Place};

/// A bridge `gw` on the first host with two sandboxes on it; the second host is outside and knows no way back.
pub struct Yard<'a> {
    pub host: &'a Host,
    pub outside: &'a Host,
    pub a: Sandbox,
    pub b: Sandbox,
}

const PREFIXES: [&str; 2] = ["172.31.0.0/24", "fd31::/64"];
/// The outside.
pub const OUT: [&str; 2] = ["192.168.56.2", "fd56::2"];

pub fn in_a_yard(test: impl FnOnce(&Yard<'_>) + Send) {
    on_two_hosts("192.168.56.0/24", |host, outside| {
        host.within.ip("address add fd56::1/64 dev eth0 nodad");
        outside.within.ip("address add fd56::2/64 dev eth0 nodad");
        let mut bridge = plan(link("gw", LinkKind::Bridge, None, Some(1500)));
        bridge.addresses = ["172.31.0.1/24", "fd31::1/64"].map(|address| address.parse().unwrap()).to_vec();
        put(&host.kernel, &Place::Host, &bridge);
        let [a, b] = [2, 3].map(|number| sandbox(host, number));
        test(&Yard { host, outside, a, b });
    });
}

fn sandbox(host: &Host, number: u32) -> Sandbox {
    let sandbox = host.sandbox();
    let peer = VethPeer { place: None, title: LinkTitle::Numbered("veth".into()), tag: LinkTag(100 + number) };
    let mut inner = plan(link("eth%d", LinkKind::Veth(Some(peer)), None, Some(1500)));
    inner.link.tag = LinkTag(200 + number);
    inner.addresses = [format!("172.31.0.{number}/24"), format!("fd31::{number}/64")]
        .map(|address| address.parse().unwrap())
        .to_vec();
    inner.exclusive = false;
    put(&host.kernel, &sandbox.place(), &inner);
    let mut port = plan(link("veth%d", LinkKind::Veth(None), None, Some(1500)));
    port.link.tag = LinkTag(100 + number);
    port.master = Some(name("gw"));
    put(&host.kernel, &Place::Host, &port);
    sandbox.ip("route add default via 172.31.0.1");
    sandbox.ip("route add default via fd31::1");
    sandbox
}

pub fn prefixes() -> Vec<IpNet> {
    PREFIXES.map(|prefix| prefix.parse().unwrap()).to_vec()
}

pub fn bridge() -> LinkName {
    name("gw")
}

/// Whether an address answers. That it does not is told by the first refusal or by a short silence.
pub fn answers(from: &Sandbox, to: &str) -> bool {
    from.run(&format!("ping -c 1 -W 0.3 {to}")).0
}

/// Whether it answers, for as long as it takes.
pub fn must_answer(from: &Sandbox, to: &str) {
    let ask = || from.run(&format!("ping -c 1 -W 10 {to}"));
    // Who was asked for in vain a moment ago is given up when three questions went unanswered, and this packet with it
    // (net/core/neighbour.c, `neigh_timer_handler`); the next one asks anew.
    let (answered, said) = match ask() {
        (true, said) => (true, said),
        (false, _) => ask(),
    };
    assert!(answered, "{to}: {said}");
}

impl Yard<'_> {
    /// All rules there are.
    pub fn rules(&self) -> String {
        let mut commands = vec!["nft -s list ruleset", "iptables-nft -S", "ip6tables-nft -S"];
        for (family, names) in [("iptables-legacy -S", "ip_tables_names"), ("ip6tables-legacy -S", "ip6_tables_names")]
        {
            let file = format!("/proc/thread-self/net/{names}");
            if self.host.within.run(&format!("grep -q filter {file}")).0 {
                commands.push(family);
            }
        }
        commands.iter().map(|command| self.host.within.must(command)).collect()
    }

    pub fn masquerade(&self) {
        self.host.kernel.masquerade(&bridge(), &prefixes()).unwrap();
    }

    pub fn unmasquerade(&self) {
        self.host.kernel.unmasquerade(&bridge()).unwrap();
    }

    pub fn run(&self, commands: &str) {
        commands.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| {
            self.host.within.must(line);
        });
    }
}

/// Out and back, and nothing else.
pub fn the_way_out() {
    in_a_yard(|yard| {
        let before = yard.rules();
        for out in OUT {
            assert!(!answers(&yard.a, out));
        }
        // One that forwards and knows the way would get in.
        yard.outside.within.ip("route add 172.31.0.0/24 via 192.168.56.1");
        yard.outside.within.ip("route add fd31::/64 via fd56::1");
        yard.masquerade();
        for out in OUT {
            must_answer(&yard.a, out);
        }
        for inside in ["172.31.0.2", "fd31::2"] {
            assert!(!answers(&yard.outside.within, inside), "{inside} from outside");
            assert!(!answers(&yard.b, inside), "{inside} from beside");
            must_answer(&yard.host.within, inside);
        }
        let once = yard.rules();
        assert_ne!(once, before);
        yard.masquerade();
        assert_eq!(yard.rules(), once);
        for _ in 0..2 {
            yard.unmasquerade();
            assert_eq!(yard.rules(), before);
        }
        must_answer(&yard.b, "172.31.0.2");
    });
}

/// The rules that Docker 20.10 lays (recorded), with a container of its own behind docker0.
fn docker(yard: &Yard<'_>, iptables: &str) -> Sandbox {
    let host = yard.host;
    host.within.ip("link add docker0 type bridge");
    host.within.ip("address add 172.17.0.1/16 dev docker0");
    host.within.ip("link set docker0 up");
    let container = host.sandbox();
    let peer = VethPeer { place: None, title: LinkTitle::Numbered("veth".into()), tag: LinkTag(301) };
    let mut inner = plan(link("eth%d", LinkKind::Veth(Some(peer)), None, Some(1500)));
    inner.addresses = vec!["172.17.0.2/16".parse().unwrap()];
    inner.exclusive = false;
    put(&host.kernel, &container.place(), &inner);
    let mut port = plan(link("veth%d", LinkKind::Veth(None), None, Some(1500)));
    (port.link.tag, port.master) = (LinkTag(301), Some(name("docker0")));
    put(&host.kernel, &Place::Host, &port);
    container.ip("route add default via 172.17.0.1");
    let rules = "
        -P FORWARD DROP
        -N DOCKER
        -N DOCKER-ISOLATION-STAGE-1
        -N DOCKER-ISOLATION-STAGE-2
        -N DOCKER-USER
        -A FORWARD -j DOCKER-USER
        -A FORWARD -j DOCKER-ISOLATION-STAGE-1
        -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A FORWARD -o docker0 -j DOCKER
        -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
        -A FORWARD -i docker0 -o docker0 -j ACCEPT
        -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
        -A DOCKER-ISOLATION-STAGE-1 -j RETURN
        -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
        -A DOCKER-ISOLATION-STAGE-2 -j RETURN
        -A DOCKER-USER -j RETURN
        -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";
    let line = |line: &str| format!("{iptables} -w {}\n", line.trim());
    yard.run(&rules.trim().lines().map(line).collect::<String>());
    container
}

/// Beside Docker, whose iptables rules drop what is forwarded and not its own.
pub fn beside_docker(form: &str) {
    in_a_yard(|yard| {
        let container = docker(yard, &format!("iptables-{form}"));
        yard.run(&format!("ip6tables-{form} -w -P FORWARD DROP"));
        let before = yard.rules();
        yard.masquerade();
        for out in OUT {
            must_answer(&yard.a, out);
        }
        must_answer(&container, OUT[0]);
        assert!(!answers(&yard.a, "172.17.0.2"), "into Docker's network");
        assert!(!answers(&container, "172.31.0.2"), "out of Docker's network");
        assert!(!answers(&yard.b, "172.31.0.2"), "from beside");
        yard.outside.within.ip("route add 172.31.0.0/24 via 192.168.56.1");
        assert!(!answers(&yard.outside.within, "172.31.0.2"), "from outside");
        let once = yard.rules();
        yard.masquerade();
        assert_eq!(yard.rules(), once);
        // Docker starts anew, and flushes its chain.
        yard.run(&format!("iptables-{form} -w -F DOCKER-USER"));
        assert!(!answers(&yard.a, OUT[0]));
        yard.masquerade();
        must_answer(&yard.a, OUT[0]);
        yard.run(&format!("iptables-{form} -w -A DOCKER-USER -j RETURN"));
        assert_eq!(yard.rules(), once);
        for _ in 0..2 {
            yard.unmasquerade();
            assert_eq!(yard.rules(), before);
        }
    });
}

/// Beside a firewall that ends in a refusal, without Docker.
pub fn beside_a_firewall(form: &str) {
    in_a_yard(|yard| {
        yard.run(&format!("iptables-{form} -w -A FORWARD -j REJECT --reject-with icmp-host-prohibited"));
        let before = yard.rules();
        yard.masquerade();
        must_answer(&yard.a, OUT[0]);
        let once = yard.rules();
        yard.masquerade();
        assert_eq!(yard.rules(), once);
        // It opens up: exceptions are needed no more.
        yard.run(&format!("iptables-{form} -w -D FORWARD -j REJECT --reject-with icmp-host-prohibited"));
        yard.masquerade();
        assert!(!yard.rules().contains("trunkline gw"));
        must_answer(&yard.a, OUT[0]);
        yard.unmasquerade();
        yard.run(&format!("iptables-{form} -w -A FORWARD -j REJECT --reject-with icmp-host-prohibited"));
        assert_eq!(yard.rules(), before);
    });
}

/// Forwarding goes on, and the host still takes the router advertisements that it took.
pub fn forwarding() {
    in_a_yard(|yard| {
        let read = |key: &str| yard.host.within.must(&format!("cat /proc/sys/net/{key}")).trim().to_owned();
        assert_eq!((read("ipv4/ip_forward").as_str(), read("ipv6/conf/all/forwarding").as_str()), ("0", "0"));
        assert_eq!(read("ipv6/conf/eth0/accept_ra"), "1");
        yard.host.kernel.masquerade(&bridge(), &prefixes()[..1]).unwrap();
        assert_eq!((read("ipv4/ip_forward").as_str(), read("ipv6/conf/all/forwarding").as_str()), ("1", "0"));
        assert_eq!(read("ipv6/conf/eth0/accept_ra"), "1");
        yard.masquerade();
        assert_eq!((read("ipv4/ip_forward").as_str(), read("ipv6/conf/all/forwarding").as_str()), ("1", "1"));
        assert_eq!(read("ipv6/conf/eth0/accept_ra"), "2");
    });
}
