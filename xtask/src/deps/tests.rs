use std::path::PathBuf;

use super::*;

fn package(directory: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
    let dependencies = dependencies
        .iter()
        .map(|(name, kind)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: (name.contains('/') || Layer::of(name).is_some()).then(|| PathBuf::from("/p").join(name)),
        })
        .collect();
    let target = Target {
        name: directory.replace('/', "_"),
        kind: vec!["lib".to_owned()],
        src_path: PathBuf::from("/p").join(directory).join("src/lib.rs"),
    };
    Package {
        name: directory.to_owned(),
        manifest_path: PathBuf::from("/p").join(directory).join("Cargo.toml"),
        dependencies,
        targets: vec![target],
    }
}

fn workspace(packages: Vec<Package>) -> Metadata {
    Metadata { packages, target_directory: "/p/target".into(), workspace_root: "/p".into() }
}

/// What one more package with these dependencies breaks, in a workspace that has one crate of each layer.
fn broken(directory: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
    let mut packages = vec![package(directory, dependencies)];
    for other in [
        "core/model",
        "world/kernel",
        "engine",
        "front/api",
        "front/docker",
        "front/relay",
        "front/daemon",
        "front/cli",
        "lab",
        "bench",
        "xtask",
    ] {
        if other != directory {
            packages.push(package(other, &[]));
        }
    }
    packages.push(package("world/store", &[("rustix", None)]));
    directions(&workspace(packages))
}

#[test]
fn each_layer_may_use_those_below() {
    assert!(
        broken("core/ipam", &[("core/model", None), ("serde", None), ("ipnet", None), ("proptest", Some("dev"))])
            .is_empty()
    );
    assert!(broken("world/kernel", &[("core/model", None), ("libc", None), ("lab", Some("dev"))]).is_empty());
    assert!(broken("engine", &[("core/model", None), ("world/kernel", None), ("tempfile", Some("dev"))]).is_empty());
    assert!(broken("front/daemon", &[("engine", None), ("front/api", None), ("lab", Some("dev"))]).is_empty());
    assert!(broken("front/docker", &[("engine", None), ("core/model", None)]).is_empty());
    assert!(broken("front/daemon", &[("front/docker", None)]).is_empty());
    assert!(!broken("front/docker", &[("front/daemon", None)]).is_empty());
    assert!(broken("front/cni", &[("engine", None), ("core/model", None)]).is_empty());
    assert!(broken("front/relay", &[("rustix", None), ("front/api", Some("dev")), ("lab", Some("dev"))]).is_empty());
    assert!(broken("front/cli", &[("front/daemon", None), ("front/api", None), ("lab", None)]).is_empty());
    assert!(broken("lab", &[("world/kernel", None), ("core/model", None)]).is_empty());
    assert!(broken("bench", &[("front/api", None), ("lab", None), ("rustix", Some("dev"))]).is_empty());
}

#[test]
fn nothing_points_upwards_or_sideways() {
    for (from, to) in [
        ("core/ipam", "world/kernel"),
        ("core/ipam", "lab"),
        ("world/kernel", "world/store"),
        ("world/kernel", "engine"),
        ("world/kernel", "lab"),
        ("engine", "front/api"),
        ("engine", "lab"),
        ("front/api", "engine"),
        ("front/daemon", "front/cli"),
        ("front/daemon", "lab"),
        ("front/netavark", "engine"),
        ("front/netavark", "front/daemon"),
        ("front/relay", "front/api"),
        ("front/relay", "core/model"),
        ("lab", "engine"),
        ("front/cli", "bench"),
        ("front/cli", "xtask"),
        ("bench", "xtask"),
        ("xtask", "core/model"),
    ] {
        let violations = broken(from, &[(to, None)]);
        assert_eq!(violations.len(), 1, "{from} → {to}");
        assert!(violations[0].starts_with(&format!("{from} → {to}: ")), "{violations:?}");
    }
    assert_eq!(broken("engine", &[("front/api", None)]), ["engine → front/api: engine may not use api"]);
}

#[test]
fn tests_are_held_to_the_rules_too() {
    assert_eq!(broken("core/ipam", &[("lab", Some("dev"))]).len(), 1);
    assert_eq!(
        broken("engine", &[("front/daemon", Some("dev"))]),
        ["engine → front/daemon: the tests of engine may not use front"]
    );
    assert_eq!(
        broken("core/ipam", &[("tempfile", Some("dev"))]),
        ["core/ipam → tempfile: the core's tests may use only proptest"]
    );
    assert_eq!(broken("engine", &[("mockall", Some("dev"))]).len(), 1);
    assert_eq!(broken("core/ipam", &[("core/model", Some("build")), ("cc", Some("build"))]).len(), 1);
}

#[test]
fn the_core_takes_little_from_elsewhere() {
    let violations = broken("core/ipam", &[("serde_json", None), ("tokio", None)]);
    assert_eq!(
        violations[1],
        "core/ipam → tokio: the core may use only serde, thiserror, ipnet, jiff, weezl, crc32fast, aes-gcm, regex from elsewhere"
    );
    assert_eq!(violations.len(), 2);
}

#[test]
fn what_is_started_for_each_container_stays_small() {
    assert_eq!(broken("front/relay", &[("serde_json", None), ("ipnet", None)]).len(), 1);
    assert!(broken("front/netavark", &[("front/api", None), ("core/model", None), ("serde_json", None)]).is_empty());
    assert!(broken("front/netavark", &[("lab", Some("dev")), ("tempfile", Some("dev"))]).is_empty());
    for (directory, name) in [("front/netavark", "tokio"), ("front/api", "tokio"), ("front/api", "hyper")] {
        let violations = broken(directory, &[(name, None)]);
        assert_eq!(violations.len(), 1, "{directory}");
        assert!(violations[0].contains("started for each container"), "{violations:?}");
    }
}

#[test]
fn a_crate_without_a_layer_and_a_path_outside_are_named() {
    assert_eq!(broken("extra", &[]), ["extra: extra belongs to no layer; name it in xtask/src/deps.rs"]);
    assert_eq!(broken("engine", &[("../elsewhere", None)]), ["engine → ../elsewhere: it lies outside the workspace"]);
}

#[test]
fn unsafe_is_forbidden_but_where_the_kernel_is_spoken_to() {
    let metadata = workspace(vec![package("world/kernel", &[]), package("engine", &[]), package("core/model", &[])]);
    let sources = |path: &Path| {
        Ok(if path.starts_with("/p/core") {
            "//! Doc\n#![forbid(unsafe_code)]\n"
        } else {
            "// #![forbid(unsafe_code)]\n"
        }
        .to_owned())
    };
    assert_eq!(unsafe_code(&metadata, sources).unwrap(), ["engine: its engine lacks #![forbid(unsafe_code)]"]);
    // The relay's program may, and its library may not.
    let mut relay = package("front/relay", &[]);
    relay.targets.push(Target { name: "program".into(), kind: vec!["bin".into()], ..relay.targets[0].clone() });
    let told = unsafe_code(&workspace(vec![relay]), sources).unwrap();
    assert_eq!(told, ["front/relay: its front_relay lacks #![forbid(unsafe_code)]"]);
}
