//! Exceptions in other people's iptables rules.
//!
//! Docker sets the FORWARD chain's policy to DROP, and other firewalls end it in a REJECT. Where Docker is, the chain
//! DOCKER-USER is meant for rules like ours, and survives its restarts; elsewhere they go to the head of FORWARD.
//! Each rule of ours carries a comment, by which it is found again.

use super::program::{exists, feed};
use crate::Error;
use ipnet::IpNet;
use model::LinkName;
use std::fs;

const DOCKER: &str = "DOCKER-USER";

/// Docker's chain that drops what is for one of its own bridges: as its networks are kept from each other, so are
/// ours from them.
const ISOLATION: &str = "DOCKER-ISOLATION-STAGE-2";

/// iptables of one family in one of its two forms.
struct Tables {
    program: String,
}

/// The forms in which the family's `filter` table is there. Asked for without iptables where possible: the legacy
/// one makes its tables, empty, by being asked.
fn present(v4: bool, op: &str) -> Vec<Tables> {
    let (program, family, names) =
        if v4 { ("iptables", "ip", "ip_tables_names") } else { ("ip6tables", "ip6", "ip6_tables_names") };
    let legacy = fs::read_to_string(format!("/proc/thread-self/net/{names}")).unwrap_or_default();
    let listed = feed("nft", &["list", "tables", family], "", op).unwrap_or_default();
    let forms = [
        ("nft", listed.lines().any(|line| line.trim() == format!("table {family} filter"))),
        ("legacy", legacy.lines().any(|line| line.trim() == "filter")),
    ];
    let named = forms.into_iter().filter(|(_, there)| *there).map(|(form, _)| format!("{program}-{form}"));
    named.filter(|program| exists(program)).map(|program| Tables { program }).collect()
}

/// What marks a rule of ours.
pub(super) fn comment(bridge: &LinkName) -> String {
    format!("trunkline {bridge}")
}

/// The rules for a bridge, from the first on, as iptables takes them.
fn wanted(bridge: &LinkName, isolated: bool) -> Vec<Vec<String>> {
    let out = ["-i", bridge.as_str(), "!", "-o", bridge.as_str()];
    let answers = ["-o", bridge.as_str(), "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"];
    let comment = comment(bridge);
    let rule = |matches: &[&str], target: &str| {
        let words = [matches, &["-m", "comment", "--comment", &comment, "-j", target]].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut rules = Vec::new();
    if isolated {
        rules.push(rule(&out, ISOLATION));
    }
    rules.push(rule(&out, "ACCEPT"));
    rules.push(rule(&answers, "ACCEPT"));
    rules
}

/// The chain that exceptions are due in, by the table's listing (`-S`); none if what is forwarded is let through.
fn chain(listing: &str) -> Option<&'static str> {
    let has = |line: &str| listing.lines().any(|there| there == line);
    if has(&format!("-N {DOCKER}")) {
        return Some(DOCKER);
    }
    let refuses =
        |line: &str| line.starts_with("-A FORWARD ") && (line.contains("-j DROP") || line.contains("-j REJECT"));
    (has("-P FORWARD DROP") || listing.lines().any(refuses)).then_some("FORWARD")
}

/// Our rules for a bridge as a listing shows them, with their chain.
fn ours<'a>(listing: &'a str, bridge: &LinkName) -> Vec<&'a str> {
    let comment = format!("--comment \"{}\"", comment(bridge));
    listing.lines().filter(|line| line.starts_with("-A ") && line.contains(&comment)).collect()
}

/// Puts the exceptions for a bridge where they are needed, for the families of `prefixes`.
pub(super) fn put(bridge: &LinkName, prefixes: &[IpNet], op: &str) -> Result<(), Error> {
    for v4 in [true, false] {
        if prefixes.iter().any(|prefix| prefix.addr().is_ipv4() == v4) {
            for tables in present(v4, op) {
                tables.put(bridge, op)?;
            }
        }
    }
    Ok(())
}

/// The chains that lack their exceptions.
pub(super) fn missing(bridge: &LinkName, prefixes: &[IpNet], op: &str) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for v4 in [true, false].into_iter().filter(|v4| prefixes.iter().any(|prefix| prefix.addr().is_ipv4() == *v4)) {
        for tables in present(v4, op) {
            let (listing, program) = (tables.list(op)?, &tables.program);
            let due = due(&listing, bridge).filter(|(chain, rules)| !is_so(&listing, chain, rules));
            missing.extend(due.map(|(chain, _)| format!("an exception in the chain {chain} of {program}")));
        }
    }
    Ok(missing)
}

/// The chain that exceptions for a bridge are due in, with the rules.
fn due(listing: &str, bridge: &LinkName) -> Option<(&'static str, Vec<Vec<String>>)> {
    let isolated = listing.lines().any(|line| line == format!("-N {ISOLATION}"));
    chain(listing).map(|chain| (chain, wanted(bridge, isolated)))
}

/// Takes them away, wherever they are.
pub(super) fn remove(bridge: &LinkName, op: &str) -> Result<(), Error> {
    for v4 in [true, false] {
        for tables in present(v4, op) {
            let listing = tables.list(op)?;
            tables.remove(&ours(&listing, bridge), op)?;
        }
    }
    Ok(())
}

impl Tables {
    fn run(&self, arguments: &[&str], op: &str) -> Result<String, Error> {
        // -w: waits for another one's lock.
        feed(&self.program, &[&["-w"], arguments].concat(), "", op)
    }

    fn list(&self, op: &str) -> Result<String, Error> {
        self.run(&["-S"], op)
    }

    fn put(&self, bridge: &LinkName, op: &str) -> Result<(), Error> {
        let listing = self.list(op)?;
        let there = ours(&listing, bridge);
        let Some((chain, rules)) = due(&listing, bridge) else { return self.remove(&there, op) };
        if is_so(&listing, chain, &rules) && there.len() == rules.len() {
            return Ok(());
        }
        self.remove(&there, op)?;
        for rule in rules.iter().rev() {
            let words: Vec<_> = ["-I", chain].into_iter().chain(rule.iter().map(String::as_str)).collect();
            self.run(&words, op)?;
        }
        Ok(())
    }

    fn remove(&self, rules: &[&str], op: &str) -> Result<(), Error> {
        for rule in rules {
            let words: Vec<_> = words(rule);
            let words: Vec<_> = ["-D"].into_iter().chain(words.iter().skip(1).map(String::as_str)).collect();
            self.run(&words, op)?;
        }
        Ok(())
    }
}

/// Whether the chain begins with these rules, whatever stands in other chains.
fn is_so(listing: &str, chain: &str, rules: &[Vec<String>]) -> bool {
    let head = format!("-A {chain} ");
    let there = listing.lines().filter_map(|line| line.strip_prefix(&head)).take(rules.len());
    let there: Vec<_> = there.map(words).collect();
    there == rules
}

/// A rule of a listing in words; quotes hold those with blanks together.
fn words(rule: &str) -> Vec<String> {
    let (mut words, mut word, mut quotes) = (Vec::new(), String::new(), false);
    for sign in rule.chars() {
        match sign {
            '"' => quotes = !quotes,
            ' ' if !quotes => words.push(std::mem::take(&mut word)),
            sign => word.push(sign),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The chain that exceptions are due in, and of how many words the rules of ours are.
pub(crate) fn read(listing: &str, bridge: &LinkName) -> (Option<&'static str>, usize) {
    (chain(listing), ours(listing, bridge).into_iter().map(|rule| words(rule).len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_exceptions_are_due() {
        assert_eq!(chain("-P FORWARD ACCEPT\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER"), Some("DOCKER-USER"));
        assert_eq!(chain("-P INPUT DROP\n-P FORWARD DROP"), Some("FORWARD"));
        assert_eq!(
            chain("-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited"),
            Some("FORWARD")
        );
        assert_eq!(chain("-P INPUT DROP\n-P FORWARD ACCEPT\n-A INPUT -j DROP"), None);
    }

    #[test]
    fn a_rule_in_words() {
        let rule = "-A FORWARD -i gw ! -o gw -m comment --comment \"trunkline gw\" -j ACCEPT";
        let bridge = "gw".parse().unwrap();
        assert_eq!(words(rule)[2..], wanted(&bridge, false)[0]);
        assert_eq!(ours(rule, &bridge), [rule]);
        assert!(ours(rule, &"g".parse().unwrap()).is_empty());
    }
}
