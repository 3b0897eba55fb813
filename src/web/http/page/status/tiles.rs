//! The part of the page that shows the most important figures, each in a tile.

use std::fmt::Write as _;

use super::Sources;
use super::charts::rates;
use super::text::{bytes, count, escape, number, rate};
use crate::web::last_hour::Totals;
use crate::web::metrics::Metrics;

pub(super) fn tiles(out: &mut String, from: &Sources<'_>) {
    let metrics = from.metrics;
    let (down, up) = rates(&from.view.samples)
        .last()
        .map_or((0.0, 0.0), |r| (r.1, r.2));
    let status = from.view.status.as_deref();
    let connections = status.map_or_else(String::new, |s| {
        format!(
            "{} in, {} out",
            s.connections_inbound, s.connections_outbound
        )
    });
    let topics = gauge(&metrics.node.topics);
    let tiles = [
        ("Peers", number(from.health.connected_peers), connections),
        (
            "Receiving",
            rate(down),
            format!("{} in all", bytes(total(metrics, "in"))),
        ),
        (
            "Sending",
            rate(up),
            format!("{} in all", bytes(total(metrics, "out"))),
        ),
        (
            "Routing table",
            number(from.health.routing_table_size),
            status.map_or_else(String::new, |s| format!("as {}", s.dht.mode.as_str())),
        ),
        (
            "Gossip mesh",
            number(gauge(&metrics.node.gossip_peers)),
            count(topics, "topic", "topics"),
        ),
        (
            "Blocks stored",
            number(gauge(&metrics.store.store_blocks)),
            bytes(gauge(&metrics.store.store_bytes)),
        ),
    ];
    out.push_str("<dl class=\"grid tiles\">");
    for (name, value, more) in tiles {
        let _ = write!(
            out,
            "<div class=\"card\"><dt>{name}</dt><dd>{value} <small>{}</small></dd></div>",
            escape(&more)
        );
    }
    out.push_str("</dl>\n");
}

fn total(metrics: &Metrics, direction: &str) -> u64 {
    let totals = Totals::read(metrics);
    match direction {
        "in" => totals.bytes_in,
        _ => totals.bytes_out,
    }
}

fn gauge(gauge: &prometheus::IntGauge) -> u64 {
    gauge.get().try_into().unwrap_or(0)
}
