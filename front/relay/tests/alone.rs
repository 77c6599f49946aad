//! What the program does by itself, as it is shipped and as cargo builds it: without a daemon, and with one that this
//! test plays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use tempfile::TempDir;

/// Both forms.
fn programs() -> [PathBuf; 2] {
    [lab::cni_program().unwrap(), env!("CARGO_BIN_EXE_trunkline-cni").into()]
}

/// A program with these variables and nothing else in its environment.
fn command(program: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command, configuration: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let configuration = configuration.to_vec();
    // It may end without having read all.
    let writing = thread::spawn(move || drop(input.write_all(&configuration)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

fn ask(program: &Path, verb: &str, configuration: &Value) -> Output {
    let variables =
        [("CNI_COMMAND", verb), ("CNI_CONTAINERID", "c"), ("CNI_NETNS", "/proc/self/ns/net"), ("CNI_IFNAME", "eth0")];
    run(command(program, &variables), configuration.to_string().as_bytes())
}

/// The error that was printed: its code and message.
#[track_caller]
fn failed(output: &Output, version: &str) -> (u64, String) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(told["cniVersion"], version);
    (told["code"].as_u64().unwrap(), told["msg"].as_str().unwrap().to_owned())
}

/// A daemon for one call: what it was told, once it has given this answer in pieces of that many bytes.
struct Daemon {
    _directory: TempDir,
    socket: PathBuf,
    heard: thread::JoinHandle<Vec<u8>>,
}

impl Daemon {
    fn start(answer: impl Into<Vec<u8>>, piece: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("s");
        let (listener, answer) = (UnixListener::bind(&socket).unwrap(), answer.into());
        let heard = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let heard = request(&mut stream);
            for piece in answer.chunks(piece) {
                stream.write_all(piece).unwrap();
            }
            heard
        });
        Self { _directory: directory, socket, heard }
    }

    fn configuration(&self) -> Value {
        json!({ "cniVersion": "0.4.0", "name": "n", "socket": self.socket })
    }
}

/// A whole request.
fn request(stream: &mut UnixStream) -> Vec<u8> {
    let (mut heard, mut room) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut room).unwrap();
        assert!(read > 0, "cut off: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&room[..read]);
        let Some(end) = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(heard[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        if heard.len() == end + 4 + length.parse::<usize>().unwrap() {
            return heard;
        }
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn without_a_daemon() {
    let nowhere = json!({ "cniVersion": "0.3.1", "socket": "/nowhere/s" });
    for program in programs() {
        let all = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
        for (configuration, version) in [("", "1.1.0"), ("\n", "1.1.0"), (r#"{"cniVersion": "1.0.0"}"#, "1.0.0")] {
            let output = run(command(&program, &[("CNI_COMMAND", "VERSION")]), configuration.as_bytes());
            assert!(output.status.success(), "{output:?}");
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(told, json!({ "cniVersion": version, "supportedVersions": all }));
        }
        let by_hand = run(command(&program, &[("HOME", "/")]), b"");
        assert!(by_hand.status.success() && by_hand.stdout.is_empty(), "{by_hand:?}");
        let line = format!("trunkline-cni {}: CNI plugin", env!("CARGO_PKG_VERSION"));
        assert!(String::from_utf8_lossy(&by_hand.stderr).starts_with(&line), "{by_hand:?}");
        for (verb, code) in [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)] {
            let (told, text) = failed(&ask(&program, verb, &nowhere), "0.3.1");
            assert_eq!(told, code, "{verb}: {text}");
            let expected = "cannot reach the daemon at /nowhere/s: No such file or directory; start it with";
            assert!(text.starts_with(expected), "{text}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        for gone in ["", "/run/netns/gone", file.path().to_str().unwrap()] {
            let variables =
                [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", gone)];
            let output = run(command(&program, &variables), nowhere.to_string().as_bytes());
            assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("it will find that c is gone"), "{output:?}");
        }
    }
}

#[test]
fn what_is_said_arrives_as_it_is() {
    for program in programs() {
        let result = r#"{"cniVersion":"0.4.0","ips":[]}"#;
        let daemon = Daemon::start(answer("200 OK", result), 7);
        let configuration = daemon.configuration();
        let output = ask(&program, "ADD", &configuration);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{result}\n"));
        let heard = String::from_utf8(daemon.heard.join().unwrap()).unwrap();
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/plugin/cni HTTP/1.1\r\n"), "{head}");
        let (variables, sent) = body.split_once("\0\0").unwrap();
        assert_eq!(sent, configuration.to_string());
        let mut variables: Vec<&str> = variables.split('\0').collect();
        variables.sort_unstable();
        let expected = ["CNI_COMMAND=ADD", "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_NETNS=/proc/self/ns/net"];
        assert_eq!(variables, expected);
        // Nothing to print, and an error.
        let daemon = Daemon::start(answer("200 OK", ""), 1000);
        let output = ask(&program, "DEL", &daemon.configuration());
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        let error = r#"{"cniVersion":"0.4.0","code":100,"msg":"in use"}"#;
        let daemon = Daemon::start(answer("422 Unprocessable Content", error), 1);
        assert_eq!(failed(&ask(&program, "ADD", &daemon.configuration()), "0.4.0"), (100, "in use".to_owned()));
    }
}

#[test]
fn what_is_no_answer_is_no_success() {
    let whole = answer("200 OK", r#"{"cniVersion":"0.4.0"}"#);
    for program in programs() {
        let cut = [0, 5, whole.len() / 2, whole.len() - 1].map(|length| (whole[..length].to_owned(), 11));
        let other = [
            ("SSH-2.0-OpenSSH\r\n".to_owned(), 6),
            (answer("404 Not Found", r#"{"error":"no such path"}"#), 11),
            (answer("500 Internal Server Error", ""), 6),
            ("HTTP/1.1 200 OK\r\n\r\n{}".to_owned(), 6),
        ];
        for (text, code) in cut.into_iter().chain(other) {
            let daemon = Daemon::start(text.clone(), 1000);
            let (told, reason) = failed(&ask(&program, "ADD", &daemon.configuration()), "0.4.0");
            assert_eq!(told, code, "{text:?}: {reason}");
        }
        let daemon = Daemon::start(whole.as_bytes()[..20].to_vec(), 1000);
        let (code, text) = failed(&ask(&program, "STATUS", &daemon.configuration()), "0.4.0");
        assert!(code == 50 && text.contains("ended the connection"), "{text}");
    }
}

#[test]
fn large_and_wrong_configurations() {
    for program in programs() {
        let result = format!(r#"{{"a":"{}"}}"#, "x".repeat(2_000_000));
        let daemon = Daemon::start(answer("200 OK", &result), 100_000);
        let mut configuration = daemon.configuration();
        configuration["more"] = "y".repeat(api::MAX_BODY - 1000).into();
        let output = ask(&program, "ADD", &configuration);
        assert!(output.status.success() && output.stdout.len() == result.len() + 1, "{:?}", output.status);
        let heard = daemon.heard.join().unwrap();
        assert!(heard.ends_with(configuration.to_string().as_bytes()));
        configuration["more"] = "y".repeat(api::MAX_BODY).into();
        let (code, text) = failed(&ask(&program, "ADD", &configuration), "1.1.0");
        assert!(code == 7 && text.contains("larger than 1048576 bytes"), "{text}");
        for wrong in ["", "{", "[]", r#"{"socket": 5}"#] {
            let output = run(command(&program, &[("CNI_COMMAND", "ADD")]), wrong.as_bytes());
            let (code, text) = failed(&output, "1.1.0");
            assert!(code == 6 && text.starts_with("cannot read the network configuration: "), "{text}");
        }
        let long = json!({ "socket": format!("/{}", "s".repeat(200)) });
        let (code, text) = failed(&ask(&program, "ADD", &long), "1.1.0");
        assert!(code == 11 && text.contains("too long for a socket"), "{text}");
        // What a configuration says is repeated as text.
        let (_, text) = failed(&ask(&program, "ADD", &json!({ "socket": "/\u{1b}[31m\"\n" })), "1.1.0");
        assert!(text.starts_with("cannot reach the daemon at / [31m\" : "), "{text:?}");
    }
}

#[test]
fn nobody_reads_the_answer() {
    for program in programs() {
        let daemon = Daemon::start(answer("200 OK", "{}"), 1000);
        let mut closed = command(&program, &[("CNI_COMMAND", "ADD")]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        closed.stdout(writer);
        let output = run(closed, daemon.configuration().to_string().as_bytes());
        assert!(!output.status.success(), "{output:?}");
        daemon.heard.join().unwrap();
    }
}

/// std opens what is closed anew; without it, the connection to the daemon must not be taken for a standard stream.
#[test]
fn closed_streams() {
    let program = lab::cni_program().unwrap();
    let program = program.to_str().unwrap();
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let configuration = json!({ "socket": socket }).to_string();
    for (closed, told) in [("<&-", "network configuration: it is closed"), (">&-", ""), ("2>&-", "it is closed")] {
        let mut shell = command(Path::new("/bin/sh"), &[("CNI_COMMAND", "ADD")]);
        shell.args(["-c", &format!("exec \"$0\" {closed}"), program]);
        let output = run(shell, configuration.as_bytes());
        assert!(!output.status.success(), "{closed}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(told), "{closed}: {output:?}");
        assert!(listener.accept().is_err(), "{closed}: nothing was asked whose answer nobody could read");
    }
}
