//! The fake kernel beside the real one: the same ops must be taken or refused alike, and leave the
//! same behind.

use super::{Sandbox, ip, on_a_host};
use model::MacAddr;
use plan::{LinkTag, Op, SeenLink};
use std::path::Path;
use trunkline_kernel::{Kernel, Place, fake::FakeKernel};

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
            let outcome = |kernel: &dyn Kernel, place| {
                let result = kernel.apply(place, LinkTag(*tag), ops);
                result.map(|link| link.map(|link| link.name)).map_err(|error| {
                    println!("{number}: {error}");
                    (error.step(), error.errno())
                })
            };
            assert_eq!(outcome(&fake, &here), outcome(real, &there), "step {number}: {ops:?}");
            assert_eq!(look(&fake, &here, &asked), look(real, &there, &asked), "after step {number}: {ops:?}");
        }
    });
}

/// What can be compared of the links with a tag: indexes and random MACs cannot.
fn look(kernel: &dyn Kernel, place: &Place, asked: &[MacAddr]) -> Vec<SeenLink> {
    let mut seen = kernel.observe(place, None).unwrap();
    seen.retain(|link| link.info.group != 0);
    for link in &mut seen {
        let info = &mut link.info;
        (info.index, info.lower) = (0, info.lower.map(|_| 0));
        info.mac = info.mac.filter(|mac| asked.contains(mac));
        link.addresses.sort();
        link.routes.sort();
    }
    seen
}
