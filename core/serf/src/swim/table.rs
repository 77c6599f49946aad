//! The members that memberlist knows: by name, and in the order in which they are probed.

use super::suspicion::Suspicion;
use crate::names::{Keyed, Names};
use crate::random::Random;
use crate::wire::message::Versions;
use crate::wire::push_pull::State;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) meta: Arc<[u8]>,
    pub(crate) versions: Versions,
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    /// When it came into that state.
    pub(crate) since: Duration,
    pub(crate) suspicion: Option<Box<Suspicion>>,
    /// When a timer will look at the suspicion: not after its deadline.
    pub(crate) timer: Option<Duration>,
}

impl Node {
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Dead | State::Left)
    }
}

/// The nodes, in the order in which they are probed.
#[derive(Debug)]
pub(crate) struct Table {
    nodes: Vec<Node>,
    by_name: Names<usize>,
}

impl Table {
    pub(crate) fn new(keyed: Keyed) -> Self {
        Self { nodes: Vec::new(), by_name: Names::with_hasher(keyed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name).and_then(|at| self.nodes.get(*at))
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.by_name.get(name).and_then(|at| self.nodes.get_mut(*at))
    }

    pub(crate) fn at(&self, position: usize) -> Option<&Node> {
        self.nodes.get(position)
    }

    /// Adds a node at a random place, so that it is not always the last to be probed.
    pub(crate) fn insert(&mut self, node: Node, random: &mut dyn Random) {
        let (last, place) = (self.nodes.len(), random.below(self.nodes.len() + 1));
        self.nodes.push(node);
        self.nodes.swap(place, last);
        self.by_name.insert(self.nodes[place].name.clone(), place);
        if let Some(moved) = self.by_name.get_mut(&self.nodes[last].name) {
            *moved = last;
        }
    }

    /// Forgets those that `keep` does not hold, and puts the others into a new random order.
    pub(crate) fn reset(&mut self, keep: impl Fn(&Node) -> bool, random: &mut dyn Random) {
        self.nodes.retain(keep);
        for last in (1..self.nodes.len()).rev() {
            self.nodes.swap(last, random.below(last + 1));
        }
        self.by_name.clear();
        self.by_name.extend(self.nodes.iter().enumerate().map(|(at, node)| (node.name.clone(), at)));
    }

    /// Up to `n` different nodes by chance, of those that `fits` takes.
    pub(crate) fn pick(&self, n: usize, random: &mut dyn Random, fits: impl Fn(&Node) -> bool) -> Vec<&Node> {
        let (mut picked, count): (Vec<&Node>, _) = (Vec::with_capacity(n), self.nodes.len());
        for _ in 0..3 * count.min(16 * n) {
            if picked.len() == n {
                return picked;
            }
            let node = &self.nodes[random.below(count)];
            if fits(node) && picked.iter().all(|other| !Arc::ptr_eq(&other.name, &node.name)) {
                picked.push(node);
            }
        }
        // Few fit, or there are few: look at all of them, from anywhere.
        let start = random.below(count);
        for node in self.nodes[start..].iter().chain(&self.nodes[..start]) {
            if picked.len() < n && fits(node) && picked.iter().all(|other| !Arc::ptr_eq(&other.name, &node.name)) {
                picked.push(node);
            }
        }
        picked
    }
}
