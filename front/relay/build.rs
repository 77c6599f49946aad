//! How the program is linked when it is to start without libc.

#![forbid(unsafe_code)]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_STD").is_some() {
        return;
    }
    // Neither libc nor its start; at a fixed address, so that nothing has to be relocated; few segments, for the kernel
    // maps each of them, and one page of the file with all that it begins with.
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
