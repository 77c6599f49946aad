//! The daemon's settings. Each may be written as a flag, in the environment, or in a TOML file; the
//! first of these that has it wins, and the default stands behind them.

mod address;
mod layer;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use address::GOSSIP_PORT;
pub use address::{
    Advertise, Bind, advertise as read_advertise, bind as read_bind, listener as read_listener, names_a_host,
};
pub use layer::{Flags, StoreFlags};
pub use store::StoreConfig;

use crate::Error;
use layer::{Layer, from_environment, from_file, from_flags};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text an event.
    Text,
    /// A JSON object an event.
    Json,
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is shared with other hosts, or this host's own file.
    pub store: StoreConfig,
    /// The file of what is this host's own: the store itself, if that is a file.
    pub local: PathBuf,
    /// The directory of what outlives a reboot.
    pub state_dir: PathBuf,
    /// The directory of what does not.
    pub run_dir: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// How the log is written.
    pub log_format: LogFormat,
    /// This host's name among those that share the store.
    pub host_name: String,
    /// The address that the other hosts send to, and where that was written; none: it is found.
    pub advertise: Option<Setting<Advertise>>,
    /// Where the gossip listens; none: at the usual port of the advertised address.
    pub bind: Option<Setting<Bind>>,
    /// Members of the gossip to join; empty: those that the store knows.
    pub join: Vec<String>,
    /// The file of the gossip's keys.
    pub keyring: Option<PathBuf>,
    /// Where metrics are served over TCP.
    pub metrics: Option<Setting<SocketAddr>>,
    /// Where the sockets of Docker's plugins are made; none: it is no plugin, unless their sockets are passed.
    pub docker_plugins: Option<PathBuf>,
}

/// A value, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The command line, the environment, or a file's path.
    pub place: String,
}

const COMMAND_LINE: &str = "the command line";
const ENVIRONMENT: &str = "the environment";

/// Places of settings with what is written there, the first first.
struct Layers(Vec<(String, Layer)>);

impl Layers {
    fn read(flags: &Flags, socket: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let file = flags.config.clone().or_else(|| environment("TRUNKLINE_CONFIG").map(PathBuf::from));
        let mut layers = vec![
            (COMMAND_LINE.to_owned(), from_flags(flags, socket)),
            (ENVIRONMENT.to_owned(), from_environment(&environment)),
        ];
        if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
            layers.push((path.display().to_string(), from_file(&path)?));
        }
        Ok(Self(layers))
    }

    /// The setting as the first place has it.
    fn get<T: Clone>(&self, get: impl Fn(&Layer) -> &Option<T>) -> Option<Setting<T>> {
        let found =
            |(place, layer): &(String, Layer)| get(layer).clone().map(|value| Setting { value, place: place.clone() });
        self.0.iter().find_map(found)
    }

    fn value<T: Clone>(&self, get: impl Fn(&Layer) -> &Option<T>) -> Option<T> {
        self.get(get).map(|setting| setting.value)
    }
}

impl Setting<String> {
    /// Reads the text; the error names the setting and its place.
    fn parse<T>(self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Setting<T>, Error> {
        match parse(&self.value) {
            Ok(value) => Ok(Setting { value, place: self.place }),
            Err(reason) => Err(setting(name, &self.place, reason)),
        }
    }
}

/// An error about a setting.
pub(crate) fn setting(name: &str, place: &str, reason: String) -> Error {
    Error::Setting { name: name.into(), place: place.into(), reason }
}

impl Config {
    /// Puts the settings together. `socket` is the global `--socket`, `environment` looks a variable up.
    pub fn load(
        flags: &Flags,
        socket: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        Self::merge(&Layers::read(flags, socket, environment)?)
    }

    fn merge(layers: &Layers) -> Result<Self, Error> {
        let state_dir = layers.value(|l| &l.state_dir).unwrap_or_else(|| "/var/lib/trunkline".into());
        let run_dir = layers.value(|l| &l.run_dir).unwrap_or_else(|| "/run/trunkline".into());
        let socket = layers.value(|l| &l.socket).unwrap_or_else(|| run_dir.join("trunkline.sock"));
        let own = state_dir.join("trunkline.redb");
        let store = store::load(layers)?.unwrap_or_else(|| StoreConfig::file(own.clone()));
        let local = store.path().map_or(own, Path::to_path_buf);
        let log_format = layers.get(|l| &l.log_format).map(|s| s.parse("log_format", log_format)).transpose()?;
        let host_name = match layers.get(|l| &l.host_name) {
            Some(name) => name.parse("host_name", host_name)?.value,
            None => own_name()?,
        };
        let advertise = layers.get(|l| &l.advertise).map(|s| s.parse("advertise", address::advertise)).transpose()?;
        let bind = layers.get(|l| &l.bind).map(|s| s.parse("bind", address::bind)).transpose()?;
        let join = layers.get(|l| &l.join).map(join).transpose()?;
        let keyring = layers.get(|l| &l.keyring).map(|s| readable("keyring", s)).transpose()?;
        let metrics = layers.get(|l| &l.metrics).map(|s| s.parse("metrics", address::listener)).transpose()?;
        let gossip = [
            ("bind", bind.as_ref().map(|s| &s.place)),
            ("join", join.as_ref().map(|s| &s.place)),
            ("keyring", keyring.as_ref().map(|s| &s.place)),
        ];
        if let ((name, Some(place)), true) = (first(&gossip), store.path().is_some()) {
            let reason = "hosts gossip about what they share: give the store that they share, too, with --store \
                          etcd://HOST:PORT or consul://HOST:PORT";
            return Err(setting(name, place, reason.into()));
        }
        Ok(Self {
            store,
            local,
            state_dir,
            run_dir,
            socket,
            log_format: log_format.map_or(LogFormat::Text, |s| s.value),
            host_name,
            advertise,
            bind,
            join: join.map(|s| s.value).unwrap_or_default(),
            keyring: keyring.map(|s| s.value),
            metrics,
            docker_plugins: layers.value(|l| &l.docker_plugins),
        })
    }

    /// Whether other hosts use the store, too.
    pub fn is_shared(&self) -> bool {
        self.store.path().is_none()
    }
}

/// The first setting that is written anywhere.
fn first<'a>(settings: &[(&'static str, Option<&'a String>)]) -> (&'static str, Option<&'a String>) {
    settings.iter().copied().find(|(_, place)| place.is_some()).unwrap_or(("", None))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is no format: text or json expected")),
    }
}

/// A host's name: it is a word on the command line, and a member's name in the gossip.
fn host_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match (1..=128).contains(&text.len()) && text.chars().all(fits) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is no host's name: 1 to 128 letters, digits, '-', '.' and '_' expected")),
    }
}

/// This machine's name.
fn own_name() -> Result<String, Error> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    host_name(&name)
        .map_err(|_| setting("host_name", "the kernel", format!("{name:?} is no name: set one with --host-name")))
}

fn join(given: Setting<Vec<String>>) -> Result<Setting<Vec<String>>, Error> {
    match given.value.iter().find(|address| !address::names_a_host(address)) {
        None => Ok(given),
        Some(wrong) => Err(setting(
            "join",
            &given.place,
            format!("{wrong:?} names no host: HOST, HOST:PORT or [IPV6]:PORT expected"),
        )),
    }
}

/// A file that must be there.
fn readable(name: &str, file: Setting<PathBuf>) -> Result<Setting<PathBuf>, Error> {
    match std::fs::File::open(&file.value).and_then(|f| f.metadata()) {
        Ok(found) if found.is_file() => Ok(file),
        Ok(_) => Err(setting(name, &file.place, format!("{} is no file", file.value.display()))),
        Err(error) => Err(setting(name, &file.place, format!("cannot read {}: {error}", file.value.display()))),
    }
}
