//! The slides "Network Tooling": scanners and tracers run where the network is.

use super::player::Player;
use super::stage::Stage;
use lab::Error;

pub(super) fn from_inside(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("Network tools, from inside a network");
    player.note("desk runs a service on TCP port 22");
    let service = stage.desk.listen(([192, 168, 1, 50], 22).into())?;
    player.prints(
        "trunkline run --net=mcv -it --rm nmap -n -sT -p 22 192.168.1.50",
        "nmap finds the open port",
        &["22/tcp open"],
    )?;
    drop(service);
    player.prints(
        "trunkline run --net=mcv -it --rm fping 192.168.1.1 192.168.1.50 203.0.113.10",
        "fping finds all three alive",
        &["192.168.1.1 is alive", "192.168.1.50 is alive", "203.0.113.10 is alive"],
    )?;
    let output = player.run("trunkline run --net=mcv -it --rm traceroute -n 203.0.113.10")?;
    let hops: Vec<_> = output.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    player.expect("two hops: the router, then the far machine", hops == ["192.168.1.1", "203.0.113.10"]);
    Ok(())
}
