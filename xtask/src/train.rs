//! Profile-guided optimisation: a program is built with counters, does what it is for, and is built again by what was
//! counted. What is done often then lies together, and the rest out of its way. An attach alone takes a tenth less
//! time for it: after a pause most of what it runs is in no cache.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cargo::Metadata;
use crate::dist::{self, Program};
use crate::error::Error;
use crate::{apt, cargo, install, process};

/// What the program does meanwhile, as arguments of `trunkline-bench`: a LAN's networks and an overlay's, alone and in
/// a crowd. Code that none of it runs is taken for rare.
const COURSES: [&[&str]; 3] = [
    &["workload", "--macvlan-only", "--without-floor", "--rounds", "6"],
    &["workload", "--macvlan-only", "--without-floor", "--rounds", "6", "--sandboxes-beforehand"],
    &["overlay", "--without-docker"],
];

/// The profile of a program as its sources are now. Beside the build it takes a minute; it is kept until the program
/// changes.
///
/// The program's namespaces need root.
pub(crate) fn profile(metadata: &Metadata, program: &Program) -> Result<PathBuf, Error> {
    if !process::is_root() {
        return Err(Error::Untrained("only root makes the namespaces that it works in".to_owned()));
    }
    let merge = profdata()?;
    install::for_demo()?;
    // A directory of its own: cargo would build everything anew whenever the flags change.
    let directory = metadata.target_directory.join("train");
    let counting = dist::compile(program, &["-Cprofile-generate"], &directory)?;
    let profile = directory.join(format!("{}-{:016x}.profdata", program.name, fingerprint(&counting)?));
    if profile.is_file() {
        return Ok(profile);
    }
    let counts = directory.join("counts");
    // Those of an earlier program; there may be none.
    let _ = fs::remove_dir_all(&counts);
    let bench = cargo::release(&["trunkline-bench"])?.join("trunkline-bench");
    for course in COURSES {
        let mut command = process::command(&bench.to_string_lossy());
        command.args(course).env("TRUNKLINE_BIN", &counting).stdout(Stdio::null());
        // One file for all processes of the program: each adds its counts when it ends.
        process::run(command.env("LLVM_PROFILE_FILE", counts.join("%m.profraw")))?;
    }
    let unfinished = profile.with_extension("new");
    process::run(process::command(&merge).args(["merge", "--output"]).arg(&unfinished).arg(&counts))?;
    fs::rename(&unfinished, &profile).map_err(Error::file("rename", &unfinished))?;
    Ok(profile)
}

/// The program that merges counts, installed if need be: of the compiler's own LLVM, for no other reads its format for
/// sure.
pub(crate) fn profdata() -> Result<String, Error> {
    let (triple, version) = (cargo::rustc("host")?, cargo::rustc("LLVM version")?);
    let sysroot = process::output(process::command("rustc").args(["--print", "sysroot"]))?;
    // Of rustup's component llvm-tools.
    let own = Path::new(sysroot.trim()).join("lib/rustlib").join(triple).join("bin/llvm-profdata");
    if own.is_file() {
        return Ok(own.display().to_string());
    }
    let major = version.split('.').next().unwrap_or(&version);
    let name = format!("llvm-profdata-{major}");
    if process::find(&name).is_none() {
        let package = format!("llvm-{major}");
        let missing = |error| Error::Untrained(format!("no {name} (`rustup component add llvm-tools`): {error}"));
        apt::install(&[&package]).map_err(missing)?;
    }
    Ok(name)
}

/// What tells a program from another.
fn fingerprint(program: &Path) -> Result<u64, Error> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(program).map_err(Error::file("read", program))?);
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            fingerprint(&path).unwrap()
        };
        assert_eq!(write("a", "one"), write("b", "one"));
        assert_ne!(write("a", "one"), write("b", "two"));
        let missing = fingerprint(&directory.path().join("c")).unwrap_err().to_string();
        assert!(missing.contains("cannot read"), "{missing}");
    }
}
