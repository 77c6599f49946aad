//! `trunkline events` whose reader was too slow for the daemon.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;

#[test]
fn who_fell_behind_is_told_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let event = r#"{"time":0,"object":"network","action":"create","id":"abc","name":"mcv","attributes":{}}"#;
    let error = r#"{"error":"this follower fell more than 4096 events behind, and the next are lost"}"#;
    // As the daemon's test of such a follower sees it end.
    let daemon = std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for line in [event, error] {
            answer += &format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
        }
        stream.get_mut().write_all((answer + "0\r\n\r\n").as_bytes()).unwrap();
    });
    let trunkline = Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .arg("--socket")
        .arg(&socket)
        .args(["events", "--format", "json"])
        .output()
        .unwrap();
    daemon.join().unwrap();
    assert_eq!(String::from_utf8(trunkline.stdout).unwrap(), format!("{event}\n"));
    let told = String::from_utf8(trunkline.stderr).unwrap();
    assert_eq!(told, "trunkline: this follower fell more than 4096 events behind, and the next are lost\n");
    assert_eq!(trunkline.status.code(), Some(1));
}
