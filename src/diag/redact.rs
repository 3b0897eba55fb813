//! Peer ids and addresses.
