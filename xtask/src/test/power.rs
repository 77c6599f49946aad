//! A `cut_*` test: its machine is booted anew, with the same directory, until the test lives to its end.

use std::io::{stderr, stdout};

use tempfile::TempDir;

use super::full_kernel::{Both, Shared, outcome, script};
use super::tally::Tally;
use super::targets::TestBinary;
use crate::error::Error;
use crate::vm::{Job, KERNELS, Output, boot_and_run};

/// More boots than such a test asks for: then something else brings the machine down.
const BOOTS: usize = 40;

/// Runs it; the counts, and its label if it failed.
pub(super) fn run(
    binary: &TestBinary,
    environment: &[(String, String)],
    arguments: &[String],
) -> Result<(Tally, Vec<String>), Error> {
    let directory = TempDir::with_prefix("trunkline-power-").map_err(Error::file("make", "a temporary directory"))?;
    let kernel = KERNELS[0];
    for _ in 1..BOOTS {
        let mut job = Job::new(kernel, "/".as_ref(), script(&[binary], kernel, arguments));
        job.rw.push(directory.path().to_owned());
        job.env.extend(environment.iter().cloned());
        job.env.push(("TRUNKLINE_POWER".to_owned(), directory.path().display().to_string()));
        let seen = Shared::default();
        let output = Output { out: Box::new(Both(stdout(), seen.clone())), err: Box::new(stderr()) };
        match boot_and_run(&job, output) {
            Err(Error::Died { .. }) => {}
            ended => return ended.map(|_| outcome(&seen.take())),
        }
    }
    Err(Error::Usage(format!("{}: the machine went down {BOOTS} times", binary.label)))
}
