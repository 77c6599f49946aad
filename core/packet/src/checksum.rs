//! The Internet checksum (RFC 1071) and ICMPv6's use of it (RFC 4443 section 2.3).

use std::net::Ipv6Addr;

/// ICMPv6's protocol number, part of the pseudo-header.
const ICMPV6: u32 = 58;

fn sum(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.fold(odd, |total, pair| total + u64::from(u16::from_be_bytes([pair[0], pair[1]])))
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The one's complement of the one's complement sum of all 16-bit words; an odd last byte counts
/// as the high half. 0 over bytes that hold their own right checksum.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    fold(sum(bytes))
}

/// The checksum of an ICMPv6 message between two addresses, with the pseudo-header of RFC 8200
/// section 8.1. 0 over a message that holds its own right checksum.
pub fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = message.len() as u64;
    let total = sum(&source.octets())
        + sum(&destination.octets())
        + (length >> 16)
        + (length & 0xffff)
        + u64::from(ICMPV6)
        + sum(message);
    fold(total)
}

#[cfg(test)]
mod tests {
    use super::internet_checksum;

    #[test]
    fn example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet_checksum(&bytes), !0xddf2);
        assert_eq!(internet_checksum(&[]), 0xffff);
        assert_eq!(internet_checksum(&[0x12]), !0x1200);
    }
}
