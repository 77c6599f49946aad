//! A real Docker Engine on a host of the lab.

use trunkline_lab::{Dockerd, Host};

#[test]
fn two_engines_side_by_side() {
    let hosts = [Host::new("one").unwrap(), Host::new("two").unwrap()];
    let mut engines = hosts.each_ref().map(|host| Dockerd::start(host).unwrap());
    for engine in &engines {
        engine.docker_ok(["network", "create", "--internal", "n"]).unwrap();
        engine.docker_ok(["run", "-d", "--net", "n", "--name", "sleeper", Dockerd::IMAGE, "sleep", "3600"]).unwrap();
    }
    for (engine, host) in engines.iter_mut().zip(&hosts) {
        let own = engine.docker_ok(["info", "--format", "{{.Name}} {{.ContainersRunning}}"]).unwrap();
        assert_eq!(own, format!("{} 1", host.name()));
        assert!(engine.host().links().unwrap().iter().any(|link| link == "docker0"));
        engine.kill9().unwrap();
        engine.launch().unwrap();
        let left = engine.docker_ok(["ps", "-aq"]).unwrap();
        assert_eq!(left.lines().count(), 1, "{}", engine.log());
        engine.docker_ok(["rm", "-f", "sleeper"]).unwrap();
    }
}
