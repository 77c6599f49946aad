//! Container runtimes on a host of the lab, each with everything of its own: Podman on its CNI backend, and containerd.

use super::Lan;
use lab::{Host, Output, TestDaemon};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// Where runtimes look for configurations and plugins, and what they remember, in places of this host alone; and an
/// image with a busybox. $1: an empty directory, $2: the plugin.
const PREPARE: &str = r#"
set -e
dir=$1 plugin=$2
for place in /etc /var/lib; do
    layer=$dir/layer$place
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay -o "lowerdir=$place,upperdir=$layer/upper,workdir=$layer/work" overlay "$place"
done
mount -t tmpfs tmpfs /opt
mkdir -p /etc/cni/net.d /opt/cni/bin "$dir/image/bin"
cp "$plugin" /opt/cni/bin/trunkline-cni
cp /usr/lib/cni/tuning /opt/cni/bin
cp /bin/busybox "$dir/image/bin"
for tool in cat ip ping sh sleep; do ln -s busybox "$dir/image/bin/$tool"; done
tar -C "$dir/image" -cf "$dir/layer.tar" .
"#;

/// An archive as `docker save` writes it. $1: the directory with `layer.tar`.
const ARCHIVE: &str = r#"
set -e
cd "$1"
digest=$(sha256sum layer.tar | cut -d ' ' -f 1)
printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(dpkg --print-architecture)" "$digest" > config.json
printf '[{"Config":"config.json","RepoTags":["docker.io/library/bb:latest"],"Layers":["layer.tar"]}]' > manifest.json
tar -cf image.tar manifest.json config.json layer.tar
"#;

/// crun wants to see a pure second version of control groups, though its containers have none.
const GROUPS: &str = "umount -l /sys/fs/cgroup 2>/dev/null || true; mount -t cgroup2 cgroup2 /sys/fs/cgroup";

/// A host with a daemon and directories that a runtime takes for its own.
pub(crate) struct Place<'h> {
    pub(crate) daemon: TestDaemon<'h>,
    pub(crate) host: &'h Host,
    directory: TempDir,
    /// Goes after the daemon, with which the lab kills what is left of the containers.
    groups: Groups,
}

/// The control groups of containerd's containers, which nobody else removes where they are hidden on the host by then.
struct Groups(String);

impl Drop for Groups {
    fn drop(&mut self) {
        let all = Path::new("/sys/fs/cgroup");
        let below = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        for root in below(all).chain([all.to_owned()]) {
            let ours = |path: &PathBuf| path.to_string_lossy().contains(&self.0);
            below(&root).filter(ours).for_each(|group| drop(std::fs::remove_dir(group)));
        }
    }
}

impl<'h> Place<'h> {
    /// Makes it ready, with a configuration for a network `mcv` on `p0`: a chain of our plugin and `tuning`.
    pub(crate) fn new(lan: &'h Lan) -> Self {
        let daemon = TestDaemon::start(&lan.host).unwrap();
        let directory = TempDir::with_prefix("trunkline-runtime-").unwrap();
        // A name that no other test has.
        let groups = Groups(directory.path().file_name().unwrap().to_string_lossy().into_owned());
        let place = Self { daemon, host: &lan.host, directory, groups };
        // In memory, and gone with the host's mounts.
        place.shell("mount -t tmpfs tmpfs \"$1\"", &[place.directory.path()]);
        place.shell(PREPARE, &[place.directory.path(), &lab::cni_program().unwrap()]);
        let list = json!({
            "cniVersion": "0.4.0", "name": "mcv", "plugins": [
                { "type": "trunkline-cni", "socket": place.daemon.socket(), "master": "p0", "mode": "bridge",
                  "capabilities": { "ips": true, "mac": true },
                  "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.20.0.0/24", "gateway": "10.20.0.1" }]],
                      "routes": [{ "dst": "0.0.0.0/0" }] } },
                { "type": "tuning", "sysctl": { "net.ipv4.conf.eth0.arp_filter": "1" } },
            ],
        });
        place.write("/etc/cni/net.d/10-mcv.conflist", &list.to_string());
        place
    }

    /// Writes a file as the host sees it.
    fn write(&self, path: &str, text: &str) {
        self.shell("printf %s \"$2\" > \"$1\"", &[Path::new(path), Path::new(text)]);
    }

    fn shell(&self, script: &str, arguments: &[&Path]) -> Output {
        let words = ["-c", script, "sh"].into_iter().map(Path::new).chain(arguments.iter().copied());
        self.host.run("sh", words).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The addresses that the daemon has given out, by endpoint.
    pub(crate) fn endpoints(&self) -> Vec<Value> {
        let listed = self.daemon.ok(["endpoint", "ls", "--format", "json"]).unwrap();
        serde_json::from_str(&listed).unwrap()
    }

    /// A command with what tells the lab whose its processes are.
    fn command(&self, program: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = self.host.command(program, arguments);
        command.env("TRUNKLINE_SOCKET", self.daemon.socket());
        command
    }

    fn output(&self, mut command: std::process::Command) -> Output {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let words: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        Output {
            command: words.join(" "),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Podman with CNI, of Debian 12, once it is prepared.
pub(crate) struct Podman<'p, 'h>(pub(crate) &'p Place<'h>);

impl Podman<'_, '_> {
    pub(crate) fn prepare(place: &Place<'_>) {
        place.shell(GROUPS, &[]);
        let own = |name: &str| place.path(name).display().to_string();
        let settings = format!(
            "[containers]\nenv = [\"TRUNKLINE_SOCKET={}\"]\ncgroups = \"disabled\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
             [engine]\nruntime = \"crun\"\nevents_logger = \"none\"\ncgroup_manager = \"cgroupfs\"\nlock_type = \"file\"\n\
             static_dir = {:?}\nvolume_path = {:?}\ntmp_dir = {:?}\n\
             [network]\nnetwork_backend = \"cni\"\ndefault_network = \"mcv\"\ncni_plugin_dirs = [\"/opt/cni/bin\"]\n\
             network_config_dir = \"/etc/cni/net.d\"\n",
            place.daemon.socket().display(),
            own("static"),
            own("volumes"),
            own("tmp")
        );
        place.write(&own("containers.conf"), &settings);
        Podman(place).ok(&["import", &own("layer.tar"), "bb"]);
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        let own = |name: &str| self.0.path(name).display().to_string();
        let (root, run) = (own("storage"), own("storage-run"));
        let global = ["--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
        let mut command = self.0.command("podman", &[global.as_slice(), arguments].concat());
        command.env("CONTAINERS_CONF", self.0.path("containers.conf"));
        self.0.output(command)
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.success(), "{output}\n{}", self.0.daemon.log());
        output.stdout.trim().to_owned()
    }
}

/// containerd, by `ctr`.
pub(crate) struct Containerd<'p, 'h> {
    place: &'p Place<'h>,
    daemon: Child,
    group: String,
    /// The containers that were started.
    started: RefCell<Vec<String>>,
}

impl<'p, 'h> Containerd<'p, 'h> {
    pub(crate) fn new(place: &'p Place<'h>) -> Self {
        let own = |name: &str| place.path(name).display().to_string();
        let settings = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            own("containerd"),
            own("containerd-run"),
            own("containerd.sock")
        );
        place.write(&own("containerd.toml"), &settings);
        let mut command = place.command("containerd", &["--config", &own("containerd.toml")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = place.host.spawn(command).unwrap();
        let group = format!("/{}", place.groups.0);
        let containerd = Self { place, daemon, group, started: RefCell::default() };
        // It answers when it is ready.
        while !containerd.output(&["version"]).success() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        place.shell(ARCHIVE, &[place.directory.path()]);
        containerd.ok(&["image", "import", "--snapshotter", "native", &own("image.tar")]);
        containerd
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        let address = self.place.path("containerd.sock").display().to_string();
        let command = self.place.command("ctr", &[&["--address", &address], arguments].concat());
        self.place.output(command)
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.success(), "{output}\n{}", self.place.daemon.log());
        output.stdout.trim().to_owned()
    }

    /// `ctr run --cni` with these words after it.
    pub(crate) fn run(&self, flags: &[&str], id: &str, command: &[&str]) -> String {
        let group = format!("{}-{id}", self.group);
        // By this the lab finds the processes that are left.
        let mark = format!("TRUNKLINE_SOCKET={}", self.place.daemon.socket().display());
        let usual = ["run", "--cni", "--snapshotter", "native", "--cgroup", &group, "--env", &mark];
        self.started.borrow_mut().push(id.to_owned());
        self.ok(&[&usual, flags, &["docker.io/library/bb:latest", id], command].concat())
    }
}

impl Drop for Containerd<'_, '_> {
    fn drop(&mut self) {
        let started = self.started.take();
        for id in &started {
            self.output(&["task", "rm", "-f", id]);
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
