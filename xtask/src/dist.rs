//! `cargo xtask dist`: the programs as they are shipped, linked statically, so that they run on any Linux of their
//! processor, whatever C library it has or has not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Metadata};
use crate::error::Error;
use crate::{process, train};

/// A program that is shipped.
pub(crate) struct Program {
    /// Its file.
    pub(crate) name: &'static str,
    package: &'static str,
    /// The profile in the root manifest.
    profile: &'static str,
    /// Whether it is linked without libc, where that is known to work: it starts in half the time (front/relay).
    freestanding: bool,
    /// Whether it is built by a profile of its work.
    trained: bool,
}

/// How what is shipped is built, by `dist`, `deb` and `bench`.
#[derive(clap::Args)]
pub(crate) struct DistArgs {
    /// Build without a profile of the daemon's work, which takes root and three times as long: it is a tenth slower
    #[arg(long)]
    untrained: bool,
}

/// The daemon and its command line.
const MAIN: Program =
    Program { name: "trunkline", package: "trunkline", profile: "dist", freestanding: false, trained: true };

/// The CNI plugin.
const CNI: Program = Program {
    name: "trunkline-cni",
    package: "trunkline-relay",
    profile: "plugin",
    freestanding: true,
    trained: false,
};

/// The plugin of Podman's netavark.
const NETAVARK: Program = Program {
    name: "trunkline-netavark",
    package: "trunkline-netavark",
    profile: "plugin",
    freestanding: false,
    trained: false,
};

/// The program for people, and the plugins for engines, which are started anew for every call.
const PROGRAMS: [Program; 3] = [MAIN, CNI, NETAVARK];

/// The programs that the workspace has.
pub(crate) fn programs(metadata: &Metadata) -> impl Iterator<Item = &'static Program> {
    PROGRAMS.iter().filter(|program| metadata.packages.iter().any(|package| package.name == program.package))
}

/// Builds them into a directory of their own, which it returns.
pub(crate) fn build(args: &DistArgs) -> Result<PathBuf, Error> {
    let metadata = cargo::metadata()?;
    let directory = metadata.target_directory.join("dist");
    fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
    for program in programs(&metadata) {
        let built = build_program(&metadata, program, args)?;
        let shipped = directory.join(program.name);
        let bytes = fs::read(&built).map_err(Error::file("read", &built))?;
        // In place of a program that may be running.
        let _ = fs::remove_file(&shipped);
        fs::copy(&built, &shipped).map_err(Error::file("write", &shipped))?;
        println!("{} ({:.1} MB)", shipped.display(), bytes.len() as f64 / 1e6);
    }
    Ok(directory)
}

/// Builds the daemon, and leaves it where cargo does.
pub(crate) fn main(args: &DistArgs) -> Result<PathBuf, Error> {
    build_program(&cargo::metadata()?, &MAIN, args)
}

/// Builds the CNI plugin, and leaves it where cargo does.
pub(crate) fn cni() -> Result<PathBuf, Error> {
    compile(&CNI, &[], &cargo::metadata()?.target_directory)
}

/// Builds one of them, where cargo leaves it.
fn build_program(metadata: &Metadata, program: &Program, args: &DistArgs) -> Result<PathBuf, Error> {
    if args.untrained || !program.trained {
        return compile(program, &[], &metadata.target_directory);
    }
    let profile = train::profile(metadata, program)?;
    compile(program, &[&format!("-Cprofile-use={}", profile.display())], &metadata.target_directory)
}

/// Compiles one of them into a target directory, with flags for the compiler beside its own.
pub(crate) fn compile(program: &Program, flags: &[&str], target: &Path) -> Result<PathBuf, Error> {
    let triple = cargo::rustc("host")?;
    let mut command = cargo::command();
    // By a target of its own, the flags are not for build scripts and macros. One package at a time: what another
    // one wants of a crate that both use must not end up in a plugin.
    command.args(["build", "--locked", "--profile", program.profile, "--target", &triple]);
    command.args(["--package", program.package, "--bin", program.name, "--target-dir"]).arg(target);
    let mut flags = flags.to_vec();
    if program.freestanding && is_known_without_libc(&triple) {
        command.arg("--no-default-features");
    } else {
        flags.push("-Ctarget-feature=+crt-static");
    }
    if !flags.is_empty() {
        // Debug's form of a list of strings is TOML's, for what flags have in them.
        command.arg("--config").arg(format!("target.{triple}.rustflags={flags:?}"));
    }
    process::run(&mut command)?;
    let built = target.join(&triple).join(program.profile).join(program.name);
    let bytes = fs::read(&built).map_err(Error::file("read", &built))?;
    if !is_static(&bytes) {
        return Err(Error::Rules { violations: vec![format!("{}: it wants a dynamic linker", built.display())] });
    }
    Ok(built)
}

/// Whether front/relay has the first instructions for such a processor.
pub(crate) fn is_known_without_libc(triple: &str) -> bool {
    ["x86_64-", "aarch64-"].iter().any(|processor| triple.starts_with(processor)) && triple.contains("-linux-")
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

/// A directory with the programs for tests: as `cargo build` has left them beside `trunkline`, and the CNI plugin as it
/// is shipped.
pub(crate) fn for_tests(trunkline: &Path, cni: &Path) -> Result<PathBuf, Error> {
    let metadata = cargo::metadata()?;
    let directory = metadata.target_directory.join("dist-test");
    fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
    for program in programs(&metadata) {
        let built = if program.name == CNI.name { cni.to_owned() } else { trunkline.with_file_name(program.name) };
        let (bytes, placed) = (fs::read(&built).map_err(Error::file("read", &built))?, directory.join(program.name));
        fs::write(&placed, bytes).map_err(Error::file("write", &placed))?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&placed, executable).map_err(Error::file("set the mode of", &placed))?;
    }
    Ok(directory)
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
