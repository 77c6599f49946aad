//! The plugin's program: which driver it is says its file's name, what to do its first argument.

#![forbid(unsafe_code)]

use signal_hook::consts::{SIGINT, SIGTERM};
use std::env;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use trunkline_netavark::{Error, spec, verb};

/// By this variable the daemon's socket is found where it is not in its usual place, as by the other commands.
const SOCKET: &str = "TRUNKLINE_SOCKET";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let (answer, code) = match run(&arguments) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => (verb::failure(&error).to_string(), ExitCode::FAILURE),
    };
    let mut out = std::io::stdout().lock();
    // Of a teardown netavark reads nothing.
    let told = if answer.is_empty() { Ok(()) } else { writeln!(out, "{answer}") };
    match told {
        Ok(()) => code,
        // Nobody is left to be told.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Carries out what the arguments say; what to print.
fn run(arguments: &[OsString]) -> Result<String, Error> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|a| a.to_str().unwrap_or_default()).collect();
    let given = || Error::Verb { given: words.join(" ") };
    match (words.as_slice(), arguments.get(2)) {
        ([] | ["info"], _) => verb::write(&verb::info()),
        (["create"], _) => with_plugin(arguments, |plugin| verb::write(&plugin.create(&input("create")?)?)),
        (["setup", _], Some(path)) => {
            with_plugin(arguments, |plugin| verb::write(&plugin.setup(Path::new(path), &input("setup")?)?))
        }
        (["teardown", _], _) => with_plugin(arguments, |plugin| {
            outlive_signals()?;
            plugin.teardown(&input("teardown")?).map(|()| String::new())
        }),
        _ => Err(given()),
    }
}

fn with_plugin(
    arguments: &[OsString],
    act: impl FnOnce(verb::Plugin<'_>) -> Result<String, Error>,
) -> Result<String, Error> {
    let program = PathBuf::from(arguments.first().cloned().unwrap_or_default());
    let driver = program.file_name().and_then(|name| spec::driver(name.to_str()?));
    let socket = env::var_os(SOCKET).filter(|path| !path.is_empty());
    let socket = socket.map_or_else(|| PathBuf::from(api::DEFAULT_SOCKET), PathBuf::from);
    match driver {
        Some(driver) => act(verb::Plugin { driver, socket: &socket }),
        None => Err(Error::Program { program }),
    }
}

fn input(verb: &'static str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(api::MAX_BODY as u64).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| Error::Input { verb, reason: error.to_string() })
}

/// As netavark itself does meanwhile: what is half taken away stays so, when Podman is told to stop.
fn outlive_signals() -> Result<(), Error> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let handled = signal_hook::flag::register(signal, Arc::clone(&flag));
        handled.map_err(|source| Error::Process { operation: "handle signals", source })?;
    }
    Ok(())
}
