//! What can be wrong with something a user wrote. Every message is one line that names the object
//! and, where there is one, the remedy.

use ipnet::IpNet;

/// A value that is not valid. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name with a character or a length that names may not have.
    #[error("invalid {kind} name {name:?}: {reason}")]
    Name {
        /// What is named: network, endpoint, sandbox.
        kind: &'static str,
        /// As written.
        name: String,
        /// What a name must look like.
        reason: &'static str,
    },
    /// A link name that the kernel would not take (net/core/dev.c, `dev_valid_name`).
    #[error("invalid link name {name:?}: {reason}")]
    LinkName {
        /// As written.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// Not a MAC address of a single station.
    #[error("invalid MAC address {text:?}: {reason}")]
    Mac {
        /// As written.
        text: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A VLAN id outside 1-4094.
    #[error("VLAN id must be between 1 and 4094, not {text:?}")]
    VlanId {
        /// As written.
        text: String,
    },
    /// A VNI that does not fit into 24 bits, or 0.
    #[error("VNI must be between 1 and 16777215, not {text:?}")]
    Vni {
        /// As written.
        text: String,
    },
    /// An identifier that is not 64 hexadecimal digits.
    #[error("invalid identifier {text:?}: 64 hexadecimal digits expected")]
    Id {
        /// As written.
        text: String,
    },
    /// A prefix or an address that does not parse.
    #[error("invalid {what} {text:?}: {expected}")]
    Syntax {
        /// Which argument.
        what: &'static str,
        /// As written.
        text: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// A subnet with bits set beyond its mask.
    #[error("invalid subnet {given}: it should be {meant}")]
    HostBits {
        /// As written.
        given: IpNet,
        /// The same with the host part cleared.
        meant: IpNet,
    },
    /// A gateway, range or auxiliary address without a subnet that holds it.
    #[error("no matching subnet for {what} {value}")]
    NoMatchingSubnet {
        /// gateway, range or aux-address.
        what: &'static str,
        /// As written.
        value: String,
    },
    /// Two gateways or ranges for one subnet.
    #[error("cannot configure multiple {what}s ({first}, {second}) on the same subnet ({subnet})")]
    Repeated {
        /// gateway or range.
        what: &'static str,
        /// The one given first.
        first: String,
        /// The one given second.
        second: String,
        /// The subnet both lie in.
        subnet: IpNet,
    },
    /// Two subnets of one network that overlap.
    #[error("multiple overlapping subnet configuration is not supported: {first} and {second}")]
    OverlappingSubnets {
        /// The one given first.
        first: IpNet,
        /// The one given second.
        second: IpNet,
    },
    /// A driver name that Trunkline does not know.
    #[error("unknown driver {name:?}: use macvlan or ipvlan")]
    Driver {
        /// As written.
        name: String,
    },
    /// A value that its option does not take.
    #[error("invalid value {value:?} for option {option}: {expected}")]
    OptionValue {
        /// The option's key.
        option: String,
        /// As written.
        value: String,
        /// The values it takes.
        expected: String,
    },
    /// An option that no driver knows.
    #[error("unknown option {option:?} for driver {driver}{}", nearest.as_ref().map(|n| format!(": did you mean {n}?")).unwrap_or_default())]
    UnknownOption {
        /// As written.
        option: String,
        /// The network's driver.
        driver: String,
        /// The known option with the least edit distance, if one is near.
        nearest: Option<String>,
    },
    /// Options that exclude each other, or one that lacks its companion.
    #[error("{0}")]
    Options(String),
    /// A parent that can never be one.
    #[error("loopback interface is not a valid {driver} parent link: name the network card, such as eth0")]
    LoopbackParent {
        /// The network's driver.
        driver: String,
    },
}
