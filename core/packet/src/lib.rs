//! The Ethernet frames that Trunkline itself sends, and a reader for those that it captures.
//!
//! Pure bytes in, bytes or values out. The reader takes anything off a wire: it never panics, and
//! what it does not know it says so.

#![forbid(unsafe_code)]

mod announce;
mod bytes;
mod checksum;
mod display;
mod frame;
mod ip;

pub use announce::{announcement, gratuitous_arp, unsolicited_advertisement};
pub use checksum::{icmpv6_checksum, internet_checksum};
pub use frame::{Arp, Frame, FrameTag, Payload};
pub use ip::{Datagram, Transport};

/// EtherTypes (IEEE 802 numbers registry).
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// An 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// An 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// The service tag of switches from before 802.1ad.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;
}
