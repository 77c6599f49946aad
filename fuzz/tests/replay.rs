//! Every target on its corpus, and on a fixed number of changes of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use trunkline_fuzz::targets::{ALL, Target};
use trunkline_fuzz::{corpus, run};

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    corpus::load(target).unwrap().into_iter().map(|(_, input)| input).collect()
}

#[test]
fn every_corpus_input_is_survived() {
    for target in ALL {
        let inputs = corpus::load(target).unwrap();
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for (path, input) in inputs {
            assert!(input.len() <= 4096, "{} is large", path.display());
            if let Err(failure) = run::execute(target, &input) {
                panic!("{}: {}", path.display(), failure.message);
            }
        }
    }
}

/// Whoever renames a target renames its corpus.
#[test]
fn every_corpus_has_its_target() {
    let directories = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
    let found: BTreeSet<_> = directories.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let expected: BTreeSet<_> = ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(found, expected);
}

#[test]
fn no_change_of_the_corpus_fails() {
    let failures = std::thread::scope(|scope| {
        let start = |target: &'static Target| {
            scope.spawn(move || run::fuzz(target, &inputs(target), 1, |n| n < target.trial).failure)
        };
        let running: Vec<_> = ALL.iter().map(|target| (target.name, start(target))).collect();
        running.into_iter().filter_map(|(name, thread)| Some((name, thread.join().unwrap()?))).collect::<Vec<_>>()
    });
    for (name, failure) in &failures {
        eprintln!("{name}: {} for {:?}", failure.message, String::from_utf8_lossy(&failure.input));
    }
    assert!(failures.is_empty());
}

/// Otherwise a seed that found something could not be used again.
#[test]
fn a_seed_repeats_its_run() {
    for target in ALL {
        let inputs = inputs(target);
        let run = || run::fuzz(target, &inputs, 7, |n| n < target.trial.min(200));
        assert_eq!(run(), run(), "{}", target.name);
    }
}

#[test]
fn a_failure_is_found_and_made_small() {
    const FRAGILE: Target = Target {
        name: "fragile",
        run: |input| assert!(!input.windows(4).any(|part| part == b"eth0"), "it was in there"),
        words: &[b"eth0"],
        format: trunkline_fuzz::targets::Format::Text,
        trial: 0,
    };
    let report = run::fuzz(&FRAGILE, &[b"what may come before, and after".to_vec()], 3, |n| n < 10_000);
    let failure = report.failure.unwrap();
    assert_eq!(failure.input, b"eth0");
    assert!(failure.message.contains("it was in there"), "{}", failure.message);
}

/// It answers VERSION by itself, so that it needs no daemon for it.
#[test]
fn the_relay_knows_the_versions_that_the_daemon_speaks() {
    assert_eq!(relay::configuration::VERSIONS, cni::Version::ALL.map(cni::Version::word));
    assert_eq!(relay::configuration::NEWEST, cni::Version::NEWEST.word());
}
