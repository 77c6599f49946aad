//! The `lan_*` tests in virtual machines: one boot for each kernel, all test binaries in it.

use std::io::{Write, stderr, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::tally::{Tally, Tee};
use super::targets::TestBinary;
use crate::error::Error;
use crate::vm::{Job, Output, boot_and_run};

/// Results of one kernel: the counts, and the labels of the binaries that failed.
pub(super) type Outcome = Result<(Tally, Vec<String>), Error>;

/// MiB: Docker Engine and its containers are among what runs in there. What is not used costs nothing.
const MEMORY: u32 = 2048;

/// Begins the line by which the guest's script says what it runs next.
const RUNNING: &str = "     Running ";

/// Begins the line by which the guest's script names a binary that failed.
const FAILED: &str = "test binary failed: ";

/// Bytes that a writer on another thread has collected.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Copies to two writers.
pub(super) struct Both<A, B>(pub(super) A, pub(super) B);

impl<A: Write, B: Write> Write for Both<A, B> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}

/// Runs the binaries under every kernel, the machines side by side: an emulated processor fills one real one. The first
/// one's output appears as it comes, the others' when they have ended.
pub(super) fn run(
    binaries: &[&TestBinary],
    kernels: &[String],
    environment: &[(String, String)],
    arguments: &[String],
) -> Vec<(String, Outcome)> {
    thread::scope(|scope| {
        let mut runs = Vec::new();
        for (index, kernel) in kernels.iter().enumerate() {
            let (seen, late) = (Shared::default(), Shared::default());
            let output = if index == 0 {
                Output { out: Box::new(Both(stdout(), seen.clone())), err: Box::new(stderr()) }
            } else {
                Output { out: Box::new(Both(late.clone(), seen.clone())), err: Box::new(late.clone()) }
            };
            let mut job = Job::new(kernel, "/".as_ref(), script(binaries, kernel, arguments));
            job.memory = MEMORY;
            job.env.extend(environment.iter().cloned());
            let handle = scope.spawn(move || boot_and_run(&job, output));
            runs.push((kernel, handle, seen, late));
        }
        let finished = runs.into_iter().map(|(kernel, handle, seen, late)| {
            let code = handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // A reader that has gone must not keep the results from being counted.
            let _ = stdout().write_all(&late.take());
            (kernel.clone(), code.map(|_| outcome(&seen.take())))
        });
        finished.collect()
    })
}

/// A script that runs every binary in its package's directory and names those that fail.
pub(super) fn script(binaries: &[&TestBinary], kernel: &str, arguments: &[String]) -> Vec<String> {
    let one = r#"
        kernel=$1
        arguments=$2
        shift 2
        while [ $# -gt 0 ]; do
            printf '\nRUNNING%s (Linux %s)\n' "$1" "$kernel"
            ( cd "$2" && eval "CARGO_MANIFEST_DIR=\$2 exec \"\$3\" $arguments" ) || printf '\nFAILED%s\n' "$1"
            shift 3
        done
    "#;
    let one = one.replace("RUNNING", RUNNING).replace("FAILED", FAILED);
    let quoted: Vec<String> = arguments.iter().map(|a| format!("'{}'", a.replace('\'', r"'\''"))).collect();
    let mut words = vec!["sh".to_owned(), "-c".to_owned(), one, "tests".to_owned()];
    words.extend([kernel.to_owned(), quoted.join(" ")]);
    for binary in binaries {
        words.extend([
            binary.label.clone(),
            binary.directory.display().to_string(),
            binary.executable.display().to_string(),
        ]);
    }
    words
}

/// The counts and the labels of the binaries that failed, from what the script printed.
pub(super) fn outcome(output: &[u8]) -> (Tally, Vec<String>) {
    let text = String::from_utf8_lossy(output);
    let (mut total, mut failed) = (Tally::default(), Vec::new());
    for program in text.split(&format!("\n{RUNNING}")).skip(1) {
        let mut tee = Tee::new(std::io::sink());
        // A sink takes everything.
        let _ = tee.write_all(program.as_bytes());
        let name = program.lines().find_map(|line| line.strip_prefix(FAILED));
        total.add(&tee.tally().of_program(name.is_none()));
        failed.extend(name.map(str::to_owned));
    }
    (total, failed)
}

#[cfg(test)]
mod tests {
    use super::super::targets::Needs;
    use super::*;

    #[test]
    fn every_binary_runs_and_those_that_fail_are_named() {
        let binary = |label: &str, executable: &str| TestBinary {
            label: label.to_owned(),
            executable: executable.into(),
            directory: "/".into(),
            needs: Needs::FullKernel,
        };
        let (good, bad, last) =
            (binary("lab lan_a", "/bin/echo"), binary("lab lan_b", "false"), binary("lab lan_c", "printf"));
        let words = script(&[&good, &bad, &last], "6.1", &["it's".to_owned(), "a  b".to_owned()]);
        let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("it's a  b\n") && text.ends_with("it's"), "{text}");
        let (tally, failed) = outcome(text.as_bytes());
        assert_eq!((tally.passed, tally.failed, failed), (2, 1, vec!["lab lan_b".to_owned()]));
        assert!(text.contains("Running lab lan_c (Linux 6.1)"));
    }
}
