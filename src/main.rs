//! The `p2p-node` binary: parse arguments, choose a command; nothing else.

fn main() {}
