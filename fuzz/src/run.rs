//! Running a target on many inputs, and on one.

use crate::mutate::mutate;
use crate::outcome;
use crate::random::Random;
use crate::targets::Target;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// The most inputs kept besides the corpus.
const KEPT: usize = 4096;

/// The most attempts at making a failing input smaller.
const REDUCTIONS: usize = 20_000;

/// An input that a target does not survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The input.
    pub input: Vec<u8>,
    /// The panic's message and its place in the source.
    pub message: String,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Inputs tried.
    pub executions: u64,
    /// Inputs that did something new, besides the corpus.
    pub kept: usize,
    /// Different things that inputs did.
    pub outcomes: usize,
    /// The first failure, made as small as was easy.
    pub failure: Option<Failure>,
}

thread_local! {
    /// The panic's message, while a target runs on this thread.
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs a target on one input.
///
/// # Errors
/// The input with the message of the panic that it led to.
pub fn execute(target: &Target, input: &[u8]) -> Result<BTreeSet<u64>, Failure> {
    catch_messages();
    PANIC.set(Some(None));
    let result = catch_unwind(|| (target.run)(input));
    let message = PANIC.take().flatten();
    let outcomes = outcome::take();
    match result {
        Ok(()) => Ok(outcomes),
        Err(_) => Err(Failure { input: input.to_vec(), message: message.unwrap_or_else(|| "panicked".to_owned()) }),
    }
}

/// Keeps a target's panics from standard error, where a run would print thousands while it makes an input
/// smaller; other threads' are printed as ever.
fn catch_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let ours = PANIC.with_borrow_mut(|panic| {
                panic.as_mut().map(|message| *message = Some(info.to_string().replace('\n', " "))).is_some()
            });
            if !ours {
                usual(info);
            }
        }));
    });
}

/// Runs a target on its corpus, then on changes of it for as long as `go_on` says; its argument is the
/// number of inputs tried. The same seed, corpus and number of inputs do the same again.
pub fn fuzz(target: &Target, corpus: &[Vec<u8>], seed: u64, mut go_on: impl FnMut(u64) -> bool) -> Report {
    let mut random = Random::new(seed);
    let (mut pool, mut seen) = (corpus.to_vec(), BTreeSet::new());
    let mut report = Report { executions: 0, kept: 0, outcomes: 0, failure: None };
    for input in corpus {
        report.executions += 1;
        match execute(target, input) {
            Ok(outcomes) => seen.extend(outcomes),
            Err(failure) => {
                report.failure = Some(reduce(target, failure));
                return report;
            }
        }
    }
    while go_on(report.executions) {
        let input = mutate(&mut random, target, &pool);
        report.executions += 1;
        match execute(target, &input) {
            Ok(outcomes) if outcomes.is_subset(&seen) => {}
            Ok(outcomes) => {
                seen.extend(outcomes);
                if report.kept < KEPT {
                    report.kept += 1;
                    pool.push(input);
                }
            }
            Err(failure) => {
                report.failure = Some(reduce(target, failure));
                break;
            }
        }
    }
    report.outcomes = seen.len();
    report
}

/// Leaves parts out, halves first and single bytes last, as long as the input still fails.
fn reduce(target: &Target, mut failure: Failure) -> Failure {
    let mut tries = 0;
    let mut length = failure.input.len() / 2;
    while length > 0 {
        let mut start = 0;
        while start < failure.input.len() && tries < REDUCTIONS {
            let mut shorter = failure.input.clone();
            shorter.drain(start..(start + length).min(shorter.len()));
            tries += 1;
            match execute(target, &shorter) {
                Err(smaller) => failure = smaller,
                Ok(_) => start += length,
            }
        }
        length /= 2;
    }
    failure
}
