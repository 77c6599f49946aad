//! Podman with netavark on a host of the lab, out of the packages of a release of Debian that has a netavark with plugins.

use crate::{Error, Host, Output, TestDaemon, command};
use std::{
    env,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// That release's tree, below the cache.
const TREE: &str = "trunkline/podman-trixie";

/// Makes the root in which Podman runs: the release's tree with a layer above it that goes with the host's mounts, for
/// what is written. $1: the tree, $2: an empty directory, $3: the plugin, $4: the daemon's run directory, $5: its socket.
///
/// The namespaces that Podman makes below /run/netns are mounts: the daemon finds them by the same paths, as on any
/// machine, because that directory is one of a shared mount, here and in the root. Containers have no control groups;
/// crun wants to see a pure second version all the same. What runs in a container has the daemon's socket in its
/// environment, by which `TestDaemon` finds what is left at the end.
const PREPARE: &str = r#"
set -e
tree=$1 dir=$2 plugin=$3 run=$4 socket=$5
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
mount --make-shared /run/netns
mount -t tmpfs tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
root=$dir/root
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mkdir -p "$root/run/netns" "$root$run" "$root/opt/netavark" "$root/image/bin" "$root/var/lib/containers"
mount --bind /run/netns "$root/run/netns"
mount --bind "$run" "$root$run"
mount -t tmpfs tmpfs "$root/var/lib/containers"
for driver in macvlan ipvlan overlay; do cp "$plugin" "$root/opt/netavark/trunkline-$driver"; done
cat > "$root/etc/containers/containers.conf" <<END
[containers]
cgroups = "disabled"
cgroupns = "host"
log_driver = "k8s-file"
default_capabilities = ["CHOWN", "DAC_OVERRIDE", "KILL", "NET_RAW", "SETGID", "SETUID"]
env = ["PATH=/bin", "TRUNKLINE_SOCKET=$socket"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
[network]
netavark_plugin_dirs = ["/opt/netavark"]
END
cat > "$root/etc/containers/storage.conf" <<END
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
END
cp "$tree/usr/bin/busybox" "$root/image/bin"
for tool in cat ip ping sh sleep wget; do ln -s busybox "$root/image/bin/$tool"; done
tar -C "$root/image" -c . | chroot "$root" podman import --quiet - busybox
"#;

/// Podman, with the image `busybox`, and with our plugin under the drivers' names. Its containers go with the daemon.
pub struct Podman<'h> {
    host: &'h Host,
    root: PathBuf,
    socket: PathBuf,
    /// Where its root is mounted, on that host.
    _directory: TempDir,
}

impl<'h> Podman<'h> {
    /// Makes it ready on the daemon's host; `plugin` is the program `trunkline-netavark`.
    pub fn start(daemon: &TestDaemon<'h>, plugin: &Path) -> Result<Self, Error> {
        let host = daemon.host();
        let directory = TempDir::with_prefix("trunkline-podman-").map_err(Error::io("make a temporary directory"))?;
        let (tree, socket) = (tree(), daemon.socket());
        let words = [&tree, directory.path(), plugin, &daemon.run_dir(), &socket];
        let words = words.map(|path| path.display().to_string());
        let arguments = ["-c", PREPARE, "sh"].into_iter().chain(words.iter().map(String::as_str));
        let mut command = host.command("sh", arguments);
        command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        let mut output = command::run(host.name(), command)?;
        output.command = "the preparation of Podman".into();
        let podman = Self { host, root: directory.path().join("root"), socket, _directory: directory };
        podman.succeeded(output).map(|_| podman)
    }

    /// Runs `podman ARGUMENTS` to its end, whatever its exit code.
    pub fn podman<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output, Error> {
        let root = self.root.display().to_string();
        let arguments: Vec<String> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let words = [root.as_str(), "podman"].into_iter().chain(arguments.iter().map(String::as_str));
        let mut command = self.host.command("chroot", words);
        command.env("TRUNKLINE_SOCKET", &self.socket).env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command::run(self.host.name(), command)
    }

    /// Runs `podman` with the words of a line, which must succeed; what it printed, without the last line's end.
    pub fn ok(&self, line: &str) -> Result<String, Error> {
        let output = self.succeeded(self.podman(line.split_whitespace())?)?;
        Ok(output.stdout.trim_end().to_owned())
    }

    fn succeeded(&self, output: Output) -> Result<Output, Error> {
        if output.success() {
            return Ok(output);
        }
        let stderr = output.stderr.trim().replace('\n', "; ");
        let host = self.host.name().to_owned();
        Err(Error::Failed { command: output.command, host, status: output.status, stderr })
    }
}

/// Where `cargo xtask install` puts the tree.
pub(crate) fn tree() -> PathBuf {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home);
    cache.unwrap_or_else(|| "/root/.cache".into()).join(TREE)
}
