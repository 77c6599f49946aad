//! The words of the model: what was read is valid by the kernel's or the standard's own rule, written out
//! once more here.

use super::parsed;
use crate::outcome::{reached, refused};
use model::{
    DriverKind, EndpointId, IpvlanFlag, IpvlanMode, LinkName, MacAddr, MacvlanMode, Name, NameKind, NetworkId, Parent,
    SandboxId, VlanId, VlanProtocol, VlanStep,
};

pub(super) fn name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let results = [NameKind::Network, NameKind::Endpoint, NameKind::Sandbox].map(|kind| Name::new(kind, &text));
    assert!(results.iter().all(|r| r.is_ok() == results[0].is_ok()), "kinds differ");
    for result in results {
        match result {
            Err(error) => refused(error),
            Ok(name) => {
                reached("read");
                assert_eq!(name.as_str(), text);
                // A name is a part of the store's keys and of file names.
                assert!(!text.contains('/') && text != "." && text != "..", "{text:?} is a path");
                assert!(text.is_ascii() && (1..=Name::MAX).contains(&text.len()));
                assert_eq!(Name::try_from(name.to_string()), Ok(name));
            }
        }
    }
}

/// net/core/dev.c, `dev_valid_name`.
fn kernel_takes(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 16
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace() || b == 0x0b)
}

pub(super) fn link_name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(name) = parsed::<LinkName>(&text) {
        assert_eq!(name.as_str(), text);
        assert!(kernel_takes(&text) && !text.contains('%'), "the kernel would not take {text:?} as it is");
    }
}

pub(super) fn mac(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(mac) = parsed::<MacAddr>(&text) {
        assert_eq!(mac.to_string(), text.replace('-', ":").to_lowercase());
        assert!(!mac.is_multicast() && mac.0 != [0; 6]);
    }
}

pub(super) fn vlan(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(id) = parsed::<VlanId>(&text) {
        assert!((1..=4094).contains(&id.get()));
        assert_eq!(text.trim_start_matches('0'), id.to_string());
    }
    if let Some(protocol) = parsed::<VlanProtocol>(&text) {
        assert!(text.eq_ignore_ascii_case(&protocol.to_string()));
    }
}

pub(super) fn id(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let read = [
        parsed::<NetworkId>(&text).map(|id| id.short().to_owned()),
        parsed::<EndpointId>(&text).map(|id| id.short().to_owned()),
        parsed::<SandboxId>(&text).map(|id| id.short().to_owned()),
    ];
    assert!(read.iter().all(|short| *short == read[0]));
    if let [Some(short), ..] = &read {
        assert!(text.len() == 64 && text.starts_with(short.as_str()));
    }
}

pub(super) fn driver(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = parsed::<DriverKind>(&text);
    let _ = parsed::<MacvlanMode>(&text);
    let _ = parsed::<IpvlanMode>(&text);
    let _ = parsed::<IpvlanFlag>(&text);
}

/// Four lines: parent, vlan, vlan_protocol, link; one that is not there is an option not given.
pub(super) fn parent(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n').map(|line| (line != "-").then_some(line));
    let mut next = || lines.next().flatten();
    let (parent, vlan, protocol, link) = (next(), next(), next(), next());
    match Parent::parse(parent, vlan, protocol, link) {
        Err(error) => refused(error),
        Ok(Parent::None) => assert!(parent.is_none_or(str::is_empty), "{parent:?} was dropped"),
        Ok(Parent::Named { name, steps }) => {
            reached(format!("named, {} steps", steps.len()));
            assert_eq!(Some(name.as_str()), parent);
            assert!(vlan.is_none() && link.is_none(), "an option was dropped");
            steps.iter().for_each(check);
            assert!(steps.len() <= 2 && steps.last().is_none_or(|last| last.name == name));
            assert!(steps.windows(2).all(|pair| pair[1].lower == pair[0].name), "a step hangs in the air");
            assert!(steps.iter().all(|s| s.name.as_str().starts_with(&format!("{}.", s.lower))));
        }
        Ok(Parent::Vlan(step)) => {
            reached("vlan");
            check(&step);
            assert_eq!(vlan.and_then(|v| v.parse().ok()), Some(step.tag.id));
        }
    }
}

fn check(step: &VlanStep) {
    assert_ne!(step.name, step.lower);
    assert!(kernel_takes(step.name.as_str()) && kernel_takes(step.lower.as_str()));
}
