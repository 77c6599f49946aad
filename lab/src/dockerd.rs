//! A real Docker Engine on one of the lab's hosts, with everything of its own.

use crate::{Error, Host, Output, command, leftovers::Leftovers, notifying::Notifying};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};
use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};
use tempfile::TempDir;

/// As Debian's docker.io installs them; another client may come first along PATH.
const DOCKERD: &str = "/usr/sbin/dockerd";
const DOCKER: &str = "/usr/bin/docker";
/// Of busybox-static: the image's only program.
const BUSYBOX: &str = "/bin/busybox";

/// By this variable [`Leftovers`] finds what the engine started, containers' processes too: it stands in the image.
const MARK: &str = "TRUNKLINE_LAB_DOCKER";

/// What an engine says that ends because containerd is slow, and how often it is started all the same.
const IMPATIENT: &str = "timeout waiting for containerd";
const TRIES: u32 = 5;

/// `dockerd` in a host's namespaces, with its containerd, data and socket in a temporary directory, and the image
/// [`Dockerd::IMAGE`]. It looks for plugins in the host's own /run/docker/plugins. When this is dropped, or this
/// process dies, the engine and its containers are killed.
pub struct Dockerd<'h> {
    directory: TempDir,
    process: Notifying<'h>,
    leftovers: Leftovers,
    arguments: Vec<String>,
}

impl<'h> Dockerd<'h> {
    /// An image with a busybox in it, under all of its names.
    pub const IMAGE: &'static str = "busybox";

    /// Starts one, and waits until it is ready.
    pub fn start(host: &'h Host) -> Result<Self, Error> {
        Self::start_with::<&str>(host, &[])
    }

    /// Starts one with these arguments besides, and waits until it is ready.
    pub fn start_with<A: AsRef<str>>(host: &'h Host, arguments: &[A]) -> Result<Self, Error> {
        let directory = TempDir::with_prefix("trunkline-lab-").map_err(Error::io("make a temporary directory"))?;
        let leftovers = Leftovers::watch(&mark(directory.path()), directory.path())?;
        let data = directory.path().join("data");
        fs::create_dir(&data).map_err(Error::io("make a temporary directory"))?;
        // overlayfs does not stack on every file system, but on this one.
        host.run("mount", [OsStr::new("-t"), OsStr::new("tmpfs"), OsStr::new("tmpfs"), data.as_os_str()])?;
        let arguments = arguments.iter().map(|a| a.as_ref().to_owned()).collect();
        let process = Notifying::new(host, Path::new(DOCKERD), directory.path());
        let mut dockerd = Self { directory, process, leftovers, arguments };
        // It waits 15 s for containerd, which is not enough where its file must be read from afar, for the first time.
        let mut tries = 1;
        while let Err(error) = dockerd.launch() {
            let impatient = matches!(&error, Error::DaemonEnded { log, .. } if log.contains(IMPATIENT));
            if !impatient || tries == TRIES {
                return Err(error);
            }
            tries += 1;
            dockerd.await_containerd()?;
        }
        dockerd.import()?;
        Ok(dockerd)
    }

    /// Starts it, after [`Self::stop`] or [`Self::kill9`], and waits until it is ready.
    pub fn launch(&mut self) -> Result<(), Error> {
        // A pidfile of one that was killed may name a process that is another's by now.
        let _ = fs::remove_file(self.path("pid"));
        // Hosts that share a store tell each other apart by the machine's name.
        let mut command = self.command("unshare", ["--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\""]);
        command.arg(self.host().name()).arg(DOCKERD);
        for (flag, file) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(self.path(file));
        }
        command.arg("--host").arg(self.address()).arg("--cgroup-parent").arg(self.control_group());
        command.args(&self.arguments);
        self.process.launch(command)
    }

    /// Ends it as a service manager does: its containers end, too, but where it runs with `--live-restore`.
    pub fn stop(&mut self) -> Result<ExitStatus, Error> {
        self.end(Signal::TERM)
    }

    /// Kills it in the midst of whatever it does; its containers run on.
    pub fn kill9(&mut self) -> Result<ExitStatus, Error> {
        self.end(Signal::KILL)
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop()?;
        self.launch()
    }

    /// Runs `docker` with these words, whatever comes of it.
    pub fn docker<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<Output, Error> {
        command::run(self.host().name(), self.client(arguments))
    }

    /// Runs `docker` with these words, which must succeed; what it printed.
    pub fn docker_ok<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Result<String, Error> {
        let output = self.docker(arguments)?;
        if output.success() {
            return Ok(output.stdout.trim_end().to_owned());
        }
        let stderr = output.stderr.trim().replace('\n', "; ");
        Err(Error::Failed {
            command: output.command,
            host: self.host().name().to_owned(),
            status: output.status,
            stderr,
        })
    }

    /// A command of `docker` against this engine, to be changed further.
    pub fn client<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.command(DOCKER, ["--host"]);
        command.arg(self.address()).args(arguments);
        command
    }

    /// The host that it runs on.
    pub fn host(&self) -> &'h Host {
        self.process.host()
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The socket of its API.
    pub fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn control_group(&self) -> String {
        format!("/{}", self.directory.path().file_name().unwrap_or_default().to_string_lossy())
    }

    fn command<I: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = self.host().command(program, arguments);
        // Where Debian has iptables and runc, which are not for root alone.
        let own = env::var_os("PATH").unwrap_or_default();
        let directories = env::split_paths(&own).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
        command.env("PATH", env::join_paths(directories).unwrap_or(own));
        for variable in ["NOTIFY_SOCKET", "LISTEN_FDS", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.directory.path()).env(MARK, self.directory.path());
        command
    }

    fn import(&self) -> Result<(), Error> {
        let failed = || Error::io("make an image");
        let (root, bin) = (self.path("image"), self.path("image/bin"));
        for directory in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(directory)).map_err(failed())?;
        }
        fs::copy(BUSYBOX, bin.join("busybox")).map_err(failed())?;
        let names = self.host().run(BUSYBOX, ["--list"])?.stdout;
        for name in names.lines().filter(|name| *name != "busybox") {
            symlink("busybox", bin.join(name)).map_err(failed())?;
        }
        let archive = self.path("image.tar");
        self.process
            .host()
            .run("tar", [OsStr::new("-cf"), archive.as_os_str(), OsStr::new("-C"), root.as_os_str(), ".".as_ref()])?;
        let mark = format!("ENV {}", mark(self.directory.path()));
        let change = ["import", "--change", &mark, "--change", "ENV PATH=/bin", "--change", "CMD [\"sh\"]"];
        self.docker_ok(change.map(OsStr::new).into_iter().chain([archive.as_os_str(), Self::IMAGE.as_ref()]))?;
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus, Error> {
        let status = self.process.end(signal)?;
        self.await_containerd()?;
        Ok(status)
    }

    /// containerd dies with the engine, in its own time, and nobody reaps it at once: the next engine would take it
    /// for one that runs.
    fn await_containerd(&self) -> Result<(), Error> {
        let file = self.path("exec/containerd/containerd.pid");
        let pid = fs::read_to_string(&file).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        if let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            poll(&mut [PollFd::new(&process, PollFlags::IN)], None).map_err(Error::io("wait for containerd"))?;
        }
        let _ = fs::remove_file(file);
        Ok(())
    }
}

impl Drop for Dockerd<'_> {
    fn drop(&mut self) {
        let _ = self.end(Signal::KILL);
        self.leftovers.kill();
        remove_groups(&self.control_group());
    }
}

fn mark(directory: &Path) -> String {
    format!("{MARK}={}", directory.display())
}

/// Removes the control groups of containers that are gone: of cgroup v2, or of each hierarchy of v1.
fn remove_groups(group: &str) {
    let all = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path());
    for root in hierarchies.chain([all.to_owned()]).map(|hierarchy| hierarchy.join(group.trim_start_matches('/'))) {
        for container in fs::read_dir(&root).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(container.path());
        }
        let _ = fs::remove_dir(&root);
    }
}
