//! The API's socket: made here, or inherited from the service manager.

use crate::config::{Setting, setting};
use crate::{Error, docker};
use ::docker::Plugin;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket, and the file to remove at the end if we made it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    pub(crate) own: Option<SocketFile>,
}

/// A socket's file that this process made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Removes it, unless another's has taken its place.
    pub(crate) fn remove(self) {
        let same = |m: std::fs::Metadata| m.dev() == self.device && m.ino() == self.inode;
        if std::fs::symlink_metadata(&self.path).is_ok_and(same)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(socket = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// What the service manager passed.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// The API's socket.
    pub(crate) api: Option<Socket>,
    /// Those of Docker's plugins.
    pub(crate) docker: docker::Sockets,
}

/// The sockets passed by the service manager (LISTEN_FDS, sd_listen_fds(3)). Those of Docker's plugins are told by
/// their names; one may have any other.
pub(crate) fn inherited() -> Result<Inherited, Error> {
    let wrong = |reason: String| Error::Activation { reason };
    let passed = sd_notify::listen_fds_with_names().map_err(|error| wrong(error.to_string()))?;
    let mut inherited = Inherited::default();
    for (raw, name) in passed {
        let listener = adopt(raw)?;
        let again = match Plugin::ALL.into_iter().find(|p| p.descriptor() == name) {
            Some(plugin) => inherited.docker.insert(plugin, listener).is_some(),
            None => inherited.api.replace(Socket { listener, own: None }).is_some(),
        };
        if again {
            return Err(wrong(format!(
                "socket {name:?} is one too many: one for the API is expected, and one each with FileDescriptorName= {}",
                Plugin::ALL.map(Plugin::descriptor).join(", ")
            )));
        }
    }
    Ok(inherited)
}

/// Fails if a daemon answers at `path`.
pub(crate) fn refuse_live(path: &Path) -> Result<(), Error> {
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::SocketInUse { path: path.into() }),
        Err(_) => Ok(()),
    }
}

/// The listener of the metrics.
pub(crate) fn tcp(address: &Setting<SocketAddr>) -> Result<TcpListener, Error> {
    TcpListener::bind(address.value).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; give another port",
            std::io::ErrorKind::AddrNotAvailable => "; give an address of this host",
            _ => "",
        };
        setting("metrics", &address.place, format!("cannot listen on {}: {error}{remedy}", address.value))
    })
}

/// A socket at `path`, mode 0660. A file left behind by a daemon that is gone is replaced; one that
/// answers is an error.
pub(crate) fn bind(path: &Path) -> Result<Socket, Error> {
    let failed = |operation| move |source| Error::Io { operation, path: path.into(), source };
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => return Err(Error::NotASocket { path: path.into() }),
        Ok(_) => {
            refuse_live(path)?;
            std::fs::remove_file(path).map_err(failed("remove the stale socket"))?;
        }
        Err(_) => {}
    }
    // bind(2) makes the file with the mode 0777 less the mask, so there is no moment at which it is
    // wider open than 0660. The mask is the process's: no other thread runs yet.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o117));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound.map_err(failed("listen on"))?;
    let file = std::fs::symlink_metadata(path).map_err(failed("look at"))?;
    Ok(Socket { listener, own: Some(SocketFile { path: path.into(), device: file.dev(), inode: file.ino() }) })
}

fn adopt(raw: RawFd) -> Result<UnixListener, Error> {
    let wrong = |reason: String| Error::Activation { reason };
    // A copy of our own descriptor by number: pidfd_getfd(2) checks that it is open, where taking the
    // number itself as owned would have to be believed.
    let duplicate = || -> rustix::io::Result<OwnedFd> {
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        rustix::process::pidfd_getfd(own, raw, PidfdGetfdFlags::empty())
    };
    let fd = duplicate().map_err(|error| wrong(format!("descriptor {raw}: {error}")))?;
    let unix = rustix::net::getsockname(&fd).is_ok_and(|a| a.address_family() == rustix::net::AddressFamily::UNIX);
    let listens = rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(false);
    if !unix || !listens {
        return Err(wrong(format!("descriptor {raw} is no listening unix socket; use ListenStream=/path")));
    }
    Ok(UnixListener::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn mode_and_removal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        socket.own.unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn another_ones_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = bind(&path).unwrap();
        let moved = directory.path().join("old");
        std::fs::rename(&path, moved).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        socket.own.unwrap().remove();
        assert!(path.exists());
    }

    #[test]
    fn stale_is_replaced_and_live_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let socket = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(Error::SocketInUse { .. })));
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(Error::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
