//! `trunkline install` on the root of another machine: what it makes, that it makes it once, and that it takes back
//! that and nothing else.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A machine with the package's programs.
fn machine(units: bool) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a program").unwrap();
    };
    put("usr/lib/trunkline/trunkline-cni");
    put("usr/lib/trunkline/trunkline-netavark");
    for unit in ["macvlan", "ipvlan", "overlay", "ipam"].into_iter().filter(|_| units) {
        put(&format!("usr/lib/systemd/system/trunkline-docker-{unit}.socket"));
    }
    root
}

fn install(root: &TempDir, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.arg("install").arg("--root").arg(root.path()).args(line.split_whitespace());
    command.output().unwrap()
}

fn ok(root: &TempDir, line: &str) -> String {
    let output = install(root, line);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every file with its text, every link with its target.
fn files(root: &TempDir) -> BTreeMap<String, String> {
    fn walk(directory: &Path, root: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
            } else if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root.path(), root.path(), &mut found);
    found
}

const ALL: &str = "--cni --docker --podman";

#[test]
fn with_units() {
    let root = machine(true);
    let before = files(&root);
    let said = ok(&root, ALL);
    let mut made = files(&root);
    made.retain(|path, _| !before.contains_key(path));
    let expected: BTreeMap<String, String> = [
        ("opt/cni/bin/trunkline-cni", "/usr/lib/trunkline/trunkline-cni"),
        (
            "etc/systemd/system/sockets.target.wants/trunkline-docker-macvlan.socket",
            "/usr/lib/systemd/system/trunkline-docker-macvlan.socket",
        ),
        (
            "etc/systemd/system/sockets.target.wants/trunkline-docker-ipvlan.socket",
            "/usr/lib/systemd/system/trunkline-docker-ipvlan.socket",
        ),
        (
            "etc/systemd/system/sockets.target.wants/trunkline-docker-overlay.socket",
            "/usr/lib/systemd/system/trunkline-docker-overlay.socket",
        ),
        (
            "etc/systemd/system/sockets.target.wants/trunkline-docker-ipam.socket",
            "/usr/lib/systemd/system/trunkline-docker-ipam.socket",
        ),
        ("usr/local/libexec/netavark/trunkline-macvlan", "/usr/lib/trunkline/trunkline-netavark"),
        ("usr/local/libexec/netavark/trunkline-ipvlan", "/usr/lib/trunkline/trunkline-netavark"),
        ("usr/local/libexec/netavark/trunkline-overlay", "/usr/lib/trunkline/trunkline-netavark"),
    ]
    .map(|(path, target)| (path.to_owned(), format!("-> {target}")))
    .into();
    assert_eq!(made, expected);
    assert_eq!(said.lines().filter(|line| line.starts_with("made /")).count(), 8, "{said}");
    assert!(said.lines().last().unwrap().starts_with("next: systemctl daemon-reload"), "{said}");
    // Twice is once.
    let after = files(&root);
    let again = ok(&root, ALL);
    assert_eq!(again.lines().filter(|line| line.ends_with(" is there already")).count(), 8, "{again}");
    assert_eq!(files(&root), after);
    // And back.
    let back = ok(&root, &format!("{ALL} --uninstall"));
    assert_eq!(back.lines().filter(|line| line.starts_with("removed /")).count(), 8, "{back}");
    assert_eq!(files(&root), before);
    assert!(ok(&root, &format!("{ALL} --uninstall")).lines().all(|line| line.ends_with(" is not there")));
}

#[test]
fn without_units() {
    let root = machine(false);
    let before = files(&root);
    let said = ok(&root, "--docker");
    assert_eq!(
        files(&root)["etc/docker/plugins/trunkline-overlay.spec"],
        "unix:///run/docker/plugins/trunkline-overlay.sock\n"
    );
    assert!(files(&root).contains_key("etc/docker/plugins/trunkline.spec"));
    assert!(said.ends_with("next: run the daemon with --docker-plugins /run/docker/plugins\n"), "{said}");
    ok(&root, "--docker --uninstall");
    assert_eq!(files(&root), before);
}

/// A directory that Podman does not look in is made known to it, beside the ones where it does.
#[test]
fn another_directory_for_netavark() {
    let root = machine(false);
    let before = files(&root);
    ok(&root, "--podman --netavark-dir /srv/plug\"ins");
    let conf = &files(&root)["etc/containers/containers.conf.d/50-trunkline.conf"];
    assert!(
        conf.contains("[network]\nnetavark_plugin_dirs = [\"/srv/plug\\\"ins\", \"/usr/local/libexec/netavark\", "),
        "{conf}"
    );
    ok(&root, "--podman --netavark-dir /srv/plug\"ins --uninstall");
    assert_eq!(files(&root), before);
    // A setting of the machine's own would hide ours: it is pointed out, and not changed.
    let own = root.path().join("etc/containers/containers.conf");
    fs::write(&own, "[network]\nnetavark_plugin_dirs = [\"/opt/x\"]\n").unwrap();
    let said = ok(&root, "--podman");
    assert!(
        said.contains(
            "note: /etc/containers/containers.conf sets netavark_plugin_dirs without /usr/local/libexec/netavark"
        ),
        "{said}"
    );
    fs::write(&own, "[network]\nnetavark_plugin_dirs = [\"/opt/x\", \"/usr/local/libexec/netavark\"]\n").unwrap();
    assert!(!ok(&root, "--podman").contains("note:"));
}

#[test]
fn what_is_not_ours_is_left() {
    let root = machine(false);
    let foreign = root.path().join("usr/local/libexec/netavark/trunkline-overlay");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "precious").unwrap();
    let before = files(&root);
    // Refused as a whole: no link to the other two either.
    let output = install(&root, ALL);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{error}");
    assert!(error.ends_with("libexec/netavark/trunkline-overlay is not Trunkline's: move it away first\n"), "{error}");
    assert_eq!(files(&root), before);
    let said = ok(&root, "--podman --uninstall");
    assert!(said.contains("/usr/local/libexec/netavark/trunkline-overlay is not ours: left as it is"), "{said}");
    assert_eq!(files(&root), before);
    // A link of the same name to something else, and a file with another text.
    fs::remove_file(&foreign).unwrap();
    symlink("/bin/true", &foreign).unwrap();
    assert_eq!(install(&root, "--podman").status.code(), Some(1));
    let spec = root.path().join("etc/docker/plugins/trunkline.spec");
    fs::create_dir_all(spec.parent().unwrap()).unwrap();
    fs::write(&spec, "tcp://elsewhere:1\n").unwrap();
    assert_eq!(install(&root, "--docker").status.code(), Some(1));
    ok(&root, "--docker --podman --uninstall");
    assert_eq!(fs::read_to_string(&spec).unwrap(), "tcp://elsewhere:1\n");
    assert_eq!(fs::read_link(&foreign).unwrap(), Path::new("/bin/true"));
}

#[test]
fn the_programs_place() {
    let root = machine(false);
    fs::remove_file(root.path().join("usr/lib/trunkline/trunkline-cni")).unwrap();
    let output = install(&root, "--cni");
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("no trunkline-cni in /usr/lib/trunkline or /usr/local/lib")
    );
    let other = root.path().join("opt/trunkline");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("trunkline-cni"), "a program").unwrap();
    ok(&root, "--cni --lib /opt/trunkline --cni-bin /usr/lib/cni");
    assert_eq!(files(&root)["usr/lib/cni/trunkline-cni"], "-> /opt/trunkline/trunkline-cni");
    // It moved: the link follows.
    fs::write(root.path().join("usr/lib/trunkline/trunkline-cni"), "a program").unwrap();
    assert!(ok(&root, "--cni --cni-bin /usr/lib/cni").starts_with("renewed /usr/lib/cni/trunkline-cni"));
    assert_eq!(files(&root)["usr/lib/cni/trunkline-cni"], "-> /usr/lib/trunkline/trunkline-cni");
    // It is gone: the link still goes.
    fs::remove_file(root.path().join("usr/lib/trunkline/trunkline-cni")).unwrap();
    assert_eq!(ok(&root, "--cni --cni-bin /usr/lib/cni --uninstall"), "removed /usr/lib/cni/trunkline-cni\n");
}
