//! How connections come and go.

use std::future::Future;

use futures::future::join_all;
use futures::join;
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;

use crate::link::{Family, Link, Pair, both_directions, each_way, foreign_dials, over_every_link};
use crate::node::Side;
use crate::pattern;
use crate::watch::run;

over_every_link!(each_way: peer_id_mismatch);
over_every_link!(both_directions: storm);
over_every_link!(foreign_dials: listener_removed);
over_every_link!(ours_by_name: names);

/// A few bytes on a new stream from the dialer to the listener.
pub(crate) async fn serves(pair: &Pair) {
    let (near, far) = join!(
        async {
            let mut near = pair.dialer.open(pair.listener.peer).await;
            pattern::send(&mut near, 5, 1000).await;
            near
        },
        async {
            let mut far = pair.listener.accept().await;
            pattern::check(&mut far, 5, 1000).await;
            far
        },
    );
    drop((near, far));
}

/// Whoever answers as someone else than was asked for is refused, and nobody
/// else suffers.
async fn peer_id_mismatch(pair: Pair) {
    let other = Keypair::generate_ed25519().public().to_peer_id();
    let error = pair
        .dialer
        .dial(&pair.address, Some(other))
        .await
        .unwrap_err();
    // The error names who answered, or who was expected.
    assert!(
        error.contains(&pair.listener.peer.to_string()) || error.contains(&other.to_string()),
        "{error}"
    );
    assert_eq!(pair.dialer.connections().await, 0);

    let peer = pair
        .dialer
        .dial(&pair.address, Some(pair.listener.peer))
        .await
        .unwrap();
    assert_eq!(peer, pair.listener.peer);
    serves(&pair).await;
}

/// Two hundred connections at once, all of which stand.
async fn storm(pair: Pair) {
    const CONNECTIONS: usize = 200;
    let dials = (0..CONNECTIONS).map(|_| pair.dialer.dial(&pair.address, Some(pair.listener.peer)));
    let failed: Vec<_> = join_all(dials)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {CONNECTIONS} failed: {}",
        failed.len(),
        failed[0]
    );
    assert_eq!(pair.dialer.connections().await, CONNECTIONS);
    serves(&pair).await;
}

/// When a listener goes, its connections stay, and no new ones come. Only with
/// this node as the listener: libp2p-quic closes them all.
async fn listener_removed(pair: Pair) {
    pair.connect().await;
    pair.listener.stop_listening().await;
    serves(&pair).await;
    let dialed = pair.dialer.dial(&pair.address, None).await;
    assert!(dialed.is_err(), "a removed listener still accepts");
    assert_eq!(pair.listener.connections().await, 1);
    serves(&pair).await;

    // And it can come back.
    let address = pair.listener.listen(pair.link.any(Family::V4)).await;
    pair.dialer
        .dial(&address, Some(pair.listener.peer))
        .await
        .unwrap();
    serves(&pair).await;
}

/// Runs a scenario with this node as the dialer, which is the one that resolves.
fn ours_by_name<F: Future<Output = ()>>(link: Link, scenario: impl Fn(Pair, Multiaddr) -> F) {
    for (family, name) in [
        (Family::V4, Protocol::Dns4("v4.test".into())),
        (Family::V6, Protocol::Dns6("v6.test".into())),
        // The family without a listener is refused, and the other one taken.
        (Family::V4, Protocol::Dns("dual.test".into())),
        (Family::V6, Protocol::Dns("dual.test".into())),
    ] {
        eprintln!("{link:?}, {name} at a listener of {family:?}");
        run(async {
            let pair = Pair::new(link, family, Side::Ours).await;
            let named = pair.address.replace(0, |_| Some(name)).unwrap();
            scenario(pair, named).await;
        });
    }
}

/// An address with a name in it is dialed like any other.
async fn names(pair: Pair, named: Multiaddr) {
    let peer = pair
        .dialer
        .dial(&named, Some(pair.listener.peer))
        .await
        .unwrap();
    assert_eq!(peer, pair.listener.peer);
    serves(&pair).await;
}
