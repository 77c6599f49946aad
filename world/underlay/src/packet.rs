//! The packets of a test: VXLAN (RFC 7348) around an Ethernet frame that nobody takes.

use crate::words::Nonce;
use std::net::IpAddr;

/// The flag that says that the VNI is valid.
const VNI_FLAG: u8 = 0x08;

/// The last VNI there is: VNIs are given out from below.
const VNI: [u8; 3] = [0xff; 3];

/// An Ethernet type for local experiments (IEEE Std 802, "Local Experimental Ethertype 1").
const TYPE: [u8; 2] = [0x88, 0xb5];

const MARK: &[u8; 8] = b"trunkchk";
const VXLAN_HEADER: usize = 8;
const ETHERNET: usize = 14;
const UDP: usize = 8;

/// What is in front of a packet's own bytes: both marks.
const LEAST: usize = VXLAN_HEADER + ETHERNET + MARK.len() + size_of::<Nonce>();

/// The header of IP without options.
fn ip_header(family: IpAddr) -> usize {
    if family.is_ipv4() { 20 } else { 40 }
}

/// The payload of a UDP packet that is, with IP's header, so many bytes long; at least as long as its marks need.
pub(crate) fn payload(nonce: Nonce, to: IpAddr, size: u16) -> Vec<u8> {
    let length = usize::from(size).saturating_sub(ip_header(to) + UDP).max(LEAST);
    let mut payload = vec![VNI_FLAG, 0, 0, 0];
    payload.extend(VNI);
    payload.push(0);
    // From and to locally administered addresses.
    payload.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    payload.extend(TYPE);
    payload.extend(MARK);
    payload.extend(nonce.to_be_bytes());
    payload.resize(length, 0xa5);
    payload
}

/// Reads what a raw socket of UDP was given: the size of a packet of ours to this port, with all headers from IP's on.
/// For IPv4 it is given the IP header, too; for IPv6 it is not.
pub(crate) fn read(bytes: &[u8], ipv4: bool, port: u16, nonce: Nonce) -> Option<u16> {
    let (header, udp) = match ipv4 {
        true => {
            let length = usize::from(bytes.first()? & 0x0f) * 4;
            (length, bytes.get(length..)?)
        }
        false => (ip_header(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)), bytes),
    };
    let to = u16::from_be_bytes(udp.get(2..4)?.try_into().ok()?);
    let payload = udp.get(UDP..)?;
    let marks = payload.get(VXLAN_HEADER + ETHERNET..LEAST)?;
    let ours = to == port && marks[..MARK.len()] == *MARK && marks[MARK.len()..] == nonce.to_be_bytes();
    ours.then(|| u16::try_from(header + udp.len()).ok()).flatten()
}

/// Bytes that are compared at the end of a transfer: none is like the next, and all follow from the nonce (xorshift64).
pub(crate) fn pattern(nonce: Nonce, length: usize) -> Vec<u8> {
    let mut state = nonce | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn received(nonce: Nonce, to: IpAddr, size: u16, port: u16) -> Vec<u8> {
        let payload = payload(nonce, to, size);
        let mut bytes = if to.is_ipv4() { [&[0x45][..], &[0; 19]].concat() } else { Vec::new() };
        bytes.extend([0, 1]);
        bytes.extend(port.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn sizes_are_those_on_the_wire() {
        for to in ["192.0.2.1", "2001:db8::1"] {
            let to: IpAddr = to.parse().unwrap();
            for size in [128, 576, 1450, 1500, 9000] {
                let bytes = received(7, to, size, 4789);
                assert_eq!(read(&bytes, to.is_ipv4(), 4789, 7), Some(size), "{to}");
                assert_eq!(read(&bytes, to.is_ipv4(), 4788, 7), None);
                assert_eq!(read(&bytes, to.is_ipv4(), 4789, 8), None);
            }
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_not(bytes: Vec<u8>, ipv4: bool) {
            let _ = read(&bytes, ipv4, 4789, 1);
        }
    }
}
