//! One file or link that `install` makes and `--uninstall` removes.

use super::place::Root;
use crate::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A file or a link, by its path on the machine that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    /// What it is good for, in a line's end.
    pub(super) purpose: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A symbolic link to this path.
    Link(PathBuf),
    /// A file with this text.
    Text(String),
}

/// What was done about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Made,
    Renewed,
    Present,
    Removed,
    Absent,
    Foreign,
}

/// What stands at an item's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The item itself.
    Same,
    /// One of an earlier place of the programs: a link to a file of the same name.
    Earlier,
    Other,
}

impl Item {
    fn found(&self, at: &Path) -> Result<Found, Error> {
        let failed = |source| Error::File { operation: "look at", path: at.into(), source };
        let file = match fs::symlink_metadata(at) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(failed(error)),
        };
        Ok(match &self.content {
            Content::Link(target) if file.is_symlink() => match fs::read_link(at).map_err(failed)? {
                found if found == *target => Found::Same,
                found if found.file_name() == target.file_name() => Found::Earlier,
                _ => Found::Other,
            },
            Content::Text(text) if file.is_file() => match fs::read(at).map_err(failed)? == text.as_bytes() {
                true => Found::Same,
                false => Found::Other,
            },
            _ => Found::Other,
        })
    }

    /// Fails if something else is in the way.
    pub(super) fn check(&self, root: &Root) -> Result<(), Error> {
        let at = root.inside(&self.path);
        match self.found(&at)? {
            Found::Other => Err(Error::InTheWay { path: at }),
            _ => Ok(()),
        }
    }

    /// Puts it there.
    pub(super) fn make(&self, root: &Root) -> Result<Outcome, Error> {
        let at = root.inside(&self.path);
        let outcome = match self.found(&at)? {
            Found::Same => return Ok(Outcome::Present),
            Found::Other => return Err(Error::InTheWay { path: at }),
            Found::Nothing => Outcome::Made,
            Found::Earlier => Outcome::Renewed,
        };
        let failed = |operation| move |path: &Path, source| Error::File { operation, path: path.into(), source };
        if let Some(directory) = at.parent() {
            fs::create_dir_all(directory).map_err(|e| failed("make the directory")(directory, e))?;
        }
        if outcome == Outcome::Renewed {
            fs::remove_file(&at).map_err(|e| failed("remove")(&at, e))?;
        }
        match &self.content {
            Content::Link(target) => symlink(target, &at),
            // Nothing is overwritten that came meanwhile.
            Content::Text(text) => {
                fs::File::create_new(&at).and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
            }
        }
        .map_err(|e| failed("make")(&at, e))?;
        Ok(outcome)
    }

    /// Takes it away, if it is ours.
    pub(super) fn remove(&self, root: &Root) -> Result<Outcome, Error> {
        let at = root.inside(&self.path);
        match self.found(&at)? {
            Found::Nothing => Ok(Outcome::Absent),
            Found::Other => Ok(Outcome::Foreign),
            Found::Same | Found::Earlier => {
                fs::remove_file(&at).map_err(|source| Error::File { operation: "remove", path: at, source })?;
                Ok(Outcome::Removed)
            }
        }
    }
}
