//! macvlan in bridge mode.

use super::player::{Player, nothing_lost};
use super::stage::Stage;
use lab::Error;
use packet::{Frame, Payload, Transport};
use std::net::IpAddr;

/// The slides "Macvlan Bridge Mode" and, for the explicit address, "As of Docker v1.10".
pub(super) fn bridge(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("Macvlan bridge mode");
    player.identifier(
        "trunkline network create -d macvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 mcv",
        "the network's identifier",
    )?;
    player.prints("trunkline network ls", "the network, on this host", &["NETWORK ID", "mcv", "macvlan", "local"])?;
    player
        .pings("trunkline run --net=mcv -it --rm ping -A -c 4 192.168.1.1", "the LAN's own router answers, 0% lost")?;
    player.pings("trunkline run --net=mcv -it --rm ping -A -c 2 192.168.1.50", "so does another machine on the LAN")?;
    player.note("an explicit address");
    player.identifier(
        "trunkline run --net=mcv --ip=192.168.1.20 --name web -itd sh",
        "the detached process's identifier",
    )?;
    player.prints(
        "trunkline exec web ip a show eth0",
        "that very address, and the MAC address that goes with it",
        &["inet 192.168.1.20/24", "link/ether 02:42:c0:a8:01:14"],
    )?;
    player.pings("trunkline run --net=mcv -it --rm ping -A -c 2 192.168.1.20", "containers reach each other")?;
    let output = player.run_on(&stage.desk, "ping -A -c 2 192.168.1.20")?;
    player.expect("the LAN reaches the container, with no port mapping", nothing_lost(&output.stdout));
    Ok(())
}

/// The slide's note: "The addresses are not NATed."
pub(super) fn beyond_the_router(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("Beyond the router: addresses are not NATed");
    let capture = stage.far.capture("eth0")?;
    player.pings(
        "trunkline run --net=mcv --ip=192.168.1.21 -it --rm ping -A -c 4 203.0.113.10",
        "a machine in a network beyond the router answers",
    )?;
    let requests: Vec<Frame> =
        capture.frames().into_iter().filter(|frame| echo_request_from(frame).is_some()).collect();
    requests.iter().for_each(|frame| player.seen("capture on far", frame));
    let container = IpAddr::from([192, 168, 1, 21]);
    let own = requests.iter().all(|frame| echo_request_from(frame) == Some(container));
    player.expect("4 requests there, all from the container's own address 192.168.1.21", own && requests.len() == 4);
    Ok(())
}

/// The source of an echo request.
pub(super) fn echo_request_from(frame: &Frame) -> Option<IpAddr> {
    match &frame.payload {
        Payload::Ip(datagram) if matches!(datagram.transport, Transport::Echo { reply: false, .. }) => {
            Some(datagram.source)
        }
        _ => None,
    }
}

/// What Docker's driver cannot do.
pub(super) fn host_access(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("The host reaches its own container (-o host_access=true)");
    player.note("the kernel lets no macvlan talk to its parent: without the option nothing answers");
    let output = player.run("ping -c 1 -W 0.2 192.168.1.20")?;
    player.expect("no answer", output.code() == Some(1));
    player.prints("trunkline rm -f web", "the process is gone", &["web"])?;
    player.prints("trunkline network rm mcv", "the network is gone", &["mcv"])?;
    player.identifier(
        "trunkline network create -d macvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 \
         --aux-address=host=192.168.1.250 -o parent=eth0 -o host_access=true lan",
        "the network's identifier",
    )?;
    player.identifier("trunkline run --net=lan --ip=192.168.1.30 --name web -itd sh", "the process's identifier")?;
    player.pings("ping -A -c 2 192.168.1.30", "the host reaches its container")?;
    player.pings(
        "trunkline exec web ping -A -c 2 192.168.1.250",
        "the container reaches its host by the host's address",
    )?;
    let output = player.run_on(&stage.desk, "ping -A -c 2 192.168.1.30")?;
    player.expect("the LAN still reaches the container", nothing_lost(&output.stdout));
    player.prints("trunkline rm -f web", "the process is gone", &["web"])?;
    player.prints("trunkline network rm lan", "the network is gone", &["lan"])?;
    let links = super::stage::links(stage)?;
    player.expect("and the host's own link to it too", links == ["eth0", "eth1", "lo"]);
    Ok(())
}
