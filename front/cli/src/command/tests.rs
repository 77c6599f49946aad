//! The command line as users write it.

use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_table_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_documents_lines() {
    for line in [
        "trunkline network create -d macvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 mcv",
        "trunkline run --net=mcv -it --rm alpine ping -c 4 192.168.1.1",
        "trunkline run --net=macnet215 --ip= -itd alpine /bin/sh",
        "trunkline run --net=ipvlan40 -it --name ivlan_test5 --rm alpine /bin/sh",
        "trunkline run --net=dualstack --ip6=fded:7a74:dec4:5a18::81 -itd alpine /bin/sh",
        "trunkline run -d --ip 10.0.0.2 --net demonet --name C1 debian sleep 3600",
        "trunkline run --network a --network b --dns 9.9.9.9 -e A=1 -u nobody -w /tmp -- ls -l",
        "trunkline network inspect demonet -f {{.Id}}",
        "trunkline network ls -q --filter driver=macvlan",
        "trunkline rm -f a b",
        "trunkline ps -qa",
        "trunkline exec -it web ip addr",
        "trunkline stop -t 3 web",
        "trunkline network connect --ip 10.0.0.9 --ifname lan0 mcv 4242",
        "trunkline --socket /tmp/s status --format json",
        "trunkline status --socket /tmp/s",
        "trunkline gc --dry-run",
        "trunkline install --cni --docker --podman --root /tmp/image --uninstall",
        "trunkline events --since 10m --filter object=network",
        "trunkline daemon --store redb:/tmp/x --state-dir /tmp/a --run-dir /tmp/b --socket /tmp/s --log-format json",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn the_command_keeps_its_own_flags() {
    let Ok(Cli { command: Command::Run(args), .. }) = parse("trunkline run --net a ping -c 3 --rm") else {
        panic!("not a run");
    };
    assert_eq!(args.words(), ["ping", "-c", "3", "--rm"]);
    let Ok(Cli { command: Command::Run(args), .. }) = parse("trunkline run --net a -- -odd --") else {
        panic!("not a run");
    };
    assert_eq!(args.words(), ["-odd", "--"]);
}

#[test]
fn usage_errors_exit_with_2() {
    for line in [
        "trunkline run --net",
        "trunkline run --net a",
        "trunkline network rm",
        "trunkline install",
        "trunkline ps --format xml",
        "trunkline nonsense",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}
