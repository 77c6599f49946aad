//! The options of an overlay.

use super::{number, parsed, value_error};
use crate::network::Settings;
use crate::{Driver, Error, Parent, Resolution, Vni};
use std::net::IpAddr;

/// The UDP port that IANA assigned to VXLAN.
const PORT: u16 = 4789;

/// Reads the driver's own options.
pub(super) fn driver<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Driver, Error> {
    let resolution = match (get("remote"), get("group")) {
        (None, None) => Resolution::Store,
        (Some(text), None) => Resolution::Remote(address("remote", text, false)?),
        (None, Some(text)) => Resolution::Group(address("group", text, true)?),
        (Some(_), Some(_)) => {
            return Err(Error::Options("an overlay is point-to-point (remote) or multicast (group), not both".into()));
        }
    };
    if resolution != Resolution::Store && get("peers").is_some() {
        return Err(Error::Options("option peers goes with a store: leave it out beside remote or group".into()));
    }
    let port = number("vxlan_port", get, 1..=65_535)?.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT);
    Ok(Driver::Overlay { peers: parsed(get("peers"))?, port, resolution })
}

fn address(option: &str, text: &str, multicast: bool) -> Result<IpAddr, Error> {
    let expected = if multicast {
        "a multicast group such as 239.1.1.1 or ff05::100"
    } else {
        "another host's address such as 192.168.56.12"
    };
    let fits = |a: &IpAddr| a.is_multicast() == multicast && !a.is_unspecified() && !a.is_loopback();
    text.parse().ok().filter(fits).ok_or_else(|| value_error(option, text, expected))
}

/// Reads the VNI. Docker has one for each subnet; here one segment carries all subnets of a network, so that the
/// rest of a list is not needed.
pub(super) fn vni(list: Option<&str>, warnings: &mut Vec<String>) -> Result<Option<Vni>, Error> {
    let Some(list) = list.filter(|text| !text.is_empty()) else { return Ok(None) };
    let all = list.split(',').map(|text| text.trim().parse()).collect::<Result<Vec<Vni>, Error>>()?;
    let first = all.first().copied();
    if let (Some(first), [_, _, ..]) = (first, all.as_slice()) {
        warnings.push(format!("one VNI carries all subnets of a network: {first} is used, the others are left alone"));
    }
    Ok(first)
}

/// What the options must be together.
pub(super) fn check(settings: &Settings, parent: &Parent, vni: Option<Vni>) -> Result<(), Error> {
    let Driver::Overlay { resolution, .. } = settings.driver else { return Ok(()) };
    match (resolution, parent) {
        (Resolution::Group(_), Parent::None) => {
            return Err(Error::Options("option group needs the link that joins it: add -o parent=LINK".into()));
        }
        (Resolution::Group(_), _) | (_, Parent::None) => {}
        _ => {
            return Err(Error::Options(
                "an overlay has a parent only with option group: leave parent out, or use driver macvlan".into(),
            ));
        }
    }
    if resolution != Resolution::Store && vni.is_none() {
        return Err(Error::Options(
            "an overlay with remote or group shares no store to agree on a VNI: add -o vxlanid_list=VNI".into(),
        ));
    }
    Ok(())
}
