//! `cargo xtask lint`: everything that can be judged without running the program.

use crate::error::Error;
use crate::{cargo, deps, dist, install, process};

/// Runs every check and stops at the first that fails.
///
/// Clippy takes the nearest clippy.toml at or above each package, so the packages in core/ are held to core/clippy.toml.
pub(crate) fn run() -> Result<(), Error> {
    deps::run()?;
    process::run(cargo::command().args(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::run(cargo::command().args(clippy))?;
    // As it is shipped, it is another program.
    if dist::is_known_without_libc(&cargo::rustc("host")?) {
        let relay =
            ["clippy", "--locked", "--package", "trunkline-relay", "--no-default-features", "--profile", "plugin"];
        process::run(cargo::command().args(relay).args(["--", "-D", "warnings"]))?;
    }
    let doc = ["doc", "--locked", "--no-deps", "--workspace"];
    process::run(cargo::command().args(doc).env("RUSTDOCFLAGS", "-D warnings"))?;
    install::cargo_deny()?;
    process::run(cargo::command().args(["deny", "--locked", "check", "bans", "licenses", "sources"]))
}
