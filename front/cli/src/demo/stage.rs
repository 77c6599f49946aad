//! The lab of the demonstration.

use super::player::{Player, say};
use lab::{Error, Host, Port, Switch, SwitchPort};

const MAP: &str = "
Every box is a network namespace of this process:

                        far 203.0.113.10
                                |
                        router 203.0.113.1
                                | trunk: native VLAN 1 (192.168.1.1), 32 (192.168.32.254), 40 (192.168.40.1)
   desk 192.168.1.50 ------- switch ------- server 192.168.215.50
       access VLAN 1           | |             access VLAN 215
     trunk: native VLAN 1,     | | access VLAN 32
     tagged 40, 41, 215    eth0| |eth1
                     docker-host 192.168.1.250
                         trunkline daemon";

/// VLANs beside the native one that the docker host's trunk carries.
const TAGGED: [u16; 3] = [40, 41, 215];

pub(super) struct Stage {
    pub(super) switch: Switch,
    /// Where the daemon runs.
    pub(super) host: Host,
    /// The switch's port to the docker host's eth0.
    pub(super) trunk: SwitchPort,
    /// A machine on the LAN, untagged.
    pub(super) desk: Host,
    /// A machine on VLAN 215, whose port is untagged.
    pub(super) server: Host,
    /// A machine in a network beyond the router.
    pub(super) far: Host,
    /// Kept: it lives as long as this.
    _router: Host,
}

impl Stage {
    pub(super) fn build() -> Result<Self, Error> {
        let switch = Switch::new()?;
        let (host, router) = (Host::new("docker-host")?, Host::new("router")?);
        let (desk, server, far) = (Host::new("desk")?, Host::new("server")?, Host::new("far")?);

        let trunk = host.plug(&switch, "eth0", &Port::trunk(TAGGED).native(1))?;
        host.plug(&switch, "eth1", &Port::Access(32))?;
        host.add_address("eth0", "192.168.1.250/24")?;
        host.add_route("0.0.0.0/0", "192.168.1.1")?;

        router.plug(&switch, "eth0", &Port::trunk([32, 40]).native(1))?;
        router.add_address("eth0", "192.168.1.1/24")?;
        for (link, vlan, address) in [("eth0.32", 32, "192.168.32.254/24"), ("eth0.40", 40, "192.168.40.1/24")] {
            router.add_vlan("eth0", link, vlan)?;
            router.set_up(link)?;
            router.add_address(link, address)?;
        }
        router.wire("eth1", &far, "eth0")?;
        router.add_address("eth1", "203.0.113.1/24")?;
        router.forward()?;

        far.add_address("eth0", "203.0.113.10/24")?;
        far.add_route("0.0.0.0/0", "203.0.113.1")?;
        desk.plug(&switch, "eth0", &Port::Access(1))?;
        desk.add_address("eth0", "192.168.1.50/24")?;
        server.plug(&switch, "eth0", &Port::Access(215))?;
        server.add_address("eth0", "192.168.215.50/24")?;
        Ok(Self { switch, host, trunk, desk, server, far, _router: router })
    }
}

/// Shows the docker host before anything was done to it; its links.
pub(super) fn show(player: &mut Player<'_>, stage: &Stage) -> Result<Vec<String>, Error> {
    say(MAP);
    player.section("The docker host, before");
    player.prints("ip route", "a default route by the LAN's router", &["default via 192.168.1.1 dev eth0"])?;
    player.prints("ip a show eth0", "the host's own address", &["inet 192.168.1.250/24"])?;
    let links = links(stage)?;
    player.run("ip -br link")?;
    player.expect("nothing but lo, eth0 and eth1", links == ["eth0", "eth1", "lo"]);
    player.prints("trunkline status", "the daemon answers", &[])?;
    Ok(links)
}

/// The docker host's links, sorted.
pub(super) fn links(stage: &Stage) -> Result<Vec<String>, Error> {
    let mut links = stage.host.links()?;
    links.sort_unstable();
    Ok(links)
}
