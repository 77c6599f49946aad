//! Who answers ARP, and what the overlay's namespace knows.

use super::super::player::Player;
use super::reach::Tcpdump;
use super::stage::Hosts;
use lab::Error;

/// The overlay's namespace on the current host.
fn namespace(player: &mut Player<'_>) -> Result<String, Error> {
    let output = player.run("overns=$(trunkline network inspect -f '{{.netns}}' demonet); echo $overns")?;
    Ok(output.stdout.trim().to_owned())
}

pub(super) fn arp_stays_here(player: &mut Player<'_>, hosts: &Hosts) -> Result<(), Error> {
    player.section("ARP: asked here, answered here");
    player.on("docker1").prints(
        "trunkline run -d --net demonet --name fresh sleep 3600",
        "a fresh container on docker1",
        &[],
    )?;
    let empty = player.run("trunkline exec fresh ip neighbor show")?;
    player.expect("it knows no neighbours", empty.success() && empty.stdout.trim().is_empty());
    let (there, here) = (namespace(player.on("docker0"))?, namespace(player.on("docker1"))?);
    let far = Tcpdump::start(&hosts.docker0, Some(&there), "-pni any arp")?;
    let near = Tcpdump::start(&hosts.docker1, Some(&here), "-peni any arp")?;
    player.on("docker1").pings("trunkline exec fresh ping -c 1 192.168.0.100", "C0 answers")?;
    let (far, near) = (far.lines(), near.lines());
    far.iter().for_each(|line| player.seen("docker0's overlay", line));
    near.iter().for_each(|line| player.seen("docker1's overlay", line));
    let asked = near.iter().any(|line| line.contains("Request who-has 192.168.0.100"));
    let answered =
        near.iter().any(|line| line.contains("In") && line.contains("192.168.0.100 is-at 02:42:c0:a8:00:64"));
    player.expect("the request is seen on docker1, and vxlan0's own answer", asked && answered);
    let crossed = far.iter().any(|line| line.contains("who-has 192.168.0.100 tell"));
    player.expect("nothing of it on docker0", !crossed);
    player.prints("trunkline rm -f fresh", "the container is gone", &[]).map(drop)
}

pub(super) fn what_the_namespace_knows(player: &mut Player<'_>) -> Result<(), Error> {
    player.section("The overlay's tables");
    let overlay = namespace(player.on("docker1"))?;
    let inside = |command: &str| format!("nsenter --net={overlay} {command}");
    player.prints(
        &inside("ip neigh show dev vxlan0"),
        "C0's address, entered for good",
        &["192.168.0.100 lladdr 02:42:c0:a8:00:64 PERMANENT"],
    )?;
    player
        .on("docker0")
        .identifier("trunkline run -d --ip 192.168.0.200 --net demonet --name C1 sleep 3600", "C1 on docker0")?;
    player.on("docker1").prints(
        &inside("ip neigh show dev vxlan0"),
        "C1 is there, though nobody has spoken to it",
        &["192.168.0.200 lladdr 02:42:c0:a8:00:c8 PERMANENT", "192.168.0.100"],
    )?;
    player.prints(
        &inside("ip -d link show vxlan0"),
        "a port of br0 that answers for its neighbours",
        &["vxlan id 256", "local 192.168.56.12", "dstport 4789", "nolearning", "proxy", "master br0", "mtu 1450"],
    )?;
    player.prints(
        &inside("bridge fdb show dev vxlan0"),
        "both MAC addresses behind docker0's vtep",
        &["02:42:c0:a8:00:64 dst 192.168.56.11", "02:42:c0:a8:00:c8 dst 192.168.56.11", "self permanent"],
    )?;
    player.prints("trunkline peers demonet", "the same, beside what the store says", &["C0", "C1", "192.168.56.11"])?;
    player.note("an entry deleted by hand comes back");
    player.prints(&inside("bridge fdb del 02:42:c0:a8:00:c8 dev vxlan0"), "deleted", &[])?;
    player.prints(
        &format!("sleep 1; {}", inside("bridge fdb show dev vxlan0")),
        "there again",
        &["02:42:c0:a8:00:c8 dst 192.168.56.11"],
    )?;
    player.pings("trunkline exec D0 ping -A -c 2 192.168.0.200", "C1 answers").map(drop)
}

pub(super) fn the_way_out(player: &mut Player<'_>) -> Result<(), Error> {
    player.section("A way out, where the network is not internal");
    player.on("docker0").identifier(
        "trunkline network create -d overlay --subnet 192.168.77.0/24 outward",
        "a network without --internal",
    )?;
    player.prints(
        "trunkline run --rm --net outward ip route",
        "a default route by a second link",
        &["default via", "dev eth1", "192.168.77.0/24 dev eth0"],
    )?;
    player
        .pings("trunkline run --rm --net outward ping -A -c 2 192.168.56.5", "the store's host answers, behind NAT")?;
    player.prints("trunkline network rm outward", "the network is gone", &[]).map(drop)
}

pub(super) fn nothing_left(player: &mut Player<'_>, hosts: &Hosts) -> Result<(), Error> {
    player.section("The namespace goes with the last container");
    let overlay = namespace(player.on("docker1"))?;
    player.prints("trunkline rm -f D0", "D0 was the last one on docker1", &[])?;
    let gone = player.run(&format!("ls {overlay}"))?;
    player.expect("the overlay's namespace is gone from docker1", !gone.success());
    player.on("docker0").prints("trunkline rm -f C0", "C0 is gone", &[])?;
    player.prints("trunkline network rm demonet", "so is the network", &[])?;
    for host in ["docker0", "docker1"] {
        let left = player.on(host).run("trunkline network ls -q; trunkline ps -qa; trunkline endpoint ls -q")?;
        player.expect("nothing is listed", left.success() && left.stdout.trim().is_empty());
        player.prints("trunkline check", "store and kernel agree", &[])?;
    }
    for host in [&hosts.docker0, &hosts.docker1] {
        let mut links = host.links()?;
        links.sort_unstable();
        player.expect(&format!("{} has its own links only", host.name()), links == ["eth0", "lo"]);
    }
    Ok(())
}
