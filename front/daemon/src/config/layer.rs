//! What may be written in one place: the flags, the environment, or a file.

use crate::Error;
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};

/// The flags of `trunkline daemon`. `--socket` is the program's global flag.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Flags {
    /// The store.
    #[command(flatten)]
    pub store: StoreFlags,
    /// The address that other hosts send to, or the link that has it [env: TRUNKLINE_ADVERTISE] [default: the source address of the route to the store]
    #[arg(long, value_name = "LINK|IP", help_heading = "Hosts that share a store")]
    pub advertise: Option<String>,
    /// Where the gossip listens, TCP and UDP [env: TRUNKLINE_BIND] [default: port 7946 of the advertised address]
    #[arg(long, value_name = "IP[:PORT]", help_heading = "Hosts that share a store")]
    pub bind: Option<String>,
    /// Members of the gossip to join [env: TRUNKLINE_JOIN] [default: the hosts that the store knows]
    #[arg(long, value_name = "HOST[:PORT]", num_args = 1.., value_delimiter = ',', help_heading = "Hosts that share a store")]
    pub join: Option<Vec<String>>,
    /// A file of the gossip's keys: a JSON array of base64, the one in use first, as Serf keeps it [env: TRUNKLINE_KEYRING]
    #[arg(long, value_name = "FILE", help_heading = "Hosts that share a store")]
    pub keyring: Option<PathBuf>,
    /// This host's name among them, unique [env: TRUNKLINE_HOST_NAME] [default: the machine's]
    #[arg(long, value_name = "NAME", help_heading = "Hosts that share a store")]
    pub host_name: Option<String>,
    /// Serve metrics for Prometheus on this TCP address, too [env: TRUNKLINE_METRICS]
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<String>,
    /// Be Docker's plugins trunkline-macvlan, -ipvlan, -overlay and trunkline, with their sockets in this directory, which is /run/docker/plugins for Docker to find them [env: TRUNKLINE_DOCKER_PLUGINS]
    #[arg(long, value_name = "DIR")]
    pub docker_plugins: Option<PathBuf>,
    /// The directory of what outlives a reboot [env: TRUNKLINE_STATE_DIR] [default: /var/lib/trunkline]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The directory of what does not: socket, intents, logs and exit codes of `run` [env: TRUNKLINE_RUN_DIR] [default: /run/trunkline]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// How the log is written: text or json [env: TRUNKLINE_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// A TOML file with these settings, '_' for '-'; besides: socket, store_password, store_token [env: TRUNKLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The flags that name a store and what goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct StoreFlags {
    /// Where networks, endpoints and addresses are kept: redb:PATH, or shared with other hosts in etcd or Consul (etcds://, consuls:// with TLS) [env: TRUNKLINE_STORE] [default: redb:STATE_DIR/trunkline.redb]
    #[arg(long, value_name = "redb:PATH|etcd://H:P[,...]|consul://H:P[,...]")]
    pub store: Option<String>,
    /// What the keys in a shared store begin with [env: TRUNKLINE_STORE_PREFIX] [default: trunkline/v1]
    #[arg(long, value_name = "PREFIX")]
    pub store_prefix: Option<String>,
    /// Certificates of the authorities that vouch for the store's servers, PEM [env: TRUNKLINE_STORE_CA] [default: the machine's]
    #[arg(long, value_name = "FILE")]
    pub store_ca: Option<PathBuf>,
    /// This host's certificate for the store's servers, PEM [env: TRUNKLINE_STORE_CERT]
    #[arg(long, value_name = "FILE")]
    pub store_cert: Option<PathBuf>,
    /// Its key, PEM [env: TRUNKLINE_STORE_KEY]
    #[arg(long, value_name = "FILE")]
    pub store_key: Option<PathBuf>,
    /// etcd's user; the password comes from the environment (TRUNKLINE_STORE_PASSWORD) or a file [env: TRUNKLINE_STORE_USER]
    #[arg(long, value_name = "NAME")]
    pub store_user: Option<String>,
    /// A file with etcd's password [env: TRUNKLINE_STORE_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,
    /// A file with Consul's token, which may also come from the environment (TRUNKLINE_STORE_TOKEN) [env: TRUNKLINE_STORE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub store_token_file: Option<PathBuf>,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub(super) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// One place where settings are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Layer {
    pub(super) store: Option<Secret>,
    pub(super) store_prefix: Option<String>,
    pub(super) store_ca: Option<PathBuf>,
    pub(super) store_cert: Option<PathBuf>,
    pub(super) store_key: Option<PathBuf>,
    pub(super) store_user: Option<String>,
    pub(super) store_password: Option<Secret>,
    pub(super) store_password_file: Option<PathBuf>,
    pub(super) store_token: Option<Secret>,
    pub(super) store_token_file: Option<PathBuf>,
    pub(super) advertise: Option<String>,
    pub(super) bind: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(super) join: Option<Vec<String>>,
    pub(super) keyring: Option<PathBuf>,
    pub(super) host_name: Option<String>,
    pub(super) metrics: Option<String>,
    pub(super) docker_plugins: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) run_dir: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    pub(super) log_format: Option<String>,
}

/// A list, or a text with commas.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts expected")]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(Some(match Either::deserialize(deserializer)? {
        Either::One(text) => split(&text),
        Either::Many(all) => all,
    }))
}

fn split(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(super) fn from_flags(flags: &Flags, socket: Option<&Path>) -> Layer {
    let store = flags.store.clone();
    Layer {
        store: store.store.map(Secret),
        store_prefix: store.store_prefix,
        store_ca: store.store_ca,
        store_cert: store.store_cert,
        store_key: store.store_key,
        store_user: store.store_user,
        store_password: None,
        store_password_file: store.store_password_file,
        store_token: None,
        store_token_file: store.store_token_file,
        advertise: flags.advertise.clone(),
        bind: flags.bind.clone(),
        join: flags.join.clone(),
        keyring: flags.keyring.clone(),
        host_name: flags.host_name.clone(),
        metrics: flags.metrics.clone(),
        docker_plugins: flags.docker_plugins.clone(),
        state_dir: flags.state_dir.clone(),
        run_dir: flags.run_dir.clone(),
        socket: socket.map(Path::to_path_buf),
        log_format: flags.log_format.clone(),
    }
}

pub(super) fn from_environment(get: &impl Fn(&str) -> Option<String>) -> Layer {
    // As elsewhere in the world of shells, a variable set to nothing is not set.
    let get = |name: &str| get(&format!("TRUNKLINE_{name}")).filter(|value| !value.is_empty());
    let path = |name: &str| get(name).map(PathBuf::from);
    Layer {
        store: get("STORE").map(Secret),
        store_prefix: get("STORE_PREFIX"),
        store_ca: path("STORE_CA"),
        store_cert: path("STORE_CERT"),
        store_key: path("STORE_KEY"),
        store_user: get("STORE_USER"),
        store_password: get("STORE_PASSWORD").map(Secret),
        store_password_file: path("STORE_PASSWORD_FILE"),
        store_token: get("STORE_TOKEN").map(Secret),
        store_token_file: path("STORE_TOKEN_FILE"),
        advertise: get("ADVERTISE"),
        bind: get("BIND"),
        join: get("JOIN").map(|text| split(&text)),
        keyring: path("KEYRING"),
        host_name: get("HOST_NAME"),
        metrics: get("METRICS"),
        docker_plugins: path("DOCKER_PLUGINS"),
        state_dir: path("STATE_DIR"),
        run_dir: path("RUN_DIR"),
        socket: path("SOCKET"),
        log_format: get("LOG_FORMAT"),
    }
}

pub(super) fn from_file(path: &Path) -> Result<Layer, Error> {
    let wrong = |reason: String| Error::File { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map(|n| format!("line {n}: ")).unwrap_or_default();
        wrong(format!("{place}{}", error.message().replace(char::is_control, " ")))
    })
}
