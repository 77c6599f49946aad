//! Parents: the host's links that networks attach to.

use crate::{Error, LinkName, VlanId, VlanProtocol, VlanTag};
use serde::{Deserialize, Serialize};

/// A VLAN sub-interface to be: its name and the tag that it adds to the link below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanStep {
    /// The sub-interface's name.
    pub name: LinkName,
    /// The link below.
    pub lower: LinkName,
    /// Its tag.
    pub tag: VlanTag,
}

/// The parent as a user asks for it, before the host was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// None: a dummy of the network's own, internal.
    None,
    /// A link by name. If it is not there and the name is made of a link's and one or two VLAN ids
    /// (`eth0.215`, `eth0.100.10`), these steps make it, the lowest first.
    Named {
        /// The parent's name.
        name: LinkName,
        /// How to make it, if its name says so.
        steps: Vec<VlanStep>,
    },
    /// A VLAN sub-interface that the options describe in full: if it is there it must be just so.
    Vlan(VlanStep),
}

impl Parent {
    /// Reads `parent`, `vlan`, `vlan_protocol` and `link`.
    pub fn parse(
        parent: Option<&str>,
        vlan: Option<&str>,
        protocol: Option<&str>,
        link: Option<&str>,
    ) -> Result<Self, Error> {
        let given_protocol = protocol.map(str::parse::<VlanProtocol>).transpose()?;
        let protocol = given_protocol.unwrap_or_default();
        let Some(parent) = parent.filter(|p| !p.is_empty()) else {
            if vlan.is_some() || link.is_some() || given_protocol.is_some() {
                return Err(Error::Options(
                    "options vlan, vlan_protocol and link need a parent: add -o parent=LINK".into(),
                ));
            }
            return Ok(Self::None);
        };
        let Some(vlan) = vlan else {
            if link.is_some() {
                return Err(Error::Options("option link needs option vlan: add -o vlan=ID".into()));
            }
            let name: LinkName = parent.parse()?;
            let steps = dotted_steps(&name, protocol)?;
            if given_protocol.is_some() && steps.is_empty() {
                return Err(Error::Options(
                    "option vlan_protocol needs a VLAN: add -o vlan=ID, or name the parent as eth0.215".into(),
                ));
            }
            return Ok(Self::Named { name, steps });
        };
        let id: VlanId = vlan.parse()?;
        let tag = VlanTag { id, protocol };
        // `ip link add link eth0 name foo type vlan id 215` is `-o link=eth0 -o parent=foo -o vlan=215`.
        let (name, lower) = match link {
            Some(lower) => (parent.parse()?, lower.parse()?),
            None => (format!("{parent}.{id}").parse()?, parent.parse()?),
        };
        if name == lower {
            return Err(Error::Options(format!("a VLAN cannot lie on itself: parent and link are both {name}")));
        }
        Ok(Self::Vlan(VlanStep { name, lower, tag }))
    }
}

/// The steps that a dotted name stands for: one tag or two, the outer one with `protocol`. No steps if
/// the parts after the first dot are not numbers (`bond0.lan`) or there are more than two.
fn dotted_steps(name: &LinkName, protocol: VlanProtocol) -> Result<Vec<VlanStep>, Error> {
    let mut parts = name.as_str().split('.');
    let base = parts.next().unwrap_or_default();
    let ids: Vec<&str> = parts.collect();
    let numbers = |id: &&str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    if base.is_empty() || ids.is_empty() || ids.len() > 2 || !ids.iter().all(numbers) {
        return Ok(Vec::new());
    }
    let mut steps = Vec::with_capacity(ids.len());
    let mut lower: LinkName = base.parse()?;
    for (i, id) in ids.iter().enumerate() {
        let protocol = if i == 0 { protocol } else { VlanProtocol::Dot1Q };
        let name: LinkName = format!("{lower}.{id}").parse()?;
        steps.push(VlanStep { name: name.clone(), lower, tag: VlanTag { id: id.parse()?, protocol } });
        lower = name;
    }
    Ok(steps)
}

/// What a link that Trunkline provisioned is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ProvisionedKind {
    /// A VLAN sub-interface.
    Vlan {
        /// The link below.
        lower: LinkName,
        /// Its tag.
        tag: VlanTag,
    },
    /// A dummy.
    Dummy,
}

/// The record of a parent that Trunkline made, and will remove with its last network. A parent
/// without such a record is somebody else's, and never touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionedLink {
    /// Its name.
    pub name: LinkName,
    /// What it is.
    pub kind: ProvisionedKind,
    /// The IFLA_GROUP that marks it.
    pub group: u32,
    /// Its owner in words, the ifalias.
    pub alias: String,
}

impl ProvisionedLink {
    /// The link below, if it has one.
    pub fn lower(&self) -> Option<&LinkName> {
        match &self.kind {
            ProvisionedKind::Vlan { lower, .. } => Some(lower),
            ProvisionedKind::Dummy => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<(String, String, u16, VlanProtocol)> {
        match Parent::parse(Some(text), None, None, None).unwrap() {
            Parent::Named { steps, .. } => steps
                .iter()
                .map(|s| (s.name.to_string(), s.lower.to_string(), s.tag.id.get(), s.tag.protocol))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn test_validate_sub_link() {
        let q = VlanProtocol::Dot1Q;
        assert_eq!(named("eth0"), []);
        assert_eq!(named("eth0.215"), [("eth0.215".into(), "eth0".into(), 215, q)]);
        assert_eq!(named("bond0.lan"), []);
        assert_eq!(named("eth0."), []);
        assert_eq!(
            named("eth0.100.10"),
            [("eth0.100".into(), "eth0".into(), 100, q), ("eth0.100.10".into(), "eth0.100".into(), 10, q)]
        );
        for bad in ["eth0.0", "eth0.4095", "eth0.99999"] {
            assert!(matches!(Parent::parse(Some(bad), None, None, None), Err(Error::VlanId { .. })), "{bad}");
        }
        assert!(Parent::parse(Some("eth0:215"), None, None, None).is_err());
    }

    #[test]
    fn free_names_and_protocols() {
        let step = |r: Result<Parent, Error>| match r.unwrap() {
            Parent::Vlan(step) => step,
            other => panic!("{other:?}"),
        };
        let s = step(Parent::parse(Some("foo"), Some("40"), None, Some("eth0")));
        assert_eq!((s.name.as_str(), s.lower.as_str(), s.tag.id.get()), ("foo", "eth0", 40));
        let s = step(Parent::parse(Some("eth0"), Some("40"), Some("802.1ad"), None));
        assert_eq!((s.name.as_str(), s.lower.as_str(), s.tag.protocol), ("eth0.40", "eth0", VlanProtocol::Dot1Ad));
        assert!(Parent::parse(None, Some("40"), None, None).is_err());
        assert!(Parent::parse(Some("foo"), None, None, Some("eth0")).is_err());
        assert!(Parent::parse(Some("eth0"), Some("40"), None, Some("eth0")).is_err());
        assert!(Parent::parse(Some("eth0"), None, Some("802.1ad"), None).is_err());
        assert_eq!(Parent::parse(None, None, None, None).unwrap(), Parent::None);
    }
}
