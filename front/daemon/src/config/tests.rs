use super::*;
use ::store::Address;
use std::io::Write;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn flags(store: &str) -> Flags {
    Flags { store: StoreFlags { store: Some(store.into()), ..StoreFlags::default() }, ..Flags::default() }
}

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn defaults() {
    let config = Config::load(&Flags::default(), None, nothing).unwrap();
    assert_eq!(config.store.path(), Some(Path::new("/var/lib/trunkline/trunkline.redb")));
    assert_eq!(config.local, Path::new("/var/lib/trunkline/trunkline.redb"));
    assert_eq!(config.socket, Path::new(api::DEFAULT_SOCKET));
    assert_eq!(config.log_format, LogFormat::Text);
    assert!(!config.is_shared() && !config.host_name.is_empty());
    assert_eq!(config.store.options.prefix, "trunkline/v1");
}

#[test]
fn flag_then_environment_then_file() {
    let file = file(
        "store = 'redb:/file'\nstate_dir = '/file'\nrun_dir = '/file'\nlog_format = 'json'\nhost_name = 'f'\n\
         metrics = '127.0.0.1:9'\n",
    );
    let flags = Flags { config: Some(file.path().into()), ..flags("redb:/flag") };
    let environment = |name: &str| match name {
        "TRUNKLINE_STORE" => Some("redb:/environment".to_owned()),
        "TRUNKLINE_STATE_DIR" => Some("/environment".to_owned()),
        "TRUNKLINE_RUN_DIR" => Some(String::new()),
        "TRUNKLINE_HOST_NAME" => Some("e".to_owned()),
        _ => None,
    };
    let config = Config::load(&flags, None, environment).unwrap();
    assert_eq!(config.store.path(), Some(Path::new("/flag")));
    assert_eq!(config.local, Path::new("/flag"));
    assert_eq!(config.state_dir, Path::new("/environment"));
    assert_eq!(config.run_dir, Path::new("/file"));
    assert_eq!(config.socket, Path::new("/file/trunkline.sock"));
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.host_name, "e");
    assert_eq!(config.metrics.unwrap().value, "127.0.0.1:9".parse().unwrap());
    let config = Config::load(&flags, Some(Path::new("/s")), environment).unwrap();
    assert_eq!(config.socket, Path::new("/s"));
}

#[test]
fn the_file_may_come_from_the_environment() {
    let file = file("state_dir = '/file'\n");
    let path = file.path().to_str().unwrap().to_owned();
    let config =
        Config::load(&Flags::default(), None, |name| (name == "TRUNKLINE_CONFIG").then(|| path.clone())).unwrap();
    assert_eq!(config.local, Path::new("/file/trunkline.redb"));
}

#[test]
fn a_shared_store_and_what_goes_with_it() {
    let (pem, password) = (file("pem"), file("secret\n"));
    let (pem, password) = (pem.path().display().to_string(), password.path().display().to_string());
    let file = file(&format!(
        "store = 'etcds://10.0.0.1:2379,b:1'\nstore_prefix = '/docker/network/v1.0/'\nstore_ca = '{pem}'\n\
         store_cert = '{pem}'\nstore_key = '{pem}'\nstore_user = 'me'\nstore_password_file = '{password}'\n\
         advertise = 'eth0'\nbind = '0.0.0.0:7000'\njoin = ['a', '10.0.0.2:7946']\n"
    ));
    let flags = Flags { config: Some(file.path().into()), ..Flags::default() };
    let config = Config::load(&flags, None, nothing).unwrap();
    assert!(config.is_shared() && matches!(config.store.address, Address::Etcd(_)));
    assert_eq!(config.store.servers(), [("10.0.0.1".to_owned(), 2379), ("b".to_owned(), 1)]);
    assert_eq!(config.local, Path::new("/var/lib/trunkline/trunkline.redb"));
    assert_eq!(config.store.options.prefix, "docker/network/v1.0");
    assert_eq!(config.store.options.login, Some(("me".into(), "secret".into())));
    assert_eq!(config.advertise.unwrap().value, Advertise::Link("eth0".parse().unwrap()));
    assert_eq!(config.bind.unwrap().value, Bind { address: [0, 0, 0, 0].into(), port: Some(7000) });
    assert_eq!(config.join, ["a", "10.0.0.2:7946"]);
    // In the environment a list is one text; the value of a secret goes before its file.
    let environment = |name: &str| match name {
        "TRUNKLINE_STORE" => Some("consul://10.0.0.1".to_owned()),
        "TRUNKLINE_STORE_TOKEN" => Some("t".to_owned()),
        "TRUNKLINE_STORE_TOKEN_FILE" => Some("/nowhere".to_owned()),
        "TRUNKLINE_JOIN" => Some("a,b:1 [::1]:2".to_owned()),
        _ => None,
    };
    let config = Config::load(&Flags::default(), None, environment).unwrap();
    assert_eq!(config.store.options.token.as_deref(), Some("t"));
    assert_eq!(config.join, ["a", "b:1", "[::1]:2"]);
    assert!(!format!("{config:?}").contains("\"t\""));
}

/// Each line of the table: what is written on the command line, in the environment; what the error says.
#[test]
fn what_is_wrong_is_told_in_one_line_with_its_place_and_what_to_do() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (&[("STORE", "zookeeper://x")], "setting store in the environment: store \"zookeeper://x\": not the address"),
        (&[("STORE", "redb:")], "names no file; write redb:PATH"),
        (&[("STORE", "etcd://me:secret@")], "setting store in the environment"),
        (&[("STORE_PREFIX", "a//b"), ("STORE", "etcd://a")], "setting store_prefix in the environment: \"a//b\" is no"),
        (&[("STORE_PREFIX", "a")], "setting store_prefix in the environment: it is for a store that hosts share"),
        (
            &[("STORE", "etcd://a"), ("STORE_CA", "/no/ca.pem")],
            "setting store_ca in the environment: cannot read /no/ca",
        ),
        (&[("STORE", "etcd://a"), ("STORE_CA", "/")], "setting store_ca in the environment: / is no file"),
        (&[("STORE", "etcd://a"), ("STORE_CERT", "/dev/stdin")], "store_cert in the environment"),
        (
            &[("STORE", "etcd://a"), ("STORE_USER", "me")],
            "a user needs a password: give it in TRUNKLINE_STORE_PASSWORD",
        ),
        (&[("STORE", "etcd://a"), ("STORE_PASSWORD", "x")], "a password needs a user: give --store-user"),
        (&[("STORE", "etcd://a"), ("STORE_TOKEN", "x")], "etcd knows users, not tokens"),
        (
            &[("STORE", "etcd://a"), ("STORE_TOKEN_FILE", "/no/t")],
            "store_token_file in the environment: cannot read /no/t: No such",
        ),
        (&[("STORE", "consul://a"), ("STORE_USER", "m"), ("STORE_PASSWORD", "x")], "Consul knows tokens, not users"),
        (&[("ADVERTISE", "0.0.0.0")], "setting advertise in the environment: 0.0.0.0 is no address that others"),
        (&[("ADVERTISE", "no such link")], "\"no such link\" is neither an address nor a link's name"),
        (
            &[("STORE", "etcd://a"), ("BIND", "eth0")],
            "setting bind in the environment: \"eth0\" is no address: IP, IP:PORT",
        ),
        (&[("BIND", "127.0.0.1")], "setting bind in the environment: hosts gossip about what they share"),
        (&[("JOIN", "a")], "setting join in the environment: hosts gossip about what they share"),
        (&[("STORE", "etcd://a"), ("JOIN", "a,b:c")], "setting join in the environment: \"b:c\" names no host"),
        (&[("STORE", "etcd://a"), ("KEYRING", "/no/keys")], "setting keyring in the environment: cannot read /no/keys"),
        (&[("HOST_NAME", "a b")], "setting host_name in the environment: \"a b\" is no host's name"),
        (&[("METRICS", "9100")], "setting metrics in the environment: \"9100\" is no address to listen on: IP:PORT"),
        (&[("LOG_FORMAT", "xml")], "setting log_format in the environment: \"xml\" is no format: text or json"),
    ];
    for (variables, expected) in cases {
        let environment = |name: &str| {
            let found = variables.iter().find(|(key, _)| name == format!("TRUNKLINE_{key}"));
            found.map(|(_, value)| (*value).to_owned())
        };
        let error = Config::load(&Flags::default(), None, environment).unwrap_err().to_string();
        assert!(error.contains(expected), "{variables:?}: {error}");
        assert!(error.starts_with("invalid setting ") && !error.contains('\n'), "{variables:?}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let visible = Config::load(&flags("etcd://me:secret@a"), None, nothing).unwrap_err().to_string();
    assert!(visible.contains("setting store in the command line") && visible.contains("--store-password-file"));
    assert!(!visible.contains("secret"), "{visible}");
    let file = file("state_dir = '/a'\nrundir = '/b'\n");
    let error = Config::load(&Flags { config: Some(file.path().into()), ..Flags::default() }, None, nothing);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("line 2: unknown field `rundir`") && !error.contains('\n'), "{error}");
}

#[test]
fn addresses() {
    assert_eq!(address::advertise("[fd00::1]"), Ok(Advertise::Address("fd00::1".parse().unwrap())));
    assert_eq!(address::bind("fd00::1"), Ok(Bind { address: "fd00::1".parse().unwrap(), port: None }));
    assert_eq!(address::bind("[fd00::1]:1"), Ok(Bind { address: "fd00::1".parse().unwrap(), port: Some(1) }));
    assert_eq!(address::listener(":9100"), Ok("[::]:9100".parse().unwrap()));
    for (text, is) in [
        ("a", true),
        ("host-1.example:7946", true),
        ("192.0.2.1", true),
        ("[::1]:1", true),
        ("::1", true),
        ("", false),
        ("a:", false),
        ("a:0", false),
        ("192.0.2.1.1", false),
        ("a b", false),
        ("-a", false),
    ] {
        assert_eq!(address::names_a_host(text), is, "{text:?}");
    }
}
