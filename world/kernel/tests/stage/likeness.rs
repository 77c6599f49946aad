//! The fake kernel beside the real one: the same ops must be taken or refused alike, and leave the
//! same behind.

use super::{Sandbox, ip, on_a_host};
use model::{MacAddr, NamespaceId};
use plan::{Link, LinkKind, LinkTag, LinkTitle, Op, SeenLink, VethPeer};
use std::path::{Path, PathBuf};
use trunkline_kernel::{Kernel, Place, SandboxPath, fake::FakeKernel};

/// Where a step's ops go.
#[derive(Clone, Copy)]
pub enum Where {
    Host,
    /// One of two sandboxes.
    Sandbox(usize),
}

/// Ops on the link of a tag.
pub type Step = (Where, u32, Vec<Op>);

/// Plays steps on both, on a parent `eth9` that is up.
pub fn compare(parent_kind: &str, steps: &[Step]) {
    on_a_host(|real| {
        let peer = if parent_kind == "veth" { " peer name eth9p" } else { "" };
        ip(&format!("link add eth9 type {parent_kind}{peer}"));
        ip("link set eth9 up");
        if parent_kind == "veth" {
            ip("link set eth9p up");
        }
        let sandboxes = [Sandbox::new(real), Sandbox::new(real)];

        let reals = [sandboxes[0].path.clone(), sandboxes[1].path.clone()];
        let fake = FakeKernel::new();
        fake.add_physical("eth9");
        let fakes = [fake.add_namespace(Path::new("/a")), fake.add_namespace(Path::new("/b"))];

        let ops = steps.iter().flat_map(|(_, _, ops)| ops);
        let asked: Vec<_> = ops.filter_map(|op| if let Op::AddLink(link) = op { link.mac } else { None }).collect();
        for (number, (place, tag, ops)) in steps.iter().enumerate() {
            let (there, here) = match place {
                Where::Host => (Place::Host, Place::Host),
                Where::Sandbox(index) => (sandboxes[*index].place(), Place::Sandbox(fakes[*index].clone())),
            };
            let outcome = |kernel: &dyn Kernel, place, theirs: &[SandboxPath]| {
                let ops: Vec<_> = ops.iter().map(|op| placed(op, theirs)).collect();
                let result = kernel.apply(place, LinkTag(*tag), &ops);
                result.map(|link| link.map(|link| link.name)).map_err(|error| {
                    println!("{number}: {error}");
                    (error.step(), error.errno())
                })
            };
            assert_eq!(outcome(&fake, &here, &fakes), outcome(real, &there, &reals), "step {number}: {ops:?}");
            assert_eq!(look(&fake, &here, &asked), look(real, &there, &asked), "after step {number}: {ops:?}");
        }
    });
}

/// A veth's other end in the sandbox with the number that its path is.
pub fn peer_in(sandbox: Option<usize>, title: &str, tag: u32) -> LinkKind {
    let none = NamespaceId { device: 0, inode: 0, boot: String::new() };
    let place = sandbox.map(|number| (PathBuf::from(number.to_string()), none));
    LinkKind::Veth(Some(VethPeer { place, title: LinkTitle::Numbered(title.into()), tag: LinkTag(tag) }))
}

/// The op with the sandboxes of one of the kernels in the place of their numbers.
fn placed(op: &Op, sandboxes: &[SandboxPath]) -> Op {
    let mut op = op.clone();
    if let Op::AddLink(Link { kind: LinkKind::Veth(Some(VethPeer { place: Some(place), .. })), .. }) = &mut op {
        let number: usize = place.0.to_str().unwrap().parse().unwrap();
        *place = (sandboxes[number].path.clone(), sandboxes[number].id.clone());
    }
    op
}

/// What can be compared of the links with a tag: indexes and random MACs cannot.
fn look(kernel: &dyn Kernel, place: &Place, asked: &[MacAddr]) -> Vec<SeenLink> {
    let mut seen = kernel.observe(place, None).unwrap();
    seen.retain(|link| link.info.group != 0);
    for link in &mut seen {
        let info = &mut link.info;
        (info.index, info.lower, info.master) = (0, info.lower.map(|_| 0), info.master.map(|_| 0));
        info.mac = info.mac.filter(|mac| asked.contains(mac));
        link.addresses.sort();
        link.routes.sort();
    }
    seen
}
