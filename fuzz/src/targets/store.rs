//! What an operator writes about stores, what servers answer, what the journal holds, and what an import reads.

use crate::outcome::{reached, refused};
use ::store::transfer::{self, Into};
use ::store::{Address, Redb, Store, fuzzing};

pub(super) fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<Address>() {
        Err(error) => refused(error),
        Ok(address) => {
            let written = address.to_string();
            let again = written.parse::<Address>();
            assert_eq!(
                again.as_ref().map(ToString::to_string),
                Ok(written.clone()),
                "{text:?} was written as {written:?}"
            );
            if let Address::Etcd(servers) | Address::Consul(servers) = &address {
                assert!(
                    !servers.endpoints.is_empty()
                        && servers.endpoints.iter().all(|e| e.port != 0 && !e.host.is_empty())
                );
                reached(format!("{} {} {}", servers.endpoints.len().min(3), servers.tls, servers.login.is_some()));
                if let Some((user, _)) = &servers.login {
                    assert!(!user.is_empty());
                    assert!(!written.contains('@'), "a password is shown: {written:?}");
                }
            }
        }
    }
}

pub(super) fn etcd(input: &[u8]) {
    fuzzing::etcd(input).iter().for_each(reached);
}

pub(super) fn consul(input: &[u8]) {
    fuzzing::consul(input).iter().for_each(reached);
}

pub(super) fn journal(input: &[u8]) {
    fuzzing::journal(input).iter().for_each(reached);
}

/// What is imported is exported the same, and imported again changes nothing.
pub(super) fn import(input: &[u8]) {
    let Ok(store) = Redb::in_memory() else { return };
    match transfer::import(&store, Into::Empty, input) {
        Err(error) => refused(error),
        Ok(imported) => {
            reached(format!("imported {}", imported.written.min(3)));
            let mut file = Vec::new();
            let exported = transfer::export(&store, "", |_| false, &mut file).map(|(n, _)| n);
            assert_eq!(exported, Ok(imported.written));
            let again = transfer::import(&store, Into::Empty, &file[..]).map(|i| (i.written, i.same));
            assert_eq!(again, Ok((0, imported.written)));
            assert_eq!(store.list("").map(|(entries, _)| entries.len()), Ok(imported.written));
        }
    }
}
