//! A call as `trunkline-cni` hands it on, and the answer that it prints.

use crate::{Config, Environment, Error, Verb, Version, verbs};
use engine::Engine;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was asked, if configuration and variables could be read.
    pub verb: Option<Verb>,
    /// What is to be printed: a result, if the verb has one, or the specification's error.
    pub text: Result<String, String>,
}

/// A call's two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    variables: &'a [u8],
    /// The configuration.
    pub config: &'a [u8],
}

impl<'a> Call<'a> {
    /// Reads a call: variables as in `/proc/PID/environ`, `NAME=value` with a NUL after each (proc(5)); an empty one;
    /// then the configuration, to the end.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn read(body: &'a [u8]) -> Result<Self, Error> {
        let cut_off = || Error::Decode { what: "the call", reason: "no end of its environment".to_owned() };
        let mut start = 0;
        loop {
            let rest = &body[start..];
            let length = rest.iter().position(|byte| *byte == 0).ok_or_else(cut_off)?;
            if length == 0 {
                return Ok(Self { variables: &body[..start], config: &rest[1..] });
            }
            start += length + 1;
        }
    }

    /// A variable's value. Of several of one name the first counts, as with getenv(3).
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let of = |variable: &'a [u8]| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
        let value = self.variables.split(|byte| *byte == 0).find_map(of)?;
        Some(OsStr::from_bytes(value).to_owned())
    }
}

/// Carries out a call.
pub fn call(engine: &Engine, body: &[u8]) -> Answer {
    let (mut verb, mut version) = (None, Version::NEWEST.word().to_owned());
    let mut run = || {
        let call = Call::read(body)?;
        let config = Config::read(call.config);
        if let Ok(Some(given)) = config.as_ref().map(|config| &config.cni_version) {
            version.clone_from(given);
        }
        let request = Environment::read(|name| call.variable(name))?;
        let config = config?;
        verb = Some(request.verb);
        tracing::debug!(verb = ?request.verb, container = request.container, ifname = request.ifname, "CNI");
        verbs::run(engine, &request, &config)
    };
    // The thread is its connection's own, and the engine's locks outlive a panic.
    let ran = catch_unwind(AssertUnwindSafe(&mut run)).unwrap_or_else(|_| {
        Err(Error::Internal("the engine failed; see the daemon's log, then run `trunkline check`".to_owned()))
    });
    let text = ran.map_err(|error| {
        match &error {
            Error::Internal(reason) => tracing::error!(reason, "a CNI call failed"),
            _ => tracing::debug!(%error, "a CNI call is refused"),
        }
        error.json(&version)
    });
    Answer { verb, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_configuration() {
        let call = Call::read(b"CNI_A=x=y\0B\0CNI_C=\0CNI_A=z\0\0{\"a\": \"\0\"}").unwrap();
        assert_eq!(call.config, b"{\"a\": \"\0\"}");
        assert_eq!(call.variable("CNI_A"), Some("x=y".into()));
        assert_eq!((call.variable("CNI_C"), call.variable("B"), call.variable("CNI")), (Some("".into()), None, None));
        assert_eq!(Call::read(b"\0").unwrap().config, b"");
        for cut_off in [&b""[..], b"CNI_A=x", b"CNI_A=x\0"] {
            assert_eq!(Call::read(cut_off).unwrap_err().code(), 6);
        }
    }
}
