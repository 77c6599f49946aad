//! VXLAN without a store: point-to-point, and by multicast.

use super::super::player::Player;
use super::reach::Tcpdump;
use super::stage::Hosts;
use lab::Error;

pub(super) fn point_to_point(player: &mut Player<'_>, hosts: &Hosts) -> Result<(), Error> {
    player.section("Point-to-point resolution: the other end is named");
    player.note("lone0 and lone1 share nothing but the wire: each daemon has a store of its own");
    let create = |remote: &str, range: &str| {
        format!(
            "trunkline network create -d overlay --internal --subnet 192.168.88.0/24 --ip-range {range} \
             -o remote={remote} -o vxlanid_list=88 p2p"
        )
    };
    two_ends(
        player,
        hosts,
        "p2p",
        &[create("192.168.56.32", "192.168.88.0/25"), create("192.168.56.31", "192.168.88.128/25")],
    )
}

pub(super) fn multicast(player: &mut Player<'_>, hosts: &Hosts) -> Result<(), Error> {
    player.section("Multicast resolution: a group is joined");
    let create = |range: &str| {
        format!(
            "trunkline network create -d overlay --internal --subnet 192.168.89.0/24 --ip-range {range} \
             -o group=239.1.1.1 -o parent=eth0 -o vxlanid_list=89 mcast"
        )
    };
    two_ends(player, hosts, "mcast", &[create("192.168.89.0/25"), create("192.168.89.128/25")])
}

/// The same network made on each host alone, with a store of its own, and a ping between.
fn two_ends(player: &mut Player<'_>, hosts: &Hosts, name: &str, create: &[String; 2]) -> Result<(), Error> {
    for (host, line) in ["lone0", "lone1"].into_iter().zip(create) {
        player.on(host).identifier(line, "a network on this host alone")?;
    }
    player.on("lone0").identifier(&format!("trunkline run -d --net {name} --name near sleep 3600"), "a container")?;
    player.on("lone1").identifier(&format!("trunkline run -d --net {name} --name far sleep 3600"), "another one")?;
    let address = player.on("lone1").run("trunkline endpoint ls --format json | jq -r '.[0].addresses[0]'")?;
    let address = address.stdout.trim().split('/').next().unwrap_or_default().to_owned();
    let tcpdump = Tcpdump::start(&hosts.lone1, None, "-pni eth0 'port 4789'")?;
    player
        .on("lone0")
        .pings(&format!("trunkline exec near ping -A -c 3 {address}"), "the other host's container answers")?;
    let lines = tcpdump.lines();
    lines.iter().take(6).for_each(|line| player.seen("tcpdump", line));
    player.expect(
        "ARP crosses the wire here, for nobody else could answer",
        lines.iter().any(|l| l.contains("ARP, Request")),
    );
    if name == "mcast" {
        player.expect("the first question goes to the group", lines.iter().any(|l| l.contains("> 239.1.1.1.4789")));
    }
    for host in ["lone0", "lone1"] {
        player.on(host).prints("trunkline rm -f $(trunkline ps -qa)", "the container is gone", &[])?;
        player.prints(&format!("trunkline network rm {name}"), "the network, too", &[])?;
        player.prints("trunkline check", "nothing is left", &[])?;
    }
    Ok(())
}
