//! The readers of what the kernel sends, open to the fuzz targets. No part of the crate's interface.

use super::{
    addresses, links, routes,
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
    let number = watch::read_number(kind, payload).map(|number| format!("nsid {number}"));
    link.into_iter().chain(address).chain(routes).chain(number).collect()
}
