//! The resolver and the transport against a real name server over loopback.

mod dial;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use futures::executor::block_on;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType::{A, AAAA, TXT};
use libp2p::Multiaddr;

use self::server::{Reply, Server, Via, txt};
use super::*;

const PEER: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
const OTHER: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

fn addr(s: &str) -> Multiaddr {
    s.parse().unwrap()
}

fn addrs(list: &[&str]) -> Vec<Multiaddr> {
    list.iter().map(|s| addr(s)).collect()
}

/// Options for a test's server. The timeouts are generous: only tests that wait
/// for one make them short.
fn options(server: &Server) -> Options {
    Options {
        servers: Servers::Fixed(vec![server.addr]),
        hosts: None,
        timeout: Some(Duration::from_secs(30)),
        retries: Some(0),
        deadline: Duration::from_secs(60),
        ..Options::default()
    }
}

fn resolve(server: &Server, address: &str) -> Result<Vec<Multiaddr>, Error> {
    block_on(
        Resolver::new(options(server))
            .unwrap()
            .resolve(&addr(address)),
    )
}

/// Resolves with a server that does not answer everything.
fn resolve_impatiently(server: &Server, address: &str) -> Result<Vec<Multiaddr>, Error> {
    let options = Options {
        timeout: Some(Duration::from_millis(200)),
        ..options(server)
    };
    block_on(Resolver::new(options).unwrap().resolve(&addr(address)))
}

fn hosts() -> Server {
    Server::table([
        (
            "dual.test",
            A,
            Reply::ips(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        ),
        ("dual.test", AAAA, Reply::ips(&["2001:db8::1"])),
        ("four.test", A, Reply::ips(&["192.0.2.4"])),
        ("six.test", AAAA, Reply::ips(&["2001:db8::6"])),
    ])
}

#[test]
fn hosts_become_addresses_whatever_the_transport() {
    let server = hosts();
    for (address, expected) in [
        ("/dns4/four.test/tcp/4001", &["/ip4/192.0.2.4/tcp/4001"][..]),
        (
            "/dns4/four.test/udp/4001/quic-v1",
            &["/ip4/192.0.2.4/udp/4001/quic-v1"],
        ),
        ("/dns6/six.test/tcp/80/ws", &["/ip6/2001:db8::6/tcp/80/ws"]),
        ("/dns/four.test/tcp/1", &["/ip4/192.0.2.4/tcp/1"]),
        ("/dns/six.test/tcp/1", &["/ip6/2001:db8::6/tcp/1"]),
        // Both families in turn, IPv6 first.
        (
            "/dns/dual.test/tcp/1",
            &[
                "/ip6/2001:db8::1/tcp/1",
                "/ip4/192.0.2.1/tcp/1",
                "/ip4/192.0.2.2/tcp/1",
                "/ip4/192.0.2.3/tcp/1",
            ],
        ),
        ("/dns6/dual.test/tcp/1", &["/ip6/2001:db8::1/tcp/1"]),
        ("/dns4/FOUR.test/tcp/1", &["/ip4/192.0.2.4/tcp/1"]),
    ] {
        assert_eq!(
            resolve(&server, address).unwrap(),
            addrs(expected),
            "{address}"
        );
    }
}

#[test]
fn names_are_found_anywhere_in_an_address() {
    let server = hosts();
    let relayed = format!("/dns4/four.test/tcp/1/p2p/{PEER}/p2p-circuit/p2p/{OTHER}");
    let expected = format!("/ip4/192.0.2.4/tcp/1/p2p/{PEER}/p2p-circuit/p2p/{OTHER}");
    assert_eq!(resolve(&server, &relayed).unwrap(), [addr(&expected)]);

    let two = format!("/dns4/four.test/tcp/1/p2p/{PEER}/p2p-circuit/dns6/six.test/tcp/2");
    let expected = format!("/ip4/192.0.2.4/tcp/1/p2p/{PEER}/p2p-circuit/ip6/2001:db8::6/tcp/2");
    assert_eq!(resolve(&server, &two).unwrap(), [addr(&expected)]);
}

#[test]
fn what_needs_no_server_asks_none() {
    let server = Server::new(|_| Reply::Code(ResponseCode::Refused));
    for (address, expected) in [
        ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1"),
        ("/dns4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1"),
        ("/dns/::1/tcp/1", "/ip6/::1/tcp/1"),
        ("/dns4/localhost/tcp/1", "/ip4/127.0.0.1/tcp/1"),
    ] {
        assert_eq!(
            resolve(&server, address).unwrap(),
            [addr(expected)],
            "{address}"
        );
    }
    assert!(matches!(
        resolve(&server, "/dns6/192.0.2.1/tcp/1"),
        Err(Error::NoRecords { .. })
    ));
    assert_eq!(server.asked(), []);
}

#[test]
fn a_family_without_answer_does_not_hold_up_the_other() {
    let server = Server::new(|(_, kind, _)| match *kind {
        A => Reply::ips(&["192.0.2.1"]),
        _ => Reply::Silence,
    });
    // The timeout of the silent question is 30 s, the deadline 60 s: an answer at
    // all means that neither was waited for, or was waited for and lost nothing.
    assert_eq!(
        resolve(&server, "/dns/x.test/tcp/1").unwrap(),
        [addr("/ip4/192.0.2.1/tcp/1")]
    );
}

#[test]
fn answers_are_remembered_for_their_time_to_live() {
    let server = hosts();
    let resolver = Resolver::new(options(&server)).unwrap();
    for _ in 0..3 {
        block_on(resolver.resolve(&addr("/dns4/four.test/tcp/1"))).unwrap();
    }
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn dnsaddr_follows_records_of_the_peer_that_was_asked_for() {
    let server = Server::table([
        (
            "_dnsaddr.list.test",
            TXT,
            Reply::txt([
                format!("dnsaddr=/dnsaddr/one.test/p2p/{PEER}"),
                format!("dnsaddr=/dnsaddr/two.test/p2p/{OTHER}"),
                format!("dnsaddr=/ip4/192.0.2.9/udp/4001/quic-v1/p2p/{PEER}"),
                "dnsaddr=/ip4/192.0.2.10/tcp/4001".to_owned(),
            ]),
        ),
        (
            "_dnsaddr.one.test",
            TXT,
            Reply::txt([
                format!("dnsaddr=/dns4/host.one.test/tcp/4001/p2p/{PEER}"),
                format!("dnsaddr=/ip6/2001:db8::1/tcp/4001/p2p/{PEER}"),
            ]),
        ),
        (
            "_dnsaddr.two.test",
            TXT,
            Reply::txt([format!("dnsaddr=/ip4/192.0.2.2/tcp/1/p2p/{OTHER}")]),
        ),
        ("host.one.test", A, Reply::ips(&["192.0.2.1"])),
    ]);
    assert_eq!(
        resolve(&server, &format!("/dnsaddr/list.test/p2p/{PEER}")).unwrap(),
        // Breadth first: what the list says itself before what its names say.
        [
            addr(&format!("/ip4/192.0.2.9/udp/4001/quic-v1/p2p/{PEER}")),
            addr(&format!("/ip6/2001:db8::1/tcp/4001/p2p/{PEER}")),
            addr(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}")),
        ]
    );
    assert!(
        !server
            .asked()
            .iter()
            .any(|(name, ..)| name == "_dnsaddr.two.test")
    );
    assert_eq!(resolve(&server, "/dnsaddr/list.test").unwrap().len(), 5);

    let error = resolve(&server, &format!("/dnsaddr/two.test/p2p/{PEER}")).unwrap_err();
    assert!(
        matches!(&error, Error::NoUsableRecords { records: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains(PEER), "{error}");
}

#[test]
fn garbage_records_are_skipped() {
    let good = format!("dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/{PEER}");
    let (half, rest) = good.as_bytes().split_at(20);
    let long = "x".repeat(255);
    let oversize: Vec<&[u8]> = [long.as_bytes(); 8].to_vec();
    let server = Server::table([(
        "_dnsaddr.x.test",
        TXT,
        Reply::Records(vec![
            txt(&[b"\xff\xfe\x00garbage"]),
            txt(&[b""]),
            txt(&[b"v=spf1 -all"]),
            txt(&[b"dnsaddr="]),
            txt(&[b"dnsaddr=/ip4/999.0.2.1/tcp/1"]),
            txt(&[b"dnsaddr=/no-such-protocol/1"]),
            txt(&[b"DNSADDR=/ip4/192.0.2.8/tcp/1"]),
            txt(&oversize),
            // One text in two parts.
            txt(&[half, rest]),
        ]),
    )]);
    assert_eq!(
        resolve(&server, "/dnsaddr/x.test").unwrap(),
        [addr(&format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"))]
    );

    let server = Server::table([(
        "_dnsaddr.y.test",
        TXT,
        Reply::txt(["nonsense", "dnsaddr=/x"]),
    )]);
    let error = resolve(&server, "/dnsaddr/y.test").unwrap_err();
    assert!(
        matches!(error, Error::NoUsableRecords { records: 2, .. }),
        "{error}"
    );
}

#[test]
fn loops_and_endless_chains_end() {
    let server = Server::table([
        (
            "_dnsaddr.a.test",
            TXT,
            Reply::txt(["dnsaddr=/dnsaddr/b.test"]),
        ),
        (
            "_dnsaddr.b.test",
            TXT,
            Reply::txt(["dnsaddr=/dnsaddr/a.test", "dnsaddr=/dnsaddr/b.test"]),
        ),
    ]);
    assert!(matches!(
        resolve(&server, "/dnsaddr/a.test"),
        Err(Error::Loop { .. })
    ));
    assert_eq!(server.asked().len(), 2);

    // Every name stands for a longer one.
    let server = Server::new(|(name, ..)| {
        let name = name.trim_start_matches("_dnsaddr.");
        Reply::txt([format!("dnsaddr=/dnsaddr/a.{name}")])
    });
    let error = resolve(&server, "/dnsaddr/test").unwrap_err();
    assert!(matches!(error, Error::TooDeep { .. }), "{error}");
    assert_eq!(server.asked().len(), MAX_DEPTH);
}

#[test]
fn a_tree_of_names_costs_a_bounded_number_of_lookups() {
    let server = Server::new(|(name, ..)| {
        let name = name.trim_start_matches("_dnsaddr.");
        Reply::txt((0..20).map(|i| format!("dnsaddr=/dnsaddr/n{i}.{name}")))
    });
    let error = resolve(&server, "/dnsaddr/test").unwrap_err();
    assert!(matches!(error, Error::TooMany { .. }), "{error}");
    let names: std::collections::HashSet<_> =
        server.asked().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), MAX_LOOKUPS);
}

#[test]
fn hundreds_of_records_come_over_tcp_and_are_bounded() {
    let server = Server::new(|_| {
        Reply::txt((0..500).map(|i| format!("dnsaddr=/ip4/192.0.2.1/tcp/{i}/p2p/{PEER}")))
    });
    let found = resolve(&server, "/dnsaddr/x.test").unwrap();
    assert_eq!(found.len(), MAX_ADDRESSES);
    let ways: Vec<_> = server.asked().into_iter().map(|(.., via)| via).collect();
    assert_eq!(ways, [Via::Udp, Via::Tcp]);

    let server = Server::new(|_| Reply::ips(&["192.0.2.1"; 500]));
    assert_eq!(
        resolve(&server, "/dns4/x.test/tcp/1").unwrap(),
        [addr("/ip4/192.0.2.1/tcp/1")]
    );
}

#[test]
fn malformed_answers_are_errors() {
    for bytes in [
        &b""[..],
        b"\x00",
        // Header that promises records that do not come.
        b"\x81\x80\x00\x01\xff\xff\xff\xff\xff\xff",
        // A compressed name that points to itself.
        b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01",
        &[0xff; 200],
    ] {
        let bytes = bytes.to_vec();
        let server = Server::new(move |_| Reply::Raw(bytes.clone()));
        for address in ["/dns4/x.test/tcp/1", "/dns/x.test/tcp/1", "/dnsaddr/x.test"] {
            let error = resolve_impatiently(&server, address).unwrap_err();
            assert!(
                matches!(error, Error::Network { .. } | Error::Timeout { .. }),
                "{address}: {error}"
            );
        }
    }
}

#[test]
fn silence_is_a_timeout() {
    let server = Server::new(|_| Reply::Silence);
    let error = resolve_impatiently(&server, "/dns4/x.test/tcp/1").unwrap_err();
    assert!(
        matches!(&error, Error::Timeout { name, .. } if name == "x.test"),
        "{error}"
    );
    assert!(!server.asked().is_empty());

    // The same by the deadline of the whole, which keeps what was found.
    let server = Server::new(|(name, ..)| match name.as_str() {
        "_dnsaddr.x.test" => Reply::txt([
            "dnsaddr=/dns4/silent.test/tcp/1",
            "dnsaddr=/ip4/192.0.2.1/tcp/1",
        ]),
        _ => Reply::Silence,
    });
    let options = Options {
        deadline: Duration::from_millis(700),
        ..options(&server)
    };
    let resolver = Resolver::new(options).unwrap();
    let silent = block_on(resolver.resolve(&addr("/dns4/silent.test/tcp/1")));
    assert!(matches!(silent, Err(Error::Timeout { .. })), "{silent:?}");
    let found = block_on(resolver.resolve(&addr("/dnsaddr/x.test"))).unwrap();
    assert_eq!(found, [addr("/ip4/192.0.2.1/tcp/1")]);
}

#[test]
fn negative_answers_say_what_is_wrong() {
    let server = Server::table([
        ("four.test", A, Reply::ips(&["192.0.2.4"])),
        ("broken.test", A, Reply::Code(ResponseCode::ServFail)),
        ("refused.test", A, Reply::Code(ResponseCode::Refused)),
    ]);
    for (address, words) in [
        ("/dns4/gone.test/tcp/1", &["gone.test", "NXDOMAIN"][..]),
        ("/dns/gone.test/tcp/1", &["gone.test", "NXDOMAIN"]),
        ("/dnsaddr/gone.test", &["_dnsaddr.gone.test", "NXDOMAIN"]),
        ("/dns6/four.test/tcp/1", &["four.test", "AAAA", "/dns4"]),
        (
            "/dns4/broken.test/tcp/1",
            &["broken.test", "Server Failure"],
        ),
        ("/dns4/refused.test/tcp/1", &["refused.test", "Refused"]),
        ("/dns4/a..b/tcp/1", &["a..b", "not a valid domain name"]),
    ] {
        let error = resolve(&server, address).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{address}: {error}");
        }
        assert!(!error.contains('\n'));
    }
}

#[test]
fn no_server_at_the_address_is_an_error() {
    let server = Server::new(|_| Reply::Silence);
    let options = Options {
        timeout: Some(Duration::from_millis(200)),
        servers: Servers::Fixed(vec![{
            let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        }]),
        ..options(&server)
    };
    let error = block_on(
        Resolver::new(options)
            .unwrap()
            .resolve(&addr("/dns4/x.test/tcp/1")),
    );
    assert!(
        matches!(error, Err(Error::Network { .. } | Error::Timeout { .. })),
        "{error:?}"
    );
}

#[test]
fn the_table_of_hosts_comes_first_and_is_watched() {
    let server = hosts();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    let options = Options {
        hosts: Some(file.clone()),
        ..options(&server)
    };
    let resolver = Resolver::new(options).unwrap();
    let ask = |address: &str| block_on(resolver.resolve(&addr(address)));

    // No file is an empty table.
    assert_eq!(
        ask("/dns4/four.test/tcp/1").unwrap(),
        [addr("/ip4/192.0.2.4/tcp/1")]
    );
    assert_eq!(server.asked().len(), 1);

    std::fs::write(&file, "# mine\n127.0.0.5  Four.test alias\nnonsense line\n").unwrap();
    assert_eq!(
        ask("/dns4/four.test/tcp/1").unwrap(),
        [addr("/ip4/127.0.0.5/tcp/1")]
    );
    assert_eq!(
        ask("/dns/alias/tcp/1").unwrap(),
        [addr("/ip4/127.0.0.5/tcp/1")]
    );

    std::fs::write(&file, "127.0.0.55 four.test\n::5 four.test").unwrap();
    assert_eq!(
        ask("/dns/four.test/tcp/1").unwrap(),
        addrs(&["/ip6/::5/tcp/1", "/ip4/127.0.0.55/tcp/1"])
    );
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_missing_or_empty_resolv_conf_fails_when_a_name_is_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    let options = |servers: PathBuf| Options {
        servers: Servers::File(servers),
        hosts: None,
        ..Options::default()
    };
    let resolver = Resolver::new(options(file.clone())).unwrap();
    let ask = || block_on(resolver.resolve(&addr("/dns4/x.test/tcp/1"))).unwrap_err();

    let error = ask();
    assert!(matches!(error, Error::NoServers { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("resolv.conf: No such file"), "{words}");
    assert!(words.contains("x.test"), "{words}");

    std::fs::write(&file, "# nothing here\n\u{0}\u{1}garbage").unwrap();
    let words = ask().to_string();
    assert!(words.contains("no nameservers found"), "{words}");

    // It is read again: port 53 of this address is nobody's.
    std::fs::write(
        &file,
        "nameserver 127.255.255.254\noptions timeout:1 attempts:1\n",
    )
    .unwrap();
    let error = ask();
    assert!(
        matches!(error, Error::Network { .. } | Error::Timeout { .. }),
        "{error}"
    );

    assert_eq!(
        Resolver::new(Options {
            servers: Servers::Fixed(vec![]),
            ..Options::default()
        })
        .map(|_| ())
        .unwrap_err(),
        Error::NoServersGiven
    );
}

#[test]
fn resolutions_at_once_are_bounded() {
    let server = Server::new(|_| Reply::Silence);
    let options = Options {
        deadline: Duration::from_millis(500),
        ..options(&server)
    };
    let resolver = Resolver::new(options).unwrap();
    let all = (0..MAX_RESOLUTIONS + 3).map(|i| {
        let resolver = resolver.clone();
        async move {
            resolver
                .resolve(&addr(&format!("/dns4/n{i}.test/tcp/1")))
                .await
        }
    });
    let results = block_on(futures::future::join_all(all));
    let busy = results
        .iter()
        .filter(|r| matches!(r, Err(Error::Busy { .. })))
        .count();
    assert_eq!(busy, 3);
    let late = results
        .iter()
        .filter(|r| matches!(r, Err(Error::Timeout { .. })))
        .count();
    assert_eq!(late, MAX_RESOLUTIONS);
    // The places are free again.
    let again = block_on(resolver.resolve(&addr("/dns4/again.test/tcp/1")));
    assert!(matches!(again, Err(Error::Timeout { .. })), "{again:?}");
}
