//! The files of a member: snapshot and keyring.

use crate::Error;
use serf::{Keyring, Snapshot, base64, from_base64};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tracing::warn;

/// The snapshot of an earlier life. One that is damaged is as none: the member joins anew.
pub(crate) fn read_snapshot(path: &Path) -> Result<Option<Snapshot>, Error> {
    match fs::read(path) {
        Ok(bytes) => match Snapshot::decode(&bytes) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) => {
                warn!(path = %path.display(), %error, "the gossip's snapshot is not used");
                Ok(None)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { operation: "read", path: path.to_owned(), source }),
    }
}

/// The keys of a file, if it is there: a JSON array of base64, the primary one first.
pub(crate) fn read_keyring(path: &Path) -> Result<Option<Keyring>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { operation: "read", path: path.to_owned(), source }),
    };
    parse_keyring(&text)?.map(Some).ok_or_else(|| Error::KeyringFile { path: path.to_owned() })
}

/// The keys of a file's text; none: it is no such text.
pub(crate) fn parse_keyring(text: &[u8]) -> Result<Option<Keyring>, serf::Error> {
    let Ok(keys) = serde_json::from_slice::<Vec<String>>(text) else { return Ok(None) };
    let mut keyring: Option<Keyring> = None;
    for key in keys {
        let Some(key) = from_base64(&key) else { return Ok(None) };
        match &mut keyring {
            None => keyring = Some(Keyring::new(&key)?),
            Some(keyring) => keyring.install(&key)?,
        }
    }
    Ok(keyring)
}

pub(crate) fn write_keyring(path: &Path, keyring: &Keyring) -> Result<(), Error> {
    write(path, &keyring_text(keyring))
}

/// The text of a file with these keys.
pub(crate) fn keyring_text(keyring: &Keyring) -> Vec<u8> {
    let keys: Vec<String> = keyring.keys().map(base64).collect();
    serde_json::to_vec_pretty(&keys).unwrap_or_default()
}

/// Replaces a file, or leaves it as it was. Only its owner may read it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File { operation: "write", path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    // The name, too, is to outlive a power cut.
    match path.parent().map(File::open) {
        Some(Ok(directory)) => directory.sync_all().map_err(failed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyring_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring");
        assert!(read_keyring(&path).unwrap().is_none());
        let mut keyring = Keyring::new(&[1; 16]).unwrap();
        keyring.install(&[2; 32]).unwrap();
        write_keyring(&path, &keyring).unwrap();
        let again = read_keyring(&path).unwrap().unwrap();
        assert!(again.keys().eq(keyring.keys()));
        for wrong in ["", "[]", "{}", "[\"x\"]"] {
            write(&path, wrong.as_bytes()).unwrap();
            assert!(matches!(read_keyring(&path), Err(Error::KeyringFile { .. })), "{wrong}");
        }
        write(&path, b"[\"AAAA\"]").unwrap();
        assert!(matches!(read_keyring(&path), Err(Error::Serf(serf::Error::KeyLength { length: 3 }))));
    }

    #[test]
    fn damaged_snapshots_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        assert!(read_snapshot(&path).unwrap().is_none());
        write(&path, &Snapshot::default().encode()).unwrap();
        assert_eq!(read_snapshot(&path).unwrap(), Some(Snapshot::default()));
        write(&path, b"\x81\xa1").unwrap();
        assert!(read_snapshot(&path).unwrap().is_none());
        let error = write(&directory.path().join("no/where"), b"").unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
