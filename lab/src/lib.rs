//! Test networks for integration tests, the demonstration and benchmarks: hosts, switches with
//! VLANs, trunks, captures, the real daemon in one of the hosts, real etcd and Consul servers, and Docker Engine.
//!
//! Everything lives in network namespaces without names, made over rtnetlink. A namespace is held by
//! a descriptor of this process and nothing else: when the values are dropped, or the process dies,
//! links and namespaces are gone and nothing is left on disk.
//!
//! ```no_run
//! # use trunkline_lab as lab;
//! # fn main() -> Result<(), lab::Error> {
//! use lab::{Host, Port, Switch};
//! let switch = Switch::new()?;
//! let (host, server) = (Host::new("host")?, Host::new("server")?);
//! let trunk = host.plug(&switch, "eth0", &Port::trunk([10, 20]).native(1))?;
//! server.plug(&switch, "eth0", &Port::Access(10))?;
//! server.add_address("eth0", "192.168.10.2/24")?;
//! host.add_vlan("eth0", "eth0.10", 10)?;
//! host.add_address("eth0.10", "192.168.10.1/24")?;
//! let capture = switch.capture(&trunk)?;
//! host.run("ping", ["-c", "1", "192.168.10.2"])?;
//! capture.wait_for(|frame| frame.vlans() == [10])?;
//! # Ok(()) }
//! ```

mod capture;
mod command;
mod daemon;
mod dockerd;
mod error;
mod host;
mod leftovers;
mod links;
mod machine;
mod mounts;
mod namespace;
mod netlink;
mod notifying;
mod ping;
mod podman;
mod privilege;
mod server;
mod service;
mod switch;

pub use capture::Capture;
pub use command::Output;
pub use daemon::{TestDaemon, cni_program, program};
pub use dockerd::Dockerd;
pub use error::Error;
pub use host::Host;
pub use machine::Machine;
pub use namespace::Sandbox;
pub use ping::Ping;
pub use podman::Podman;
pub use privilege::become_root_in_user_namespace;
pub use server::{
    Certificate, ConsulCluster, ConsulOptions, ConsulServer, EtcdCluster, EtcdOptions, EtcdServer, Server, Site,
    StoreCluster, StoreServer, TestCa,
};
pub use service::Listener;
pub use switch::{Port, Switch, SwitchPort};
