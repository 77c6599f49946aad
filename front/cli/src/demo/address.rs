//! Where dynamic addresses come from.

use super::player::Player;
use lab::Error;

/// The slide "Network macvlan with --ip-range".
pub(super) fn from_a_range(player: &mut Player<'_>) -> Result<(), Error> {
    player.section("Macvlan with --ip-range");
    player.identifier(
        "trunkline network create -d macvlan --subnet=192.168.32.0/24 --ip-range=192.168.32.128/25 \
         --gateway=192.168.32.254 -o parent=eth1 macnet32",
        "the network's identifier",
    )?;
    player.identifier("trunkline run --net=macnet32 --name ranged -itd sh", "the process's identifier")?;
    player.note("the address in the container");
    player.prints(
        "trunkline exec ranged sh -c 'ip a | grep 192'",
        "the range's first address, with the subnet's length",
        &["inet 192.168.32.128/24"],
    )?;
    player.note("the gateway that was set explicitly");
    player.prints(
        "trunkline exec ranged ip route",
        "the default route by it",
        &["default via 192.168.32.254 dev eth0", "192.168.32.0/24 dev eth0"],
    )?;
    player.pings("trunkline exec ranged ping -A -c 2 192.168.32.254", "it answers")?;
    player.prints("trunkline rm -f ranged", "the process is gone", &[])?;
    player.prints("trunkline network rm macnet32", "the network is gone", &[]).map(drop)
}

/// The slide "Network exclude eth0 address from IPAM with --aux-address".
pub(super) fn around_an_auxiliary(player: &mut Player<'_>) -> Result<(), Error> {
    player.section("An address kept out of IPAM with --aux-address");
    player.identifier(
        "trunkline network create -d macvlan --subnet=192.168.41.0/24 --gateway=192.168.41.1 \
         --aux-address=favorite_ip_ever_ever=192.168.41.2 -o parent=eth0.41 macnet41",
        "the network's identifier",
    )?;
    player.note("the first address is the gateway's, the second the auxiliary one");
    player.prints(
        "trunkline run --net=macnet41 -it --rm sh -c 'ip a show eth0 | grep 192'",
        "so the container's is the third",
        &["inet 192.168.41.3/24"],
    )?;
    let output = player.run("trunkline run --net=macnet41 --ip=192.168.41.2 -it --rm true")?;
    player
        .expect("the auxiliary address is refused", output.code() == Some(1) && output.stderr.contains("192.168.41.2"));
    player.prints("trunkline network rm macnet41", "the network is gone", &[]).map(drop)
}
