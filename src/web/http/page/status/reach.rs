//! The part of the page that shows the node's identity and how others reach it.

use std::fmt::Write as _;

use super::Sources;
use super::text::{count, escape, number};
use crate::api::{Reachability, Status};

/// The maximum number of addresses of each kind that are shown. A host of containers has
/// hundreds.
const MOST_ADDRESSES: usize = 16;

pub(super) fn reach(out: &mut String, from: &Sources<'_>) {
    let Some(status) = from.view.status.as_deref() else {
        return;
    };
    let _ = write!(
        out,
        "<div class=\"grid pair\"><section class=\"card\"><h2>This node</h2><dl class=\"facts\">\
         <dt>Peer id</dt><dd><code>{}</code></dd><dt>Network</dt><dd>{}</dd>\
         <dt>DHT</dt><dd>{}, <code>{}</code></dd><dt>Records held for the DHT</dt><dd>{}</dd></dl></section>\
         <section class=\"card\"><h2>How others reach it</h2><dl class=\"facts\">",
        status.peer_id.map_or_else(String::new, |id| id.to_string()),
        escape(&status.network),
        status.dht.mode.as_str(),
        escape(&status.dht.protocol),
        records(status),
    );
    let nat = match status.nat.state {
        Reachability::Public => "dialable: an address was confirmed by a dial back",
        Reachability::Private => "not dialable: every address that was tested failed",
        Reachability::Unknown => "not tested yet",
    };
    let relays = match status.nat.relays.len() {
        0 => "none".to_owned(),
        n => count(n as u64, "reservation", "reservations"),
    };
    let _ = write!(
        out,
        "<dt>From outside</dt><dd>{nat}</dd><dt>Relays</dt><dd>{relays}</dd>\
         <dt>Connections made direct by hole punching</dt><dd>{}</dd>",
        number(status.nat.hole_punched)
    );
    for (name, addresses) in [
        ("Told to others", &status.external_addrs),
        ("Listening on", &status.listen_addrs),
    ] {
        let _ = write!(out, "<dt>{name}</dt><dd>");
        if addresses.is_empty() {
            out.push_str("nothing");
        }
        for address in addresses.iter().take(MOST_ADDRESSES) {
            let _ = write!(out, "<code>{}</code><br>", escape(&address.to_string()));
        }
        if addresses.len() > MOST_ADDRESSES {
            let _ = write!(out, "and {} more", addresses.len() - MOST_ADDRESSES);
        }
        out.push_str("</dd>");
    }
    out.push_str("</dl></section></div>\n");
}

fn records(status: &Status) -> String {
    format!(
        "{}, {}",
        count(status.dht.values, "value", "values"),
        count(
            status.dht.provider_records,
            "provider record",
            "provider records"
        )
    )
}
