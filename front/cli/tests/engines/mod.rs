//! All that attaches on one host: Docker, Podman, a runtime that speaks CNI, and `trunkline run`, on one daemon.

#![allow(dead_code, reason = "each test uses a part of it")]

use lab::{Dockerd, Error, Host, Output, Podman, TestDaemon};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, RwLock};

/// Who attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    Docker,
    Podman,
    Cni,
    Run,
}

pub(crate) const ENGINES: [Engine; 4] = [Engine::Docker, Engine::Podman, Engine::Cni, Engine::Run];

/// What the daemon is told so that Docker finds it.
pub(crate) const PLUGINS: [&str; 2] = ["--docker-plugins", "/run/docker/plugins"];

/// A host's daemon, and the engines that it serves. Both may be killed while containers start and end.
pub(crate) struct Engines<'h> {
    pub(crate) host: &'h Host,
    pub(crate) daemon: RwLock<TestDaemon<'h>>,
    pub(crate) dockerd: RwLock<Dockerd<'h>>,
    pub(crate) podman: Podman<'h>,
    socket: PathBuf,
    /// The namespaces that a runtime would hold, by container.
    sandboxes: Mutex<BTreeMap<String, Host>>,
}

/// A program of this project, beside the one under test.
fn program(name: &str) -> PathBuf {
    let path = lab::program().unwrap().with_file_name(name);
    assert!(path.is_file(), "{} is not built: cargo build --workspace", path.display());
    path
}

impl<'h> Engines<'h> {
    /// Engines beside a daemon that was started with [`PLUGINS`].
    pub(crate) fn start(daemon: TestDaemon<'h>) -> Self {
        let host = daemon.host();
        let dockerd = Dockerd::start(host).unwrap();
        let podman = Podman::start(&daemon, &program("trunkline-netavark")).unwrap();
        let socket = daemon.socket();
        let (daemon, dockerd) = (RwLock::new(daemon), RwLock::new(dockerd));
        Self { host, daemon, dockerd, podman, socket, sandboxes: Mutex::default() }
    }

    /// Makes a network of Trunkline's known to the engines that want to have one of their own.
    pub(crate) fn bind(&self, network: &str, driver: &str, subnet: &str) {
        let bound = format!("network={network}");
        let driver = format!("trunkline-{driver}");
        let ipam = ["--ipam-driver", "trunkline", "--ipam-opt", &bound, "--subnet", subnet];
        let words = ["network", "create", "-d", &driver, "-o", &bound];
        self.docker(words.into_iter().chain(ipam).chain([network])).unwrap();
        self.podman.ok(&format!("network create -d {driver} -o {bound} {network}")).unwrap();
    }

    /// Runs `docker` with these words, which must succeed; what it printed.
    pub(crate) fn docker<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, Error> {
        let command = self.dockerd.read().unwrap().client(words);
        succeeded(self.host, run(command)?)
    }

    /// Runs `trunkline` with these words, which must succeed; what it printed.
    pub(crate) fn trunkline<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<String, Error> {
        let command = self.daemon.read().unwrap().cli_command(words);
        succeeded(self.host, run(command)?)
    }

    /// Starts a container on a network. An error is the engine's.
    pub(crate) fn start_container(&self, engine: Engine, network: &str, name: &str) -> Result<(), Error> {
        match engine {
            Engine::Docker => {
                let words = ["run", "-d", "--name", name, "--network", network, Dockerd::IMAGE, "sleep", "100000"];
                self.docker(words).map(drop)
            }
            Engine::Podman => {
                self.podman.ok(&format!("run -d --name {name} --network {network} busybox sleep 100000")).map(drop)
            }
            Engine::Cni => {
                let sandbox = Host::new(name)?;
                let path = sandbox.path().display().to_string();
                // As a runtime does it, which comes back with DEL whatever became of its ADD.
                self.lock().insert(name.to_owned(), sandbox);
                self.cni("ADD", network, name, &path)
            }
            Engine::Run => {
                let words = ["run", "-d", "--name", name, "--net", network, "sleep", "100000"];
                self.trunkline(words).map(drop)
            }
        }
    }

    /// Removes a container, running or not.
    pub(crate) fn remove_container(&self, engine: Engine, network: &str, name: &str) -> Result<(), Error> {
        match engine {
            Engine::Docker => self.docker(["rm", "-f", name]).map(drop),
            Engine::Podman => self.podman.ok(&format!("rm -f -t 0 --ignore {name}")).map(drop),
            Engine::Cni => {
                let path = self.lock().get(name).map(|sandbox| sandbox.path().display().to_string());
                self.cni("DEL", network, name, &path.unwrap_or_default())?;
                self.lock().remove(name);
                Ok(())
            }
            Engine::Run => self.trunkline(["rm", "-f", name]).map(drop),
        }
    }

    /// The runtime's namespaces go, without a word.
    pub(crate) fn lose_sandboxes(&self) {
        self.lock().clear();
    }

    /// Runs a program in a container.
    fn inside(&self, engine: Engine, name: &str, words: &[&str]) -> Output {
        let exec = || ["exec", name].into_iter().chain(words.iter().copied());
        match engine {
            Engine::Docker => run(self.dockerd.read().unwrap().client(exec())).unwrap(),
            Engine::Podman => self.podman.podman(exec()).unwrap(),
            Engine::Cni => self.lock()[name].output(words[0], &words[1..]).unwrap(),
            Engine::Run => run(self.daemon.read().unwrap().cli_command(exec())).unwrap(),
        }
    }

    /// One ping from a container; whether it was answered.
    pub(crate) fn ping(&self, engine: Engine, name: &str, to: &str) -> bool {
        self.inside(engine, name, &["ping", "-c", "1", "-W", "5", to]).success()
    }

    /// The address that a container has, as its own `ip` tells.
    pub(crate) fn address(&self, engine: Engine, name: &str) -> String {
        let output = self.inside(engine, name, &["ip", "-4", "-o", "address"]);
        let own = output.stdout.lines().find(|line| line.contains(" eth0"));
        let address = own.and_then(|line| line.split_whitespace().find(|word| word.contains('/')));
        address.unwrap_or_else(|| panic!("{name} has no address: {output}")).split('/').next().unwrap().to_owned()
    }

    fn cni(&self, verb: &str, network: &str, container: &str, netns: &str) -> Result<(), Error> {
        let mut command = self.host.command::<&str>(&lab::cni_program().unwrap().display().to_string(), []);
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", container).env("CNI_NETNS", netns);
        command.env("CNI_IFNAME", "eth0").env("CNI_PATH", "/usr/lib/cni").env("TRUNKLINE_SOCKET", &self.socket);
        let config = json!({
            "cniVersion": "1.1.0", "name": network, "type": "trunkline-cni", "network": network,
            "socket": self.socket,
        });
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.host.spawn(command)?;
        // It may refuse, or be killed, before it has read.
        let _ = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        succeeded(self.host, told(format!("trunkline-cni {verb} {container}"), &output)).map(drop)
    }

    /// How many addresses of a network's first subnet are taken.
    pub(crate) fn in_use(&self, network: &str) -> Option<u64> {
        let shown: Value = serde_json::from_str(&self.trunkline(["network", "inspect", network]).ok()?).unwrap();
        shown[0]["subnets"][0]["ips_in_use"].as_u64()
    }

    /// What `trunkline` shows as JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        let text = self.trunkline(line.split_whitespace().chain(["--format", "json"])).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Whether `trunkline check` has nothing to say.
    pub(crate) fn is_sound(&self) -> bool {
        self.trunkline(["check"]).is_ok()
    }

    /// This host's endpoints of a network: addresses.
    pub(crate) fn addresses(&self, network: &str) -> Vec<String> {
        let all = self.json("endpoint ls");
        let here = self.host.name();
        let mine = all.as_array().unwrap().iter().filter(|e| e["network"] == network && e["host_name"] == here);
        mine.map(|e| e["addresses"][0].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Host>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(mut command: Command) -> Result<Output, Error> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let words = format!("{} {}", command.get_program().display(), words.join(" "));
    let output = command.stdin(Stdio::null()).output();
    Ok(told(words, &output.unwrap_or_else(|error| panic!("{error}"))))
}

fn told(command: String, output: &std::process::Output) -> Output {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Output { command, status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn succeeded(host: &Host, output: Output) -> Result<String, Error> {
    if output.success() {
        return Ok(output.stdout.trim_end().to_owned());
    }
    let stderr = format!("{} {}", output.stdout.trim(), output.stderr.trim()).replace('\n', " ");
    Err(Error::Failed { command: output.command, host: host.name().to_owned(), status: output.status, stderr })
}
