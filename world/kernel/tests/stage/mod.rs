//! A host of its own for each test: a thread in a fresh network namespace, and sandboxes beside it.

#![allow(dead_code, unreachable_pub, reason = "each test target uses its part")]

pub mod likeness;

use model::NamespaceId;
use plan::{Link, LinkKind, LinkTag, LinkTitle, Op, Route};
use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};
use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};
use trunkline_kernel::{Kernel, Place, Rtnl, SandboxPath};

fn unshare() {
    // SAFETY: a network namespace for this thread alone.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a namespace of its own");
}

/// Runs a test in a fresh namespace, which is the host's for `Rtnl`.
pub fn on_a_host(test: impl FnOnce(&Rtnl) + Send) {
    let body = || {
        unshare();
        ip("link set lo up");
        test(&Rtnl::open().expect("rtnetlink"));
    };
    let result = thread::scope(|scope| scope.spawn(body).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// `ip ARGS` in the calling thread's namespace; its output.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A namespace that lives until this is dropped.
pub struct Sandbox {
    pub path: SandboxPath,
    orders: Option<Sender<String>>,
    answers: Mutex<Receiver<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    pub fn new(kernel: &impl Kernel) -> Self {
        let (orders, to_do) = channel::<String>();
        let (done, answers) = channel();
        let thread = thread::spawn(move || {
            unshare();
            done.send(gettid().as_raw_nonzero().to_string()).unwrap();
            for order in to_do {
                done.send(ip(&order)).unwrap();
            }
        });
        let path = PathBuf::from(format!("/proc/self/task/{}/ns/net", answers.recv().unwrap()));
        let id = kernel.namespace(&path).expect("a namespace");
        Self {
            path: SandboxPath { path, id },
            orders: Some(orders),
            answers: Mutex::new(answers),
            thread: Some(thread),
        }
    }

    pub fn place(&self) -> Place {
        Place::Sandbox(self.path.clone())
    }

    pub fn id(&self) -> NamespaceId {
        self.path.id.clone()
    }

    /// `ip ARGS` within.
    pub fn ip(&self, arguments: &str) -> String {
        self.orders.as_ref().unwrap().send(arguments.to_owned()).unwrap();
        self.answers.lock().unwrap().recv().expect("the command failed")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A link of this kind on `lower`, called eth0 by number.
pub fn link(tag: u32, kind: LinkKind, lower: Option<&str>) -> Link {
    Link {
        title: LinkTitle::Numbered("eth".into()),
        kind,
        lower: lower.map(|name| name.parse().unwrap()),
        mac: None,
        mtu: None,
        tag: LinkTag(tag),
        alias: format!("trunkline test {tag}"),
    }
}

/// The ops of an attachment: link, setting, alias and up, address, route.
pub fn attachment(link: Link, address: &str, gateway: Option<&str>) -> Vec<Op> {
    let alias = link.alias.clone();
    let mut ops =
        vec![Op::AddLink(link), Op::SetUp { alias }, Op::AddAddress { address: address.parse().unwrap(), dad: false }];
    ops.extend(gateway.map(|gateway| {
        let via = gateway.parse().unwrap();
        let destination = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
        Op::AddRoute(Route { destination: destination.parse().unwrap(), via: Some(via), source: None, metric: None })
    }));
    ops
}
