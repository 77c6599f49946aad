//! 802.1Q trunks: on a sub-interface made by hand, and on one that Trunkline makes.

use super::macvlan::echo_request_from;
use super::player::Player;
use super::stage::{Stage, links};
use lab::{Capture, Error};
use packet::Frame;

/// The slide "Manually Creating IP Links".
pub(super) fn made_by_hand(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("802.1Q trunking: a link made by hand");
    player.prints("ip link add link eth0 name foo type vlan id 40", "a sub-interface tied to VLAN 40", &[])?;
    player.prints("ip link set foo up", "and up", &[])?;
    player.identifier(
        "trunkline network create -d ipvlan --subnet=192.168.40.0/24 --gateway=192.168.40.1 -o parent=foo ipvlan40",
        "the network's identifier",
    )?;
    let capture = stage.switch.capture(&stage.trunk)?;
    player.identifier("trunkline run --net=ipvlan40 --ip=192.168.40.5 -itd --name ivlan_test5 sh", "an identifier")?;
    player.identifier("trunkline run --net=ipvlan40 --ip=192.168.40.6 -itd --name ivlan_test6 sh", "an identifier")?;
    player.pings("trunkline exec ivlan_test5 ping -A -c 2 192.168.40.6", "the containers can ping one another")?;
    player.pings("trunkline exec ivlan_test6 ping -A -c 2 192.168.40.5", "in both directions")?;
    player.pings("trunkline exec ivlan_test5 ping -A -c 2 192.168.40.1", "the router's address on VLAN 40 answers")?;
    tagged_only(player, &capture, 40, "192.168.40.5");
    player.prints("trunkline rm -f ivlan_test5 ivlan_test6", "both are gone", &[])?;
    player.prints("trunkline network rm ipvlan40", "so is the network", &[])?;
    player.prints("ip -br link show foo", "the link made by hand is still there", &["foo@eth0"])?;
    player.prints("ip link del foo", "until who made it removes it", &[]).map(drop)
}

/// The slide "Automated 802.1q Trunk Provisioning".
pub(super) fn made_by_trunkline(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("802.1Q trunking: provisioned from the parent's name");
    player.note("links before network create");
    player.run("ip -br link")?;
    let before = links(stage)?;
    player.expect("no eth0.215", before == ["eth0", "eth1", "lo"]);
    player.identifier(
        "trunkline network create -d macvlan --subnet=192.168.215.0/24 --subnet=192.168.217.0/24 \
         --gateway=192.168.215.1 --gateway=192.168.217.1 -o parent=eth0.215 -o macvlan_mode=bridge macnet215",
        "the network's identifier",
    )?;
    player.note("links after network create");
    player.prints("ip -br link", "eth0.215 is there", &["eth0.215@eth0"])?;
    player.prints(
        "ip -d link show eth0.215",
        "a sub-interface of VLAN 215, up",
        &["vlan protocol 802.1Q id 215", ",UP,"],
    )?;
    connectivity(player, stage)?;
    player.note("delete all containers, then all networks");
    player.prints("trunkline rm -f `trunkline ps -qa`", "every container is gone", &[])?;
    player.prints("trunkline network rm $(trunkline network ls -q)", "every network is gone", &[])?;
    player.note("links again");
    player.run("ip -br link")?;
    player.expect("eth0.215 is cleaned up, the other links are untouched", before == links(stage)?);
    Ok(())
}

fn connectivity(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.note("connectivity in the first subnet");
    player.identifier("trunkline run --net=macnet215 --ip=192.168.215.10 -itd sh", "an identifier")?;
    player.pings(
        "trunkline run --net=macnet215 --ip=192.168.215.9 -it --rm ping -A -c 2 192.168.215.10",
        "the container answers",
    )?;
    player.note("connectivity in the second subnet");
    player.identifier("trunkline run --net=macnet215 --ip=192.168.217.10 -itd sh", "an identifier")?;
    player.pings(
        "trunkline run --net=macnet215 --ip=192.168.217.9 -it --rm ping -A -c 2 192.168.217.10",
        "the container answers",
    )?;
    player.note("and through the switch, to a machine on an access port of VLAN 215");
    let on_trunk = stage.switch.capture(&stage.trunk)?;
    let on_access = stage.server.capture("eth0")?;
    player.pings(
        "trunkline run --net=macnet215 --ip=192.168.215.9 -it --rm ping -A -c 2 192.168.215.50",
        "the machine answers",
    )?;
    tagged_only(player, &on_trunk, 215, "192.168.215.9");
    let untagged: Vec<_> = requests(&on_access, "192.168.215.9");
    untagged.iter().for_each(|frame| player.seen("capture on server", frame));
    let bare = untagged.iter().all(|frame| frame.tags.is_empty());
    player.expect("2 requests on the access port, without a tag", bare && untagged.len() == 2);
    Ok(())
}

/// Expects two echo requests from `source` on the trunk, tagged with this VLAN.
fn tagged_only(player: &mut Player<'_>, capture: &Capture, vlan: u16, source: &str) {
    let seen = requests(capture, source);
    seen.iter().for_each(|frame| player.seen("capture on the trunk", frame));
    let tagged = seen.iter().all(|frame| frame.vlans() == [vlan]);
    player.expect(&format!("2 requests on the trunk, tagged with VLAN {vlan}"), tagged && seen.len() == 2);
}

fn requests(capture: &Capture, source: &str) -> Vec<Frame> {
    let from_source = |frame: &Frame| echo_request_from(frame).is_some_and(|address| address.to_string() == source);
    capture.frames().into_iter().filter(from_source).collect()
}
