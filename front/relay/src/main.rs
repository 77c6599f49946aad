//! The program: as it is shipped without libc, else as any other.

#![cfg_attr(not(feature = "std"), no_std, no_main)]

#[cfg(not(feature = "std"))]
mod freestanding;

#[cfg(feature = "std")]
fn main() -> std::process::ExitCode {
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStringExt;
    let program = std::env::args_os().next().unwrap_or_default().into_vec();
    let variables: Vec<Vec<u8>> =
        std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'=')).collect();
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let standard = trunkline_relay::Standard { input: input.as_fd(), output: output.as_fd(), error: error.as_fd() };
    trunkline_relay::run(&program, variables.iter().map(Vec::as_slice), standard).into()
}
