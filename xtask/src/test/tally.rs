//! Counting what the test harness reports, while it passes by.

use std::io::Write;

/// How many tests ended how.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
    /// How many harnesses reported.
    pub(super) reports: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.reports += other.reports;
    }

    /// The counts of one program that has ended: one without a harness that counts is a test as a whole, and one that
    /// died or failed beside its tests is a failure that no line tells of.
    pub(super) fn of_program(mut self, success: bool) -> Tally {
        match success {
            true if self.reports == 0 => self.passed += 1,
            false if self.failed == 0 => self.failed += 1,
            _ => {}
        }
        self
    }

    /// Takes in a line such as `test result: ok. 3 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out; …`.
    fn line(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        self.reports += 1;
        for part in counts.1.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// Passes everything on to another writer and counts the results in it.
pub(super) struct Tee<W> {
    to: W,
    line: Vec<u8>,
    tally: Tally,
}

impl<W: Write> Tee<W> {
    pub(super) fn new(to: W) -> Tee<W> {
        Tee { to, line: Vec::new(), tally: Tally::default() }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.to.write_all(bytes)?;
        for &byte in bytes {
            if byte == b'\n' {
                self.tally.line(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
        self.to.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_across_writes_and_passed_on() {
        let mut out = Vec::new();
        let mut tee = Tee::new(&mut out);
        tee.write_all(b"running 4 tests\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 2 filtered")
            .unwrap();
        assert_eq!(tee.tally(), Tally::default());
        tee.write_all(b" out; finished in 0.00s\ntest result: FAILED. 10 passed; 1 failed; 2 ignored; 0 measured\n")
            .unwrap();
        assert_eq!(tee.tally(), Tally { passed: 13, failed: 1, ignored: 2, reports: 2 });
        assert!(out.starts_with(b"running 4 tests\n") && out.ends_with(b"measured\n"));
    }

    #[test]
    fn every_program_that_fails_counts() {
        let ran = Tally { passed: 2, reports: 1, ..Tally::default() };
        assert_eq!(ran.of_program(true), ran);
        assert_eq!(ran.of_program(false).failed, 1);
        assert_eq!(Tally { failed: 2, ..ran }.of_program(false).failed, 2);
        assert_eq!(Tally::default().of_program(true).passed, 1);
        assert_eq!(Tally::default().of_program(false).failed, 1);
    }

    #[test]
    fn other_lines_do_not_count() {
        let mut tally = Tally::default();
        tally.line("3 passed; 0 failed");
        tally.line("test result: 5 passed");
        assert_eq!(tally, Tally::default());
    }
}
