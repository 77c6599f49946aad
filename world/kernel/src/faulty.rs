//! Any kernel, with faults at will: for proving that nothing is left behind whatever step fails.
//!
//! Every op of an `apply`, and every other call that changes something, is one step, numbered from
//! 1 over the life of the [`FaultyKernel`]. A step can be made to fail, without being done, or the
//! process can be made to "die" just before or just after it: what came before is really done, and
//! nothing is from then on, until [`FaultyKernel::revive`].

use crate::{Announcement, Error, Events, HostRoute, Kernel, Made, Place, RouteTo, SandboxPath, WayOut, describe};
use ipnet::IpNet;
use model::{LinkName, MacAddr, NamespaceId};
use plan::{Hardware, LinkInfo, LinkTag, Op, PeerEntry, PeerOp, SeenLink};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fail(u64),
    KillBefore(u64),
    KillAfter(u64),
}

#[derive(Debug, Default)]
struct State {
    steps: u64,
    fault: Option<Fault>,
    dead: bool,
}

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Do,
    DoAndDie,
    Fail(u64),
    Dead,
}

/// A kernel with faults.
pub struct FaultyKernel<K> {
    inner: K,
    state: Mutex<State>,
}

impl<K: Kernel> FaultyKernel<K> {
    /// Without faults at first: all calls go to `inner`.
    pub fn new(inner: K) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// The kernel beneath, for a look behind the faults.
    pub fn inner(&self) -> &K {
        &self.inner
    }

    /// How many steps there were so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Step `step` fails with [`Error::Injected`] and is not done. Replaces any other fault.
    pub fn fail_at(&self, step: u64) {
        self.state().fault = Some(Fault::Fail(step));
    }

    /// Dies before step `step`: from then on every call returns [`Error::Killed`].
    pub fn kill_before(&self, step: u64) {
        self.state().fault = Some(Fault::KillBefore(step));
    }

    /// Dies after step `step`, which is done, but of which nobody hears.
    pub fn kill_after(&self, step: u64) {
        self.state().fault = Some(Fault::KillAfter(step));
    }

    /// Dies now, between two steps.
    pub fn kill(&self) {
        self.state().dead = true;
    }

    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Alive again, and without a fault: as a new process would be. The count of steps goes on.
    pub fn revive(&self) {
        let mut state = self.state();
        (state.dead, state.fault) = (false, None);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<(), Error> {
        match self.state().dead {
            true => Err(Error::Killed),
            false => Ok(()),
        }
    }

    fn next(&self) -> Verdict {
        let mut state = self.state();
        if state.dead {
            return Verdict::Dead;
        }
        state.steps += 1;
        let this = state.steps;
        match state.fault {
            Some(Fault::Fail(step)) if step == this => Verdict::Fail(this),
            Some(Fault::KillBefore(step)) if step == this => {
                state.dead = true;
                Verdict::Dead
            }
            Some(Fault::KillAfter(step)) if step == this => {
                state.dead = true;
                Verdict::DoAndDie
            }
            _ => Verdict::Do,
        }
    }

    /// A change that is a step by itself.
    fn step<T>(&self, op: &str, change: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        match self.next() {
            Verdict::Do => change(),
            Verdict::DoAndDie => change().and(Err(Error::Killed)),
            Verdict::Fail(step) => Err(Error::Injected { op: op.into(), step }),
            Verdict::Dead => Err(Error::Killed),
        }
    }
}

impl<K: Kernel> Kernel for FaultyKernel<K> {
    fn boot_id(&self) -> &str {
        self.inner.boot_id()
    }

    fn namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        self.alive()?;
        self.inner.namespace(path)
    }

    fn is_there(&self, sandbox: &SandboxPath) -> Result<bool, Error> {
        self.alive()?;
        self.inner.is_there(sandbox)
    }

    fn host_link(&self, name: &LinkName) -> Result<Option<LinkInfo>, Error> {
        self.alive()?;
        self.inner.host_link(name)
    }

    fn host_links(&self) -> Result<Vec<LinkInfo>, Error> {
        self.alive()?;
        self.inner.host_links()
    }

    fn host_uppers(&self, link: u32) -> Result<Vec<LinkInfo>, Error> {
        self.alive()?;
        self.inner.host_uppers(link)
    }

    fn host_addresses(&self, link: Option<u32>) -> Result<Vec<(u32, IpNet)>, Error> {
        self.alive()?;
        self.inner.host_addresses(link)
    }

    fn host_routes(&self, link: Option<u32>) -> Result<Vec<HostRoute>, Error> {
        self.alive()?;
        self.inner.host_routes(link)
    }

    fn hardware(&self, name: &LinkName) -> Hardware {
        self.inner.hardware(name)
    }

    fn supports(&self, kind: &str) -> Result<(), Error> {
        self.alive()?;
        self.inner.supports(kind)
    }

    fn observe(&self, place: &Place, tags: Option<&[LinkTag]>) -> Result<Vec<SeenLink>, Error> {
        self.alive()?;
        self.inner.observe(place, tags)
    }

    /// The ops go to the kernel beneath one list each, so that the fault falls exactly between two.
    fn apply(&self, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<Made>, Error> {
        self.alive()?;
        let mut link = None;
        let mut name = format!("group {}", tag.0);
        for (step, op) in ops.iter().enumerate() {
            let one = || self.inner.apply(place, tag, std::slice::from_ref(op));
            link = self.step(&describe::op(op, &name), one).map_err(|error| match error {
                Error::Killed => Error::Killed,
                error => Error::Step { step, error: Box::new(error.cause().clone()) },
            })?;
            if let Some(link) = &link {
                name.clone_from(&link.name);
            }
        }
        if ops.is_empty() { self.inner.apply(place, tag, ops) } else { Ok(link) }
    }

    fn announce(&self, announcement: Announcement) {
        // It has no result: a fault is that nobody hears of it.
        let _ = self.step("announce", || {
            self.inner.announce(announcement);
            Ok(())
        });
    }

    fn watch_sandbox(&self, sandbox: &SandboxPath) -> Result<(), Error> {
        self.step(&format!("watch {}", sandbox.id), || self.inner.watch_sandbox(sandbox))
    }

    fn events(&self) -> Result<Events, Error> {
        self.alive()?;
        self.inner.events()
    }

    fn create_namespace(&self, path: &Path) -> Result<NamespaceId, Error> {
        self.step(&format!("make namespace {}", path.display()), || self.inner.create_namespace(path))
    }

    fn remove_namespace(&self, path: &Path) -> Result<(), Error> {
        self.step(&format!("remove namespace {}", path.display()), || self.inner.remove_namespace(path))
    }

    fn namespaces(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        self.alive()?;
        self.inner.namespaces(directory)
    }

    fn peer_entries(&self, overlay: &SandboxPath) -> Result<BTreeSet<PeerEntry>, Error> {
        self.alive()?;
        self.inner.peer_entries(overlay)
    }

    fn idle_peers(&self, overlay: &SandboxPath) -> Result<BTreeMap<MacAddr, Duration>, Error> {
        self.alive()?;
        self.inner.idle_peers(overlay)
    }

    /// One step, whatever the number of ops: there are many, and each stands for itself.
    fn program(&self, overlay: &SandboxPath, ops: &[PeerOp]) -> Result<(), Error> {
        self.step(&format!("program {} entries of {}", ops.len(), overlay.id), || self.inner.program(overlay, ops))
    }

    fn watch_overlay(&self, overlay: &SandboxPath) -> Result<(), Error> {
        self.step(&format!("watch {}", overlay.id), || self.inner.watch_overlay(overlay))
    }

    fn route_to(&self, address: IpAddr) -> Result<Option<RouteTo>, Error> {
        self.alive()?;
        self.inner.route_to(address)
    }

    fn probe(&self, address: IpAddr, timeout: Duration) -> Result<bool, Error> {
        self.alive()?;
        self.inner.probe(address, timeout)
    }

    fn masquerade(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<(), Error> {
        self.step(&format!("masquerade over {bridge}"), || self.inner.masquerade(bridge, prefixes))
    }

    fn examine_way_out(&self, bridge: &LinkName, prefixes: &[IpNet]) -> Result<WayOut, Error> {
        self.alive()?;
        self.inner.examine_way_out(bridge, prefixes)
    }

    fn unmasquerade(&self, bridge: &LinkName) -> Result<(), Error> {
        self.step(&format!("stop masquerading over {bridge}"), || self.inner.unmasquerade(bridge))
    }
}

#[cfg(test)]
mod tests {
    use super::FaultyKernel;
    use crate::{Error, Kernel, fake::FakeKernel};
    use model::MacvlanMode;
    use plan::{Link, LinkKind, LinkTag, LinkTitle, Op};
    use std::path::Path;

    fn ops() -> Vec<Op> {
        let link = Link {
            title: LinkTitle::Numbered("eth".into()),
            kind: LinkKind::Macvlan(MacvlanMode::Bridge),
            lower: "eth0".parse().ok(),
            mac: None,
            mtu: None,
            tag: LinkTag(3),
            alias: "test".into(),
        };
        let address = Op::AddAddress { address: "10.0.0.2/24".parse().unwrap(), dad: false };
        vec![Op::AddLink(link), Op::SetUp { alias: "test".into() }, address]
    }

    fn kernel() -> (FaultyKernel<FakeKernel>, crate::Place) {
        let fake = FakeKernel::new();
        fake.add_physical("eth0");
        let sandbox = fake.add_namespace(Path::new("/run/netns/a"));
        (FaultyKernel::new(fake), crate::Place::Sandbox(sandbox))
    }

    #[test]
    fn a_step_fails_and_those_before_are_done() {
        let (kernel, place) = kernel();
        kernel.fail_at(3);
        let error = kernel.apply(&place, LinkTag(3), &ops()).unwrap_err();
        assert_eq!(error.to_string(), "address add 10.0.0.2/24 dev eth0: injected fault at step 3");
        assert_eq!(error.step(), Some(2));
        let seen = kernel.observe(&place, None).unwrap();
        assert!(seen.iter().any(|link| link.info.up && link.info.has_tag(LinkTag(3)) && link.addresses.is_empty()));
        assert_eq!(kernel.steps(), 3);
    }

    #[test]
    fn death_before_and_after() {
        for (after, done) in [(false, 0), (true, 1)] {
            let (kernel, place) = kernel();
            if after {
                kernel.kill_after(1)
            } else {
                kernel.kill_before(1)
            }
            assert_eq!(kernel.apply(&place, LinkTag(3), &ops()), Err(Error::Killed));
            assert_eq!(kernel.observe(&place, None), Err(Error::Killed));
            assert!(kernel.is_dead());
            kernel.revive();
            assert_eq!(kernel.observe(&place, Some(&[LinkTag(3)])).unwrap().len(), done);
        }
    }

    #[test]
    fn what_makes_an_overlay_is_steps_too() {
        let (kernel, _) = kernel();
        let path = Path::new("/run/overlays/ov");
        let bridge = "gw".parse().unwrap();
        kernel.fail_at(1);
        let error = kernel.create_namespace(path).unwrap_err();
        assert_eq!(error.to_string(), "make namespace /run/overlays/ov: injected fault at step 1");
        assert!(kernel.namespaces(Path::new("/run/overlays")).unwrap().is_empty());
        kernel.kill_after(2);
        assert_eq!(kernel.create_namespace(path), Err(Error::Killed));
        assert_eq!(kernel.namespaces(Path::new("/run/overlays")), Err(Error::Killed));
        kernel.revive();
        let id = kernel.create_namespace(path).unwrap();
        let overlay = crate::SandboxPath { path: path.to_owned(), id };
        kernel.watch_overlay(&overlay).unwrap();
        kernel.program(&overlay, &[]).unwrap();
        kernel.masquerade(&bridge, &[]).unwrap();
        kernel.examine_way_out(&bridge, &[]).unwrap();
        kernel.unmasquerade(&bridge).unwrap();
        kernel.remove_namespace(path).unwrap();
        assert_eq!(kernel.steps(), 8);
        // Looks are none.
        assert!(kernel.peer_entries(&overlay).is_err());
        kernel.route_to([192, 0, 2, 1].into()).unwrap();
        kernel.probe([192, 0, 2, 1].into(), std::time::Duration::ZERO).unwrap();
        assert_eq!(kernel.steps(), 8);
    }
}
