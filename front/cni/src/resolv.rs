//! Name servers: the configuration's `dns`, the runtime's, or those of a file (resolv.conf(5)).

use crate::Error;
use crate::config::Config;
use crate::result::Dns;
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is read of a file, in bytes: far more than a resolver does.
const LONGEST: u64 = 64 << 10;

/// What a result says of name servers: the runtime's word, the configuration's, the text of `ipam.resolvConf`.
pub fn dns(config: &Config, resolv_conf: Option<&str>) -> Dns {
    let runtime = config.runtime_config.as_ref().and_then(|r| r.dns.clone()).map(|dns| Dns {
        nameservers: dns.servers.unwrap_or_default(),
        search: dns.searches.unwrap_or_default(),
        options: dns.options.unwrap_or_default(),
        domain: None,
    });
    let given = [runtime, config.dns.clone()].into_iter().flatten().find(|dns| *dns != Dns::default());
    given.or_else(|| resolv_conf.map(read)).unwrap_or_default()
}

/// The text of `ipam.resolvConf`.
///
/// # Errors
/// [`Error::Io`], for what is no plain file, too. The daemon waits for nobody here: neither for a pipe's other end nor
/// for the kernel's next word, which some files of its own hand out.
pub(crate) fn file(path: &Path) -> Result<String, Error> {
    let read = || {
        if !path.is_absolute() {
            return Err(io::Error::other("not an absolute path"));
        }
        let at_once = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(at_once).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("no plain file"));
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().map_err(|error: io::Error| Error::Io { what: format!("read {}", path.display()), reason: error.to_string() })
}

/// Reads a resolv.conf. Of several `domain` and `search` lines the last counts.
fn read(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_ascii_whitespace();
        let (key, mut values) = (words.next(), words.map(str::to_owned));
        match key {
            Some("nameserver") => dns.nameservers.extend(values.next()),
            Some("domain") => dns.domain = values.next(),
            Some("search") => dns.search = values.collect(),
            Some("options") => dns.options.extend(values),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_read() {
        for path in ["/dev/zero", "/proc/self", "/nowhere"] {
            assert_eq!(file(Path::new(path)).unwrap_err().code(), 5, "{path}");
        }
        assert!(file(Path::new("/proc/self/status")).unwrap().contains("Pid"));
    }

    #[test]
    fn who_comes_first() {
        let file = "# x\nnameserver 10.0.0.53\nsearch a b\nsearch c\noptions ndots:2 rotate\ndomain d\n";
        let config = |keys: &str| Config::read(format!(r#"{{"name": "n"{keys}}}"#).as_bytes()).unwrap();
        let read = dns(&config(""), Some(file));
        assert_eq!((read.nameservers, read.domain), (vec!["10.0.0.53".to_owned()], Some("d".to_owned())));
        assert_eq!((read.search, read.options), (vec!["c".into()], vec!["ndots:2".into(), "rotate".to_owned()]));
        let own = r#", "dns": {"nameservers": ["10.0.0.1"]}"#;
        assert_eq!(dns(&config(own), Some(file)).nameservers, ["10.0.0.1"]);
        let both = format!(r#"{own}, "runtimeConfig": {{"dns": {{"servers": ["10.0.0.2"]}}}}"#);
        assert_eq!(dns(&config(&both), None).nameservers, ["10.0.0.2"]);
    }
}
