//! Which store, and what goes with it.

use super::{COMMAND_LINE, Flags, Layers, Setting, StoreFlags, readable, setting};
use crate::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Address, Options, Store};

/// A store that can be opened.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where it is.
    pub address: Address,
    /// Prefix, certificates, login, token.
    pub options: Options,
}

impl StoreConfig {
    /// A file of this host.
    pub fn file(path: PathBuf) -> Self {
        Self { address: Address::Redb(path), options: Options::default() }
    }

    /// The settings of a store alone, for who opens one without a daemon; none: none is named.
    pub fn load(flags: &StoreFlags, environment: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        load(&Layers::read(&Flags { store: flags.clone(), ..Flags::default() }, None, environment)?)
    }

    /// Its file; none: it is on servers.
    pub fn path(&self) -> Option<&Path> {
        match &self.address {
            Address::Redb(path) => Some(path),
            Address::Etcd(_) | Address::Consul(_) => None,
        }
    }

    /// The servers, as `HOST:PORT`.
    pub(crate) fn servers(&self) -> Vec<(String, u16)> {
        match &self.address {
            Address::Redb(_) => Vec::new(),
            Address::Etcd(servers) | Address::Consul(servers) => {
                servers.endpoints.iter().map(|e| (e.host.clone(), e.port)).collect()
            }
        }
    }

    /// Opens it; servers need not be there yet.
    pub fn open(&self) -> Result<Arc<dyn Store>, Error> {
        Ok(store::open(&self.address, &self.options)?)
    }
}

pub(super) fn load(layers: &Layers) -> Result<Option<StoreConfig>, Error> {
    let address = layers.get(|l| &l.store).map(|given| {
        let hidden = Setting { value: given.value.0, place: given.place };
        hidden.parse("store", |text| text.parse::<Address>().map_err(|error| error.to_string()))
    });
    let address = address.transpose()?;
    if let Some(Setting { value: Address::Etcd(servers), place }) = &address
        && servers.login.is_some()
        && place == COMMAND_LINE
    {
        let reason = "a password there is seen by everybody who can list processes: give --store-user, and the \
                      password in TRUNKLINE_STORE_PASSWORD or with --store-password-file";
        return Err(setting("store", place, reason.into()));
    }
    let (options, beside) = options(layers)?;
    match (address, beside) {
        (None | Some(Setting { value: Address::Redb(_), .. }), Some((name, place))) => {
            let reason = "it is for a store that hosts share: give that, too, with --store etcd://HOST:PORT or \
                          consul://HOST:PORT";
            Err(setting(name, &place, reason.into()))
        }
        (address, _) => {
            if let Some(address) = &address {
                fits(&address.value, layers)?;
            }
            Ok(address.map(|address| StoreConfig { address: address.value, options }))
        }
    }
}

/// A setting's name, and the place where it is written.
type Written = (&'static str, String);

/// The options, and one of those that only a shared store takes, if there is any.
fn options(layers: &Layers) -> Result<(Options, Option<Written>), Error> {
    let prefix = layers.get(|l| &l.store_prefix).map(|s| s.parse("store_prefix", prefix)).transpose()?;
    let file =
        |name, get: fn(&super::Layer) -> &Option<PathBuf>| layers.get(get).map(|s| readable(name, s)).transpose();
    let ca = file("store_ca", |l| &l.store_ca)?;
    let cert = file("store_cert", |l| &l.store_cert)?;
    let key = file("store_key", |l| &l.store_key)?;
    match (&cert, &key) {
        (Some(cert), None) => {
            return Err(setting(
                "store_cert",
                &cert.place,
                "a certificate needs its key: give --store-key, too".into(),
            ));
        }
        (None, Some(key)) => {
            return Err(setting("store_key", &key.place, "a key needs its certificate: give --store-cert, too".into()));
        }
        _ => {}
    }
    let user = layers.get(|l| &l.store_user);
    let password = secret(layers, "store_password_file", |l| &l.store_password, |l| &l.store_password_file)?;
    let token = secret(layers, "store_token_file", |l| &l.store_token, |l| &l.store_token_file)?;
    let login = match (&user, &password) {
        (Some(user), Some(password)) => Some((user.value.clone(), password.value.clone())),
        (None, None) => None,
        (Some(user), None) => {
            let reason = "a user needs a password: give it in TRUNKLINE_STORE_PASSWORD or with --store-password-file";
            return Err(setting("store_user", &user.place, reason.into()));
        }
        (None, Some(password)) => {
            let reason = "a password needs a user: give --store-user, too";
            return Err(setting("store_password", &password.place, reason.into()));
        }
    };
    let places = [
        ("store_prefix", prefix.as_ref().map(|s| &s.place)),
        ("store_ca", ca.as_ref().map(|s| &s.place)),
        ("store_cert", cert.as_ref().map(|s| &s.place)),
        ("store_user", user.as_ref().map(|s| &s.place)),
        ("store_token", token.as_ref().map(|s| &s.place)),
    ];
    let beside = super::first(&places);
    let beside = beside.1.map(|place| (beside.0, place.clone()));
    let options = Options {
        prefix: prefix.map_or_else(|| store::DEFAULT_PREFIX.to_owned(), |s| s.value),
        ca: ca.map(|s| s.value),
        cert: cert.map(|s| s.value),
        key: key.map(|s| s.value),
        login,
        token: token.map(|s| s.value),
        ..Options::default()
    };
    Ok((options, beside))
}

/// A login is etcd's, a token Consul's.
fn fits(address: &Address, layers: &Layers) -> Result<(), Error> {
    let token =
        layers.get(|l| &l.store_token).map(|s| s.place).or(layers.get(|l| &l.store_token_file).map(|s| s.place));
    match (address, layers.get(|l| &l.store_user), token) {
        (Address::Consul(_), Some(user), _) => {
            let reason = "Consul knows tokens, not users: give --store-token-file or TRUNKLINE_STORE_TOKEN";
            Err(setting("store_user", &user.place, reason.into()))
        }
        (Address::Etcd(_), _, Some(place)) => {
            let reason = "etcd knows users, not tokens: give --store-user and its password";
            Err(setting("store_token", &place, reason.into()))
        }
        _ => Ok(()),
    }
}

/// A secret as it is written, or from the file that is named; the value itself goes first.
fn secret(
    layers: &Layers,
    name: &'static str,
    value: fn(&super::Layer) -> &Option<super::layer::Secret>,
    file: fn(&super::Layer) -> &Option<PathBuf>,
) -> Result<Option<Setting<String>>, Error> {
    if let Some(found) = layers.get(value) {
        return Ok(Some(Setting { value: found.value.0, place: found.place }));
    }
    let Some(file) = layers.get(file) else { return Ok(None) };
    let file = readable(name, file)?;
    let wrong = |reason: String| setting(name, &file.place, format!("{}: {reason}", file.value.display()));
    let text = std::fs::read_to_string(&file.value).map_err(|error| wrong(error.to_string()))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(wrong("the file is empty".into()));
    }
    Ok(Some(Setting { value: text.to_owned(), place: file.place.clone() }))
}

/// A prefix of keys, without `/` at its ends.
fn prefix(text: &str) -> Result<String, String> {
    let bare = text.trim_matches('/');
    let fits = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_control() || c.is_whitespace());
    match bare.len() <= 256 && bare.split('/').all(fits) {
        true => Ok(bare.to_owned()),
        false => Err(format!("{text:?} is no prefix of keys: parts with '/' between, such as trunkline/v1, expected")),
    }
}
