//! Beside firewalld itself, and beside other people's nftables chains.

use super::{
    nat::{OUT, Yard, answers, bridge, in_a_yard, must_answer, prefixes},
    overlay::{await_event, inside},
};
use rustix::{
    mount::{MountFlags, mount},
    process::{Pid, Signal, kill_process},
};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use trunkline_kernel::{Kernel, KernelEvent, WayOut};

/// A bus on which everybody may do everything.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
  </policy>
</busconfig>
"#;

/// Where `cargo xtask install` has unpacked it.
fn unpacked() -> PathBuf {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home);
    let dir = cache.unwrap_or_else(|| "/root/.cache".into()).join("trunkline/firewalld");
    assert!(dir.exists(), "{} is missing: cargo xtask install", dir.display());
    dir
}

/// A process that goes with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0.id() as i32).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.0.wait();
    }
}

/// firewalld on the yard's host, with a bus of its own, as it comes: zone `public` for all.
struct Firewalld {
    root: PathBuf,
    daemon: Option<Running>,
    _bus: Running,
    _config: tempfile::TempDir,
}

/// Starts a program in the namespace of the yard's host.
fn start(yard: &Yard<'_>, command: &mut Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let path = &yard.host.within.path;
    Running(inside(path, || command.spawn()).unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

impl Firewalld {
    fn start(yard: &Yard<'_>) -> Self {
        // The mounts are this test's own.
        for dir in ["/run", "/var/log"] {
            mount("tmpfs", dir, "tmpfs", MountFlags::empty(), None).unwrap();
        }
        fs::create_dir("/run/dbus").unwrap();
        fs::create_dir("/var/log/firewalld").unwrap();
        let config = tempfile::tempdir().unwrap();
        let bus = config.path().join("bus.conf");
        fs::write(&bus, BUS).unwrap();
        let bus = start(
            yard,
            Command::new("dbus-daemon")
                .arg(format!("--config-file={}", bus.display()))
                .args(["--nofork", "--nopidfile"]),
        );
        wait_until(|| Path::new("/run/dbus/system_bus_socket").exists());
        let root = unpacked();
        let mut command = Self::program(&root, "usr/sbin/firewalld");
        command.args(["--nofork", "--nopid", "--system-config"]).arg(config.path());
        command.arg("--default-config").arg(root.join("usr/lib/firewalld"));
        let daemon = Some(start(yard, &mut command));
        let firewalld = Self { root, daemon, _bus: bus, _config: config };
        wait_until(|| firewalld.asked("--state").0);
        firewalld
    }

    fn program(root: &Path, path: &str) -> Command {
        let mut command = Command::new(root.join(path));
        command.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn asked(&self, what: &str) -> (bool, String) {
        let output = Self::program(&self.root, "usr/bin/firewall-cmd").args(what.split(' ')).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn must(&self, what: &str) -> String {
        let (success, said) = self.asked(what);
        assert!(success, "firewall-cmd {what}: {said}");
        said
    }
}

fn wait_until(so: impl Fn() -> bool) {
    while !so() {
        thread::sleep(Duration::from_millis(50));
    }
}

fn look(yard: &Yard<'_>) -> WayOut {
    yard.host.kernel.examine_way_out(&bridge(), &prefixes()).unwrap()
}

/// Beside firewalld, whose own table refuses what is forwarded and not of a zone's.
pub fn beside_firewalld() {
    in_a_yard(|yard| {
        let mut firewalld = Firewalld::start(yard);
        let before = yard.rules();
        yard.masquerade();
        for out in OUT {
            must_answer(&yard.a, out);
        }
        assert_eq!(look(yard), WayOut::default());
        assert!(!answers(&yard.b, "172.31.0.2"), "from beside");
        yard.outside.within.ip("route add 172.31.0.0/24 via 192.168.56.1");
        assert!(!answers(&yard.outside.within, "172.31.0.2"), "from outside");
        let once = yard.rules();
        yard.masquerade();
        assert_eq!(yard.rules(), once);
        // It loads its rules anew; the kernel tells, and what it threw away can be put back.
        let events = yard.host.kernel.events().unwrap();
        firewalld.must("--reload");
        await_event(&events, |event| *event == KernelEvent::RulesChanged);
        wait_until(|| !look(yard).missing.is_empty());
        assert_eq!(look(yard).missing, ["an exception in the nftables chain inet firewalld filter_FORWARD"]);
        for out in OUT {
            assert!(!answers(&yard.a, out), "{out} without an exception");
        }
        yard.masquerade();
        for out in OUT {
            must_answer(&yard.a, out);
        }
        assert_eq!((yard.rules(), look(yard)), (once, WayOut::default()));
        // No zone has the bridge: the host itself stays shut.
        assert_eq!(firewalld.asked("--get-zone-of-interface=gw"), (false, String::new()));
        for _ in 0..2 {
            yard.unmasquerade();
            assert_eq!(yard.rules(), before);
        }
        firewalld.daemon = None;
    });
}

/// Beside an administrator's own chain, of any name, whose policy it is to drop.
pub fn beside_a_chain() {
    in_a_yard(|yard| {
        yard.run(
            "nft add table inet mine
            nft add chain inet mine pass { type filter hook forward priority 10 ; policy drop ; }
            nft add rule inet mine pass ip daddr 10.99.0.0/24 accept
            nft add table ip filter
            nft add chain ip filter forward { type filter hook forward priority 0 ; policy accept ; }
            nft add rule ip filter forward counter reject",
        );
        let before = yard.rules();
        yard.masquerade();
        for out in OUT {
            must_answer(&yard.a, out);
        }
        assert_eq!(look(yard), WayOut::default());
        let once = yard.rules();
        yard.masquerade();
        assert_eq!(yard.rules(), once);
        // It opens up, and exceptions are needed no more.
        yard.run("nft add chain inet mine pass { policy accept ; }");
        yard.masquerade();
        assert!(!yard.host.within.must("nft list table inet mine").contains("trunkline gw"));
        yard.run("nft add chain inet mine pass { policy drop ; }");
        assert!(!answers(&yard.a, OUT[0]));
        let missing = look(yard).missing;
        assert_eq!(missing, ["an exception in the nftables chain inet mine pass"]);
        yard.unmasquerade();
        let plain = |rules: &str| rules.lines().filter(|line| !line.contains("counter")).collect::<Vec<_>>().join("\n");
        assert_eq!(plain(&yard.rules()), plain(&before));
    });
}

/// Beside a chain that nobody but its owner may change: it is told.
pub fn beside_an_owned_chain() {
    in_a_yard(|yard| {
        let mut command = Command::new("nft");
        command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut owner = Running(inside(&yard.host.within.path, || command.spawn()).unwrap());
        let mut orders = owner.0.stdin.take().unwrap();
        let order = "add table inet owned { flags owner; }\nadd chain inet owned pass { type filter hook forward \
                     priority 0; policy drop; }\n";
        orders.write_all(order.as_bytes()).unwrap();
        wait_until(|| yard.host.within.must("nft list ruleset").contains("chain pass"));
        yard.masquerade();
        assert!(!answers(&yard.a, OUT[0]));
        let seen = look(yard);
        assert_eq!(seen.missing, [""; 0]);
        assert_eq!(seen.refused.len(), 1);
        assert!(seen.refused[0].contains("inet owned pass") && seen.refused[0].contains("iifname gw"), "{seen:?}");
        yard.unmasquerade();
        yard.masquerade();
        // It ends, and its table with it.
        drop(orders);
        drop(owner);
        wait_until(|| look(yard) == WayOut::default());
        must_answer(&yard.a, OUT[0]);
    });
}
