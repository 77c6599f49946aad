//! The daemon's settings. Each may be written as a flag, in the environment, or in a TOML file; the
//! first of these that has it wins, and the default stands behind them.

use crate::Error;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The flags of `trunkline daemon`. `--socket` is the program's global flag.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Flags {
    /// Where networks, endpoints and addresses are kept: redb:PATH [env: TRUNKLINE_STORE] [default: redb:STATE_DIR/trunkline.redb]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The directory of what outlives a reboot [env: TRUNKLINE_STATE_DIR] [default: /var/lib/trunkline]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The directory of what does not: socket, intents, logs and exit codes of `run` [env: TRUNKLINE_RUN_DIR] [default: /run/trunkline]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// How the log is written: text or json [env: TRUNKLINE_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// A TOML file with these settings: store, state_dir, run_dir, log_format, socket [env: TRUNKLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// One place where settings are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Layer {
    store: Option<String>,
    state_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    socket: Option<PathBuf>,
    log_format: Option<String>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text an event.
    Text,
    /// A JSON object an event.
    Json,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The embedded store's file.
    pub store: PathBuf,
    /// The directory of what outlives a reboot.
    pub state_dir: PathBuf,
    /// The directory of what does not.
    pub run_dir: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// How the log is written.
    pub log_format: LogFormat,
}

const COMMAND_LINE: &str = "the command line";
const ENVIRONMENT: &str = "the environment";

impl Config {
    /// Puts the settings together. `socket` is the global `--socket`, `environment` looks a variable up.
    pub fn load(
        flags: &Flags,
        socket: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let file = flags.config.clone().or_else(|| environment("TRUNKLINE_CONFIG").map(PathBuf::from));
        let mut layers = vec![
            (COMMAND_LINE.to_owned(), from_flags(flags, socket)),
            (ENVIRONMENT.to_owned(), from_environment(&environment)),
        ];
        if let Some(path) = file {
            layers.push((path.display().to_string(), from_file(&path)?));
        }
        Self::merge(&layers)
    }

    fn merge(layers: &[(String, Layer)]) -> Result<Self, Error> {
        let path = |get: fn(&Layer) -> &Option<PathBuf>| layers.iter().find_map(|(_, layer)| get(layer).clone());
        let text = |get: fn(&Layer) -> &Option<String>| {
            layers.iter().find_map(|(place, layer)| get(layer).clone().map(|value| (place.clone(), value)))
        };
        let state_dir = path(|l| &l.state_dir).unwrap_or_else(|| "/var/lib/trunkline".into());
        let run_dir = path(|l| &l.run_dir).unwrap_or_else(|| "/run/trunkline".into());
        let socket = path(|l| &l.socket).unwrap_or_else(|| run_dir.join("trunkline.sock"));
        let store = match text(|l| &l.store) {
            None => state_dir.join("trunkline.redb"),
            Some((place, value)) => match value.strip_prefix("redb:") {
                Some(path) if !path.is_empty() => path.into(),
                _ => return Err(setting("store", place, format!("{value:?} is no store: redb:PATH expected"))),
            },
        };
        let log_format = match text(|l| &l.log_format) {
            None => LogFormat::Text,
            Some((place, value)) => match value.as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => {
                    return Err(setting("log_format", place, format!("{value:?} is no format: text or json expected")));
                }
            },
        };
        Ok(Self { store, state_dir, run_dir, socket, log_format })
    }
}

fn setting(name: &str, place: String, reason: String) -> Error {
    Error::Setting { name: name.into(), place, reason }
}

fn from_flags(flags: &Flags, socket: Option<&Path>) -> Layer {
    Layer {
        store: flags.store.clone(),
        state_dir: flags.state_dir.clone(),
        run_dir: flags.run_dir.clone(),
        socket: socket.map(Path::to_path_buf),
        log_format: flags.log_format.clone(),
    }
}

fn from_environment(get: &impl Fn(&str) -> Option<String>) -> Layer {
    // As elsewhere in the world of shells, a variable set to nothing is not set.
    let get = |name| get(name).filter(|value| !value.is_empty());
    Layer {
        store: get("TRUNKLINE_STORE"),
        state_dir: get("TRUNKLINE_STATE_DIR").map(PathBuf::from),
        run_dir: get("TRUNKLINE_RUN_DIR").map(PathBuf::from),
        socket: get("TRUNKLINE_SOCKET").map(PathBuf::from),
        log_format: get("TRUNKLINE_LOG_FORMAT"),
    }
}

fn from_file(path: &Path) -> Result<Layer, Error> {
    let wrong = |reason: String| Error::File { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map(|n| format!("line {n}: ")).unwrap_or_default();
        wrong(format!("{place}{}", error.message().replace(char::is_control, " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn defaults() {
        let config = Config::load(&Flags::default(), None, |_| None).unwrap();
        assert_eq!(config.store, Path::new("/var/lib/trunkline/trunkline.redb"));
        assert_eq!(config.socket, Path::new(api::DEFAULT_SOCKET));
        assert_eq!(config.log_format, LogFormat::Text);
    }

    #[test]
    fn flag_then_environment_then_file() {
        let file = file("store = 'redb:/file'\nstate_dir = '/file'\nrun_dir = '/file'\nlog_format = 'json'\n");
        let flags = Flags { store: Some("redb:/flag".into()), config: Some(file.path().into()), ..Flags::default() };
        let environment = |name: &str| match name {
            "TRUNKLINE_STORE" => Some("redb:/environment".to_owned()),
            "TRUNKLINE_STATE_DIR" => Some("/environment".to_owned()),
            "TRUNKLINE_RUN_DIR" => Some(String::new()),
            _ => None,
        };
        let config = Config::load(&flags, None, environment).unwrap();
        assert_eq!(config.store, Path::new("/flag"));
        assert_eq!(config.state_dir, Path::new("/environment"));
        assert_eq!(config.run_dir, Path::new("/file"));
        assert_eq!(config.socket, Path::new("/file/trunkline.sock"));
        assert_eq!(config.log_format, LogFormat::Json);
        let config = Config::load(&flags, Some(Path::new("/s")), environment).unwrap();
        assert_eq!(config.socket, Path::new("/s"));
    }

    #[test]
    fn the_file_may_come_from_the_environment() {
        let file = file("state_dir = '/file'\n");
        let path = file.path().to_str().unwrap().to_owned();
        let config =
            Config::load(&Flags::default(), None, |name| (name == "TRUNKLINE_CONFIG").then(|| path.clone())).unwrap();
        assert_eq!(config.store, Path::new("/file/trunkline.redb"));
    }

    #[test]
    fn errors_are_one_line_and_name_the_place() {
        let file = file("state_dir = '/a'\nrundir = '/b'\n");
        let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
        let error = Config::load(&flags, None, |_| None).unwrap_err().to_string();
        assert!(error.contains("line 2: unknown field `rundir`"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        let flags = Flags { store: Some("zookeeper://x".into()), ..Flags::default() };
        assert_eq!(
            Config::load(&flags, None, |_| None).unwrap_err().to_string(),
            "invalid setting store in the command line: \"zookeeper://x\" is no store: redb:PATH expected"
        );
        let wrong = |name: &str| (name == "TRUNKLINE_LOG_FORMAT").then(|| "xml".to_owned());
        assert_eq!(
            Config::load(&Flags::default(), None, wrong).unwrap_err().to_string(),
            "invalid setting log_format in the environment: \"xml\" is no format: text or json expected"
        );
    }
}
