//! The request's parameters, in the environment (section "Parameters").

use crate::Error;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is asked. VERSION is the program's own to answer, with no daemon about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Compare an attachment with what it was.
    Check,
    /// Whether anything could be attached.
    Status,
    /// Detach what the runtime does not name.
    Gc,
}

impl Verb {
    const ALL: [(Self, &'static str); 5] =
        [(Self::Add, "ADD"), (Self::Del, "DEL"), (Self::Check, "CHECK"), (Self::Status, "STATUS"), (Self::Gc, "GC")];
}

/// The parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// What is asked.
    pub verb: Verb,
    /// The runtime's name for the container; empty where the verb has none.
    pub container: String,
    /// The container's namespace; at DEL there may be none any more.
    pub netns: Option<PathBuf>,
    /// The link's name in the container; empty where the verb has none.
    pub ifname: String,
    /// `CNI_ARGS` as it is; [`Arguments::read`] reads it.
    pub arguments: String,
}

impl Environment {
    /// Reads the variables. What the verb needs and lacks is named, all of it.
    ///
    /// # Errors
    /// [`Error::Environment`].
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let text = |name: &str| {
            let value = get(name).unwrap_or_default().into_string();
            value.map_err(|_| Error::Environment(format!("environment variable {name} is no text")))
        };
        let command = text("CNI_COMMAND")?;
        let verb = Verb::ALL.into_iter().find(|(_, word)| *word == command).map(|(verb, _)| verb);
        let known = || Verb::ALL.map(|(_, word)| word).join(", ");
        let unknown = || format!("unknown CNI_COMMAND {command:?}: {}, VERSION are known", known());
        let verb = verb.ok_or_else(|| Error::Environment(unknown()))?;
        let needed: &[&str] = match verb {
            Verb::Add | Verb::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Verb::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Verb::Status | Verb::Gc => &[],
        };
        let mut missing = Vec::new();
        for name in needed {
            if text(name)?.is_empty() {
                missing.push(*name);
            }
        }
        if !missing.is_empty() {
            return Err(Error::Environment(format!("{command} needs {} in the environment", missing.join(", "))));
        }
        let netns = get("CNI_NETNS").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let (container, ifname) = match needed {
            [] => (String::new(), String::new()),
            _ => (text("CNI_CONTAINERID")?, text("CNI_IFNAME")?),
        };
        let read = Self { verb, container, netns, ifname, arguments: text("CNI_ARGS")? };
        if !needed.is_empty() {
            read.check()?;
        }
        Ok(read)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |name: &str, value: &str, rule: &str| {
            Err(Error::Environment(format!("invalid {name} {value:?} in the environment: {rule}")))
        };
        if !is_name(&self.container) {
            return wrong("CNI_CONTAINERID", &self.container, NAME_RULE);
        }
        if let Err(error) = self.ifname.parse::<model::LinkName>() {
            return wrong("CNI_IFNAME", &self.ifname, &error.to_string());
        }
        match &self.netns {
            Some(path) if !path.is_absolute() => {
                wrong("CNI_NETNS", &path.to_string_lossy(), "an absolute path expected")
            }
            _ => Ok(()),
        }
    }
}

/// What names of networks and containers look like (section "Section 1", `utils.go`).
pub(crate) const NAME_RULE: &str = "a letter or digit, then letters, digits, '_', '.' or '-' expected";

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// What `CNI_ARGS` asks for: `IP=10.1.0.5;MAC=02:00:00:00:00:01`. Other keys are other plugins'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `IP`, a list separated by commas.
    pub ips: Vec<String>,
    /// `MAC`.
    pub mac: Option<String>,
}

impl Arguments {
    /// Reads `CNI_ARGS`.
    ///
    /// # Errors
    /// [`Error::Environment`].
    pub fn read(text: &str) -> Result<Self, Error> {
        let mut read = Self::default();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong = || Error::Environment(format!("invalid CNI_ARGS: {pair:?} is no KEY=VALUE"));
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            match key {
                "IP" => {
                    read.ips = value.split(',').map(str::trim).filter(|ip| !ip.is_empty()).map(Into::into).collect();
                }
                "MAC" => read.mac = Some(value.trim().to_owned()).filter(|mac| !mac.is_empty()),
                _ => {}
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, Error> {
        Environment::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn what_each_verb_needs() {
        assert_eq!(read(&[("CNI_IFNAME", "eth0")]).unwrap_err().code(), 4);
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "eth0")]).unwrap_err();
        assert_eq!(error.to_string(), "ADD needs CNI_CONTAINERID, CNI_NETNS in the environment");
        assert_eq!(error.code(), 4);
        let del = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "")];
        assert_eq!(read(&del).unwrap().netns, None);
        // A runtime may leave what it likes there.
        let status = [("CNI_COMMAND", "STATUS"), ("CNI_CONTAINERID", "-"), ("CNI_IFNAME", "a/b")];
        assert_eq!(read(&status).unwrap().verb, Verb::Status);
        assert_eq!(read(&[("CNI_COMMAND", "add")]).unwrap_err().code(), 4);
    }

    #[test]
    fn names() {
        let with = |container: &str, ifname: &str, netns: &str| {
            read(&[
                ("CNI_COMMAND", "ADD"),
                ("CNI_CONTAINERID", container),
                ("CNI_IFNAME", ifname),
                ("CNI_NETNS", netns),
            ])
        };
        assert!(with("a.B_c-1", "net1", "/n").is_ok());
        for (container, ifname, netns) in [
            ("-a", "eth0", "/n"),
            ("a/b", "eth0", "/n"),
            ("a", "sixteen-letters-", "/n"),
            ("a", "a/b", "/n"),
            ("a", "a b", "/n"),
            ("a", "a:b", "/n"),
            ("a", "..", "/n"),
            ("a", "eth0", "n"),
        ] {
            assert_eq!(with(container, ifname, netns).unwrap_err().code(), 4, "{container} {ifname} {netns}");
        }
    }

    #[test]
    fn arguments() {
        let text = "IgnoreUnknown=1;K8S_POD_NAME=a=b; IP=10.0.0.5,fd00::5;MAC=02:00:00:00:00:01;";
        let read = Arguments::read(text).unwrap();
        assert_eq!(read.ips, ["10.0.0.5", "fd00::5"]);
        assert_eq!(read.mac.as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(Arguments::read("").unwrap(), Arguments::default());
        assert_eq!(Arguments::read("IP").unwrap_err().code(), 4);
    }
}
