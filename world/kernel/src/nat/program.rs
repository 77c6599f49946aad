//! Running other people's programs.

use crate::Error;
use std::{
    io::{self, Write},
    process::{Command, Output, Stdio},
};

/// Runs a program in the calling thread's namespace with this input; what it printed.
pub(super) fn feed(program: &str, arguments: &[&str], input: &str, op: &str) -> Result<String, Error> {
    let failed = |reason: String| Error::Program { op: op.into(), program: program.into(), reason };
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => failed(format!("not installed: apt install {}", package(program))),
        _ => failed(error.to_string()),
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The words that are parsed here are the untranslated ones.
    let mut child = command.env("LC_ALL", "C").spawn().map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It has ended already; its own words tell why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(|error| failed(error.to_string()))?,
        }
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(words(&output))),
    }
}

/// One line of what it complained of.
fn words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => line.to_owned(),
        None => output.status.to_string(),
    }
}

fn package(program: &str) -> &str {
    match program {
        "nft" => "nftables",
        "firewall-cmd" => "firewalld",
        _ => "iptables",
    }
}

/// Whether there is such a program.
pub(super) fn exists(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_and_what_to_do() {
        let said = |program: &str, arguments: &[&str]| feed(program, arguments, "input", "masquerade").unwrap_err();
        let missing = said("trunkline-nosuch", &[]).to_string();
        assert_eq!(missing, "masquerade: trunkline-nosuch: not installed: apt install iptables");
        let failed = said("sh", &["-c", "echo; echo '  no such chain' >&2; exit 1"]).to_string();
        assert_eq!(failed, "masquerade: sh: no such chain");
        assert_eq!(said("sh", &["-c", "exit 4"]).to_string(), "masquerade: sh: exit status: 4");
        assert_eq!(feed("cat", &[], "input", "masquerade").unwrap(), "input");
        assert!(exists("sh") && !exists("trunkline-nosuch"));
    }
}
