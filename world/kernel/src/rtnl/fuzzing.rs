//! The readers of what the kernel sends, open to the fuzz targets. No part of the crate's interface.

use super::{
    addresses, links, neighbours, peers, reach, routes,
    socket::{Messages, acknowledgement},
    watch,
};
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR};

/// Reads a datagram as any socket of ours would; what was found, in words.
pub fn datagram(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for message in Messages(bytes) {
        match message.message_type() {
            NLMSG_ERROR | NLMSG_DONE => found.push(format!("{:?}", acknowledgement(&message))),
            kind => found.extend(self::message(kind, message.payload())),
        }
    }
    found
}

/// Gives the payload of a message of this type to every reader.
pub fn message(kind: u16, payload: &[u8]) -> Vec<String> {
    let link = links::read(payload).map(|link| format!("{link:?}"));
    let address = addresses::read(kind, payload).map(|address| format!("{address:?}"));
    let routes = routes::read(kind, payload).map(|routes| format!("{routes:?}"));
    let answer = routes::read_answer(kind, payload).map(|answer| format!("{answer:?}"));
    let number = watch::read_number(kind, payload).map(|number| format!("nsid {number}"));
    link.into_iter().chain(address).chain(routes).chain(answer).chain(number).chain(neighbour(payload)).collect()
}

/// Gives the payload of a neighbour message to its readers.
pub fn neighbour(payload: &[u8]) -> Vec<String> {
    let Some(seen) = neighbours::read(payload) else { return Vec::new() };
    let entry = "vxlan0".parse().ok().and_then(|name| peers::entry(&seen, seen.link, &name));
    [Some(format!("{seen:?}")), entry.map(|entry| format!("{entry:?}"))].into_iter().flatten().collect()
}

/// Whether a packet off the wire counts as an answer to a probe of an address of this family.
pub fn is_reply(v4: bool, packet: &[u8]) -> bool {
    let address = if v4 { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    reach::is_reply(address, packet)
}

/// Reads what `iptables -S` lists; what follows from it for a bridge called `gw`.
pub fn listing(text: &str) -> (Option<&'static str>, usize) {
    "gw".parse().map_or((None, 0), |bridge| crate::nat::exceptions::read(text, &bridge))
}

/// Reads what `nft -j list ruleset` lists; what follows from it for a bridge called `gw`.
pub fn ruleset(text: &str) -> (usize, usize) {
    "gw".parse().map_or((0, 0), |bridge| crate::nat::foreign::read(text, &bridge))
}
