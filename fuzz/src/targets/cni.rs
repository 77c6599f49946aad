//! What a container runtime tells a CNI plugin.

use crate::outcome::{one_line, reached, serde_shape, shape};
use ::cni::config::Config;
use ::cni::environment::Arguments;
use ::cni::result::{Output, output};
use ::cni::{Call, Environment, Error, Verb, Version, comparison, definition, resolv, wish};
use ipnet::IpNet;
use model::view::{EndpointView, Health};
use model::{EndpointId, HostId, NamespaceId, NetworkId, Timestamp};
use relay::configuration::Configuration;

fn refused(error: &Error) {
    let told: serde_json::Value = serde_json::from_str(&error.json("1.1.0")).unwrap_or_default();
    let text = told["msg"].as_str().unwrap_or_default();
    one_line(text);
    let shape = if matches!(error, Error::Decode { .. }) { serde_shape(text) } else { shape(text) };
    reached(format!("{} {shape}", error.code()));
}

fn told<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(refused).ok()
}

/// A configuration: the network, the endpoint, and the result after an earlier one.
pub(super) fn config(input: &[u8]) {
    let Some(config) = told(Config::read(input)) else { return };
    let version = told(config.version());
    let (Some(name), Some(defined)) = (told(config.network_name()), told(definition::definition(&config))) else {
        return;
    };
    assert!(!name.is_empty(), "a network without a name");
    if let Some(definition) = &defined {
        assert_eq!(definition.name, name);
        assert!(definition.ip_ranges.len() <= definition.subnets.len(), "{definition:?}");
        assert!(definition.gateways.len() <= definition.subnets.len(), "{definition:?}");
        match definition.resolve() {
            Ok(resolved) => {
                reached(format!("defined, {} subnets", resolved.subnets.len().min(3)));
                assert_eq!(resolved.subnets.len(), definition.subnets.len());
            }
            Err(error) => reached(shape(&error.to_string())),
        }
    }
    let request = Environment {
        verb: Verb::Add,
        container: "c".into(),
        netns: Some("/n".into()),
        ifname: "eth0".into(),
        arguments: config.args.as_ref().map(|_| "IP=10.0.0.9;MAC=02:00:00:00:00:09".into()).unwrap_or_default(),
    };
    if let Some(wish) = told(wish::wish(&request, &config, defined.is_some())) {
        let both = (&wish.ip, &wish.ip6);
        reached(format!("{both:?} {} routes", wish.routes.as_ref().map_or(9, |r| r.len().min(3))).len());
    }
    let _ = told(config.attached());
    if let (Some(version), Some(earlier)) = (version, told(config.earlier())) {
        follow(&config, version, earlier);
    }
}

/// The result after an earlier one keeps what was there, and reads as it was written.
fn follow(config: &Config, version: Version, earlier: Option<Output>) {
    let (before, seen) = (earlier.clone().unwrap_or_default(), endpoint());
    let made = output(version, earlier, &seen, "eth0", "/n", resolv::dns(config, Some("nameserver 10.0.0.1")));
    assert_eq!(made.interfaces.len(), before.interfaces.len() + 1);
    assert_eq!(made.ips.len(), before.ips.len() + seen.addresses.len());
    let written = serde_json::to_vec(&made).unwrap_or_default();
    assert_eq!(serde_json::from_slice::<Output>(&written).ok().as_ref(), Some(&made));
    let differences = comparison::differences(&made, "eth0", "/n", &seen, &[]);
    reached(format!("{} before, {} differ", before.interfaces.len().min(3), differences.len().min(3)));
}

fn endpoint() -> EndpointView {
    EndpointView {
        id: EndpointId::from_entropy([1; 32]),
        name: "c".into(),
        network_id: NetworkId::from_entropy([2; 32]),
        network: "n".into(),
        addresses: ["10.0.0.5/24", "fd00::5/64"].iter().filter_map(|text| text.parse::<IpNet>().ok()).collect(),
        mac: None,
        host: HostId::from_entropy([3; 32]),
        host_name: None,
        locator: None,
        path: "/n".into(),
        namespace: NamespaceId { device: 4, inode: 5, boot: "b".into() },
        sandbox: None,
        owner: None,
        gateways: Vec::new(),
        routes: Vec::new(),
        link: Some("eth0".into()),
        link_mac: None,
        mtu: Some(1500),
        way_out: None,
        health: Health::Ready,
        created: Timestamp(0),
    }
}

/// A call, as `trunkline-cni` hands it on; a line's end stands for a NUL.
pub(super) fn environment(input: &[u8]) {
    let body: Vec<u8> = input.iter().map(|byte| if *byte == b'\n' { 0 } else { *byte }).collect();
    let Some(call) = told(Call::read(&body)) else { return };
    assert!(body.ends_with(call.config), "a configuration that nobody sent");
    let Some(request) = told(Environment::read(|name| call.variable(name))) else { return };
    reached(format!("{:?} {}", request.verb, request.netns.is_some()));
    if let Some(arguments) = told(Arguments::read(&request.arguments)) {
        reached(format!("{} {}", arguments.ips.len().min(3), arguments.mac.is_some()));
    }
    if matches!(request.verb, Verb::Add | Verb::Check | Verb::Del) {
        let config = Config { name: Some("n".into()), network: Some("n".into()), ..Config::default() };
        if let Some(wish) = told(wish::wish(&request, &config, false)) {
            assert!(model::Name::new(model::NameKind::Endpoint, &wish.name).is_ok(), "{}", wish.name);
        }
    }
}

/// What the program that runtimes start reads of a configuration: nothing that the daemon would read otherwise.
pub(super) fn way(input: &[u8]) {
    let (way, config) = (Configuration::read(input), Config::read(input));
    match (way, config) {
        (Ok(way), Ok(config)) => {
            assert_eq!(way.version, config.cni_version);
            assert_eq!(way.socket.map(Into::into), config.socket);
            reached("both");
        }
        (Err(error), config) => {
            assert!(config.is_err(), "the way cannot be read of what is a configuration: {error}");
            reached("neither");
        }
        (Ok(_), Err(_)) => reached("the daemon's to refuse"),
    }
}

/// The daemon's answer, however much of it is here.
pub(super) fn answer(input: &[u8]) {
    match relay::answer::Answer::read(input) {
        Ok(None) => reached("more to come"),
        Ok(Some(answer)) => {
            assert!(answer.body.end <= input.len() && answer.body.start <= answer.body.end, "{answer:?}");
            let less = relay::answer::Answer::read(&input[..answer.body.end - 1]);
            assert!(matches!(less, Ok(None)), "{less:?}, though {answer:?}");
            assert_eq!(relay::answer::Answer::read(&input[..answer.body.end]).ok().flatten(), Some(answer));
            reached("whole");
        }
        Err(error) => {
            let text = error.json(b"ADD", "1.1.0");
            one_line(&text);
            reached(shape(&error.to_string()));
        }
    }
}
