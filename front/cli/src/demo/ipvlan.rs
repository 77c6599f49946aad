//! ipvlan in its mode l2.

use super::player::{Player, nothing_lost};
use super::stage::Stage;
use lab::Error;

/// The slide "Ipvlan L2 Mode".
pub(super) fn l2(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("Ipvlan l2 mode");
    player.identifier(
        "trunkline network create -d ipvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o ipvlan_mode=l2 \
         -o parent=eth0 db_net",
        "the network's identifier",
    )?;
    player.identifier("trunkline run --net=db_net --ip=192.168.1.60 --name db -itd sh", "the process's identifier")?;
    let mac = stage.host.mac("eth0")?.to_string();
    player.prints(
        "trunkline exec db ip a show eth0",
        &format!("its address, and its parent's MAC address {mac}"),
        &["inet 192.168.1.60/24", &mac],
    )?;
    player.pings("trunkline exec db ping -A -c 2 192.168.1.1", "the router answers")?;
    player.prints("trunkline exec db ip neigh", "its address was resolved by ARP", &["192.168.1.1 dev eth0 lladdr"])?;
    player.pings("trunkline run --net=db_net -it --rm ping -A -c 2 192.168.1.60", "containers reach each other")?;
    player
        .pings("trunkline run --net=db_net -it --rm ping -A -c 2 203.0.113.10", "so do networks beyond the router")?;
    let output = player.run_on(&stage.desk, "ping -A -c 2 192.168.1.60")?;
    player.expect("the LAN reaches the container", nothing_lost(&output.stdout));
    let output = player.run("trunkline network create -d macvlan --subnet=192.168.5.0/24 -o parent=eth0 beside")?;
    player.expect(
        "a macvlan beside an ipvlan on one parent is refused: the kernel has no such thing",
        output.code() == Some(1) && output.stderr.contains("eth0"),
    );
    player.prints("trunkline rm -f db", "the process is gone", &[])?;
    player.prints("trunkline network rm db_net", "the network is gone", &[]).map(drop)
}
