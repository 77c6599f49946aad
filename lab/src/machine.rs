//! A machine with systemd as its first process, on a host of the lab: what Debian's packages are installed on.

use crate::{Error, Host, Output, command, podman};
use rustix::process::getpid;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};
use tempfile::TempDir;

/// Makes the machine's root, a layer above a release's tree, starts systemd in it and tells its pid; at the end of the
/// standard input all of it ends. $1: the tree, $2: an empty directory, $3: a name that no other machine has.
///
/// systemd gets a branch of the control groups for itself, and neither the real devices nor what would set the kernel
/// itself: settings, modules, consoles.
const BOOT: &str = r#"
set -e
tree=$1 dir=$2 name=$3
mount -t tmpfs tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root" "$dir/groups"
mount -t overlay -o "lowerdir=$tree,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
root=$dir/root groups=$dir/groups
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
for unit in systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service systemd-udevd.service \
    console-getty.service getty.target proc-sys-fs-binfmt_misc.automount dev-hugepages.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
done
mount -t cgroup2 cgroup2 "$groups"
mkdir "$groups/$name"
sh -c '
    echo $$ > "$2/cgroup.procs"
    exec unshare --cgroup --pid --fork --kill-child --mount --propagation unchanged sh -c '\''
        mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
        mount -t proc proc "$1/proc"
        exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" /lib/systemd/systemd
    '\'' sh "$1"
' sh "$root" "$groups/$name" </dev/null >"$dir/console" 2>&1 &
starter=$!
while first=$(cat "/proc/$starter/task/$starter/children") && [ -z "$first" ]; do sleep 0.01; done
# systemd is to be alone there: a group with processes of its own has no groups with limits below it.
echo "$starter" > "$groups/cgroup.procs"
echo $first
# What a shell says of a process that was killed is no error.
exec 2>/dev/null
read -r end || true
kill -KILL "$starter" || true
wait "$starter" || true
# Its processes have ended with their first; the kernel takes them out of their groups a moment later.
until find "$groups/$name" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.01; done
"#;

/// A machine of Debian with systemd, on a host's network. It ends with this value or process.
pub struct Machine<'h> {
    host: &'h Host,
    child: Child,
    /// systemd, as this process sees it.
    first: String,
    directory: TempDir,
}

impl<'h> Machine<'h> {
    /// Starts it, and waits until it has started what is to run.
    pub fn boot(host: &'h Host) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("trunkline-lab-{}-{}", getpid(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = TempDir::with_prefix("trunkline-machine-").map_err(Error::io("make a temporary directory"))?;
        let words = [podman::tree().display().to_string(), directory.path().display().to_string(), name];
        let arguments = ["-c", BOOT, "sh"].into_iter().chain(words.iter().map(String::as_str));
        let mut command = host.command("sh", arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io("start a machine"))?;
        let mut first = String::new();
        if let Some(output) = child.stdout.as_mut() {
            BufReader::new(output).read_line(&mut first).map_err(Error::io("start a machine"))?;
        }
        let machine = Self { host, child, first: first.trim().to_owned(), directory };
        machine.wait_until_up()?;
        Ok(machine)
    }

    fn wait_until_up(&self) -> Result<(), Error> {
        loop {
            // Before its bus is there the answer comes at once.
            let output = self.output(["systemctl", "is-system-running", "--wait"])?;
            match output.stdout.trim() {
                "running" | "degraded" => return Ok(()),
                _ if Path::new("/proc").join(&self.first).exists() && !self.first.is_empty() => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return self.succeeded(output).map(drop),
            }
        }
    }

    /// Runs a program on it to its end, whatever its exit code.
    pub fn output<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Result<Output, Error> {
        let enter = ["--target", &self.first, "--mount", "--pid", "--cgroup", "--root", "--"];
        let words: Vec<String> =
            enter.map(str::to_owned).into_iter().chain(words.into_iter().map(|w| w.as_ref().to_owned())).collect();
        let mut command = self.host.command("nsenter", words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command::run(self.host.name(), command)
    }

    /// Runs a line of a shell on it, which must succeed; what it printed, without the last line's end.
    pub fn ok(&self, line: &str) -> Result<String, Error> {
        let mut output = self.output(["sh", "-c", &format!("cd /; {line}")])?;
        line.clone_into(&mut output.command);
        self.succeeded(output).map(|output| output.stdout.trim_end().to_owned())
    }

    /// Copies a file onto it.
    pub fn put(&self, file: &Path, path: &str) -> Result<(), Error> {
        self.host.run("cp", [file, &self.here(path)]).map(drop)
    }

    /// Where its host's programs find one of its files.
    pub fn here(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path.trim_start_matches('/'))
    }

    fn succeeded(&self, output: Output) -> Result<Output, Error> {
        if output.success() {
            return Ok(output);
        }
        let stderr = [output.stdout.trim(), output.stderr.trim()].join(" ").trim().replace('\n', "; ");
        let host = self.host.name().to_owned();
        Err(Error::Failed { command: output.command, host, status: output.status, stderr })
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
