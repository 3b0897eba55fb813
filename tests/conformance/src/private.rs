//! Private networks: a pre-shared key below everything else.
//! <https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md>

use futures::future::join_all;
use libp2p::pnet::PreSharedKey;

use crate::connections::serves;
use crate::link::{Family, Link, Pair};
use crate::node::{Node, Side};
use crate::watch::run;

/// The bytes of a key, when there is one.
type Key = Option<[u8; 32]>;

const KEY: Key = Some([7; 32]);
const OTHER: Key = Some([8; 32]);

/// QUIC has no place for the key.
const LINKS: [Link; 3] = [Link::TcpNoise, Link::TcpTls, Link::WebSocket];

async fn pair(link: Link, dialer: Side, keys: (Key, Key)) -> Pair {
    eprintln!("{link:?}, {dialer:?} dials");
    let listener = Node::with_key(dialer.other(), link, keys.1.map(PreSharedKey::new));
    let address = listener.listen(link.any(Family::V4)).await;
    Pair {
        link,
        dialer: Node::with_key(dialer, link, keys.0.map(PreSharedKey::new)),
        listener,
        address,
    }
}

#[test]
fn holders_of_the_key_connect() {
    for link in LINKS {
        for dialer in [Side::Ours, Side::Foreign] {
            run(async {
                let pair = pair(link, dialer, (KEY, KEY)).await;
                pair.connect().await;
                serves(&pair).await;
            });
        }
    }
}

/// All at once, as some are refused only by the timeout of the handshake.
#[test]
fn everyone_else_is_refused() {
    let mut cases = Vec::new();
    for link in LINKS {
        for dialer in [Side::Ours, Side::Foreign] {
            for keys in [(OTHER, KEY), (None, KEY), (KEY, None)] {
                cases.push(refused(link, dialer, keys));
            }
        }
    }
    run(join_all(cases));
}

async fn refused(link: Link, dialer: Side, keys: (Key, Key)) {
    let pair = pair(link, dialer, keys).await;
    let dialed = pair.dialer.dial(&pair.address, None).await;
    assert!(
        dialed.is_err(),
        "{link:?}, {dialer:?} dials with {keys:?}: {dialed:?}"
    );
    let refusal = pair.listener.refusal().await;
    assert!(!refusal.is_empty());
    assert_eq!(pair.listener.connections().await, 0);
}

#[test]
fn a_private_node_does_not_listen_or_dial_on_quic() {
    run(async {
        let private = Node::with_key(Side::Ours, Link::Quic, KEY.map(PreSharedKey::new));
        assert!(
            private
                .try_listen(Link::Quic.any(Family::V4))
                .await
                .is_err()
        );
        let public = Node::new(Side::Foreign, Link::Quic);
        let address = public.listen(Link::Quic.any(Family::V4)).await;
        assert!(private.dial(&address, None).await.is_err());
    });
}
