//! The program: parameters in the environment, configuration on standard input, result or error on standard output
//! (the specification's overview has errors on standard error; its libraries, and all runtimes, read them here).

#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use trunkline_cni::{Config, Environment, Error, Verb, Version, verbs};

fn main() -> ExitCode {
    let mut version = Version::NEWEST.word().to_owned();
    let (text, code) = match outcome(&mut version) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (error.json(&version), ExitCode::FAILURE),
    };
    if text.is_empty() {
        return code;
    }
    match io::stdout().write_all((text + "\n").as_bytes()) {
        Ok(()) => code,
        // Nobody reads it.
        Err(_) => ExitCode::FAILURE,
    }
}

/// What is to be printed. `version` becomes the configuration's, for errors.
fn outcome(version: &mut String) -> Result<String, Error> {
    let Some(request) = Environment::read(|name| env::var_os(name))? else {
        let program = env::args_os().next().map(PathBuf::from).unwrap_or_default();
        eprintln!("{}", verbs::about(&program));
        return Ok(String::new());
    };
    let mut text = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut text);
    read.map_err(|error| Error::Io { what: "read the network configuration".into(), reason: error.to_string() })?;
    if text.trim_ascii().is_empty() && request.verb == Verb::Version {
        return verbs::run(&request, &Config::default());
    }
    let config = Config::read(&text)?;
    if let Some(given) = &config.cni_version {
        version.clone_from(given);
    }
    verbs::run(&request, &config)
}
