//! The Debian package on a machine with systemd: installed, started by its sockets, upgraded, removed, purged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use lab::{Host, Machine, Port, Switch};
use std::path::PathBuf;
use std::process::Stdio;

/// The package: `cargo xtask test` builds it.
fn package() -> PathBuf {
    let path = std::env::var_os("TRUNKLINE_DEB").map(PathBuf::from);
    path.unwrap_or_else(|| panic!("TRUNKLINE_DEB names no package: build it with `cargo xtask deb`"))
}

/// A machine on a LAN, with the package installed; and a router there.
struct Rig<'h> {
    machine: Machine<'h>,
    router: &'h Host,
}

fn lan() -> (Switch, Host, Host) {
    let switch = Switch::plain().unwrap();
    let (host, router) = (Host::new("host").unwrap(), Host::joined("router", &switch, "192.168.1.1/24").unwrap());
    host.plug(&switch, "eth0", &Port::Plain).unwrap();
    (switch, host, router)
}

impl<'h> Rig<'h> {
    fn installed(host: &'h Host, router: &'h Host) -> Self {
        let machine = Machine::boot(host).unwrap();
        machine.put(&package(), "/root/trunkline.deb").unwrap();
        let rig = Self { machine, router };
        rig.ok("dpkg -i /root/trunkline.deb");
        rig
    }

    fn ok(&self, line: &str) -> String {
        self.machine.ok(line).unwrap_or_else(|error| {
            let journal = self.machine.ok("journalctl --no-pager -n 40 -u 'trunkline*'").unwrap_or_default();
            panic!("{error}\n{journal}")
        })
    }

    fn property(&self, name: &str) -> String {
        self.ok(&format!("systemctl show trunkline.service -P {name}"))
    }

    fn lan(&self) {
        self.ok("trunkline network create --subnet 192.168.1.0/24 --gateway 192.168.1.1 -o parent=eth0 mcv");
        self.ok("trunkline run -d --name web --net mcv --ip 192.168.1.20 -- sleep 100000");
        self.ping();
    }

    fn ping(&self) {
        self.router.run("ping", ["-c", "1", "192.168.1.20"]).unwrap();
    }
}

#[test]
fn it_is_installed_upgraded_and_removed() {
    let (_switch, host, router) = lan();
    let rig = Rig::installed(&host, &router);
    assert_eq!(rig.ok("systemctl is-active trunkline.socket trunkline.service"), "active\nactive");
    assert_eq!(rig.ok("systemctl is-enabled trunkline.socket trunkline.service"), "enabled\nenabled");
    rig.lan();
    // An upgrade is a new daemon, and no lost packet.
    let before = rig.property("MainPID");
    let mut pings = rig.router.command("ping", ["-i", "0.01", "-q", "192.168.1.20"]);
    pings.stdout(Stdio::piped());
    let pings = rig.router.spawn(pings).unwrap();
    rig.ok("dpkg -i /root/trunkline.deb");
    assert_eq!(rig.ok("systemctl is-active trunkline.socket trunkline.service"), "active\nactive");
    assert_ne!(rig.property("MainPID"), before);
    assert!(rig.ok("trunkline ps").contains("web"));
    rig.router.run("kill", ["-INT", &pings.id().to_string()]).unwrap();
    let answered = String::from_utf8(pings.wait_with_output().unwrap().stdout).unwrap();
    assert!(answered.contains(" 0% packet loss"), "{answered}");
    rig.ping();
    // Settings that somebody changed are theirs.
    rig.ok("echo 'log_format = \"json\"' >> /etc/trunkline/trunkline.toml");
    rig.ok("dpkg -i /root/trunkline.deb");
    rig.ok("grep -q json /etc/trunkline/trunkline.toml");
    // Links for engines go with the programs that they lead to; a container's network stays.
    rig.ok("trunkline install --podman --docker");
    rig.ok("dpkg -r trunkline");
    assert_eq!(rig.ok("find /usr/local/libexec /etc/systemd/system/sockets.target.wants -name 'trunkline-*'"), "");
    rig.ping();
    assert!(rig.machine.ok("systemctl is-active trunkline.service").is_err());
    rig.ok("test -e /etc/trunkline/trunkline.toml && test -e /var/lib/trunkline/trunkline.redb");
    // Installed again it knows what is there.
    rig.ok("dpkg -i /root/trunkline.deb");
    assert!(rig.ok("trunkline ps").contains("web"));
    rig.ok("trunkline rm -f web");
    rig.ok("dpkg -P trunkline");
    rig.ok("test ! -e /var/lib/trunkline && test ! -e /etc/trunkline && test ! -e /usr/lib/trunkline");
    assert_eq!(rig.ok("find /etc/systemd /var/lib/systemd/deb-systemd-helper-enabled -name 'trunkline*'"), "");
}

/// Whoever asks while no daemon runs starts one; no request is lost meanwhile.
#[test]
fn its_sockets_start_it() {
    let (_switch, host, router) = lan();
    let rig = Rig::installed(&host, &router);
    rig.lan();
    rig.ok("systemctl stop trunkline.service");
    assert_eq!(rig.ok("systemctl is-active trunkline.socket"), "active");
    assert!(rig.machine.ok("systemctl is-active trunkline.service").is_err());
    rig.ping();
    assert!(rig.ok("trunkline network ls").contains("mcv"));
    assert_eq!(rig.ok("systemctl is-active trunkline.service"), "active");
    assert_eq!(rig.ok("stat -c '%a %U:%G' /run/trunkline/trunkline.sock"), "660 root:root");
    // A daemon that dies comes back by itself.
    rig.ok("systemctl kill -s KILL trunkline.service");
    assert!(rig.ok("trunkline ps").contains("web"));
    rig.ping();
    assert_eq!(rig.ok("trunkline check --format json"), "[]");
}

/// Docker's plugins have sockets of their own, which start the daemon, too.
#[test]
fn its_sockets_for_docker() {
    let (_switch, host, router) = lan();
    let rig = Rig::installed(&host, &router);
    let said = rig.ok("trunkline install --docker");
    rig.ok(said.lines().last().unwrap().strip_prefix("next: ").unwrap());
    let ask = |plugin: &str| {
        let socket = rig.machine.here(&format!("/run/docker/plugins/{plugin}.sock")).display().to_string();
        host.run("curl", ["-sS", "-X", "POST", "--unix-socket", &socket, "http://plugin/Plugin.Activate"])
            .unwrap()
            .stdout
    };
    rig.ok("systemctl stop trunkline.service");
    assert!(ask("trunkline").contains("IpamDriver"));
    for driver in ["trunkline-macvlan", "trunkline-ipvlan", "trunkline-overlay"] {
        assert!(ask(driver).contains("NetworkDriver"), "{driver}");
    }
    rig.lan();
    // An upgrade leaves all sockets as they are.
    rig.ok("dpkg -i /root/trunkline.deb");
    assert!(ask("trunkline-overlay").contains("NetworkDriver"));
    assert_eq!(rig.ok("systemctl is-active 'trunkline*'").lines().filter(|line| *line == "active").count(), 6);
}

/// The unit leaves the daemon the machine's mounts, and takes from it what it does not need.
#[test]
fn its_unit_is_sound() {
    let (_switch, host, router) = lan();
    let rig = Rig::installed(&host, &router);
    rig.ok(
        "systemd-analyze verify --man=no /usr/lib/systemd/system/trunkline*.service /usr/lib/systemd/system/trunkline*.socket",
    );
    let pid = rig.property("MainPID");
    let namespace = |pid: &str| rig.ok(&format!("readlink /proc/{pid}/ns/mnt"));
    assert_eq!(namespace(&pid), namespace("1"));
    let status = rig.ok(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    // CAP_DAC_READ_SEARCH 2, NET_BIND_SERVICE 10, NET_BROADCAST 11, NET_ADMIN 12, NET_RAW 13, SYS_PTRACE 19, SYS_ADMIN 21.
    let wanted = [2, 10, 11, 12, 13, 19, 21].iter().fold(0u64, |set, bit| set | 1 << bit);
    for set in ["CapBnd:", "CapPrm:", "CapEff:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), wanted, "{set}");
    }
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    // Overlays' namespaces, NAT, ipvlan's and macvlan's settings: all within these limits.
    host.add_address("eth0", "192.168.56.1/24").unwrap();
    rig.ok("echo 'advertise = \"eth0\"' >> /etc/trunkline/trunkline.toml && systemctl restart trunkline.service");
    rig.ok("trunkline network create -d overlay --subnet 10.7.0.0/24 ov");
    rig.ok("trunkline run -d --name a --net ov -- sleep 100000");
    rig.ok("trunkline run --rm --net ov -- ping -c 1 10.7.0.2");
    rig.lan();
    rig.ok("ip netns add blue && trunkline network connect mcv /run/netns/blue");
    rig.ok("ip netns exec blue ping -c 1 192.168.1.20");
    assert_eq!(rig.ok("trunkline check --format json"), "[]");
    let exposure = rig.ok("systemd-analyze security --no-pager trunkline.service | tail -n 1");
    assert!(exposure.contains("MEDIUM") || exposure.contains("OK"), "{exposure}");
}
