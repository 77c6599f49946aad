//! The process that becomes the command: makes its namespaces, waits for leave, and execs.

use super::job::{Setup, User};
use super::{launch, lookup, signals};
use crate::output;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Gid, Uid};
use rustix::thread::UnshareFlags;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The role's main: its arguments are the control socket's number, the [`Setup`], and the command.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    signals::unblock();
    let text = |argument: Option<OsString>| argument.and_then(|a| a.into_string().ok());
    let number = text(arguments.next()).and_then(|t| t.parse::<RawFd>().ok()).filter(|n| *n > 2);
    let setup = text(arguments.next()).and_then(|t| serde_json::from_str::<Setup>(&t).ok());
    let (Some(number), Some(setup), Some(program)) = (number, setup, arguments.next()) else {
        output::complain("this is a part of `trunkline run`, not a command");
        return ExitCode::from(2);
    };
    // SAFETY: `launch` made this descriptor for us alone and passed its number; nothing else in this
    // process, which has only begun, knows it.
    let mut control = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
    let prepared = prepare(&setup);
    let said = match &prepared {
        Ok(()) => launch::READY.to_owned(),
        Err(reason) => output::one_line(reason),
    };
    let told = control.write_all(format!("{said}\n").as_bytes());
    if prepared.is_err() || told.is_err() || !leave(&mut control) {
        return ExitCode::from(1);
    }
    drop(control);
    let error = match become_user(&setup) {
        Ok(()) => lookup::failed(&program, &Command::new(&program).args(arguments).exec()),
        Err(error) => error,
    };
    if let Some(line) = error.line() {
        output::complain(&line);
    }
    ExitCode::from(error.code())
}

/// Waits for leave; no more than the end of the other side is a no.
fn leave(control: &mut UnixStream) -> bool {
    let mut word = [0; launch::GO.len()];
    control.read_exact(&mut word).is_ok() && word == *launch::GO
}

/// The namespaces and what is in them.
fn prepare(setup: &Setup) -> Result<(), String> {
    let failed =
        |what: &'static str| move |error: rustix::io::Errno| format!("cannot {what}: {}", io::Error::from(error));
    close_the_rest().map_err(|error| format!("cannot close inherited files: {error}"))?;
    if setup.session {
        rustix::process::setsid().map_err(failed("start a session"))?;
    }
    if setup.terminal {
        rustix::process::ioctl_tiocsctty(io::stdin()).map_err(failed("take the terminal"))?;
    }
    // SAFETY: neither flag concerns the descriptor table, which is what makes unshare(2) unsafe; and
    // no other thread runs.
    let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) };
    unshared.map_err(|error| match error {
        rustix::io::Errno::PERM => "cannot make a network namespace: Operation not permitted; run as root".into(),
        _ => failed("make a network namespace")(error),
    })?;
    // Mounts of the host go on to appear here; ours stay here.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(failed("make the mounts private"))?;
    fresh_sysfs();
    loopback_up().map_err(|error| format!("cannot bring lo up: {error}"))?;
    if !setup.dns.is_empty() {
        resolv_conf(setup).map_err(|error| format!("cannot set the name servers in {RESOLV_CONF}: {error}"))?;
    }
    Ok(())
}

/// /sys shows the links of the namespace that it was mounted in. Where it cannot be mounted (some
/// containers), /sys/class/net goes on to show the host's; nothing else depends on it.
fn fresh_sysfs() {
    let read_only = statvfs("/sys").is_ok_and(|s| s.f_flag.contains(StatVfsMountFlags::RDONLY));
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    flags.set(MountFlags::RDONLY, read_only);
    let _ = mount("sysfs", "/sys", "sysfs", flags, None);
}

/// netdevice(7), SIOCSIFFLAGS.
fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is initialized and outlives the call, which reads it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A file of our own over /etc/resolv.conf (or what it links to). Once mounted it needs no name.
fn resolv_conf(setup: &Setup) -> io::Result<()> {
    let path = setup.scratch.join(format!("resolv.{}", std::process::id()));
    let text: String = setup.dns.iter().map(|server| format!("nameserver {server}\n")).collect();
    std::fs::write(&path, text)?;
    let mounted = mount_bind(&path, RESOLV_CONF);
    std::fs::remove_file(&path)?;
    Ok(mounted?)
}

/// Descriptors that the shell, or whoever called, left open are not the command's: they go at exec.
fn close_the_rest() -> io::Result<()> {
    // SAFETY: the call marks descriptors, and closes none; it takes no pointers.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 {
        return Ok(());
    }
    // Before Linux 5.11.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(number) = entry?.file_name().to_str().and_then(|n| n.parse::<RawFd>().ok()).filter(|n| *n > 2) {
            // SAFETY: borrowed for the one call; a number that is closed by then gives EBADF.
            let _ = fcntl_setfd(unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// The directory and the user, in the order in which each is still permitted.
fn become_user(setup: &Setup) -> Result<(), crate::error::Error> {
    let failed = |operation: String| {
        move |error: rustix::io::Errno| crate::error::Error::Process { operation, source: error.into() }
    };
    if let Some(User { uid, gid, groups }) = &setup.user {
        let groups: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
        let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
        rustix::thread::set_thread_groups(&groups).map_err(failed("set the command's groups".into()))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("set the command's group".into()))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("set the command's user".into()))?;
    }
    if let Some(directory) = &setup.directory {
        rustix::process::chdir(directory).map_err(failed(format!("go to the directory {}", directory.display())))?;
    }
    Ok(())
}
