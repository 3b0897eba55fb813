//! Dials: which addresses are tried, in which order, and what comes out.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};
use libp2p::core::Endpoint;
use libp2p::core::Transport as _;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};

use super::*;

/// What the inner transport does with an address.
#[derive(Clone, Copy)]
enum Fate {
    Connects,
    Refuses,
    Hangs,
    Unsupported,
}

/// An inner transport that connects by a table (`Refuses` when not in it) and
/// keeps what it was asked for. A connection is the address dialed.
struct Table {
    fates: HashMap<Multiaddr, Fate>,
    dialed: Arc<Mutex<Vec<(Multiaddr, DialOpts)>>>,
}

impl libp2p::core::Transport for Table {
    type Output = Multiaddr;
    type Error = io::Error;
    type ListenerUpgrade = futures::future::Ready<Result<Multiaddr, io::Error>>;
    type Dial = BoxFuture<'static, Result<Multiaddr, io::Error>>;

    fn listen_on(&mut self, _: ListenerId, a: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(a))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        a: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.dialed.lock().unwrap().push((a.clone(), opts));
        match self.fates.get(&a).copied().unwrap_or(Fate::Refuses) {
            Fate::Connects => Ok(ready(Ok(a)).boxed()),
            Fate::Refuses => Ok(ready(Err(io::ErrorKind::ConnectionRefused.into())).boxed()),
            Fate::Hangs => Ok(pending().boxed()),
            Fate::Unsupported => Err(TransportError::MultiaddrNotSupported(a)),
        }
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

const OPTS: DialOpts = DialOpts {
    role: Endpoint::Listener,
    port_use: PortUse::New,
};

type Outcome = Result<Multiaddr, DialError<io::Error>>;

/// Dials `address` with a server of one name, `x.test`, that has these A records.
fn dial(ips: &[&str], fates: &[(&str, Fate)], address: &str) -> (Outcome, Vec<Multiaddr>) {
    let server = Server::table([("x.test", A, Reply::ips(ips))]);
    let dialed = Arc::new(Mutex::new(Vec::new()));
    let table = Table {
        fates: fates.iter().map(|(a, fate)| (addr(a), *fate)).collect(),
        dialed: dialed.clone(),
    };
    let mut transport = Transport::new(table, options(&server)).unwrap();
    let outcome = block_on(transport.dial(addr(address), OPTS).unwrap());
    let dialed = dialed.lock().unwrap().clone();
    assert!(
        dialed
            .iter()
            .all(|(_, o)| o.role == OPTS.role && o.port_use == OPTS.port_use)
    );
    (outcome, dialed.into_iter().map(|(a, _)| a).collect())
}

#[test]
fn names_are_resolved_and_dialed_for_any_transport() {
    for (address, expected) in [
        ("/dns4/x.test/tcp/1", "/ip4/192.0.2.1/tcp/1"),
        ("/dns4/x.test/udp/1/quic-v1", "/ip4/192.0.2.1/udp/1/quic-v1"),
        ("/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.7/tcp/1"),
    ] {
        let (outcome, dialed) = dial(&["192.0.2.1"], &[(expected, Fate::Connects)], address);
        assert_eq!(outcome.unwrap(), addr(expected));
        assert_eq!(dialed, [addr(expected)]);
    }
}

#[test]
fn a_silent_or_refusing_address_does_not_stop_the_next() {
    let (outcome, dialed) = dial(
        &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
        &[
            ("/ip4/192.0.2.1/tcp/1", Fate::Hangs),
            ("/ip4/192.0.2.2/tcp/1", Fate::Refuses),
            ("/ip4/192.0.2.3/tcp/1", Fate::Connects),
        ],
        "/dns4/x.test/tcp/1",
    );
    assert_eq!(outcome.unwrap(), addr("/ip4/192.0.2.3/tcp/1"));
    // In order, and none after the one that connected.
    assert_eq!(
        dialed,
        addrs(&[
            "/ip4/192.0.2.1/tcp/1",
            "/ip4/192.0.2.2/tcp/1",
            "/ip4/192.0.2.3/tcp/1"
        ])
    );
}

#[test]
fn when_all_fail_the_error_tells_what_was_tried() {
    let ips = [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.4",
        "192.0.2.5",
    ];
    let (outcome, dialed) = dial(
        &ips,
        &[("/ip4/192.0.2.1/tcp/1", Fate::Unsupported)],
        "/dns4/x.test/tcp/1",
    );
    assert_eq!(dialed.len(), ips.len());
    let error = outcome.unwrap_err();
    let words = error.to_string();
    assert!(
        words.starts_with("cannot dial /dns4/x.test/tcp/1: "),
        "{words}"
    );
    assert!(
        words.contains("/ip4/192.0.2.2/tcp/1: connection refused"),
        "{words}"
    );
    assert!(words.ends_with("; and 2 more"), "{words}");
    assert!(matches!(error, DialError::Unreachable { attempts, .. } if attempts.len() == 5));

    let (outcome, _) = dial(
        &ips[..1],
        &[("/ip4/192.0.2.1/tcp/1", Fate::Unsupported)],
        "/dns4/x.test/tcp/1",
    );
    let words = outcome.unwrap_err().to_string();
    assert!(words.contains("no transport for it here"), "{words}");
}

#[test]
fn dials_of_one_name_are_bounded() {
    let ips: Vec<_> = (0..40).map(|i| format!("192.0.2.{i}")).collect();
    let ips: Vec<_> = ips.iter().map(String::as_str).collect();
    let (outcome, dialed) = dial(&ips, &[], "/dns4/x.test/tcp/1");
    assert!(outcome.is_err());
    assert_eq!(dialed.len(), MAX_DIALS);
}

#[test]
fn what_is_forbidden_is_not_dialed_whatever_name_leads_there() {
    let server = Server::table([("x.test", A, Reply::ips(&["192.0.2.1", "192.0.2.2"]))]);
    let dialed = Arc::new(Mutex::new(Vec::new()));
    let good = addr("/ip4/192.0.2.2/tcp/1");
    let table = Table {
        fates: HashMap::from([(good.clone(), Fate::Connects)]),
        dialed: dialed.clone(),
    };
    let names = Arc::new(Mutex::new(Vec::new()));
    let asked = names.clone();
    let filter = DialFilter::new(move |ip, name, _| {
        asked.lock().unwrap().push(name.map(str::to_owned));
        match ip.to_string().as_str() {
            "192.0.2.1" => Err("denied by a test".into()),
            _ => Ok(()),
        }
    });
    let mut transport = Transport::new(table, options(&server))
        .unwrap()
        .with_dial_filter(filter);
    let outcome = block_on(transport.dial(addr("/dns4/x.test/tcp/1"), OPTS).unwrap());
    assert_eq!(outcome.unwrap(), good);
    let plain = transport.dial(addr("/ip4/192.0.2.1/tcp/1"), OPTS);
    let Err(TransportError::Other(error)) = plain else {
        panic!("dialed what is forbidden")
    };
    assert!(error.to_string().contains("denied by a test"), "{error}");
    let dialed: Vec<_> = dialed
        .lock()
        .unwrap()
        .iter()
        .map(|(a, _)| a.clone())
        .collect();
    assert_eq!(dialed, [good]);
    let name = Some("x.test".to_owned());
    assert_eq!(*names.lock().unwrap(), [name.clone(), name, None]);
}

#[test]
fn failures_to_resolve_reach_the_dialer() {
    let (outcome, dialed) = dial(&[], &[], "/dns4/gone.test/tcp/1");
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, DialError::Resolve(Error::NotFound { .. })),
        "{error}"
    );
    assert!(dialed.is_empty());
}

#[test]
fn an_unsupported_address_without_names_is_refused_at_once() {
    let server = hosts();
    let unsupported = addr("/ip4/192.0.2.1/tcp/1");
    let table = Table {
        fates: HashMap::from([(unsupported.clone(), Fate::Unsupported)]),
        dialed: Arc::default(),
    };
    let mut transport = Transport::new(table, options(&server)).unwrap();
    // So that `or_transport` can offer it to the next one.
    assert!(matches!(
        transport.dial(unsupported.clone(), OPTS),
        Err(TransportError::MultiaddrNotSupported(a)) if a == unsupported
    ));
}
