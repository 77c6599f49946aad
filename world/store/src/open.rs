//! Opening the store that an address names.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Address, Error, Redb, Store, consul, etcd};

/// Where keys of a shared store begin unless the operator says otherwise.
pub const DEFAULT_PREFIX: &str = "trunkline/v1";
/// How long an operation on a shared store may take.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes with an address.
#[derive(Clone)]
pub struct Options {
    /// What every key of a shared store begins with, without its last `/`. A file has no prefix.
    pub prefix: String,
    /// The certificates of the authorities that servers are verified against (PEM). Asks for TLS.
    /// Without it: those that the machine trusts.
    pub ca: Option<PathBuf>,
    /// The certificate by which the servers know us (PEM). Asks for TLS.
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// etcd's user and password; one in the address goes before it.
    pub login: Option<(String, String)>,
    /// Consul's ACL token.
    pub token: Option<String>,
    /// How long an operation may take altogether. A server that gives no answer for two fifths of
    /// it is given up for another one.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            prefix: DEFAULT_PREFIX.to_owned(),
            ca: None,
            cert: None,
            key: None,
            login: None,
            token: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl fmt::Debug for Options {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("prefix", &self.prefix)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .field("token", &self.token.is_some())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Opens the store at `address`.
///
/// A file is opened, and made where there is none ([`Redb::open`]). Servers are connected to in the
/// background, and need not be there yet: [`Store::health`] tells whether they are, and an
/// operation that can't be done fails within [`Options::timeout`]. What is wrong with the options
/// themselves, such as a certificate that can't be read, is [`Error::Invalid`] at once.
pub fn open(address: &Address, options: &Options) -> Result<Arc<dyn Store>, Error> {
    let shared = !matches!(address, Address::Redb(_));
    let tls = options.ca.is_some() || options.cert.is_some() || options.key.is_some();
    if !shared && (tls || options.login.is_some() || options.token.is_some()) {
        let reason = "a file takes no certificates, login or token".to_owned();
        return Err(Error::Invalid { object: address.to_string(), reason });
    }
    if shared && options.timeout < Duration::from_millis(100) {
        let reason = "a timeout below 100 ms leaves servers no time to answer".to_owned();
        return Err(Error::Invalid { object: address.to_string(), reason });
    }
    match address {
        Address::Redb(path) => Ok(Arc::new(Redb::open(path)?)),
        Address::Etcd(servers) => etcd::open(servers, options),
        Address::Consul(servers) => consul::open(servers, options),
    }
}
