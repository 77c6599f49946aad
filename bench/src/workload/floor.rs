//! The same objects straight from the kernel, by the best of several ways, in turns with the daemon's rounds: both
//! are measured in the machine's slower moments and in its faster ones.

use super::check::Made;
use crate::raw::{Attachment, Hand, Parent};
use crate::stats::{Spread, ms};
use crate::{Error, crowd, host};
use kernel::{Kernel, Rtnl};
use lab::Sandbox;
use model::LinkName;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Threads that create.
const MAKERS: [usize; 3] = [1, 2, 16];

/// Threads that delete: each waits out a grace period of the kernel's.
const REMOVERS: [usize; 2] = [32, 125];

/// Where the floor's indexes for parents begin, far from those given out.
const FIRST_INDEX: u32 = 100_000;

/// The time between two tries, or rounds: what the kernel does afterwards, as with the namespaces that were closed, is
/// not the next one's.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// What each way took, by its name.
type Ways<T> = BTreeMap<String, T>;

/// The floor's figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Floor {
    /// Of the best way of creating.
    pub(crate) create_all: Spread,
    /// Of the best way of creating with what the networks declare besides: IPv6's settings and the alias.
    pub(crate) create_declared_all: Spread,
    /// Of the best way of removing.
    pub(crate) remove_all: Spread,
    /// Every way of creating.
    pub(crate) create: Ways<Spread>,
    /// The same with what the networks declare besides.
    pub(crate) create_declared: Ways<Spread>,
    /// Every way of removing.
    pub(crate) remove: Ways<Spread>,
}

/// How much of a link is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Making {
    /// The link, its addresses and routes.
    Bare,
    /// The settings and the alias that the network declares, too.
    Declared,
}

#[derive(Clone, Copy)]
enum Removal {
    /// Links in parallel, then parents in parallel.
    Deleting(usize),
    /// The namespaces are closed, which nobody is told when it is over; so what is on parents that stay is
    /// deleted, and the other parents' deletion waits for the rest.
    Closing(usize),
}

/// The tries so far, in milliseconds.
#[derive(Default)]
pub(super) struct Tries {
    create: Ways<Vec<f64>>,
    create_declared: Ways<Vec<f64>>,
    remove: Ways<Vec<f64>>,
}

impl Tries {
    /// Tries every way of creating once, and after each a way of removing, in turn.
    pub(super) fn add(&mut self, scene: &Scene<'_>) -> Result<(), Error> {
        let closing = (!scene.made.parents.is_empty()).then_some(Removal::Closing(REMOVERS[1]));
        let removals = REMOVERS.map(Removal::Deleting).into_iter().chain(closing).cycle();
        let makings = MAKERS.into_iter().flat_map(|makers| [(makers, Making::Bare), (makers, Making::Declared)]);
        for ((makers, making), removal) in makings.zip(removals) {
            let (time, sandboxes) = scene.make(makers, making)?;
            let create = if making == Making::Bare { &mut self.create } else { &mut self.create_declared };
            create.entry(format!("{makers} threads")).or_default().push(ms(time));
            thread::sleep(PAUSE);
            let (way, time) = scene.remove(sandboxes, removal)?;
            self.remove.entry(way).or_default().push(ms(time));
        }
        Ok(())
    }

    /// What came of them.
    pub(super) fn floor(self) -> Floor {
        let spreads = |tries: Ways<Vec<f64>>| -> Ways<Spread> {
            tries.into_iter().map(|(way, times)| (way, Spread::of(times))).collect()
        };
        let (create, create_declared, remove) =
            (spreads(self.create), spreads(self.create_declared), spreads(self.remove));
        let best = |ways: &Ways<Spread>| {
            let best = ways.values().min_by(|a, b| a.median.total_cmp(&b.median));
            best.copied().unwrap_or_else(|| Spread::of([]))
        };
        Floor {
            create_all: best(&create),
            create_declared_all: best(&create_declared),
            remove_all: best(&remove),
            create,
            create_declared,
            remove,
        }
    }
}

/// What is to be made, and what is there already.
pub(super) struct Scene<'a> {
    made: &'a Made,
    /// The indexes of all parents by name, and of the links below them.
    indexes: BTreeMap<LinkName, u32>,
    /// The namespaces are there before, and in no figure.
    beforehand: bool,
}

impl<'a> Scene<'a> {
    pub(super) fn new(made: &'a Made, beforehand: bool, kernel: &Rtnl) -> Result<Self, Error> {
        let mut indexes: BTreeMap<LinkName, u32> =
            kernel.host_links()?.into_iter().filter_map(|l| Some((l.name.parse().ok()?, l.index))).collect();
        indexes.extend(made.parents.iter().map(|p| p.name.clone()).zip(FIRST_INDEX..));
        Ok(Self { made, indexes, beforehand })
    }

    fn index(&self, name: &LinkName) -> Result<u32, Error> {
        self.indexes.get(name).copied().ok_or_else(|| Error::Wrong(format!("there is no link {name}")))
    }

    /// Whether a parent goes in the end.
    fn goes(&self, parent: &LinkName) -> bool {
        self.made.parents.iter().any(|p| p.name == *parent)
    }

    fn make(&self, threads: usize, making: Making) -> Result<(Duration, Vec<Sandbox>), Error> {
        let sandboxes: Vec<OnceLock<Sandbox>> = match self.beforehand {
            true => host::sandboxes(self.made.attachments.len())?.into_iter().map(OnceLock::from).collect(),
            false => self.made.attachments.iter().map(|_| OnceLock::new()).collect(),
        };
        thread::sleep(PAUSE);
        let parents = side_by_side(threads, &self.made.parents, |hand, parent| {
            let lower = parent.lower().map(|name| self.index(name)).transpose()?;
            parent.make(hand, lower, self.index(&parent.name)?)
        })?;
        let pairs: Vec<_> = self.made.attachments.iter().zip(&sandboxes).collect();
        let attached = side_by_side(threads, &pairs, |hand, (attachment, place)| {
            let sandbox = match place.get() {
                Some(sandbox) => sandbox,
                None => {
                    let fresh = hand.sandbox()?;
                    place.get_or_init(|| fresh)
                }
            };
            self.attach(hand, attachment, sandbox, making)
        })?;
        Ok((parents + attached, sandboxes.into_iter().filter_map(OnceLock::into_inner).collect()))
    }

    fn attach(&self, hand: &mut Hand, attachment: &Attachment, sandbox: &Sandbox, making: Making) -> Result<(), Error> {
        let lower = attachment.parent().map(|name| self.index(name)).transpose()?.unwrap_or_default();
        match making {
            Making::Bare => attachment.make(hand, lower, sandbox),
            Making::Declared => attachment.make_as_declared(hand, lower, sandbox),
        }
    }

    fn remove(&self, sandboxes: Vec<Sandbox>, removal: Removal) -> Result<(String, Duration), Error> {
        let (way, links, threads) = match removal {
            Removal::Deleting(threads) => {
                let deleted = side_by_side(threads, &sandboxes, |hand, sandbox| Attachment::remove(hand, sandbox))?;
                (format!("deleting, {threads} threads"), deleted, threads)
            }
            Removal::Closing(threads) => {
                let pairs = sandboxes.into_iter().zip(&self.made.attachments);
                let (go, stay): (Vec<_>, Vec<_>) = pairs.partition(|(_, a)| a.parent().is_some_and(|p| self.goes(p)));
                let begin = Instant::now();
                drop(go);
                let closed = begin.elapsed();
                let deleted = side_by_side(threads, &stay, |hand, (sandbox, _)| Attachment::remove(hand, sandbox))?;
                (format!("closing namespaces, {threads} threads"), closed + deleted, threads)
            }
        };
        Ok((way, links + self.remove_parents(threads)?))
    }

    fn remove_parents(&self, threads: usize) -> Result<Duration, Error> {
        let all: Vec<&Parent> = self.made.parents.iter().collect();
        side_by_side(threads, &all, |hand, parent| Parent::remove(hand, self.index(&parent.name)?))
    }

    /// Makes and deletes an endpoint like the first on a parent that is there; what either took.
    pub(super) fn one(&self, hand: &mut Hand, sandbox: &Sandbox) -> Result<(Duration, Duration), Error> {
        let stays = |a: &&Attachment| a.parent().is_some_and(|p| !self.goes(p));
        let attachment = self.made.attachments.iter().find(stays);
        let attachment = attachment.ok_or_else(|| Error::Wrong("no endpoint is on a parent that stays".into()))?;
        let begin = Instant::now();
        self.attach(hand, attachment, sandbox, Making::Bare)?;
        let attach = begin.elapsed();
        let begin = Instant::now();
        Attachment::remove(hand, sandbox)?;
        Ok((attach, begin.elapsed()))
    }
}

/// Does `work` on every object with this many threads, or fewer if there are fewer objects; the time that it took.
fn side_by_side<T: Sync>(
    threads: usize,
    objects: &[T],
    work: impl Fn(&mut Hand, &T) -> Result<(), Error> + Sync,
) -> Result<Duration, Error> {
    let piece = |hand: &mut Hand, n: usize| work(hand, &objects[n]);
    Ok(crowd::work_off(0..threads, objects.len(), |_| Hand::new(), piece)?.wall)
}
