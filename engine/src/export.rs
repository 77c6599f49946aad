//! What hosts share, to be carried to another store.

use crate::{Engine, Error, records};
use std::io::Write;

/// Whether a key holds what the hosts of a store share, and no lease holds it. A host's own records (sandboxes,
/// provisioned parents, its identifier, the last view of a shared store) stay where they are.
pub fn is_shared_record(key: &str) -> bool {
    const SHARED: [&str; 10] = [
        records::NETWORKS,
        "network-name/",
        records::ENDPOINTS,
        "endpoint-name/",
        records::CLAIMS,
        records::VNIS,
        records::SHIMS,
        records::ADDRESS_SPACE,
        records::KNOWN_HOSTS,
        records::REMOVED_HOSTS,
    ];
    SHARED.iter().any(|prefix| key.starts_with(prefix))
}

impl Engine {
    /// Writes the records that hosts share ([`store::transfer::export`]); how many.
    pub fn export(&self, to: impl Write) -> Result<usize, Error> {
        let written = store::transfer::export(self.store.as_ref(), "", |key| !is_shared_record(key), to);
        written.map(|(count, _)| count).map_err(Error::store("export", "the store"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hosts_share() {
        for key in
            ["network/1/", "endpoint/1/2/", "claim/10.0.0.0_24/10.0.0.1/", "vni/256/", "shim/1/2/", "address-space/"]
        {
            assert!(is_shared_record(key), "{key}");
        }
        for key in ["host/1/", "host-id/", "sandbox/1/", "parent/eth0.5/", "view/network/1/", "outbox/1/"] {
            assert!(!is_shared_record(key), "{key}");
        }
    }
}
