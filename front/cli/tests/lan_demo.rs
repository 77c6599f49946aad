//! `trunkline demo lan`, as people run it: every expectation of the talk's transcript must hold.

use std::process::Command;

#[test]
fn the_talks_transcript() {
    let output = Command::new(env!("CARGO_BIN_EXE_trunkline")).args(["demo", "lan"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(!out.contains("DIFFERS") && out.contains(" expectations held in 13 parts"), "{out}{err}");
}
