//! The end: nothing of ours is left.

use super::player::Player;
use super::stage::{Stage, links};
use lab::Error;

pub(super) fn everything_removed(player: &mut Player<'_>, stage: &Stage, before: &[String]) -> Result<(), Error> {
    player.section("Everything removed");
    player.prints("trunkline rm -f $(trunkline ps -qa)", "every container is gone", &[])?;
    player.prints("trunkline network rm $(trunkline network ls -q)", "every network is gone", &[])?;
    for line in ["trunkline ps -qa", "trunkline network ls -q"] {
        let output = player.run(line)?;
        player.expect("nothing is listed", output.success() && output.stdout.is_empty());
    }
    player.prints("trunkline check", "records and kernel agree", &[])?;
    player.run("ip -br link")?;
    player.expect("the docker host's links are those of the beginning", links(stage)? == before);
    Ok(())
}
