//! IPv4 (RFC 791) and IPv6 (RFC 8200) datagrams, as far as a capture's reader wants to know.

use crate::bytes::{array, be16, byte};
use model::MacAddr;
use std::net::{IpAddr, Ipv6Addr};

/// An IP datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// What it carries.
    pub transport: Transport,
}

/// What a datagram carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// An ICMP or ICMPv6 echo message.
    Echo {
        /// A reply; otherwise a request.
        reply: bool,
        /// The identifier.
        id: u16,
        /// The sequence number.
        sequence: u16,
    },
    /// A neighbour solicitation (RFC 4861 section 4.3).
    NeighbourSolicitation {
        /// Who is looked for.
        target: Ipv6Addr,
    },
    /// A neighbour advertisement (RFC 4861 section 4.4).
    NeighbourAdvertisement {
        /// Who is told about.
        target: Ipv6Addr,
        /// The router flag.
        router: bool,
        /// The solicited flag.
        solicited: bool,
        /// The override flag.
        overrides: bool,
        /// The target link-layer address option, if it comes first.
        link_address: Option<MacAddr>,
    },
    /// Any other ICMP or ICMPv6 message.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// TCP.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A fragment but the first: no header to read.
    Fragment {
        /// The protocol.
        protocol: u8,
    },
    /// Any other protocol, and what is cut off.
    Other {
        /// The protocol, or the last next header.
        protocol: u8,
    },
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

impl Datagram {
    /// Reads an IPv4 datagram. None: no such header.
    pub fn parse_v4(bytes: &[u8]) -> Option<Self> {
        let first = byte(bytes, 0)?;
        let header = usize::from(first & 0x0f) * 4;
        (first >> 4 == 4 && header >= 20 && bytes.len() >= header).then_some(())?;
        let total = usize::from(be16(bytes, 2)?).clamp(header, bytes.len());
        let body = bytes.get(header..total)?;
        let protocol = byte(bytes, 9)?;
        let offset = be16(bytes, 6)? & 0x1fff;
        Some(Self {
            source: array::<4>(bytes, 12)?.into(),
            destination: array::<4>(bytes, 16)?.into(),
            hop_limit: byte(bytes, 8)?,
            transport: match offset {
                0 => Transport::parse(protocol, body),
                _ => Transport::Fragment { protocol },
            },
        })
    }

    /// Reads an IPv6 datagram, past its extension headers. None: no such header.
    pub fn parse_v6(bytes: &[u8]) -> Option<Self> {
        (byte(bytes, 0)? >> 4 == 6 && bytes.len() >= 40).then_some(())?;
        let end = usize::from(be16(bytes, 4)?).saturating_add(40).min(bytes.len());
        let body = bytes.get(40..end)?;
        Some(Self {
            source: array::<16>(bytes, 8)?.into(),
            destination: array::<16>(bytes, 24)?.into(),
            hop_limit: byte(bytes, 7)?,
            transport: Transport::behind_extensions(byte(bytes, 6)?, body),
        })
    }
}

impl Transport {
    /// Walks the extension headers (RFC 8200 section 4) to the transport. Each is at least eight
    /// bytes, so the walk ends.
    fn behind_extensions(mut next: u8, mut body: &[u8]) -> Self {
        loop {
            let length = match next {
                // Hop-by-hop, routing, destination options.
                0 | 43 | 60 => byte(body, 1).map(|units| (usize::from(units) + 1) * 8),
                // Authentication header (RFC 4302): counted in words, less two.
                51 => byte(body, 1).map(|words| (usize::from(words) + 2) * 4),
                44 => match be16(body, 2) {
                    Some(field) if field >> 3 != 0 => {
                        return Self::Fragment { protocol: byte(body, 0).unwrap_or(44) };
                    }
                    _ => Some(8),
                },
                _ => return Self::parse(next, body),
            };
            let following = length.and_then(|length| Some((byte(body, 0)?, body.get(length..)?)));
            match following {
                Some(following) => (next, body) = following,
                None => return Self::Other { protocol: next },
            }
        }
    }

    fn parse(protocol: u8, body: &[u8]) -> Self {
        let known = match protocol {
            ICMP => Self::icmp(body, 8, 0),
            ICMPV6 => Self::icmpv6(body),
            UDP => ports(body).map(|(source, destination)| Self::Udp { source, destination }),
            TCP => ports(body).map(|(source, destination)| Self::Tcp { source, destination }),
            _ => None,
        };
        known.unwrap_or(Self::Other { protocol })
    }

    fn icmp(body: &[u8], request: u8, reply: u8) -> Option<Self> {
        let kind = byte(body, 0)?;
        Some(if kind == request || kind == reply {
            Self::Echo { reply: kind == reply, id: be16(body, 4)?, sequence: be16(body, 6)? }
        } else {
            Self::Icmp { kind, code: byte(body, 1)? }
        })
    }

    fn icmpv6(body: &[u8]) -> Option<Self> {
        let target = || array::<16>(body, 8).map(Ipv6Addr::from);
        match byte(body, 0)? {
            135 => Some(Self::NeighbourSolicitation { target: target()? }),
            136 => {
                let flags = byte(body, 4)?;
                let option = body.get(24..26) == Some(&[2, 1]);
                Some(Self::NeighbourAdvertisement {
                    target: target()?,
                    router: flags & 0x80 != 0,
                    solicited: flags & 0x40 != 0,
                    overrides: flags & 0x20 != 0,
                    link_address: option.then(|| array(body, 26).map(MacAddr)).flatten(),
                })
            }
            _ => Self::icmp(body, 128, 129),
        }
    }
}

fn ports(body: &[u8]) -> Option<(u16, u16)> {
    Some((be16(body, 0)?, be16(body, 2)?))
}
