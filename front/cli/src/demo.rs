//! `trunkline demo`: the transcript of the talk on macvlan and ipvlan, played for real.
//!
//! In a lab of its own, on a daemon of its own: nothing of this machine's network or of its daemon is
//! touched, and nothing is left. Each command is printed as it is typed, then what it really printed,
//! then what was expected of it.

mod address;
mod end;
mod ipvlan;
mod macvlan;
mod needs;
mod overlay;
mod player;
mod routed;
mod stage;
mod survive;
mod tools;
mod trunk;

use crate::error::Error;
use crate::output;
use lab::TestDaemon;
use player::Player;
use stage::Stage;
use std::time::Instant;

/// What can be shown.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// macvlan, ipvlan and trunks in a lab of network namespaces; no root needed where user namespaces are allowed
    Lan,
    /// Overlays between two hosts on etcd, heard by a serf agent
    Overlay,
}

/// Plays it; 1 if anything differed from what was expected. To be called while this process has one
/// thread.
pub(crate) fn run(command: &Command) -> Result<u8, Error> {
    let played = match command {
        Command::Lan => lan(),
        Command::Overlay => overlay::overlay(),
    };
    match played {
        Ok(code) => Ok(code),
        Err(error) => {
            output::complain(&output::one_line(&error.to_string()));
            Ok(1)
        }
    }
}

fn lan() -> Result<u8, lab::Error> {
    lab::become_root_in_user_namespace()?;
    let missing = needs::missing()?;
    if !missing.is_empty() {
        missing.iter().for_each(|line| output::complain(line));
        return Ok(1);
    }
    let started = Instant::now();
    let stage = Stage::build()?;
    let myself = std::env::current_exe()
        .map_err(|source| lab::Error::Io { op: "find this program's own file".to_owned(), source })?;
    let daemon = TestDaemon::start_program(&stage.host, &myself)?;
    let mut player = Player::new(vec![daemon]);
    let outcome = play(&mut player, &stage);
    if let Err(error) = outcome {
        player.broke_off(&error);
    }
    Ok(player.summary(started.elapsed()))
}

fn play(player: &mut Player<'_>, stage: &Stage) -> Result<(), lab::Error> {
    let links = stage::show(player, stage)?;
    macvlan::bridge(player, stage)?;
    macvlan::beyond_the_router(player, stage)?;
    survive::restart(player, stage)?;
    tools::from_inside(player, stage)?;
    macvlan::host_access(player, stage)?;
    address::from_a_range(player)?;
    address::around_an_auxiliary(player)?;
    ipvlan::l2(player, stage)?;
    trunk::made_by_hand(player, stage)?;
    trunk::made_by_trunkline(player, stage)?;
    routed::dual_stack(player, stage)?;
    end::everything_removed(player, stage, &links)
}
