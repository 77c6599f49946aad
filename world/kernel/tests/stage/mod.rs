//! A host of its own for each test: a thread in a fresh network namespace, and sandboxes beside it.

#![allow(dead_code, unreachable_pub, reason = "each test target uses its part")]

pub mod firewalld;
pub mod likeness;
pub mod nat;
pub mod overlay;

use model::NamespaceId;
use plan::{Link, LinkKind, LinkTag, LinkTitle, Op, Route};
use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::{UnshareFlags, gettid, unshare_unsafe},
};
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

/// Gives the calling thread, and what it starts, mounts that nobody else sees.
pub fn private_mounts() {
    // SAFETY: a mount namespace for this thread alone; it implies a file system context of its own, and nothing here
    // relies on a shared working directory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).expect("private mounts");
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
    let (success, said) = run(&format!("ip {arguments}"));
    assert!(success, "ip {arguments}: {said}");
    said
}

/// A command in the calling thread's namespace: whether it succeeded, and what it said.
pub fn run(command: &str) -> (bool, String) {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (output.status.success(), said)
}

/// A namespace that lives until this is dropped.
pub struct Sandbox {
    pub path: SandboxPath,
    orders: Option<Sender<String>>,
    answers: Mutex<Receiver<(bool, String)>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    pub fn new(kernel: &impl Kernel) -> Self {
        let (orders, to_do) = channel::<String>();
        let (done, answers) = channel();
        let thread = thread::spawn(move || {
            unshare();
            done.send((true, gettid().as_raw_nonzero().to_string())).unwrap();
            for order in to_do {
                done.send(run(&order)).unwrap();
            }
        });
        let path = PathBuf::from(format!("/proc/self/task/{}/ns/net", answers.recv().unwrap().1));
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
        self.must(&format!("ip {arguments}"))
    }

    /// A command within, which must succeed; its output.
    pub fn must(&self, command: &str) -> String {
        let (success, said) = self.run(command);
        assert!(success, "{command}: {said}");
        said
    }

    /// A command within: whether it succeeded, and what it said.
    pub fn run(&self, command: &str) -> (bool, String) {
        self.orders.as_ref().unwrap().send(command.to_owned()).unwrap();
        self.answers.lock().unwrap().recv().expect("the command could not be run")
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

/// A packet socket that hears one link of the calling thread's namespace.
pub fn capture(link: u32) -> std::os::fd::OwnedFd {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain system calls; the address is a struct of integers with its true length, and the
    // descriptor that came back is nobody else's.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(all));
        assert!(socket >= 0);
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = link as i32;
        let length = std::mem::size_of_val(&address) as u32;
        assert_eq!(libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length), 0);
        socket
    }
}
