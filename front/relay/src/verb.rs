//! From what the runtime says to what it is answered.

use crate::configuration::{NEWEST, VERSIONS};
use crate::{Error, Standard, call::Call, configuration::Configuration, stream};
use alloc::format;
use alloc::string::String;
use serde::Serialize;

/// Carries out the call that a program of this name was started for, with these variables (`NAME=value`) in its
/// environment; the exit status.
pub fn run<'a>(program: &[u8], variables: impl Iterator<Item = &'a [u8]>, standard: Standard<'_>) -> u8 {
    let mut call = Call::new(variables);
    if call.variable("CNI_COMMAND").is_empty() {
        standard.tell(&about(program));
        return 0;
    }
    let mut version = String::from(NEWEST);
    match carry_out(&mut call, &mut version, standard) {
        Ok(success) => u8::from(!success),
        Err(error) => {
            let text = error.json(call.variable("CNI_COMMAND"), &version);
            standard.print(format!("{text}\n").as_bytes());
            1
        }
    }
}

/// Whether the call went well, and the answer was printed. `version` becomes the configuration's, for errors.
fn carry_out(call: &mut Call, version: &mut String, standard: Standard<'_>) -> Result<bool, Error> {
    let is_version = call.variable("CNI_COMMAND") == b"VERSION";
    let text = call.read_configuration(standard)?;
    let configuration =
        if is_version && text.trim_ascii().is_empty() { Configuration::default() } else { Configuration::read(text)? };
    version.clear();
    version.push_str(configuration.version());
    if is_version {
        return Ok(standard.print(versions(version).as_bytes()));
    }
    match stream::ask(configuration.socket(), call.request()) {
        Ok((answer, mut received)) => {
            received.truncate(answer.body.end);
            received.push(b'\n');
            let printed = answer.body.is_empty() || standard.print(&received[answer.body.start..]);
            Ok(answer.success && printed)
        }
        Err(error) if error.is_away() && is_gone(call) => {
            let container = String::from_utf8_lossy(call.variable("CNI_CONTAINERID"));
            let line = format!("trunkline-cni: {error}; it will find that {container} is gone");
            standard.tell(&(line.replace(char::is_control, " ") + "\n"));
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Whether a daemon that is away is no reason to keep a container: its namespace is gone, and the daemon releases such
/// endpoints by itself when it returns. While the namespace is there, so are link and address, and the runtime is to
/// ask again.
fn is_gone(call: &Call) -> bool {
    let netns = call.variable("CNI_NETNS");
    let named = ["CNI_CONTAINERID", "CNI_IFNAME"].iter().all(|name| !call.variable(name).is_empty());
    named && call.variable("CNI_COMMAND") == b"DEL" && (netns.is_empty() || !stream::is_namespace(netns))
}

/// The answer to VERSION.
fn versions(version: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Spoken<'a> {
        cni_version: &'a str,
        supported_versions: [&'static str; VERSIONS.len()],
    }
    let spoken = Spoken { cni_version: version, supported_versions: VERSIONS };
    // A struct of texts can always be expressed.
    serde_json::to_string(&spoken).unwrap_or_default() + "\n"
}

/// The line for somebody who starts the program by hand.
fn about(program: &[u8]) -> String {
    let name = program.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
    format!(
        "{} {}: CNI plugin of Trunkline; CNI versions {}\n",
        String::from_utf8_lossy(name.unwrap_or(b"trunkline-cni")),
        env!("CARGO_PKG_VERSION"),
        VERSIONS.join(", ")
    )
}
