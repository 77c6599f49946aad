//! Daemons on an etcd that speaks TLS, asks for certificates and knows its users.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod cluster;

use cluster::{Underlay, until};
use lab::{Certificate, EtcdOptions, EtcdServer, Host, TestCa, TestDaemon};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const STORE: &str = "etcds://192.168.56.5:2379";

/// What the daemons may have: all below their prefix, and nothing else.
const USERS: &[&str] = &[
    "user add root:rootpw",
    "user add tl:right",
    "role add ours",
    "role grant-permission ours --prefix=true readwrite trunkline/v1/",
    "user grant-role tl ours",
    "user grant-role root root",
    "auth enable",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a daemon is given: certificates and a login.
struct Access<'a> {
    ca: &'a Path,
    certificate: Option<&'a Certificate>,
    password: &'a Path,
}

impl Access<'_> {
    fn daemon<'h>(&self, host: &'h Host) -> TestDaemon<'h> {
        let mut arguments = vec!["--store", STORE, "--store-ca", text(self.ca)];
        if let Some(certificate) = self.certificate {
            arguments.extend(["--store-cert", text(&certificate.cert), "--store-key", text(&certificate.key)]);
        }
        arguments.extend(["--store-user", "tl", "--store-password-file", text(self.password)]);
        arguments.extend(["--advertise", "eth0", "--host-name", host.name()]);
        TestDaemon::start_with(host, &arguments).unwrap()
    }
}

fn secret(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn ok(daemon: &TestDaemon<'_>, line: &str) -> String {
    let output = daemon.cli(line.split(' ')).unwrap();
    assert!(output.success(), "{output}\n{}", daemon.log());
    output.stdout
}

#[test]
fn networks_over_tls_with_certificates_and_a_login() {
    let underlay = Underlay::new(2);
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let server = ca.sign("server", &["192.168.56.5".parse().unwrap()]).unwrap();
    let client = ca.sign("hosts", &[]).unwrap();
    let options = EtcdOptions { tls: Some(server), client_ca: Some(ca.path()), ..EtcdOptions::default() };
    let _etcd = EtcdServer::start_with(underlay.site(0), options).unwrap();
    let (authority, cert, key) = (ca.path(), client.cert.clone(), client.key.clone());
    let login = [
        "--endpoints=https://192.168.56.5:2379".to_owned(),
        format!("--cacert={}", text(&authority)),
        format!("--cert={}", text(&cert)),
        format!("--key={}", text(&key)),
    ];
    let etcdctl = |more: &[&str]| {
        let words = login.iter().map(String::as_str).chain(more.iter().copied());
        let mut command = underlay.store.command("etcdctl", words);
        command.env("ETCDCTL_API", "3");
        let output = command.output().unwrap();
        assert!(output.status.success(), "etcdctl {more:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    USERS.iter().for_each(|line| drop(etcdctl(&line.split(' ').collect::<Vec<_>>())));
    let secrets = tempfile::tempdir().unwrap();
    let (right, wrong) = (secret(secrets.path(), "right", "right"), secret(secrets.path(), "wrong", "guess"));

    let access = Access { ca: &authority, certificate: Some(&client), password: &right };
    let daemons = underlay.hosts.iter().map(|host| access.daemon(host)).collect::<Vec<_>>();
    ok(&daemons[0], "network create -d overlay --internal --subnet 10.9.0.0/24 net");
    until(|| daemons[1].cli(["network", "inspect", "net"]).unwrap().success());
    for (n, daemon) in daemons.iter().enumerate() {
        ok(daemon, &format!("run -d --net net --ip 10.9.0.{} --name c{n} sleep 3600", 10 + n));
    }
    until(|| daemons[0].cli(["peers", "--check", "net"]).unwrap().stdout.contains("10.9.0.11"));
    ok(&daemons[0], "exec c0 ping -c 1 10.9.0.11");
    assert!(ok(&daemons[0], "status").contains("reachable since"));
    let keys = etcdctl(&["--user=root:rootpw", "get", "--prefix", "--keys-only", "trunkline/v1/endpoint/"]);
    assert_eq!(keys.lines().filter(|line| !line.is_empty()).count(), 2, "{keys}");
    for secret in ["right", "rootpw"] {
        assert!(!daemons[0].log().contains(&format!("{secret}\n")) && !ok(&daemons[0], "status").contains(secret));
    }
    drop(daemons);

    // Each thing wrong by itself: the daemon serves, says why, and makes nothing.
    let foreign = other.path();
    for (access, reason) in [
        (Access { ca: &authority, certificate: Some(&client), password: &wrong }, "invalid user ID or password"),
        (Access { ca: &authority, certificate: None, password: &right }, "certificate"),
        (Access { ca: &foreign, certificate: Some(&client), password: &right }, "certificate"),
    ] {
        let daemon = access.daemon(&underlay.hosts[0]);
        let status = ok(&daemon, "status").to_lowercase();
        assert!(status.contains("unreachable") && status.contains(&reason.to_lowercase()), "{reason}:\n{status}");
        let output = daemon.cli("network create -d overlay more".split(' ')).unwrap();
        assert_eq!((output.code(), output.stderr.lines().count()), (Some(1), 1), "{output}");
    }
}
