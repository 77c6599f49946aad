//! One line a frame, in the manner of `tcpdump -e`.

use crate::{Arp, Datagram, Frame, FrameTag, Payload, Transport, ethertype};
use std::fmt;

impl fmt::Display for FrameTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            ethertype::VLAN => write!(f, "vlan {}", self.id)?,
            ethertype::SERVICE_VLAN => write!(f, "802.1ad vlan {}", self.id)?,
            other => write!(f, "{other:#06x} vlan {}", self.id)?,
        }
        match self.priority {
            0 => Ok(()),
            priority => write!(f, " p {priority}"),
        }
    }
}

impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request {
            true if self.sender == self.target => write!(f, "ARP, Announcement {}", self.sender),
            true => write!(f, "ARP, Request who-has {} tell {}", self.target, self.sender),
            false => write!(f, "ARP, Reply {} is-at {}", self.sender, self.sender_mac),
        }
    }
}

impl fmt::Display for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, icmp) = if self.source.is_ipv4() { ("IP", "ICMP") } else { ("IP6", "ICMP6") };
        let Self { source, destination, .. } = self;
        match self.transport {
            Transport::Udp { source: from, destination: to } => {
                return write!(f, "{family} {source}.{from} > {destination}.{to}: UDP");
            }
            Transport::Tcp { source: from, destination: to } => {
                return write!(f, "{family} {source}.{from} > {destination}.{to}: TCP");
            }
            _ => write!(f, "{family} {source} > {destination}: ")?,
        }
        match &self.transport {
            Transport::Echo { reply, id, sequence } => {
                let word = if *reply { "reply" } else { "request" };
                write!(f, "{icmp} echo {word}, id {id}, seq {sequence}")
            }
            Transport::NeighbourSolicitation { target } => {
                write!(f, "{icmp}, neighbour solicitation, who has {target}")
            }
            Transport::NeighbourAdvertisement { target, router, solicited, overrides, .. } => {
                write!(f, "{icmp}, neighbour advertisement, tgt is {target}")?;
                let flags = [(*router, "router"), (*solicited, "solicited"), (*overrides, "override")];
                let set: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
                write!(f, ", flags [{}]", set.join(", "))
            }
            Transport::Icmp { kind, code } => write!(f, "{icmp} type {kind} code {code}"),
            Transport::Fragment { protocol } => write!(f, "fragment of protocol {protocol}"),
            Transport::Other { protocol } => write!(f, "protocol {protocol}"),
            // Printed above.
            Transport::Udp { .. } | Transport::Tcp { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Frame {
    /// Addresses, tags, what it carries, length in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}, ", self.source, self.destination)?;
        for tag in &self.tags {
            write!(f, "{tag}, ")?;
        }
        match &self.payload {
            Payload::Arp(arp) => arp.fmt(f)?,
            Payload::Ip(datagram) => datagram.fmt(f)?,
            Payload::Other => write!(f, "ethertype {:#06x}", self.ethertype)?,
        }
        write!(f, ", length {}", self.length)
    }
}
