use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::{Endpoint, Transport as _};

use super::*;
use crate::transport::tests::run;

const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

type TcpEvent = TransportEvent<Ready<Result<Stream, Error>>, Error>;

async fn next(transport: &mut Transport) -> TcpEvent {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
}

async fn listen_at(transport: &mut Transport, address: &str) -> (ListenerId, Multiaddr) {
    let id = ListenerId::next();
    transport.listen_on(id, address.parse().unwrap()).unwrap();
    let address = next(transport)
        .await
        .into_new_address()
        .expect("an address");
    (id, address)
}

async fn accept(transport: &mut Transport) -> (Stream, Multiaddr) {
    let (upgrade, from) = next(transport).await.into_incoming().expect("a connection");
    (upgrade.await.unwrap(), from)
}

fn opts(port_use: PortUse) -> DialOpts {
    DialOpts {
        role: Endpoint::Dialer,
        port_use,
    }
}

async fn dial_to(
    transport: &mut Transport,
    address: &Multiaddr,
    port_use: PortUse,
) -> Result<Stream, Error> {
    transport
        .dial(address.clone(), opts(port_use))
        .unwrap()
        .await
}

fn port(address: &Multiaddr) -> u16 {
    to_socket_addr(address).unwrap().port()
}

#[test]
fn dials_leave_from_the_listening_port_when_they_may() {
    for address in [LOOPBACK, "/ip6/::1/tcp/0"] {
        run(async {
            let mut here = Transport::new();
            let mut there = Transport::new();
            let (_, mine) = listen_at(&mut here, address).await;
            let (_, theirs) = listen_at(&mut there, address).await;

            let first = dial_to(&mut here, &theirs, PortUse::Reuse).await.unwrap();
            let (_first, from) = accept(&mut there).await;
            assert_eq!(from, mine);

            // The pair of ports is taken now: a new port rather than an error.
            let _second = dial_to(&mut here, &theirs, PortUse::Reuse).await.unwrap();
            let (_second, from) = accept(&mut there).await;
            assert_ne!(port(&from), port(&mine));

            let _third = dial_to(&mut here, &theirs, PortUse::New).await.unwrap();
            let (_third, from) = accept(&mut there).await;
            assert_ne!(port(&from), port(&mine));
            drop(first);

            // The listener still gets its own connections.
            let _back = dial_to(&mut there, &mine, PortUse::New).await.unwrap();
            accept(&mut here).await;
        });
    }
}

#[test]
fn a_sibling_dials_from_the_same_ports_until_the_listener_is_gone() {
    run(async {
        let mut here = Transport::new();
        let mut sibling = here.sibling();
        let mut there = Transport::new();
        let (id, mine) = listen_at(&mut here, LOOPBACK).await;
        let (_, theirs) = listen_at(&mut there, LOOPBACK).await;
        let _first = dial_to(&mut sibling, &theirs, PortUse::Reuse)
            .await
            .unwrap();
        assert_eq!(accept(&mut there).await.1, mine);
        assert!(here.remove_listener(id));
        let _second = dial_to(&mut sibling, &theirs, PortUse::Reuse)
            .await
            .unwrap();
        assert_ne!(port(&accept(&mut there).await.1), port(&mine));
    });
}

#[test]
fn a_taken_address_is_refused_and_its_owner_named() {
    run(async {
        let mut first = Transport::new();
        let (_, address) = listen_at(&mut first, LOOPBACK).await;
        let mut second = Transport::new();
        let error = match second.listen_on(ListenerId::next(), address.clone()) {
            Err(TransportError::Other(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let process = std::process::id().to_string();
        let port = port(&address).to_string();
        assert!(error.contains(&port) && error.contains(&process), "{error}");
    });
}

#[test]
fn foreign_addresses_are_left_to_others() {
    let mut transport = Transport::new();
    for address in [
        "/ip4/127.0.0.1/udp/1/quic-v1",
        "/ip4/127.0.0.1/tcp/1/ws",
        "/dns/a/tcp/1",
    ] {
        let address: Multiaddr = address.parse().unwrap();
        assert!(matches!(
            transport.listen_on(ListenerId::next(), address.clone()),
            Err(TransportError::MultiaddrNotSupported(_))
        ));
        assert!(matches!(
            transport.dial(address, opts(PortUse::New)),
            Err(TransportError::MultiaddrNotSupported(_))
        ));
    }
    for address in ["/ip4/0.0.0.0/tcp/1", "/ip4/127.0.0.1/tcp/0"] {
        assert!(
            transport
                .dial(address.parse().unwrap(), opts(PortUse::New))
                .is_err()
        );
    }
}

#[test]
fn a_wildcard_becomes_the_addresses_of_the_interfaces_in_each_family_alone() {
    run(async {
        let mut transport = Transport::new();
        let (_, v4) = listen_at(&mut transport, "/ip4/0.0.0.0/tcp/0").await;
        // The same port in the other family: IPv6 sockets take IPv6 only.
        let v6 = format!("/ip6/::/tcp/{}", port(&v4)).parse().unwrap();
        transport.listen_on(ListenerId::next(), v6).unwrap();
        let mut missing: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let mut seen = Some(v4.clone());
        loop {
            if let Some(address) = seen.take() {
                let socket = to_socket_addr(&address).unwrap();
                assert!(!socket.ip().is_unspecified());
                assert_eq!(socket.port(), port(&v4));
                missing.retain(|ip| *ip != socket.ip());
            }
            if missing.is_empty() {
                break;
            }
            seen = next(&mut transport).await.into_new_address();
        }
        let mut dialer = Transport::new();
        let to = to_multiaddr(Ipv4Addr::LOCALHOST.into(), port(&v4));
        let _stream = dial_to(&mut dialer, &to, PortUse::New).await.unwrap();
        loop {
            match next(&mut transport).await {
                TransportEvent::Incoming { local_addr, .. } => {
                    assert_eq!(local_addr, to);
                    break;
                }
                TransportEvent::NewAddress { .. } => {}
                _ => panic!("neither a connection nor an address"),
            }
        }
    });
}

#[test]
fn connections_outlive_their_listener() {
    run(async {
        let mut server = Transport::new();
        let (id, address) = listen_at(&mut server, LOOPBACK).await;
        let mut client = Transport::new();
        let mut dialled = dial_to(&mut client, &address, PortUse::New).await.unwrap();
        let (mut accepted, _) = accept(&mut server).await;

        assert!(server.remove_listener(id));
        assert!(!server.remove_listener(id));
        match next(&mut server).await {
            TransportEvent::ListenerClosed {
                listener_id,
                reason: Ok(()),
            } => {
                assert_eq!(listener_id, id);
            }
            _ => panic!("the listener should be closed"),
        }
        dialled.write_all(b"still here").await.unwrap();
        dialled.flush().await.unwrap();
        let mut buffer = [0; 10];
        accepted.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"still here");

        let refused = dial_to(&mut client, &address, PortUse::New)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
        // And the port is free for the next one, although a connection uses it.
        server.listen_on(ListenerId::next(), address).unwrap();
    });
}

#[test]
fn removing_a_listener_wakes_who_polls() {
    run(async {
        let mut server = Transport::new();
        let (id, _) = listen_at(&mut server, LOOPBACK).await;
        let (waker, woken) = futures_test_waker();
        assert!(
            Pin::new(&mut server)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(woken(), 0);
        server.remove_listener(id);
        assert_eq!(woken(), 1);
        server
            .listen_on(ListenerId::next(), LOOPBACK.parse().unwrap())
            .unwrap();
    });
}

fn futures_test_waker() -> (Waker, impl Fn() -> usize) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Count(AtomicUsize);
    impl futures::task::ArcWake for Count {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (futures::task::waker(count.clone()), move || {
        count.0.load(Ordering::SeqCst)
    })
}

#[test]
fn a_socket_from_the_service_manager_is_adopted() {
    run(async {
        let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = inherited.local_addr().unwrap();
        let mut server = Transport::new();
        server.adopt(ListenerId::next(), inherited).unwrap();
        let address = next(&mut server).await.into_new_address().unwrap();
        assert_eq!(to_socket_addr(&address), Some(wanted));
        let mut client = Transport::new();
        let _dialled = dial_to(&mut client, &address, PortUse::New).await.unwrap();
        accept(&mut server).await;
    });
}

#[test]
fn a_storm_of_connections_is_taken_whole() {
    const STORM: usize = 300;
    run(async {
        let mut server = Transport::new();
        let (_, address) = listen_at(&mut server, LOOPBACK).await;
        let to = to_socket_addr(&address).unwrap();
        let clients = std::thread::spawn(move || {
            (0..STORM)
                .map(|_| std::net::TcpStream::connect(to).unwrap())
                .collect::<Vec<_>>()
        });
        let mut accepted = Vec::new();
        while accepted.len() < STORM {
            accepted.push(accept(&mut server).await);
        }
        let clients = clients.join().unwrap();
        assert!(accepted.iter().all(|(s, _)| s.socket().nodelay().unwrap()));
        assert_eq!(clients.len(), STORM);
    });
}

#[test]
fn buffers_keep_order_and_hold_nothing_when_idle() {
    run(async {
        let mut server = Transport::new();
        let (_, address) = listen_at(&mut server, LOOPBACK).await;
        let mut peer = std::net::TcpStream::connect(to_socket_addr(&address).unwrap()).unwrap();
        let (mut stream, _) = accept(&mut server).await;

        // Small and large writes, alone and in several slices.
        let pattern: Vec<u8> = (0..400_000_u32).map(|i| (i / 3) as u8).collect();
        let wanted = pattern.clone();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; wanted.len()];
            peer.read_exact(&mut got).unwrap();
            assert!(got == wanted);
            peer.write_all(&wanted).unwrap();
            peer
        });
        let mut at = 0;
        for size in [1, 12, 16_000, 70_000, 12, 150_000, 3, 20_000]
            .iter()
            .cycle()
        {
            let end = pattern.len().min(at + size);
            let middle = at + (end - at) / 2;
            let slices =
                [&pattern[at..middle], &[], &pattern[middle..end]].map(std::io::IoSlice::new);
            at += stream.write_vectored(&slices).await.unwrap();
            if at == pattern.len() {
                break;
            }
        }
        stream.flush().await.unwrap();
        assert!(!stream.output.owns_memory());

        let mut got = Vec::new();
        let mut sizes = [1, 12, 4096, 200_000, 16_384].iter().cycle();
        while got.len() < pattern.len() {
            let mut buffer = vec![0; *sizes.next().unwrap()];
            let n = stream.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0);
            got.extend_from_slice(&buffer[..n]);
        }
        assert!(got == pattern);
        let _peer = reader.join().unwrap();
        assert!(futures::poll!(stream.read(&mut [0; 12])).is_pending());
        assert!(!stream.input.owns_memory());
        stream.close().await.unwrap();
    });
}

#[test]
fn a_listener_follows_the_interfaces() {
    use if_watch::IfEvent;
    run(async {
        let ports = Ports::default();
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut listener = Listener::new(ListenerId::next(), socket, ports.clone()).unwrap();
        let mut step = |event: IfEvent| {
            listener.on_interface(event);
            listener.events.drain(..).collect::<Vec<_>>()
        };
        let net = "10.9.8.7/24".parse().unwrap();
        let address = to_multiaddr("10.9.8.7".parse().unwrap(), port);
        let events = step(IfEvent::Up(net));
        assert!(matches!(&events[..], [Event::Address(a)] if *a == address));
        assert!(step(IfEvent::Up(net)).is_empty(), "announced once");
        assert!(ports.local_for("10.0.0.1".parse().unwrap()).is_some());
        assert!(
            step(IfEvent::Up("fd00::1/64".parse().unwrap())).is_empty(),
            "another family"
        );
        let events = step(IfEvent::Down(net));
        assert!(matches!(&events[..], [Event::Expired(a)] if *a == address));
        assert!(step(IfEvent::Down(net)).is_empty());
        assert_eq!(ports.local_for("10.0.0.1".parse().unwrap()), None);
    });
}

/// Descriptors are a resource of the process, so this runs in one of its own.
#[test]
fn a_listener_survives_running_out_of_descriptors() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "transport::tcp::tests::out_of_descriptors",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
#[ignore = "started in its own process by a_listener_survives_running_out_of_descriptors"]
fn out_of_descriptors() {
    run(async {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let mut server = Transport::new();
        let (_, address) = listen_at(&mut server, LOOPBACK).await;
        let to = to_socket_addr(&address).unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        taken.pop();
        let _client = std::net::TcpStream::connect(to).unwrap();
        // The connection waits in the backlog, and accepting it fails.
        poll_fn(|cx| {
            assert!(Pin::new(&mut server).poll(cx).is_pending());
            if server.listeners[0].pause.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        drop(taken);
        accept(&mut server).await;
    });
}
