//! A network, a container on each host, and their packets on the wire.

use super::super::player::{Player, say};
use super::stage::Hosts;
use lab::{Error, Host};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};

/// A `tcpdump` that prints what it sees until so many packets have come.
pub(super) struct Tcpdump {
    child: Child,
    /// Kept, for it must not be told that nobody reads.
    _errors: BufReader<ChildStderr>,
}

impl Tcpdump {
    /// Starts it on a host, in the namespace behind `path` if one is given, and waits until it listens. It gives up in
    /// the end, so that a fault shows instead of hanging the play.
    pub(super) fn start(host: &Host, path: Option<&str>, arguments: &str) -> Result<Self, Error> {
        let inside = path.map(|path| format!("nsenter --net={path} ")).unwrap_or_default();
        let line = format!("{inside}tcpdump --immediate-mode -l {arguments}");
        say(format_args!("{}$ {line} &", host.name()));
        let mut command = host.command("sh", ["-c", &format!("exec timeout 20 {line}")]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = host.spawn(command)?;
        let failed = |source| Error::Program { program: "tcpdump".to_owned(), host: host.name().to_owned(), source };
        let errors = child.stderr.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let mut errors = BufReader::new(errors);
        let mut text = String::new();
        while errors.read_line(&mut text).map_err(failed)? > 0 && !text.contains("listening on") {}
        Ok(Self { child, _errors: errors })
    }

    /// Stops it and gives its lines.
    pub(super) fn lines(mut self) -> Vec<String> {
        // What was sent last may still be on its way through the kernel.
        std::thread::sleep(std::time::Duration::from_millis(200));
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Not waited for yet: the pid is its. To `timeout`, which hands it on.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let mut text = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            let _ = output.read_to_string(&mut text);
        }
        let _ = self.child.wait();
        text.lines().map(str::to_owned).collect()
    }
}

pub(super) fn network_and_containers(player: &mut Player<'_>) -> Result<(), Error> {
    player.section("An overlay network, and a container on each host");
    player.on("docker0").identifier(
        "trunkline network create --driver overlay --internal --subnet 192.168.0.0/24 demonet",
        "the network's identifier",
    )?;
    player.on("docker1").prints(
        "trunkline network ls",
        "the other host has it already",
        &["demonet", "overlay", "global"],
    )?;
    player
        .on("docker0")
        .identifier("trunkline run -d --ip 192.168.0.100 --net demonet --name C0 sleep 3600", "C0 on docker0")?;
    player.on("docker1").identifier("trunkline run -d --net demonet --name D0 sleep 3600", "D0 on docker1")?;
    player.pings("trunkline exec D0 ping -A -c 3 192.168.0.100", "C0 answers, from the first packet on")?;
    player.prints(
        "trunkline exec D0 ip addr show eth0",
        "D0 has the first free address, the MAC made of it, and room for VXLAN's headers",
        &["192.168.0.2/24", "02:42:c0:a8:00:02", "mtu 1450"],
    )?;
    player.pings(
        "trunkline exec D0 ping -A -c 2 -M do -s 1422 192.168.0.100",
        "a full packet goes through unfragmented",
    )?;
    player.on("docker0").pings("trunkline exec C0 ping -A -c 2 192.168.0.2", "and D0 answers C0").map(drop)
}

/// "What is VXLAN?": tcpdump on the host's own link.
pub(super) fn on_the_wire(player: &mut Player<'_>, hosts: &Hosts) -> Result<(), Error> {
    player.section("VXLAN on the wire");
    let tcpdump = Tcpdump::start(&hosts.docker0, None, "-pni eth0 'port 4789'")?;
    player.on("docker1").pings(
        "trunkline run -it --rm --net demonet ping -A -c 2 192.168.0.100",
        "C0 answers a container of docker1",
    )?;
    let lines = tcpdump.lines();
    lines.iter().for_each(|line| player.seen("tcpdump", line));
    let outer = |from: &str, to: &str| {
        let words = [&format!("IP {from}."), &format!("> {to}.4789: VXLAN, flags [I] (0x08), vni 256")];
        lines.iter().any(|line| words.iter().all(|word| line.contains(word.as_str())))
    };
    player.expect(
        "outer packets between the hosts to port 4789, flags 0x08, VNI 256, both ways",
        outer("192.168.56.12", "192.168.56.11") && outer("192.168.56.11", "192.168.56.12"),
    );
    let inner = |word: &str| lines.iter().any(|line| line.contains(word));
    player.expect(
        "the containers' own packets inside",
        inner("> 192.168.0.100: ICMP echo request") && inner("IP 192.168.0.100 >"),
    );
    Ok(())
}
