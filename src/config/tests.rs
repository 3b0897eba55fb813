use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::*;

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn env(pairs: &[(&str, &str)]) -> Environment {
    let mut env: Environment = pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
    env.entry("HOME".into()).or_insert_with(|| "/home/x".into());
    env
}

fn config(pairs: &[(&str, &str)]) -> Result<Config, Error> {
    Config::build(&env(pairs), &EnvFile::default(), &Flags::new(), false)
}

fn value_of(config: &Config, name: &str) -> String {
    (Variable::find(name).unwrap().get)(config)
}

/// A variable, good values with the form in which they are shown, and bad values.
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    (
        "P2P_ENV_FILE",
        &[("/etc/x.env", "/etc/x.env"), ("-f.env", "-f.env"), ("", "")],
        &["-"],
    ),
    (
        "P2P_LISTEN_ADDRS",
        &[
            ("", ""),
            ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"),
            (
                "/ip6/::/udp/4001/quic-v1, /ip4/1.2.3.4/tcp/1/ws",
                "/ip6/::/udp/4001/quic-v1,/ip4/1.2.3.4/tcp/1/ws",
            ),
        ],
        &[
            "x",
            "127.0.0.1:4001",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/1",
            "/ip4/1.2.3.4/tcp/70000",
            "/dns/localhost/tcp/1",
            "/ip4/1.2.3.4/tcp/1,,/ip4/1.2.3.4/tcp/2",
            "/ip4/1.2.3.4/udp/1/quic-v1/p2p-circuit",
        ],
    ),
    (
        "P2P_EXTERNAL_ADDRS",
        &[
            ("/dns4/a.example/tcp/4001", "/dns4/a.example/tcp/4001"),
            ("", ""),
        ],
        &["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "a.example:4001", "/"],
    ),
    (
        "P2P_BOOTSTRAP_PEERS",
        &[(
            "/dnsaddr/b.example/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "/dnsaddr/b.example/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        )],
        &[
            "/ip4/1.2.3.4/tcp/1",
            "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        ],
    ),
    (
        "P2P_BOOTSTRAP",
        &[
            ("true", "true"),
            ("1", "true"),
            ("Yes", "true"),
            ("no", "false"),
            ("0", "false"),
        ],
        &["on", "2", ""],
    ),
    (
        "P2P_MAX_CONNECTIONS",
        &[("1", "1"), (" 20 ", "20")],
        &["0", "-1", "1e3", "", "1000001"],
    ),
    (
        "P2P_MAX_INBOUND_CONNECTIONS",
        &[("0", "0")],
        &["many", "99999999999999999999"],
    ),
    (
        "P2P_MAX_OUTBOUND_CONNECTIONS",
        &[("0", "0"), ("512", "512")],
        &["1.5"],
    ),
    (
        "P2P_MAX_CONNECTIONS_PER_PEER",
        &[("1", "1")],
        &["0", "1001"],
    ),
    ("P2P_MAX_CONNECTIONS_PER_SUBNET", &[("1", "1")], &["0"]),
    ("P2P_MAX_INBOUND_RATE", &[("1", "1")], &["0", "100001"]),
    (
        "P2P_MAX_INBOUND_RATE_PER_SUBNET",
        &[("1", "1")],
        &["0", "2.5"],
    ),
    (
        "P2P_SUBNET_PREFIXES",
        &[("24,48", "24,48"), ("1, 128", "1,128")],
        &["33,56", "0,56", "32,129", "32", "32,56,64", "", "a,b"],
    ),
    ("P2P_MAX_INBOUND_STREAMS", &[("8", "8")], &["7", "65537"]),
    ("P2P_MAX_OUTBOUND_STREAMS", &[("65536", "65536")], &["0"]),
    (
        "P2P_CONNECTION_IDLE_TIMEOUT",
        &[("1500ms", "1500ms"), ("60s", "1m"), ("24h", "24h")],
        &["30", "999ms", "2d", "1 week", "s", "99999999999999999999h"],
    ),
    (
        "P2P_STREAM_IDLE_TIMEOUT",
        &[("90s", "90s")],
        &["0s", "1.5s"],
    ),
    (
        "P2P_MAX_MEMORY",
        &[
            ("50%", "50%"),
            ("512MiB", "512MiB"),
            ("1GB", "1000000000"),
            ("33554432", "32MiB"),
        ],
        &["0%", "101%", "%", "512M", "31MiB", "99999999TiB"],
    ),
    (
        "P2P_TRUSTED_PEERS",
        &[(PEER, PEER)],
        &[
            "nobody",
            "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        ],
    ),
    (
        "P2P_ALLOW_CIDRS",
        &[("10.1.2.3/8", "10.0.0.0/8"), ("::1", "::1/128"), ("", "")],
        &["10.0.0.0/33", "ten"],
    ),
    (
        "P2P_DENY_CIDRS",
        &[
            ("2001:db8::/32", "2001:db8::/32"),
            // IPv4 mapped to IPv6, as a socket of both families shows it.
            ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::/0", "::/0"),
        ],
        // The last one contains all of IPv4 in that form, and would match none of it.
        &["1.2.3", "::ffff:0.0.0.0/95"],
    ),
    (
        "P2P_MAX_UPLOAD_RATE",
        &[
            ("10MiB", "10MiB"),
            ("unlimited", "unlimited"),
            ("", "unlimited"),
            ("1MiB/s", "1MiB"),
        ],
        &["0", "fast", "1KiB"],
    ),
    ("P2P_MAX_DOWNLOAD_RATE", &[("1MB", "1000000")], &["10Mbit"]),
    ("P2P_RATE_BURST", &[("1", "1")], &["0"]),
    ("P2P_RATE_FILL", &[("1000000", "1000000")], &["0", "x"]),
    (
        "P2P_RATE_BYTES_BURST",
        &[("1MiB", "1MiB"), ("64MiB", "64MiB")],
        &["1MB", "512KiB", "x"],
    ),
    ("P2P_RATE_BYTES_FILL", &[("64KiB", "64KiB")], &["0", "1KiB"]),
    (
        "P2P_NETWORK",
        &[("my-net_1.0", "my-net_1.0")],
        &["", "My", "a/b", "a b", "é"],
    ),
    (
        "P2P_KAD_PROTOCOL",
        &[("/ipfs/kad/1.0.0", "/ipfs/kad/1.0.0")],
        &["", "ipfs", "/a b"],
    ),
    (
        "P2P_DHT_MODE",
        &[("server", "server"), ("client", "client")],
        &["Server", ""],
    ),
    ("P2P_DHT_MAX_RECORDS", &[("1", "1")], &["0", "16777217"]),
    (
        "P2P_NETWORK_KEY_FILE",
        &[("/etc/k", "/etc/k"), ("", "")],
        &[],
    ),
    ("P2P_TOPICS", &[("a,b c", "a,b c")], &[",", "a,,b"]),
    ("P2P_GOSSIP_D", &[("3", "3"), ("64", "64")], &["2", "65"]),
    (
        "P2P_GOSSIP_HEARTBEAT",
        &[("700ms", "700ms")],
        &["99ms", "61s"],
    ),
    (
        "P2P_STORE_MAX_BYTES",
        &[("2MiB", "2MiB")],
        &["1MiB", "0", "-1", ""],
    ),
    ("P2P_BLOCK_TTL", &[("7d", "168h")], &["0s", "3651d"]),
    (
        "P2P_MAX_BLOCK_BYTES",
        &[("1MiB", "1MiB"), ("16MiB", "16MiB")],
        &["1023KiB", "17MiB"],
    ),
    ("P2P_RELAY_SERVER", &[("yes", "true")], &["si"]),
    (
        "P2P_RELAYS",
        &[(
            "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        )],
        &["/ip4/1.2.3.4/tcp/1"],
    ),
    (
        "P2P_PEERING",
        &[(
            "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        )],
        &["/ip4/1.2.3.4/tcp/1"],
    ),
    (
        "P2P_MIN_PEERS",
        &[("0", "0"), ("12", "12")],
        &["-1", "1001"],
    ),
    ("P2P_MDNS", &[("true", "true")], &["maybe"]),
    (
        "P2P_METRICS_HOST",
        &[("0.0.0.0", "0.0.0.0"), ("::1", "::1")],
        &["localhost", ""],
    ),
    (
        "P2P_METRICS_PORT",
        &[("0", "0"), ("65535", "65535")],
        &["65536", "http"],
    ),
    (
        "P2P_CONTROL_SOCKET",
        &[("/run/x.sock", "/run/x.sock")],
        &[""],
    ),
    ("P2P_DATA_DIR", &[("/data", "/data"), ("rel", "rel")], &[""]),
    (
        "P2P_DRAIN_TIMEOUT",
        &[("0s", "0s"), ("0", "0s"), ("10m", "10m")],
        &["11m"],
    ),
    (
        "P2P_LOG_FORMAT",
        &[("json", "json"), ("journal", "journal"), ("text", "text")],
        &["xml"],
    ),
    (
        "RUST_LOG",
        &[
            ("debug", "debug"),
            ("info,libp2p_kad=trace,x=off", "info,libp2p_kad=trace,x=off"),
            ("", "info"),
        ],
        &["p2p_node=loud", "=info"],
    ),
];

#[test]
fn every_variable_takes_good_values_and_refuses_bad_ones() {
    for variable in VARIABLES {
        let name = variable.name;
        let row = ROWS
            .iter()
            .find(|r| r.0 == name)
            .unwrap_or_else(|| panic!("no row for {name}"));
        for (given, shown) in row.1 {
            let config = config(&[(name, given)]).unwrap_or_else(|e| panic!("{name}={given}: {e}"));
            assert_eq!(value_of(&config, name), *shown, "{name}={given}");
            assert_eq!(config.source(name), Source::Environment);
            let again = super::tests::config(&[(name, shown)]).map(|c| value_of(&c, name));
            // What `config show` prints can be used as a value again, unless it is empty.
            if !shown.is_empty() {
                assert_eq!(again.as_deref(), Ok(*shown), "{name}");
            }
        }
        for given in row.2 {
            let error = match config(&[(name, given)]) {
                Err(e) => e.to_string(),
                Ok(_) => panic!("{name}={given:?} was accepted"),
            };
            assert!(error.starts_with(&format!("{name}=")), "{error}");
            assert!(error.contains("accepted: "), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
    assert_eq!(ROWS.len(), VARIABLES.len());
}

#[test]
fn defaults_are_those_of_the_table() {
    let c = config(&[]).unwrap();
    for v in VARIABLES.iter().filter(|v| v.derived.is_empty()) {
        // 60s is shown as 1m, the same value in another form.
        let shown = value_of(&c, v.name);
        let expected = if v.name == "P2P_STREAM_IDLE_TIMEOUT" {
            "1m"
        } else {
            v.default
        };
        assert_eq!(shown, expected, "{}", v.name);
    }
    assert_eq!(c.max_connections, 400);
    assert_eq!(c.max_memory, MemoryLimit::Percent(80));
    assert_eq!(c.store_max_bytes, 10 << 30);
    assert_eq!(c.kad_protocol, "/p2p-node/kad/1.0.0");
    assert_eq!(
        (c.metrics_host.to_string().as_str(), c.metrics_port),
        ("127.0.0.1", 9100)
    );
    assert!(c.settings().iter().all(|s| s.source == Source::Default));
    assert!(c.set_without_effect().is_empty());
}

#[test]
fn flags_win_over_the_environment_and_are_named_in_errors() {
    let env = env(&[("P2P_MAX_CONNECTIONS", "10"), ("P2P_TOPICS", "a")]);
    let mut flags: Flags = [("P2P_MAX_CONNECTIONS", "20".into())].into();
    let c = Config::build(&env, &EnvFile::default(), &flags, false).unwrap();
    assert_eq!(c.max_connections, 20);
    assert_eq!(c.source("P2P_MAX_CONNECTIONS"), Source::Flag);
    assert_eq!(c.source("P2P_TOPICS"), Source::Environment);
    assert_eq!(c.source("P2P_MDNS"), Source::Default);
    flags.insert("P2P_GOSSIP_D", "none".into());
    let error = Config::build(&env, &EnvFile::default(), &flags, false)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("--gossip-d=\"none\": not a whole number"),
        "{error}"
    );
}

#[test]
fn unknown_variables_are_refused_with_the_nearest_name() {
    let message = |name| config(&[(name, "1")]).unwrap_err().to_string();
    assert!(message("P2P_LISTEN_ADDR").contains("did you mean P2P_LISTEN_ADDRS?"));
    assert!(message("P2P_MDSN").contains("did you mean P2P_MDNS?"));
    assert!(message("P2P_").contains("P2P_=\"1\""));
    assert!(message("P2P_NODE_PORT_4001_TCP").contains("enableServiceLinks"));
    config(&[("P2PX", "1"), ("MY_P2P_X", "1")]).unwrap();
}

#[test]
fn values_that_are_not_utf8_are_named() {
    let mut env = env(&[]);
    env.insert("P2P_NETWORK".into(), OsString::from_vec(vec![b'a', 0xff]));
    let error = Config::build(&env, &EnvFile::default(), &Flags::new(), false)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("P2P_NETWORK=\"a\\xFF\": the value is not UTF-8"),
        "{error}"
    );
    // Elsewhere in the environment, it does not matter here.
    let mut other = super::tests::env(&[]);
    other.insert("OTHER".into(), OsString::from_vec(vec![0xff]));
    Config::build(&other, &EnvFile::default(), &Flags::new(), false).unwrap();
}

#[test]
fn errors_stay_one_short_line() {
    let error = config(&[("P2P_NETWORK", &"x\n".repeat(5_000))])
        .unwrap_err()
        .to_string();
    assert!(error.len() < 1_000 && !error.contains('\n'), "{error}");
}

#[test]
fn a_bootstrap_node_serves() {
    let c = config(&[("P2P_BOOTSTRAP", "true")]).unwrap();
    assert!(c.relay_server && c.autonat_server);
    assert_eq!(c.dht_mode, DhtMode::Server);
    assert_eq!(c.source("P2P_DHT_MODE"), Source::Implied("P2P_BOOTSTRAP"));
    for (name, value) in [("P2P_DHT_MODE", "client"), ("P2P_RELAY_SERVER", "false")] {
        let error = config(&[("P2P_BOOTSTRAP", "true"), (name, value)])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("{name}=")), "{error}");
    }
    assert!(!config(&[]).unwrap().autonat_server);
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let refused = |pairs: &[(&str, &str)]| config(pairs).unwrap_err().to_string();
    let error = refused(&[
        ("P2P_NETWORK_KEY_FILE", "/k"),
        (
            "P2P_LISTEN_ADDRS",
            "/ip4/1.2.3.4/tcp/1,/ip4/1.2.3.4/udp/1/quic-v1",
        ),
    ]);
    assert!(error.contains("TCP only"), "{error}");
    let error = refused(&[
        ("P2P_STORE_MAX_BYTES", "2MiB"),
        ("P2P_MAX_BLOCK_BYTES", "4MiB"),
    ]);
    assert!(error.contains("at least 4MiB"), "{error}");
    let long = format!("/{}", "d".repeat(200));
    let error = refused(&[("P2P_DATA_DIR", &long)]);
    assert!(error.starts_with("P2P_CONTROL_SOCKET="), "{error}");
    config(&[("P2P_DATA_DIR", &long), ("P2P_CONTROL_SOCKET", "/run/s")]).unwrap();
}

#[test]
fn the_data_folder_follows_systemd_then_root_then_xdg() {
    let dirs = |pairs: &[(&str, &str)], root| {
        let env: Environment = pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
        Config::build(&env, &EnvFile::default(), &Flags::new(), root).map(|c| {
            (
                c.data_dir.display().to_string(),
                c.control_socket.display().to_string(),
            )
        })
    };
    let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
    assert_eq!(
        dirs(
            &[("STATE_DIRECTORY", "/s:/t"), ("RUNTIME_DIRECTORY", "/r:/q")],
            true
        ),
        pair("/s", "/r/control.sock")
    );
    assert_eq!(
        dirs(&[], true),
        pair("/var/lib/p2p-node", "/var/lib/p2p-node/control.sock")
    );
    assert_eq!(
        dirs(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")], false),
        pair("/x/p2p-node", "/x/p2p-node/control.sock")
    );
    assert_eq!(
        dirs(&[("HOME", "/h"), ("XDG_DATA_HOME", "relative")], false),
        pair(
            "/h/.local/share/p2p-node",
            "/h/.local/share/p2p-node/control.sock"
        )
    );
    assert_eq!(dirs(&[], false), Err(Error::NoDataDir));
}

#[test]
fn commands_look_for_the_socket_where_daemons_put_it() {
    let sockets = |pairs: &[(&str, &str)], given: Option<&str>| {
        control_sockets(&env(pairs), given.map(Path::new), false)
    };
    let own = PathBuf::from("/home/x/.local/share/p2p-node/control.sock");
    assert_eq!(sockets(&[], None), [own, SYSTEM_SOCKET.into()]);
    assert_eq!(
        sockets(&[("P2P_CONTROL_SOCKET", "/c")], None),
        [PathBuf::from("/c")]
    );
    assert_eq!(
        sockets(&[("P2P_CONTROL_SOCKET", "/c")], Some("/f")),
        [PathBuf::from("/f")]
    );
    assert_eq!(
        sockets(&[("P2P_DATA_DIR", "/d"), ("P2P_NONSENSE", "1")], None),
        [PathBuf::from("/d/control.sock"), SYSTEM_SOCKET.into()]
    );
}

#[test]
fn what_has_no_effect_yet_is_told_when_set() {
    let ineffective: Vec<_> = VARIABLES.iter().filter(|v| !v.effective).collect();
    for v in ineffective {
        let value = ROWS.iter().find(|r| r.0 == v.name).unwrap().1[0].0;
        let c = config(&[(v.name, value)]).unwrap();
        let names: Vec<_> = c.set_without_effect().iter().map(|v| v.name).collect();
        assert_eq!(names, [v.name]);
    }
    assert!(
        config(&[("P2P_MAX_CONNECTIONS", "5")])
            .unwrap()
            .set_without_effect()
            .is_empty()
    );
}

#[test]
fn an_error_stays_one_short_line_whatever_the_environment_holds() {
    let one_line = |name: &str, value: Vec<u8>| {
        let mut env = env(&[]);
        env.insert(name.into(), OsString::from_vec(value));
        let text = Config::build(&env, &EnvFile::default(), &Flags::new(), false)
            .unwrap_err()
            .to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 2000, "{}", text.len());
    };
    one_line("P2P_\u{1b}[2J\n", b"1".to_vec());
    one_line("P2P_NETWORK", vec![0xff; 100_000]);
    one_line("P2P_NETWORK", vec![b'\n'; 100_000]);
    one_line("P2P_RELAYS", b"/\x1b[2J/x".to_vec());
    one_line("P2P_TRUSTED_PEERS", b"\x1b[2J".to_vec());
}

fn in_file(text: &str, env_pairs: &[(&str, &str)], flags: &Flags) -> Result<Config, Error> {
    let file = env_file::parse(text.as_bytes(), "/etc/f.env").unwrap();
    Config::build(&env(env_pairs), &file, flags, false)
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let text = "P2P_TOPICS=file\nP2P_GOSSIP_D=5\n\nP2P_MAX_CONNECTIONS=1\n";
    let flags: Flags = [("P2P_MAX_CONNECTIONS", "3".into())].into();
    let c = in_file(
        text,
        &[("P2P_GOSSIP_D", "6"), ("P2P_MAX_CONNECTIONS", "2")],
        &flags,
    )
    .unwrap();
    assert_eq!((c.gossip_d, c.max_connections), (6, 3));
    assert_eq!(c.topics, ["file"]);
    assert_eq!(c.source("P2P_MAX_CONNECTIONS"), Source::Flag);
    assert_eq!(c.source("P2P_GOSSIP_D"), Source::Environment);
    assert_eq!(c.source("P2P_TOPICS").to_string(), "/etc/f.env, line 1");
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let refused = |text: &str| {
        in_file(text, &[], &Flags::new())
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    for (text, begins) in [
        (
            "# c\nP2P_MDNS=maybe",
            "/etc/f.env, line 2: P2P_MDNS=\"maybe\": not a yes or no; accepted: ",
        ),
        (
            "P2P_MAX_CONECTIONS=1",
            "/etc/f.env, line 1: P2P_MAX_CONECTIONS=\"1\": there is no such variable; did you mean P2P_MAX_CONNECTIONS?",
        ),
        (
            "\nP2P_BOOTSTRAP=1\nP2P_DHT_MODE=client",
            "/etc/f.env, line 3: P2P_DHT_MODE=\"client\": a bootstrap node",
        ),
        (
            "P2P_ENV_FILE=/x",
            "/etc/f.env, line 1: P2P_ENV_FILE cannot stand in the file",
        ),
        ("RUST_LOG=p2p_node=loud", "/etc/f.env, line 1: RUST_LOG="),
    ] {
        let error = refused(text);
        assert!(error.starts_with(begins), "{error}");
    }
    // A value in the file is ignored if the environment replaces it, even if it is wrong.
    let error = in_file("P2P_MDNS=maybe", &[("P2P_MDNS", "1")], &Flags::new());
    assert!(error.is_ok(), "the environment's value counts");
}

#[test]
fn a_file_that_may_be_missing_is_written_with_a_dash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.env");
    let load = |written: String| {
        Inputs {
            env: env(&[]),
            flags: [(ENV_FILE, written.into())].into(),
        }
        .load()
    };
    let loaded = load(format!("-{}", path.display())).unwrap();
    assert_eq!(loaded.missing.as_ref(), Some(&path));
    assert_eq!(loaded.config.max_connections, 400);
    let error = load(path.display().to_string()).unwrap_err().to_string();
    assert!(
        error.contains("none.env: cannot read this environment file")
            && error.contains("--env-file, or write it as -/"),
        "{error}"
    );
    // A folder is not a file that may be missing.
    load(format!("-{}", dir.path().display())).unwrap_err();
    std::fs::write(&path, "P2P_MAX_CONNECTIONS=7\n").unwrap();
    let loaded = load(format!("-{}", path.display())).unwrap();
    assert_eq!(loaded.missing, None);
    assert_eq!(loaded.config.max_connections, 7);
}
