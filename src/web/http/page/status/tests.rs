use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::api::{DhtRole, DhtStatus, LimitStatus, NatStatus, Status, TopicStatus, Unit};
use crate::web::last_hour::{EVERY, LastHour, Totals};
use crate::web::metrics::Metrics;

const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

const EVIL: &str = "<script>alert(1)</script>'\"&";

fn health(reason: Option<&str>) -> Health {
    Health {
        live: true,
        ready: reason.is_none(),
        reason: reason.map(Into::into),
        connected_peers: 3,
        routing_table_size: 4,
        uptime: Duration::from_secs(90_061),
    }
}

fn status() -> Status {
    Status {
        peer_id: Some(PEER.parse().unwrap()),
        agent: EVIL.into(),
        network: EVIL.into(),
        uptime: Duration::from_secs(5),
        listen_addrs: vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()],
        external_addrs: vec!["/dns/%3Cscript%3E'<b>/tcp/1".parse().unwrap()],
        peers: 3,
        connections_inbound: 2,
        connections_outbound: 1,
        dht: DhtStatus {
            protocol: format!("/{EVIL}/kad/1.0.0"),
            mode: DhtRole::Server,
            table_size: 4,
            values: 1,
            provider_records: 1234,
            queries: 0,
        },
        topics: vec![TopicStatus {
            topic: "a-secret-topic".into(),
            mesh_peers: 1,
            peers: 1,
        }],
        nat: NatStatus {
            state: Reachability::Private,
            relays: vec!["12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".into()],
            hole_punched: 0,
        },
        limits: vec![LimitStatus {
            name: "connections".into(),
            unit: Unit::Count,
            variable: "P2P_MAX_CONNECTIONS".into(),
            used: 390,
            allowed: 400,
        }],
        ..Status::default()
    }
}

fn rendered(health: &Health, view: &View, metrics: &Metrics, still: bool) -> String {
    page(&Sources {
        health,
        view,
        metrics,
        now: Instant::now(),
        still,
    })
}

fn full() -> View {
    let last_hour = LastHour::new();
    let now = Instant::now();
    for n in 0..10 {
        let totals = Totals {
            peers: n,
            bytes_in: n * 5 * 1024,
            ..Totals::default()
        };
        last_hour.record(now + EVERY * n as u32, totals, Some(status()), None);
    }
    last_hour.view()
}

#[test]
fn nothing_that_others_chose_can_be_markup() {
    let page = rendered(
        &health(Some(EVIL)),
        &full(),
        &Metrics::new().unwrap(),
        false,
    );
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&#39;&quot;&amp;"));
    assert!(page.contains("Not ready"));
}

/// The port may be open to a whole network.
#[test]
fn it_shows_nobody_else_and_no_topic() {
    let page = rendered(&health(None), &full(), &Metrics::new().unwrap(), false);
    assert!(!page.contains("a-secret-topic"), "{page}");
    assert!(!page.contains("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"));
    assert!(page.contains("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"));
}

#[test]
fn it_says_how_the_node_is_and_what_to_do() {
    let metrics = Metrics::new().unwrap();
    let ready = rendered(&health(None), &full(), &metrics, false);
    assert!(ready.contains("<title>Ready, 3 peers - p2p-node</title>"));
    assert!(ready.contains("Connected to 3 peers. Others reach it through a relay."));
    assert!(ready.contains("1d 1h") && ready.contains("1,234 provider records"));
    assert!(ready.contains("390 of 400") && ready.contains("class=\"bad\" width=\"97.5\""));
    // 5 KiB were moved in 5 s.
    assert!(ready.contains("<dd>1.0\u{a0}KiB/s "), "{ready}");
    let draining = rendered(&health(Some("draining")), &full(), &metrics, false);
    assert!(draining.contains("<title>Draining"));
    let stuck = Health {
        live: false,
        ready: false,
        reason: Some("the event loop has not turned for 20 s".into()),
        ..health(None)
    };
    let stuck = rendered(&stuck, &full(), &metrics, false);
    assert!(stuck.contains("Stuck") && stuck.contains("The event loop has not turned for 20 s."));
    // Before the first sample the page shows less, but nothing that is wrong.
    let early = rendered(&health(Some("starting")), &View::default(), &metrics, false);
    assert!(early.contains("Starting") && early.contains("Not known yet"));
    for page in [ready, draining, stuck, early] {
        assert!(!page.contains("NaN") && !page.contains("inf "), "{page}");
        assert!(page.len() < 64 * 1024, "{}", page.len());
    }
}

#[test]
fn it_refreshes_unless_it_is_to_be_still() {
    let metrics = Metrics::new().unwrap();
    let refresh = "<meta http-equiv=\"refresh\"";
    assert!(rendered(&health(None), &full(), &metrics, false).contains(refresh));
    assert!(!rendered(&health(None), &full(), &metrics, true).contains(refresh));
}

#[test]
fn the_policy_allows_this_style_sheet_and_nothing_else() {
    let hash = cid::multibase::encode(cid::multibase::Base::Base64Pad, Sha256::digest(STYLE));
    let source = format!("'sha256-{}'", &hash[1..]);
    assert!(CSP.contains(&source), "the style sheet's hash is {source}");
    assert!(
        CSP.contains("default-src 'none'") && !CSP.contains("unsafe"),
        "{CSP}"
    );
    assert!(CSP.ends_with("\r\n") && CSP.trim_end().lines().count() == 1);
    let page = rendered(&health(None), &full(), &Metrics::new().unwrap(), false);
    // Anything from another source would be blocked, and the page would look broken.
    for other in [
        "style=", "<script", "http:", "https:", "//", "@import", "url(",
    ] {
        let without = page.replace("xmlns='http://www.w3.org/2000/svg'", "");
        let without = without.replace("<!doctype", "");
        assert!(!without.contains(other), "{other}");
    }
}
