//! The targets. Each file's documentation says what must hold for every input.

pub mod block;
mod control;
pub mod exchange;
pub mod message;
mod store;
mod text;
mod transport;
mod yamux;

/// A decoder and what must hold of it.
#[derive(Debug)]
pub struct Target {
    /// As `FUZZ_TARGET` and the folder of the corpus have it.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// Bytes that it may hold at once, for inputs up to the length that `./run`
    /// gives: what its bounds allow, and the copies that the checks make.
    pub memory: usize,
}

const fn target(name: &'static str, memory: usize, run: fn(&[u8])) -> Target {
    Target { name, run, memory }
}

const MIB: usize = 1 << 20;

/// Every target.
pub const TARGETS: &[Target] = &[
    target("envelope", 4 * MIB, message::envelope),
    target("envelope_signed", 4 * MIB, message::envelope_signed),
    target("compression", 4 * MIB, message::compression),
    target("block", 4 * MIB, block::accept),
    target("block_signed", 4 * MIB, block::accept_signed),
    target("dag", 8 * MIB, block::dag),
    target("cid", MIB, block::cid),
    target("exchange_requests", 8 * MIB, exchange::requests),
    target("exchange_responses", 8 * MIB, exchange::responses),
    target("exchange_serve", 16 * MIB, exchange::serve),
    target("control_requests", 16 * MIB, control::requests),
    target("control_upload", 8 * MIB, control::upload),
    target("control_answers", 8 * MIB, control::answers),
    target("control_gossip", 4 * MIB, control::gossip),
    target("config_value", MIB, text::config_value),
    target("env_file", MIB, text::env_file),
    target("network_key", MIB, text::network_key),
    target("command_line", MIB, text::command_line),
    target("http_head", MIB, text::http_head),
    target("multiaddr", MIB, transport::multiaddr),
    target("dns", 4 * MIB, transport::dns),
    target("yamux", 24 * MIB, yamux::yamux),
    target("store_rows", 4 * MIB, store::rows),
    target("trust_rows", MIB, store::trust),
    target("journal", 4 * MIB, store::journal),
];

/// An error as a person sees it: one line of bounded length, with nothing in it
/// that steers a terminal.
fn one_line(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(text.len() < 2000, "{} bytes of error", text.len());
    assert!(!text.is_empty());
    assert!(!text.contains(char::is_control), "{text:?}");
}
