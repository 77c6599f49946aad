//! A restart of the daemon under running traffic.

use super::player::{Player, nothing_lost, say};
use super::stage::Stage;
use lab::{Error, Host};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

/// A ping that goes on until it is told to stop.
struct Ping {
    child: Child,
    lines: BufReader<ChildStdout>,
    replies: usize,
}

impl Ping {
    fn start(host: &Host, target: &str) -> Result<Self, Error> {
        // It gives up in the end, so that a fault shows instead of hanging the play.
        let mut command = host.command("ping", ["-i", "0.02", "-w", "60", target]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let failed = |source| Error::Program { program: "ping".to_owned(), host: host.name().to_owned(), source };
        let mut child = host.spawn(command)?;
        let output = child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, lines: BufReader::new(output), replies: 0 })
    }

    /// Waits until `count` more replies have come. False: it has given up.
    fn wait_for(&mut self, count: usize) -> bool {
        let wanted = self.replies + count;
        let mut line = String::new();
        while self.replies < wanted {
            line.clear();
            if !matches!(self.lines.read_line(&mut line), Ok(length) if length > 0) {
                return false;
            }
            self.replies += usize::from(line.contains("bytes from"));
        }
        true
    }

    /// Stops it right after a reply, so that none is under way, and gives its last lines.
    fn finish(mut self) -> String {
        self.wait_for(1);
        // Not waited for yet: the pid is its.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let mut rest = String::new();
        let _ = self.lines.read_to_string(&mut rest);
        let _ = self.child.wait();
        let from = rest.find("---").unwrap_or_default();
        rest.split_off(from)
    }
}

pub(super) fn restart(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("A restart of the daemon under running traffic");
    say("desk$ ping -i 0.02 192.168.1.20 &");
    let mut ping = Ping::start(&stage.desk, "192.168.1.20")?;
    let runs = ping.wait_for(5);
    player.expect("the container answers a machine on the LAN", runs);
    let (before, old) = (ping.replies, player.daemon.pid());
    say("(the daemon is stopped by SIGTERM and started again)");
    player.daemon.restart()?;
    ping.wait_for(5);
    let new = player.daemon.pid();
    say(format_args!("(the daemon's pid was {}, is {})", old.unwrap_or_default(), new.unwrap_or_default()));
    let after = ping.replies - before;
    let last = ping.finish();
    last.lines().for_each(say);
    player.expect("0% lost from before to after", old != new && after >= 5 && nothing_lost(&last));
    player.prints("trunkline ps", "the process is found again, running", &["web", "Up"])?;
    player.pings("trunkline exec web ping -A -c 2 192.168.1.1", "and still on its network")?;
    player.note("and killed in the midst of it (kill -9)");
    let mut ping = Ping::start(&stage.desk, "192.168.1.20")?;
    ping.wait_for(5);
    player.daemon.kill9()?;
    player.daemon.launch()?;
    let last = ping.finish();
    last.lines().for_each(say);
    player.expect("0% lost again", nothing_lost(&last));
    player.prints("trunkline check", "nothing to repair", &[])?;
    Ok(())
}
