//! A restart of the daemon under running traffic.

use super::player::{Player, nothing_lost, say};
use super::stage::Stage;
use lab::{Error, Ping};

/// Longer than any part of the play. Seconds.
const PATIENCE: u32 = 60;

pub(super) fn restart(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("A restart of the daemon under running traffic");
    say("desk$ ping -i 0.02 192.168.1.20 &");
    let mut ping = Ping::start(&stage.desk, "192.168.1.20", PATIENCE)?;
    let runs = ping.wait_for(5);
    player.expect("the container answers a machine on the LAN", runs);
    let (before, old) = (ping.replies(), player.daemon()?.pid());
    say("(the daemon is stopped by SIGTERM and started again)");
    player.daemon()?.restart()?;
    ping.wait_for(5);
    let new = player.daemon()?.pid();
    say(format_args!("(the daemon's pid was {}, is {})", old.unwrap_or_default(), new.unwrap_or_default()));
    let after = ping.replies() - before;
    let last = ping.finish();
    last.lines().for_each(say);
    player.expect("0% lost from before to after", old != new && after >= 5 && nothing_lost(&last));
    player.prints("trunkline ps", "the process is found again, running", &["web", "Up"])?;
    player.pings("trunkline exec web ping -A -c 2 192.168.1.1", "and still on its network")?;
    player.note("and killed in the midst of it (kill -9)");
    let mut ping = Ping::start(&stage.desk, "192.168.1.20", PATIENCE)?;
    ping.wait_for(5);
    player.daemon()?.kill9()?;
    player.daemon()?.launch()?;
    let last = ping.finish();
    last.lines().for_each(say);
    player.expect("0% lost again", nothing_lost(&last));
    player.prints("trunkline check", "nothing to repair", &[])?;
    Ok(())
}
