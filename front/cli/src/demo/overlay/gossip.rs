//! The gossip, as a `serf agent` on a host of its own hears it.

use super::super::player::{Player, say};
use super::stage::Hosts;
use lab::{Error, Host};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The document's event handler.
const HANDLER: &str = "#!/bin/sh
echo \"New event: ${SERF_EVENT} ${SERF_USER_EVENT}\"
while read line; do
    printf \"${line}\\n\"
done
";

/// How long an event may take to be heard; the agent itself merges events of a second.
const PATIENCE: Duration = Duration::from_secs(15);

struct Agent {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Agent {
    /// Starts it, with its event handler in this directory.
    fn start(host: &Host, directory: &Path) -> Result<Self, Error> {
        let io = |op: &str| {
            let op = op.to_owned();
            move |source| Error::Io { op, source }
        };
        let handler = directory.join("handler.sh");
        fs::write(&handler, HANDLER).map_err(io("write the event handler"))?;
        fs::set_permissions(&handler, fs::Permissions::from_mode(0o755)).map_err(io("write the event handler"))?;
        say(format_args!(
            "{}$ serf agent -bind 192.168.56.20 -join 192.168.56.11 -node demo -log-level=debug -event-handler=./handler.sh &",
            host.name()
        ));
        let handler = format!("-event-handler={}", handler.display());
        let mut command = host.command(
            "serf",
            [
                "agent",
                "-bind",
                "192.168.56.20",
                "-join",
                "192.168.56.11",
                "-node",
                "demo",
                "-log-level=debug",
                &handler,
            ],
        );
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = host.spawn(command)?;
        let output =
            child.stdout.take().ok_or_else(|| io("read the agent's log")(std::io::ErrorKind::BrokenPipe.into()))?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines, heard: Vec::new() })
    }

    /// Waits until a line with all of `words` has been printed since the last wait; prints what belongs to it.
    fn hears(&mut self, words: &[&str]) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.heard.iter().position(|line| words.iter().all(|word| line.contains(word))) {
                self.heard.drain(..=at);
                return true;
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if line.contains("Event '")
                        || line.contains("New event")
                        || line.contains("join 1")
                        || line.contains("leave 1")
                    {
                        say(format_args!("  [serf] {line}"));
                    }
                    self.heard.push(line);
                }
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn join_and_leave(player: &mut Player<'_>, hosts: &Hosts) -> Result<(), Error> {
    player.section("The gossip, heard by a real serf agent");
    let directory = player.run_dir()?;
    let mut agent = Agent::start(&hosts.demo, &directory)?;
    let joined = agent.hears(&["New event: member-join"]);
    player.expect("the agent sees members join", joined);
    let members = player.run_on(&hosts.demo, "serf members")?;
    let both = ["docker0", "docker1", "demo"].iter().all(|name| members.stdout.contains(name));
    player.expect("both hosts are members, alive", both && members.stdout.matches("alive").count() == 3);
    player.on("docker1").identifier(
        "trunkline run -d --name passing --ip 192.168.0.10 --net demonet sleep 3600",
        "a container on docker1",
    )?;
    let net = player.run("trunkline network inspect -f '{{.id}}' demonet")?.stdout.trim().to_owned();
    let heard = agent.hears(&["New event: user", "jl 192.168.56.12", &net])
        && agent.hears(&["join 192.168.0.10 255.255.255.0 02:42:c0:a8:00:0a"]);
    player.expect("its joining, in the words of Docker's daemon", heard);
    let query = player.run_on(&hosts.demo, &format!("serf query peerlookup '{net} 192.168.0.10'"))?;
    player.expect(
        "a query for its address is answered with MAC, mask and vtep",
        query.stdout.contains("02:42:c0:a8:00:0a 255.255.255.0 192.168.56.12"),
    );
    player.prints("trunkline rm -f passing", "the container ends", &[])?;
    let heard = agent.hears(&["New event: user", "jl 192.168.56.12", &net])
        && agent.hears(&["leave 192.168.0.10 255.255.255.0 02:42:c0:a8:00:0a"]);
    player.expect("its leaving", heard);
    let gone = player.on("docker0").run("trunkline peers demonet")?;
    player.expect("and its entries are gone from docker0", gone.success() && !gone.stdout.contains("192.168.0.10 "));
    player.prints("trunkline rm -f C1", "C1 leaves, too", &[])?;
    let heard = agent.hears(&["leave 192.168.0.200 255.255.255.0 02:42:c0:a8:00:c8"]);
    player.expect("which the agent hears", heard);
    Ok(())
}
