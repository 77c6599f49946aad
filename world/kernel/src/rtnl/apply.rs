//! Carrying out a list of ops on one link, when it is their turn.

use super::{Ground, Rtnl, observe, socket::Socket, unreachable, visit::Visit};
use crate::{Error, Made, Place, namespace::Namespace};
use ipnet::IpNet;
use plan::{LinkTag, Op};
use std::{
    net::Ipv6Addr,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long fresh IPv6 addresses may take to be usable (0.1 ms as a rule), and between two looks at first and at last.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn apply(rtnl: &Rtnl, place: &Place, tag: LinkTag, ops: &[Op]) -> Result<Option<Made>, Error> {
    let namespace = match place.namespace() {
        None => None,
        Some(sandbox) => match rtnl.ground.sandbox(sandbox) {
            // What is to go went with its namespace, unless somebody else keeps that.
            Err(error) if error.is_namespace_gone() && ops.iter().all(removes) && !ops.is_empty() => {
                if ops.contains(&Op::DelLink) {
                    unreachable::delete(rtnl, &sandbox.id, tag)?;
                }
                return Ok(None);
            }
            namespace => Some(Arc::new(namespace?)),
        },
    };
    let in_sandbox = matches!(place, Place::Sandbox(_));
    let course = |ops: &[Op]| {
        let (ground, namespace) = (Arc::clone(&rtnl.ground), namespace.clone());
        Course { ground, namespace, in_sandbox, tag, ops: ops.to_vec() }
    };
    let changes = match ops {
        // Its grace period needs no turn.
        [Op::DelLink, changes @ ..] => {
            course(&[Op::DelLink]).run(None).map_err(|failed| failed.at(0))?;
            changes
        }
        changes => changes,
    };
    if changes.is_empty() && !ops.is_empty() {
        return Ok(None);
    }
    let changing = course(changes);
    let done = rtnl.turn.take(move |home| changing.run(home))?;
    let Done { link, socket } = done.map_err(|failed| failed.at(ops.len() - changes.len()))?;
    let adds = changes.iter().any(|op| matches!(op, Op::AddLink(_)));
    if let (true, Place::Sandbox(sandbox), Some(namespace)) = (adds, place, &namespace) {
        rtnl.watch_open(namespace, &sandbox.id);
    }
    if let Some(mut socket) = socket {
        if changes.iter().any(|op| matches!(op, Op::SetUp { .. })) {
            await_addresses(&mut socket, changes);
        }
        if namespace.is_none() {
            rtnl.ground.sockets.give_back(socket);
        }
    }
    Ok(link)
}

/// Some ops on a link, to be carried out by whichever thread's turn it is.
struct Course {
    ground: Arc<Ground>,
    namespace: Option<Arc<Namespace>>,
    in_sandbox: bool,
    tag: LinkTag,
    ops: Vec<Op>,
}

/// What came of it.
struct Done {
    link: Option<Made>,
    /// The socket beside the link, whose end others in the row need not wait for.
    socket: Option<Socket>,
}

/// What went wrong, in which of the ops; none: after the last.
struct Failed {
    step: Option<usize>,
    error: Error,
}

impl Failed {
    /// The error, of ops that began with this one of all.
    fn at(self, first: usize) -> Error {
        match self.step {
            Some(step) => Error::Step { step: first + step, error: Box::new(self.error) },
            None => self.error,
        }
    }
}

impl Course {
    /// Carries the ops out; `home` is the calling thread's namespace, if that is known.
    fn run(self, home: Option<&Arc<Namespace>>) -> Result<Done, Failed> {
        let Self { ground, namespace, in_sandbox, tag, ops } = &self;
        let namespace = namespace.as_deref();
        let mut visit = Visit::new(ground, home, namespace, *in_sandbox, *tag);
        for (step, op) in ops.iter().enumerate() {
            visit.carry_out(op).map_err(|error| Failed { step: Some(step), error })?;
        }
        if ops.last() == Some(&Op::DelLink) {
            return Ok(Done { link: None, socket: None });
        }
        let link = visit.made().map_err(|error| Failed { step: None, error })?;
        Ok(Done { link, socket: visit.into_socket() })
    }
}

/// The addresses that are there when the kernel has answered, and usable a moment later.
fn fresh(ops: &[Op]) -> impl Iterator<Item = Ipv6Addr> {
    ops.iter().filter_map(|op| match op {
        Op::AddAddress { address: IpNet::V6(address), dad: false } => Some(address.addr()),
        _ => None,
    })
}

/// Waits until the kernel takes fresh IPv6 addresses for its own. It answers earlier: even where there are no
/// duplicates to look for, a work queue that needs the RTNL makes their local routes (addrconf.c,
/// `addrconf_dad_work`), and until then packets to them are dropped as not ours.
fn await_addresses(socket: &mut Socket, ops: &[Op]) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    for address in fresh(ops) {
        while !observe::is_local(socket, address) {
            if Instant::now() > deadline {
                return tracing::warn!(%address, "the kernel takes its time to make the address usable");
            }
            std::thread::sleep(pause);
            // Many that wait for the one queue, and ask, take the processor from it.
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

fn removes(op: &Op) -> bool {
    matches!(op, Op::DelLink | Op::DelAddress(_) | Op::DelRoute(_))
}
