//! One file for each kind of attack. Each contains what the attacker's process does, and
//! below that the tests that start it and check the victim.

mod backpressure;
mod blocks;
mod connections;
mod control;
mod dht;
mod frames;
mod gossip;
mod identify;
mod local;
mod neighbours;
mod records;
mod streams;
mod threads;

use crate::process::{Order, Tally};

/// What the attacker's process does: everything that an order can name.
pub(crate) async fn run(order: Order, tally: Tally) {
    match order.attack.as_str() {
        "connections" => connections::flood(order, tally).await,
        "slow handshakes" => connections::slow(order, tally).await,
        "stream resets" => streams::resets(order, tally).await,
        "unread blocks" => backpressure::unread_blocks(order, tally).await,
        "unread program" => backpressure::unread_program(order, tally).await,
        "bad gossip" => gossip::bad(order, tally).await,
        "replay" => gossip::replay(order, tally).await,
        "cheat" => blocks::cheat(order, tally).await,
        "malformed exchange" => blocks::malformed(order, tally).await,
        "malformed control" => control::malformed(order, tally).await,
        "gossip flood" => gossip::flood(order, tally).await,
        "records" => records::stuff(order, tally).await,
        "values" => dht::overwrite(order, tally).await,
        "control" => control::never_read(order, tally).await,
        "proposals" => threads::proposals(order, tally).await,
        "pings" => threads::pings(order, tally).await,
        "tls records" => threads::records(order, tally).await,
        "noise messages" => threads::messages(order, tally).await,
        "websocket frames" => threads::frames(order, tally).await,
        "slow http" => local::slow_http(order, tally).await,
        "unfinished control" => local::unfinished(order, tally).await,
        "unread frames" => frames::unread(order, tally).await,
        "beyond the window" => frames::beyond_the_window(order, tally).await,
        "empty frames" => frames::empty(order, tally).await,
        "providers" => dht::provide(order, tally).await,
        "identify" => identify::stuff(order, tally).await,
        "violations" => neighbours::violate(order, tally).await,
        other => panic!("no such attack: {other}"),
    }
}
