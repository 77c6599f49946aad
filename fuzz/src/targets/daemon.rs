//! The daemon's settings, and the requests that it is sent.

use super::temporary;
use crate::outcome::{one_line, reached, refused, serde_shape};
use ::daemon::config::{Bind, names_a_host, read_advertise, read_bind, read_listener};
use ::daemon::{Config, Error, Flags, StoreFlags, fuzzing};
use model::NetworkSpec;
use model::request::{ConnectRequest, SandboxRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::PathBuf;
use tempfile::TempDir;

thread_local! {
    static PLACE: Option<TempDir> = temporary();
}

/// A TOML file; and the same text as a flag's and a variable's value.
pub(super) fn config(input: &[u8]) {
    PLACE.with(|place| {
        let path = place.as_ref().map(|place| place.path().join("trunkline.toml"));
        assert!(path.as_ref().is_some_and(|path| std::fs::write(path, input).is_ok()), "no temporary directory");
        tell(Config::load(&Flags { config: path, ..Flags::default() }, None, |_| None));
    });
    let text = String::from_utf8_lossy(input).into_owned();
    let flags = Flags {
        store: StoreFlags { store: Some(text.clone()), ..StoreFlags::default() },
        state_dir: Some(PathBuf::from(&text)),
        log_format: Some("json".to_owned()),
        ..Flags::default()
    };
    tell(Config::load(&flags, None, |_| None));
    tell(Config::load(&Flags::default(), None, |name| (name != "TRUNKLINE_CONFIG").then(|| text.clone())));
}

fn tell(result: Result<Config, Error>) {
    match result {
        Err(error) => {
            let text = error.to_string();
            one_line(&text);
            reached(serde_shape(&text));
        }
        Ok(config) => {
            reached(format!("{:?}", config.log_format));
            reached(config.is_shared());
            assert!(!config.local.as_os_str().is_empty(), "no store");
            assert!(!format!("{:?}", config.store).contains("secret-of-the-target"), "a secret is shown");
        }
    }
}

/// `--advertise`, `--bind`, `--metrics`, `--join`.
pub(super) fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let told = |name: &str, result: Result<String, String>| match result {
        Ok(shape) => reached(format!("{name} {shape}")),
        Err(reason) => {
            one_line(&reason);
            reached(format!("{name} refused"));
        }
    };
    told("advertise", read_advertise(&text).map(|_| "read".into()));
    told("metrics", read_listener(&text).map(|a| a.is_ipv4().to_string()));
    let bind = read_bind(&text);
    if let Ok(Bind { address, port: Some(port) }) = bind {
        // An address with its port is one to listen on, too.
        assert_eq!(read_listener(&text), Ok((address, port).into()), "{text:?}");
    }
    told("bind", bind.map(|b| b.port.is_some().to_string()));
    if names_a_host(&text) {
        reached("host");
        assert!(!text.contains(char::is_whitespace) && !text.contains('/'), "{text:?}");
    }
}

/// A request's body, taken for each kind of request.
pub(super) fn body(input: &[u8]) {
    request::<NetworkSpec>(input);
    request::<ConnectRequest>(input);
    request::<SandboxRequest>(input);
}

/// A body is a request if serde says so, and it is an object; the answer to any other is one line.
fn request<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) {
    let kind = std::any::type_name::<T>();
    match fuzzing::body::<T>(input) {
        Ok(request) => {
            reached(kind);
            assert_eq!(serde_json::from_slice::<T>(input).ok(), Some(request));
        }
        Err(line) => {
            one_line(&line);
            // Behind the path of the field, whose names are the input's own.
            reached(format!("{kind} {}", serde_shape(line.splitn(3, ": ").last().unwrap_or_default())));
            let object = input.trim_ascii_start().starts_with(b"{");
            assert!(!object || serde_json::from_slice::<T>(input).is_err(), "{kind} was refused: {line}");
        }
    }
}

/// A query string with the switches of the API.
pub(super) fn query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match fuzzing::query(&text, &["dry_run", "follow"]) {
        Err(line) => refused(line),
        Ok(on) => {
            reached(format!("{on:?}"));
            assert!(on.iter().all(|key| text.contains(key)));
        }
    }
}
