//! Every operation, with every one of its kernel and store steps failing, and the process dying before and
//! after each: nothing that was acknowledged is lost, and nothing else is left.

use super::{Rig, spec};
use kernel::{Kernel, Place, SandboxPath};
use model::request::{EndpointSpec, Target};
use std::path::Path;
use store::fake::FaultyStore;
use trunkline_engine::Error;

/// A world to strike: the engine on its host, two sandboxes, and the parent for its network.
pub(crate) struct World<K: Kernel + 'static> {
    pub(crate) rig: Rig<K>,
    pub(crate) sandboxes: [SandboxPath; 2],
    pub(crate) parent: &'static str,
    pub(crate) driver: &'static str,
    /// What must live as long as the world.
    pub(crate) keep: Box<dyn std::any::Any>,
}

impl<K: Kernel + 'static> World<K> {
    fn at(&self, sandbox: usize) -> &Path {
        &self.sandboxes[sandbox].path
    }

    fn attach(&self, sandbox: usize) -> Result<(), Error> {
        self.rig.connect_path("n", self.at(sandbox), EndpointSpec::default()).map(drop)
    }

    fn detach(&self, sandbox: usize) -> Result<(), Error> {
        self.rig.engine.disconnect("n", &Target::Path(self.at(sandbox).to_owned())).map(drop)
    }

    fn create(&self) -> Result<(), Error> {
        let mut options = vec![("mtu", "1400")];
        if self.driver == "macvlan" {
            options.extend([("parent", self.parent), ("host_access", "true")]);
        }
        let mut request = spec(self.driver, "n", &["192.168.1.0/24", "fd00:1::/64"], &options);
        request.gateways = vec!["192.168.1.1".into()];
        self.rig.create(&request).map(drop)
    }

    /// Operation `at` of [`OPERATIONS`].
    fn run(&self, at: usize) -> Result<(), Error> {
        match at {
            0 => self.create(),
            1 => self.attach(0),
            2 => self.attach(1),
            3 => self.detach(0),
            4 => self.detach(1),
            _ => self.rig.engine.remove_network("n").map(drop),
        }
    }
}

/// The operations of the issue, in an order in which each has what it needs.
const OPERATIONS: [&str; 6] = ["create", "attach", "attach another", "detach", "detach the other", "remove"];

/// Where a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Kernel,
    /// The host's own store.
    Store,
    /// The one that it shares.
    Shared,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Kernel, Self::Store, Self::Shared];
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Fail,
    DieBefore,
    DieAfter,
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::Fail, Self::DieBefore, Self::DieAfter];
}

/// How many kernel and store steps operation `at` takes.
fn steps<K: Kernel + 'static>(world: &World<K>, at: usize) -> [(Part, usize); 3] {
    (0..at).for_each(|earlier| world.run(earlier).unwrap());
    let now = || Part::ALL.map(|part| (part, count(&world.rig, part)));
    let before = now();
    world.run(at).unwrap();
    let mut steps = now();
    steps.iter_mut().zip(before).for_each(|(now, before)| now.1 -= before.1);
    steps
}

/// The steps that were taken so far.
pub(crate) fn count<K: Kernel + 'static>(rig: &Rig<K>, part: Part) -> usize {
    match part {
        Part::Kernel => usize::try_from(rig.process.kernel.steps()).unwrap(),
        Part::Store => rig.process.store.steps(),
        Part::Shared => rig.process.shared.as_ref().map_or(0, FaultyStore::steps),
    }
}

/// What is declared, in the store and in the engine, and what is there.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    keys: Vec<String>,
    endpoints: Vec<String>,
    host: Vec<String>,
    sandboxes: Vec<String>,
    intents: usize,
}

fn picture<K: Kernel + 'static>(world: &World<K>) -> Picture {
    let rig = &world.rig;
    // Identifiers differ from run to run: kinds and places count.
    let kind = |key: &String| key.split('/').next().unwrap_or_default().to_owned();
    let place = |path: &Path| world.sandboxes.iter().position(|s| s.path == path);
    let endpoint = |e: model::view::EndpointView| format!("{:?} {:?} {:?}", place(&e.path), e.link, e.addresses);
    let links = |at: Place| -> Vec<String> {
        let seen = rig.kernel().observe(&at, None).unwrap();
        let mut names: Vec<_> = seen.into_iter().map(|l| l.info.name).filter(|n| n != "lo").collect();
        names.sort();
        names
    };
    let mut picture = Picture {
        keys: rig.keys().iter().map(kind).collect(),
        endpoints: rig.engine.endpoints().into_iter().map(endpoint).collect(),
        host: links(Place::Host).into_iter().map(|l| if l.starts_with("tl-") { "shim".into() } else { l }).collect(),
        sandboxes: world.sandboxes.iter().flat_map(|s| links(Place::Sandbox(s.clone()))).collect(),
        intents: rig.intents(),
    };
    picture.without_idle_shim();
    picture
}

impl Picture {
    /// On a shared store the shim, once it has its addresses, stays until the network goes, with endpoints or without.
    fn without_idle_shim(&mut self) {
        let has = |key: &str| self.keys.iter().any(|k| k == key);
        if !has("shim") || !has("network") || !self.endpoints.is_empty() {
            return;
        }
        for key in ["shim", "claim", "claim"] {
            let at = self.keys.iter().position(|k| k == key).unwrap();
            self.keys.remove(at);
        }
        self.host.retain(|link| link != "shim");
    }
}

/// Has a fault wait for the step so many from now.
pub(crate) fn arm<K: Kernel + 'static>(rig: &Rig<K>, part: Part, fault: Fault, step: usize) {
    let kernel = &rig.process.kernel;
    let store = if part == Part::Shared { rig.process.shared.as_ref().unwrap() } else { &rig.process.store };
    let (in_kernel, in_store) = (kernel.steps() + step as u64, store.steps() + step);
    match (part, fault) {
        (Part::Kernel, Fault::Fail) => kernel.fail_at(in_kernel),
        (Part::Kernel, Fault::DieBefore) => kernel.kill_before(in_kernel),
        (Part::Kernel, Fault::DieAfter) => kernel.kill_after(in_kernel),
        (_, Fault::Fail) => store.fail_at(in_store),
        (_, Fault::DieBefore) => store.kill_at(in_store),
        (_, Fault::DieAfter) => store.lose_answer_at(in_store),
    }
}

/// One fault in one operation; then the world must be as if it had not been asked for, or as if it had been
/// done, and must work on.
fn strike<K: Kernel + 'static>(
    mut world: World<K>,
    at: usize,
    part: Part,
    fault: Fault,
    step: usize,
    pictures: &[Picture],
) {
    let case = format!("{} with {part:?} step {step}: {fault:?}", OPERATIONS[at]);
    (0..at).for_each(|earlier| world.run(earlier).unwrap());
    arm(&world.rig, part, fault, step);
    let answer = world.run(at);
    let removes = at >= 3;
    if fault == Fault::Fail {
        // What could not be undone at once, or was begun and must be finished, the audit settles, when the store is
        // back.
        super::eventually("the store is back", || world.rig.reaches());
        super::eventually("what is left is settled", || world.rig.engine.gc(false).is_ok());
    } else {
        assert!(answer.is_err() || world.rig.process.store.killed(), "{case}: acknowledged by a dead process");
        world.rig.reopen();
    }
    let (before, after) = (&pictures[at], &pictures[at + 1]);
    let acceptable = |now: &Picture| match (&answer, removes) {
        (Ok(()), _) => now == after,
        // An attach that was not acknowledged is undone.
        (Err(_), false) => now == before,
        // A removal that was begun may be finished.
        (Err(_), true) => now == before || now == after,
    };
    let now = settled(&world, acceptable);
    assert!(acceptable(&now), "{case}: answer {answer:?}\nnow    {now:?}\nbefore {before:?}\nafter  {after:?}");
    if world.rig.process.shared.is_some() {
        super::eventually("nothing is to be found", || world.rig.findings().is_empty());
    }
    assert_eq!(world.rig.findings(), [""; 0], "{case}");

    // It goes on from there, to a host as it was.
    let next = if now == *after { at + 1 } else { at };
    for (later, name) in OPERATIONS.iter().enumerate().skip(next) {
        world.run(later).unwrap_or_else(|error| panic!("{case}: then {name}: {error}"));
    }
    assert_eq!(settled(&world, |now| *now == pictures[0]), pictures[0], "{case}");
}

/// The picture, once it is as wanted: what a shared store is told later takes a moment.
fn settled<K: Kernel + 'static>(world: &World<K>, wanted: impl Fn(&Picture) -> bool) -> Picture {
    let mut tries = if world.rig.process.shared.is_some() { 1000 } else { 1 };
    loop {
        let now = picture(world);
        tries -= 1;
        if tries == 0 || wanted(&now) {
            return now;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Strikes every operation at every step, each time in a fresh world.
pub(crate) fn everywhere<K: Kernel + 'static>(world: impl Fn() -> World<K>) {
    let expected = |done: usize| {
        let world = world();
        (0..done).for_each(|at| world.run(at).unwrap());
        world.rig.engine.gc(false).unwrap();
        picture(&world)
    };
    let pictures: Vec<Picture> = (0..=OPERATIONS.len()).map(expected).collect();
    assert_eq!(pictures.first(), pictures.last());
    for (at, name) in OPERATIONS.iter().enumerate() {
        let taken = steps(&world(), at);
        assert!(taken.iter().map(|(_, steps)| steps).sum::<usize>() > 0, "{name}");
        for fault in Fault::ALL {
            for (part, steps) in taken {
                (1..=steps).for_each(|step| strike(world(), at, part, fault, step, &pictures));
            }
        }
    }
}
