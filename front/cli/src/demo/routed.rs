//! ipvlan in its mode l3: several subnets of both families on one network, routed by the kernel.

use super::player::{Player, nothing_lost};
use super::stage::Stage;
use lab::Error;
use packet::{Frame, Payload, Transport};

/// The slides "Ipvlan L3 Mode" and "Start Some Targets".
pub(super) fn dual_stack(player: &mut Player<'_>, stage: &Stage) -> Result<(), Error> {
    player.section("Ipvlan l3 mode: dual stack, two subnets of each family, on a dummy");
    let output = player.identifier(
        "trunkline network create -d ipvlan --subnet=192.168.8.0/24 --subnet=192.168.9.0/24 --gateway=192.168.8.1 \
         --subnet=fded:7a74:dec4:5a18::/64 --subnet=fded:7a74:dec4:5a19::/64 --ipv6 -o ipvlan_mode=l3 dualstack",
        "the network's identifier",
    )?;
    player.expect("a warning that the gateway is ignored", output.stderr.contains("gateway"));
    let parent =
        player.prints("trunkline network inspect -f '{{.parent}}' dualstack", "the parent is a dummy", &["di-"])?;
    let capture = stage.host.capture(parent.stdout.trim())?;
    targets(player)?;
    eight_pings(player)?;
    nothing_but_routes(player)?;
    let noise = capture.frames().into_iter().filter(is_discovery).collect::<Vec<_>>();
    noise.iter().for_each(|frame| player.seen("capture on the parent", frame));
    player.expect("no ARP, no neighbour solicitation and no broadcast of theirs on the parent", noise.is_empty());
    Ok(())
}

fn targets(player: &mut Player<'_>) -> Result<(), Error> {
    player.note("targets on 192.168.8.0/24 & fded:7a74:dec4:5a18::/64");
    for (name, flags) in [
        ("t81", "--ip6=fded:7a74:dec4:5a18::81"),
        ("t82", "--ip=192.168.8.82"),
        ("t80", "--ip=192.168.8.80 --ip6=fded:7a74:dec4:5a18::80"),
    ] {
        player.identifier(&format!("trunkline run --net=dualstack {flags} --name {name} -itd sh"), "an identifier")?;
    }
    player.note("targets on 192.168.9.0/24");
    for (name, flags) in [
        ("t91", "--ip6=fded:7a74:dec4:5a18::91"),
        ("t92", "--ip=192.168.9.92"),
        ("t90", "--ip=192.168.9.90 --ip6=fded:7a74:dec4:5a18::90"),
    ] {
        player.identifier(&format!("trunkline run --net=dualstack {flags} --name {name} -itd sh"), "an identifier")?;
    }
    player.note("targets on a mix of the v4 and v6 subnets");
    for (name, flags) in [
        ("t100", "--ip=192.168.8.100 --ip6=fded:7a74:dec4:5a18::100"),
        ("t101", "--ip=192.168.9.100 --ip6=fded:7a74:dec4:5a19::100"),
    ] {
        player.identifier(&format!("trunkline run --net=dualstack {flags} --name {name} -itd sh"), "an identifier")?;
    }
    Ok(())
}

/// The slide "Ipvlan L3 things it shouldn't be able to do".
fn eight_pings(player: &mut Player<'_>) -> Result<(), Error> {
    let v6 = |host: &str| format!("fded:7a74:dec4:{host}");
    let mut answered = 0;
    let pings = [
        ("from one v6 subnet to another", "--ip6", v6("5a19::25"), v6("5a18::81")),
        ("from one v6 subnet to another", "--ip6", v6("5a19::25"), v6("5a18::100")),
        ("within a v6 subnet", "--ip6", v6("5a18::25"), v6("5a18::91")),
        ("from one v6 subnet to another", "--ip6", v6("5a18::25"), v6("5a19::100")),
        ("within a v4 subnet", "--ip", "192.168.8.25".to_owned(), "192.168.8.80".to_owned()),
        ("from one v4 subnet to another", "--ip", "192.168.8.25".to_owned(), "192.168.9.100".to_owned()),
        ("within a v4 subnet", "--ip", "192.168.9.25".to_owned(), "192.168.9.90".to_owned()),
        ("from one v4 subnet to another", "--ip", "192.168.9.25".to_owned(), "192.168.8.100".to_owned()),
    ];
    for (what, flag, source, target) in pings {
        let line = format!("trunkline run --net=dualstack {flag}={source} -it --rm ping -A -c 2 {target}");
        let output = player.pings(&line, what)?;
        answered += usize::from(nothing_lost(&output.stdout));
    }
    player.expect("all eight pings of the slide answered", answered == 8);
    Ok(())
}

fn nothing_but_routes(player: &mut Player<'_>) -> Result<(), Error> {
    player.note("gateways are ignored: the link itself is the next hop");
    let output = player.run("trunkline exec t101 sh -c 'ip route; ip -6 route show default'")?;
    let routes = output.stdout.matches("default dev eth0").count() == 2 && !output.stdout.contains(" via ");
    player.expect("`default dev eth0` for both families, no `via`", routes);
    player.note("no ARP");
    player.prints("trunkline exec t101 ip link show eth0", "a link without ARP", &["NOARP"])?;
    let output = player.run("trunkline exec t101 ip neigh show dev eth0")?;
    // IPv6 keeps entries for multicast groups on a link that resolves nothing, marked so.
    let resolved = output.stdout.lines().any(|line| line.contains("lladdr") && !line.contains("NOARP"));
    player.expect("no neighbour was resolved", output.success() && !resolved);
    Ok(())
}

/// A frame by which somebody looks for a neighbour, or that is for everybody.
fn is_discovery(frame: &Frame) -> bool {
    let solicits = matches!(&frame.payload, Payload::Ip(datagram)
        if matches!(datagram.transport, Transport::NeighbourSolicitation { .. }));
    matches!(frame.payload, Payload::Arp(_)) || solicits || frame.destination.0 == [0xff; 6]
}
