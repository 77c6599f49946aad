//! Real servers of shared stores: etcd and Consul, each with data of its own, on an address of its
//! own.

mod ca;
mod consul;
mod etcd;
mod process;
mod running;

pub use ca::{Certificate, TestCa};
pub use consul::{ConsulCluster, ConsulOptions, ConsulServer};
pub use etcd::{EtcdCluster, EtcdOptions, EtcdServer};
pub use process::Server;
pub use running::{StoreCluster, StoreServer};

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process::id,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Host};

/// Where a server runs, and on which address. Ports are the usual ones.
#[derive(Clone, Copy)]
pub struct Site<'h> {
    host: Option<&'h Host>,
    address: IpAddr,
}

impl<'h> Site<'h> {
    /// On this machine, on a loopback address that no other server of a test has.
    pub fn loopback() -> Result<Site<'static>, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..1000 {
            // Of 127.0.0.0/8, all of which is ours: one block of addresses a process, so that
            // tests that run at once do not fight over ports.
            let number = (id() % 0x3fff) << 10 | (NEXT.fetch_add(1, Ordering::Relaxed) & 0x3ff);
            let [_, a, b, c] = number.to_be_bytes();
            if c == 0 || c == 255 || a == 0 {
                continue;
            }
            let address = Ipv4Addr::new(127, a, b, c);
            // Another process may have come to the same block.
            if TcpListener::bind(SocketAddr::new(address.into(), 2380)).is_ok()
                && TcpListener::bind(SocketAddr::new(address.into(), 8300)).is_ok()
            {
                return Ok(Site { host: None, address: address.into() });
            }
        }
        Err(Error::NoAddress)
    }

    /// On a host of the lab, on an address that it has.
    pub fn on(host: &'h Host, address: IpAddr) -> Site<'h> {
        Site { host: Some(host), address }
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}
