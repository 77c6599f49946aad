//! Exceptions in other people's nftables chains: firewalld's, or an administrator's own.
//!
//! Each base chain on the forward hook decides for itself: a packet passes if none of them refuses it (nft(8),
//! "accept"). Where one refuses whatever comes to its end, two rules of ours go to its head, marked by a comment.
//! firewalld and others flush their tables when they load anew; the kernel tells of that, and the rules come back.
//! iptables' own chain, FORWARD of the table `filter`, is [`super::exceptions`]' business.

use super::{exceptions::comment, firewalld, program::feed, ruleset};
use crate::Error;
use ipnet::IpNet;
use model::LinkName;
use serde_json::Value;

/// A base chain on the forward hook that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) family: String,
    pub(super) table: String,
    name: String,
    /// Whether it refuses what comes to its end.
    refuses: bool,
    /// The handles of our rules in it, and whether they are its first.
    ours: Vec<u64>,
    ours_first: bool,
}

/// How many rules of ours a chain needs.
const RULES: usize = 2;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a rule refuses whatever comes to it.
fn refuses(rule: &Value) -> bool {
    let steps: Vec<&str> = rule
        .get("expr")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|step| step.as_object()?.keys().next().map(String::as_str))
        .collect();
    let Some((last, before)) = steps.split_last() else { return false };
    matches!(*last, "drop" | "reject") && before.iter().all(|step| matches!(*step, "counter" | "log"))
}

/// The chains of a ruleset, as `nft -j list ruleset` has it.
fn chains(ruleset: &Value, bridge: &LinkName) -> Vec<Chain> {
    let all = ruleset.get("nftables").and_then(Value::as_array).into_iter().flatten();
    let comment = comment(bridge);
    let mut found: Vec<Chain> = Vec::new();
    let mut rules: Vec<(usize, bool)> = Vec::new();
    for item in all {
        if let Some(chain) = item.get("chain").filter(|chain| text(chain, "hook") == "forward") {
            let (family, table, name) = (text(chain, "family"), text(chain, "table"), text(chain, "name"));
            let iptables = matches!(family, "ip" | "ip6") && (table, name) == ("filter", "FORWARD");
            if matches!(family, "ip" | "ip6" | "inet") && table != ruleset::table(bridge) && !iptables {
                let (family, table, name) = (family.to_owned(), table.to_owned(), name.to_owned());
                let refuses = text(chain, "policy") == "drop";
                found.push(Chain { family, table, name, refuses, ours: Vec::new(), ours_first: false });
                rules.push((0, true));
            }
        }
        let Some(rule) = item.get("rule") else { continue };
        let at = |chain: &Chain| {
            (text(rule, "family"), text(rule, "table"), text(rule, "chain"))
                == (chain.family.as_str(), chain.table.as_str(), chain.name.as_str())
        };
        let Some(place) = found.iter().position(at) else { continue };
        let (Some(chain), Some((seen, first))) = (found.get_mut(place), rules.get_mut(place)) else { continue };
        if text(rule, "comment") == comment {
            chain.ours.extend(rule.get("handle").and_then(Value::as_u64));
            *first &= chain.ours.len() == *seen + 1;
        }
        *seen += 1;
        chain.refuses |= refuses(rule);
    }
    for (chain, (_, first)) in found.iter_mut().zip(rules) {
        chain.ours_first = first && chain.ours.len() == RULES;
    }
    found
}

/// The chains there are. Sets' elements are left out: there may be a hundred thousand.
fn list(bridge: &LinkName, op: &str) -> Result<Vec<Chain>, Error> {
    let listed = feed("nft", &["-j", "-t", "list", "ruleset"], "", op)?;
    let ruleset = serde_json::from_str(&listed).map_err(|error| Error::Program {
        op: op.into(),
        program: "nft".into(),
        reason: format!("its ruleset can't be read: {error}"),
    })?;
    Ok(chains(&ruleset, bridge))
}

impl Chain {
    /// Whether packets of one of these prefixes come there.
    fn concerns(&self, prefixes: &[IpNet]) -> bool {
        let has = |v4: bool| prefixes.iter().any(|prefix| prefix.addr().is_ipv4() == v4);
        match self.family.as_str() {
            "ip" => has(true),
            "ip6" => has(false),
            _ => true,
        }
    }

    fn here(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    fn without(&self) -> String {
        self.ours.iter().map(|handle| format!("delete rule {} handle {handle}\n", self.here())).collect()
    }

    /// The rules at the head, as `nft -f` takes them: what was inserted last comes first.
    fn with(&self, bridge: &LinkName) -> String {
        let (here, link, comment) = (self.here(), ruleset::quoted(bridge), comment(bridge));
        format!(
            "insert rule {here} oifname {link} ct state established,related accept comment \"{comment}\"\n\
             insert rule {here} iifname {link} accept comment \"{comment}\"\n"
        )
    }

    /// Whether its table has an owner, whom alone the kernel lets change it (NFT_TABLE_F_OWNER): firewalld from 2.2
    /// on. nft 1.0's JSON does not say so, its text does.
    fn is_owned(&self, op: &str) -> bool {
        let listed = feed("nft", &["-t", "list", "table", &self.family, &self.table], "", op).unwrap_or_default();
        let owned = |line: &str| line.trim().strip_prefix("flags ").is_some_and(|flags| flags.contains("owner"));
        listed.lines().any(owned)
    }

    fn is_firewalld(&self) -> bool {
        (self.family.as_str(), self.table.as_str()) == ("inet", "firewalld")
    }

    fn load(text: &str, op: &str) -> Result<(), Error> {
        feed("nft", &["-f", "-"], text, op).map(drop)
    }

    /// What the chain does to packets of the bridge, if it can't be mended here.
    fn complaint(&self, bridge: &LinkName) -> String {
        format!(
            "the nftables chain {} drops what is forwarded, and its table has an owner: have that one accept iifname \
             {bridge}",
            self.here()
        )
    }
}

/// Puts exceptions for a bridge where they are needed. What can't be helped is told by [`examine`], not an error
/// here: whoever attaches has no other way in, and may not need the way out.
pub(super) fn put(bridge: &LinkName, prefixes: &[IpNet], op: &str) -> Result<(), Error> {
    for chain in list(bridge, op)? {
        let needed = chain.refuses && chain.concerns(prefixes);
        let done = match (needed, chain.ours.is_empty()) {
            (true, _) if chain.ours_first => Ok(()),
            (true, _) if chain.is_owned(op) => match chain.is_firewalld() {
                true => firewalld::trust(bridge, op),
                false => Ok(()),
            },
            (true, _) => Chain::load(&(chain.without() + &chain.with(bridge)), op),
            (false, false) => Chain::load(&chain.without(), op),
            (false, true) => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(chain = chain.here(), %error, "no exception could be put in there");
        }
    }
    Ok(())
}

/// Takes them away.
pub(super) fn remove(bridge: &LinkName, op: &str) -> Result<(), Error> {
    for chain in list(bridge, op)? {
        if chain.is_firewalld() && chain.is_owned(op) {
            firewalld::distrust(bridge, op)?;
        }
        if !chain.ours.is_empty() {
            Chain::load(&chain.without(), op)?;
        }
    }
    Ok(())
}

/// The chains that lack their exceptions, and in words those that can't have any.
pub(super) fn examine(bridge: &LinkName, prefixes: &[IpNet], op: &str) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut missing, mut refused) = (Vec::new(), Vec::new());
    let refusing = |chain: &Chain| chain.refuses && chain.concerns(prefixes) && !chain.ours_first;
    for chain in list(bridge, op)?.into_iter().filter(refusing) {
        if !chain.is_owned(op) {
            missing.push(format!("an exception in the nftables chain {}", chain.here()));
        } else if !chain.is_firewalld() {
            refused.push(chain.complaint(bridge));
        } else {
            match firewalld::zone(bridge, op) {
                Ok(Some(zone)) if zone == firewalld::TRUSTED => {}
                Ok(None) => missing.push(format!("{bridge} in firewalld's zone {}", firewalld::TRUSTED)),
                Ok(Some(zone)) => refused.push(format!(
                    "firewalld has {bridge} in its zone {zone}, which may drop what is forwarded: firewall-cmd \
                     --zone={} --change-interface={bridge}",
                    firewalld::TRUSTED
                )),
                Err(error) => refused.push(format!("{}: {error}", chain.complaint(bridge))),
            }
        }
    }
    Ok((missing, refused))
}

/// How many chains of a ruleset refuse, and how many rules of ours there are.
pub(crate) fn read(ruleset: &str, bridge: &LinkName) -> (usize, usize) {
    let ruleset = serde_json::from_str(ruleset).unwrap_or_default();
    let chains = chains(&ruleset, bridge);
    (chains.iter().filter(|chain| chain.refuses).count(), chains.iter().map(|chain| chain.ours.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain(name: &str, policy: &str) -> Value {
        json!({"chain": {"family": "inet", "table": "t", "name": name, "handle": 1, "type": "filter",
            "hook": "forward", "prio": 0, "policy": policy}})
    }

    fn rule(chain: &str, handle: u64, comment: &str, expr: Value) -> Value {
        json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": handle, "comment": comment,
            "expr": expr}})
    }

    fn read(items: Vec<Value>) -> Vec<Chain> {
        chains(&json!({ "nftables": items }), &"gw".parse().unwrap())
    }

    #[test]
    fn what_refuses() {
        let one = |item: Value| read(vec![chain("f", "accept"), item]).pop().unwrap().refuses;
        assert!(read(vec![chain("f", "drop")])[0].refuses);
        assert!(one(rule("f", 1, "", json!([{"counter": {"packets": 0}}, {"reject": {"type": "icmpx"}}]))));
        assert!(one(rule("f", 1, "", json!([{"drop": null}]))));
        assert!(!one(rule("f", 1, "", json!([{"match": {"op": "=="}}, {"drop": null}]))));
        assert!(!one(rule("g", 1, "", json!([{"drop": null}]))));
        assert!(!one(rule("f", 1, "", json!([{"accept": null}]))));
    }

    #[test]
    fn our_rules_must_be_the_first() {
        let ours = |handle| rule("f", handle, "trunkline gw", json!([{"accept": null}]));
        let other = rule("f", 9, "somebody's", json!([{"accept": null}]));
        let first = |items: Vec<Value>| {
            let chains = read([vec![chain("f", "drop")], items].concat());
            (chains[0].ours.clone(), chains[0].ours_first)
        };
        assert_eq!(first(vec![ours(4), ours(3), other.clone()]), (vec![4, 3], true));
        assert_eq!(first(vec![other.clone(), ours(4), ours(3)]), (vec![4, 3], false));
        assert_eq!(first(vec![ours(4), other.clone(), ours(3)]), (vec![4, 3], false));
        assert_eq!(first(vec![ours(4), other]), (vec![4], false));
        assert_eq!(first(vec![]), (vec![], false));
    }

    #[test]
    fn whose_chains_are_looked_at() {
        let mut ours = chain("forward", "drop");
        ours["chain"]["table"] = json!("trunkline-gw");
        let mut iptables = chain("FORWARD", "drop");
        iptables["chain"]["table"] = json!("filter");
        iptables["chain"]["family"] = json!("ip");
        let mut bridges = chain("forward", "drop");
        bridges["chain"]["family"] = json!("bridge");
        assert_eq!(read(vec![ours, iptables, bridges]), []);
    }
}
