//! `cargo xtask dist`: the programs as they are shipped, linked statically, so that they run on any Linux of their
//! processor, whatever C library it has or has not.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Metadata};
use crate::error::Error;
use crate::process;

/// The program for people and the plugins for engines; each is called as its package.
pub(crate) const PROGRAMS: [&str; 3] = ["trunkline", "trunkline-cni", "trunkline-netavark"];

/// The profile in the root manifest: plugins are started anew for every call.
fn profile(program: &str) -> &'static str {
    if program == "trunkline" { "dist" } else { "plugin" }
}

/// The programs that the workspace has.
pub(crate) fn programs(metadata: &Metadata) -> impl Iterator<Item = &'static str> {
    PROGRAMS.into_iter().filter(|program| metadata.packages.iter().any(|package| package.name == *program))
}

/// Builds them into a directory of their own, which it returns.
pub(crate) fn build() -> Result<PathBuf, Error> {
    let metadata = cargo::metadata()?;
    let directory = metadata.target_directory.join("dist");
    fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
    for program in programs(&metadata) {
        let built = build_program(&metadata, program)?;
        let shipped = directory.join(program);
        let bytes = fs::read(&built).map_err(Error::file("read", &built))?;
        // In place of a program that may be running.
        let _ = fs::remove_file(&shipped);
        fs::copy(&built, &shipped).map_err(Error::file("write", &shipped))?;
        println!("{} ({:.1} MB)", shipped.display(), bytes.len() as f64 / 1e6);
    }
    Ok(directory)
}

/// Builds one of them, where cargo leaves it.
pub(crate) fn build_program(metadata: &Metadata, program: &str) -> Result<PathBuf, Error> {
    let (triple, profile) = (host_triple()?, profile(program));
    let mut command = cargo::command();
    // By a target of its own, the flag is not for build scripts and macros. One package at a time: what another
    // one wants of a crate that both use must not end up in a plugin.
    command.args(["build", "--locked", "--profile", profile, "--target", &triple, "--package", program]);
    command.arg("--config").arg(format!("target.{triple}.rustflags=[\"-Ctarget-feature=+crt-static\"]"));
    process::run(&mut command)?;
    let built = metadata.target_directory.join(&triple).join(profile).join(program);
    let bytes = fs::read(&built).map_err(Error::file("read", &built))?;
    if !is_static(&bytes) {
        return Err(Error::Rules { violations: vec![format!("{}: it wants a dynamic linker", built.display())] });
    }
    Ok(built)
}

/// What this machine's compiler builds for.
fn host_triple() -> Result<String, Error> {
    let told = process::output(process::command("rustc").arg("-vV"))?;
    let triple = told.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
    triple.ok_or_else(|| Error::Answer { program: "rustc -vV", reason: "it names no host".to_owned() })
}

/// Whether a program of 64 bits asks for no interpreter, which is what loads shared libraries (ELF, PT_INTERP).
pub(crate) fn is_static(program: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0usize, |n, byte| n << 8 | usize::from(*byte)))
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((start, size, count)) = headers().filter(|_| program.starts_with(b"\x7fELF\x02\x01")) else {
        return false;
    };
    (0..count).all(|n| number(start + n * size, 4).is_some_and(|kind| kind != INTERPRETER as usize))
}

/// Where `cargo build` puts programs for tests.
pub(crate) fn beside(program: &Path) -> PathBuf {
    program.parent().unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program's header with one program header of this kind.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = kind;
        bytes
    }

    #[test]
    fn interpreters_are_found() {
        assert!(is_static(&elf(1)));
        assert!(!is_static(&elf(3)));
        assert!(!is_static(&elf(1)[..100][..60]), "cut off");
        assert!(!is_static(b"#!/bin/sh"));
        // This test program itself is linked as cargo does it by default.
        let own = std::env::current_exe().unwrap();
        assert!(!is_static(&fs::read(own).unwrap()));
    }
}
