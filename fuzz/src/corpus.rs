//! The inputs that runs start from: `fuzz/corpus/TARGET/*`. An input that once failed is put there too, and
//! `cargo test` keeps it from failing again.

use crate::Error;
use crate::outcome::hash;
use crate::run::Failure;
use crate::targets::Target;
use std::fs;
use std::path::{Path, PathBuf};

/// This crate's directory.
const HOME: &str = env!("CARGO_MANIFEST_DIR");

/// The inputs of a target, in the order of their names.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub fn load(target: &Target) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let directory = Path::new(HOME).join("corpus").join(target.name);
    let failed = |source| Error::File { operation: "read", path: directory.clone(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    paths.into_iter().map(|path| read(&path).map(|bytes| (path, bytes))).collect()
}

/// One input.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { operation: "read", path: path.into(), source })
}

/// Writes a failing input to `fuzz/crashes/TARGET-HASH` and says where that is.
///
/// # Errors
/// It cannot be written.
pub fn keep(target: &Target, failure: &Failure) -> Result<PathBuf, Error> {
    let directory = Path::new(HOME).join("crashes");
    let path = directory.join(format!("{}-{:016x}", target.name, hash(failure.input.iter().copied())));
    fs::create_dir_all(&directory).and_then(|()| fs::write(&path, &failure.input)).map_err(|source| Error::File {
        operation: "write",
        path: path.clone(),
        source,
    })?;
    Ok(path)
}
