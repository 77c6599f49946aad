//! Every operation, with every one of its kernel and store steps failing, and the process dying before and
//! after each: nothing that was acknowledged is lost, and nothing else is left.

mod rig;

use model::request::EndpointSpec;
use rig::{Rig, spec};
use trunkline_engine::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Kernel,
    Store,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fail,
    DieBefore,
    DieAfter,
}

/// The operations of the issue, in an order in which each has what it needs.
const OPERATIONS: &[(&str, fn(&Rig) -> Result<(), Error>)] = &[
    ("create", create),
    ("attach", |rig| rig.connect("n", "c1", EndpointSpec::default()).map(drop)),
    ("attach another", |rig| rig.connect("n", "c2", EndpointSpec::default()).map(drop)),
    ("detach", |rig| rig.disconnect("n", "c1").map(drop)),
    ("detach the other", |rig| rig.disconnect("n", "c2").map(drop)),
    ("remove", |rig| rig.engine.remove_network("n").map(drop)),
];

fn create(rig: &Rig) -> Result<(), Error> {
    let options = [("parent", "eth0.100.10"), ("host_access", "true"), ("mtu", "1400")];
    let mut request = spec("macvlan", "n", &["192.168.1.0/24", "fd00:1::/64"], &options);
    request.gateways = vec!["192.168.1.1".into()];
    rig.create(&request).map(drop)
}

fn world() -> Rig {
    let rig = Rig::new();
    rig.sandbox("c1");
    rig.sandbox("c2");
    rig
}

/// How many kernel and store steps operation `at` takes.
fn steps(at: usize) -> (u64, usize) {
    let rig = world();
    OPERATIONS[..at].iter().for_each(|(_, run)| run(&rig).unwrap());
    let before = (rig.process.kernel.steps(), rig.process.store.steps());
    OPERATIONS[at].1(&rig).unwrap();
    (rig.process.kernel.steps() - before.0, rig.process.store.steps() - before.1)
}

type Picture = (Vec<String>, Vec<String>, Vec<String>, usize);

/// What is declared, in the store and in the engine, and what is there.
fn picture(rig: &Rig) -> Picture {
    // Identifiers differ from run to run: kinds and places count.
    let kinds = rig.keys().iter().map(|k| k.split('/').next().unwrap_or_default().to_owned()).collect();
    let endpoints = rig.engine.endpoints().into_iter().map(|e| format!("{} {:?}", e.path.display(), e.link)).collect();
    let links = rig.host_links().into_iter().map(|l| if l.starts_with("tl-") { "shim".into() } else { l }).collect();
    (kinds, endpoints, links, rig.intents())
}

fn expected(done: usize) -> Picture {
    let rig = world();
    OPERATIONS[..done].iter().for_each(|(_, run)| run(&rig).unwrap());
    picture(&rig)
}

fn arm(rig: &Rig, part: Part, fault: Fault, step: usize) {
    let (kernel, store) = (&rig.process.kernel, &rig.process.store);
    let (in_kernel, in_store) = (kernel.steps() + step as u64, store.steps() + step);
    match (part, fault) {
        (Part::Kernel, Fault::Fail) => kernel.fail_at(in_kernel),
        (Part::Kernel, Fault::DieBefore) => kernel.kill_before(in_kernel),
        (Part::Kernel, Fault::DieAfter) => kernel.kill_after(in_kernel),
        (Part::Store, Fault::Fail) => store.fail_at(in_store),
        (Part::Store, Fault::DieBefore) => store.kill_at(in_store),
        (Part::Store, Fault::DieAfter) => store.lose_answer_at(in_store),
    }
}

/// One fault in one operation; then the world must be as if it had not been asked for, or as if it had been
/// done, and must work on.
fn strike(at: usize, part: Part, fault: Fault, step: usize, pictures: &[Picture]) {
    let case = format!("{} with {part:?} step {step}: {fault:?}", OPERATIONS[at].0);
    let mut rig = world();
    OPERATIONS[..at].iter().for_each(|(_, run)| run(&rig).unwrap());
    arm(&rig, part, fault, step);
    let answer = OPERATIONS[at].1(&rig);
    let removes = at >= 3;
    if fault == Fault::Fail {
        // What could not be undone at once, or was begun and must be finished, the audit settles.
        rig.engine.gc(false).unwrap();
    } else {
        assert!(answer.is_err() || rig.process.store.killed(), "{case}: acknowledged by a dead process");
        rig.reopen();
    }
    let now = picture(&rig);
    let (before, after) = (&pictures[at], &pictures[at + 1]);
    let acceptable = match (&answer, removes) {
        (Ok(()), _) => now == *after,
        // An attach that was not acknowledged is undone.
        (Err(_), false) => now == *before,
        // A removal that was begun may be finished.
        (Err(_), true) => now == *before || now == *after,
    };
    assert!(acceptable, "{case}: answer {answer:?}\nnow    {now:?}\nbefore {before:?}\nafter  {after:?}");
    assert_eq!(rig.findings(), [""; 0], "{case}");

    // It goes on from there, to an empty host.
    let next = if now == *after { at + 1 } else { at };
    for (name, run) in &OPERATIONS[next..] {
        run(&rig).unwrap_or_else(|error| panic!("{case}: then {name}: {error}"));
    }
    assert_eq!(picture(&rig), (vec![], vec![], vec!["eth0".into(), "eth1".into(), "lo".into()], 0), "{case}");
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    let pictures: Vec<Picture> = (0..=OPERATIONS.len()).map(expected).collect();
    for at in 0..OPERATIONS.len() {
        let (kernel, store) = steps(at);
        assert!(kernel > 0 && store > 0, "{}", OPERATIONS[at].0);
        for fault in [Fault::Fail, Fault::DieBefore, Fault::DieAfter] {
            (1..=usize::try_from(kernel).unwrap()).for_each(|step| strike(at, Part::Kernel, fault, step, &pictures));
            (1..=store).for_each(|step| strike(at, Part::Store, fault, step, &pictures));
        }
    }
}
