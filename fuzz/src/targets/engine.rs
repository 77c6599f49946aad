//! What the engine finds at its start: intents that a crash cut short, and records that were damaged. It
//! starts or says why not.

use super::temporary;
use crate::outcome::{reached, refused, serde_shape};
use ::engine::{Engine, EngineConfig, Error};
use ::kernel::fake::FakeKernel;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Redb, Store, Txn};
use tempfile::TempDir;

thread_local! {
    static PLACE: Option<TempDir> = temporary();
}

/// The bytes of an intent's file.
pub(super) fn intent(input: &[u8]) {
    let opened = with_run_dir(|run_dir| {
        let intents = run_dir.join("intents");
        let file = intents.join("network-1.json");
        let written = fs::create_dir_all(&intents).and_then(|()| fs::write(&file, input));
        assert!(written.is_ok(), "{written:?}");
        start(run_dir, &[])
    });
    // Nobody else's objects are in danger from a file that cannot be read: the daemon starts.
    assert!(opened.is_ok(), "{opened:?}");
}

/// A store's keys with their values: a JSON object.
pub(super) fn records(input: &[u8]) {
    let Ok(entries) = serde_json::from_slice::<BTreeMap<String, Value>>(input) else { return };
    let entries: Vec<(String, String)> = entries.into_iter().map(|(key, value)| (key, value.to_string())).collect();
    match with_run_dir(|run_dir| start(run_dir, &entries)) {
        Ok(()) => reached("started"),
        Err(error) => reached(serde_shape(&error.to_string())),
    }
}

fn with_run_dir<T>(body: impl FnOnce(&Path) -> T) -> T {
    PLACE.with(|place| {
        let path = place.as_ref().map(TempDir::path).unwrap_or(Path::new(""));
        assert!(path.is_dir(), "no temporary directory");
        // What the last input left; nothing is there the first time.
        for file in fs::read_dir(path.join("intents")).into_iter().flatten().flatten() {
            let _ = fs::remove_file(file.path());
        }
        body(path)
    })
}

/// Starts an engine on these entries and looks at all that it shows.
fn start(run_dir: &Path, entries: &[(String, String)]) -> Result<(), Error> {
    let kernel = Arc::new(FakeKernel::new());
    // The host itself, as the engine asks for it.
    kernel.add_namespace(Path::new("/proc/thread-self/ns/net"));
    kernel.add_physical("eth0");
    let store = Redb::in_memory();
    assert!(store.is_ok(), "{store:?}");
    let Ok(store) = store else { return Ok(()) };
    for (key, value) in entries {
        // A key that the store does not take was never in one.
        let _ = store.commit(Txn::new().put(key.clone(), value.clone()));
    }
    let config = EngineConfig { audit_every: Duration::from_secs(3600), ..EngineConfig::new(run_dir) };
    let engine = Engine::open(config, kernel.clone(), Arc::new(store))?;
    let (networks, endpoints, sandboxes) = (engine.networks(), engine.endpoints(), engine.sandboxes());
    reached(format!("{} {} {}", networks.len().min(3), endpoints.len().min(3), sandboxes.len().min(3)));
    let _ = engine.status();
    for result in [engine.check(), engine.gc(true), engine.gc(false)] {
        match result {
            Ok(findings) => findings.iter().for_each(|finding| reached(format!("{} found", finding.object))),
            Err(error) => refused(error),
        }
    }
    reached(format!("{:?}", kernel.counts()));
    // Dropped, not stopped: its watcher ends by itself, and nobody waits for the tick at which it looks.
    Ok(())
}
