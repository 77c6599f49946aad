//! CHECK: the result that the runtime kept, beside the endpoint as the daemon has just seen it.

use crate::result::{Interface, Output};
use ipnet::IpNet;
use model::view::{EndpointView, Finding};

/// What of it keeps an attachment from being what it was: its own faults and its parent's. A full pool, or a store
/// that is away, is nothing to what is attached.
fn concerns(finding: &Finding) -> bool {
    matches!(finding.object.as_str(), "endpoint" | "parent" | "overlay")
}

/// What is not as it was, in words; empty: nothing.
pub fn differences(
    kept: &Output,
    ifname: &str,
    sandbox: &str,
    endpoint: &EndpointView,
    findings: &[Finding],
) -> Vec<String> {
    let mut told: Vec<String> = findings.iter().filter(|f| concerns(f)).map(|f| f.problem.clone()).collect();
    let ours = |i: &&Interface| i.name == ifname && i.sandbox.as_deref() == Some(sandbox);
    let Some(place) = kept.interfaces.iter().position(|i| ours(&i)) else {
        told.push(format!("prevResult has no interface {ifname} in {sandbox}"));
        return told;
    };
    let interface = &kept.interfaces[place];
    let has = endpoint.link_mac.map(|mac| mac.to_string());
    if let Some(mac) =
        interface.mac.as_ref().filter(|mac| !has.as_ref().is_some_and(|has| has.eq_ignore_ascii_case(mac)))
    {
        told.push(format!("{ifname}'s MAC address is {}, not {mac}", has.unwrap_or_else(|| "none".into())));
    }
    if let (Some(mtu), Some(has)) = (interface.mtu.filter(|mtu| *mtu > 0), endpoint.mtu)
        && mtu != has
    {
        told.push(format!("{ifname}'s MTU is {has}, not {mtu}"));
    }
    // Those without a place are an older plugin's word for all of them.
    let on_it = kept.ips.iter().filter(|ip| ip.interface.is_none_or(|n| n == place));
    let listed: Vec<IpNet> = on_it.filter_map(|ip| ip.address.parse().ok()).collect();
    told.extend(
        listed.iter().filter(|a| !endpoint.addresses.contains(a)).map(|a| format!("{ifname} has no address {a}")),
    );
    let unknown = endpoint.addresses.iter().filter(|a| !listed.contains(a));
    told.extend(unknown.map(|a| format!("{ifname} has address {a}, which prevResult does not have")));
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;
    use crate::result::{Dns, output, tests::endpoint};

    fn finding(object: &str) -> Finding {
        Finding { object: object.into(), name: "x".into(), problem: format!("{object} is wrong") }
    }

    fn told(change: impl Fn(&mut Output, &mut EndpointView), findings: &[Finding]) -> Vec<String> {
        let mut seen = endpoint();
        let mut kept = output(Version::V110, None, &seen, "eth0", "/n", Dns::default());
        change(&mut kept, &mut seen);
        differences(&kept, "eth0", "/n", &seen, findings)
    }

    #[test]
    fn what_differs_is_named() {
        let nothing = |_: &mut Output, _: &mut EndpointView| {};
        assert!(told(nothing, &[finding("pool"), finding("store")]).is_empty());
        assert_eq!(told(nothing, &[finding("parent"), finding("endpoint")]), ["parent is wrong", "endpoint is wrong"]);
        assert_eq!(told(|_, seen| seen.link_mac = None, &[]), ["eth0's MAC address is none, not 02:42:0a:00:00:05"]);
        assert_eq!(told(|_, seen| seen.mtu = Some(1500), &[]), ["eth0's MTU is 1500, not 1400"]);
        let lost = told(|_, seen| seen.addresses.truncate(1), &[]);
        assert_eq!(lost, ["eth0 has no address fd00::5/64"]);
        let more = told(|kept, _| drop(kept.ips.pop()), &[]);
        assert_eq!(more, ["eth0 has address fd00::5/64, which prevResult does not have"]);
        assert_eq!(told(|kept, _| kept.interfaces.clear(), &[]), ["prevResult has no interface eth0 in /n"]);
        assert!(told(|kept, _| kept.interfaces[0].mac = Some("02:42:0A:00:00:05".into()), &[]).is_empty());
    }
}
