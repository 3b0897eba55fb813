//! A key of the DHT, for people to read.

use libp2p::PeerId;

/// Returns a DHT key for people to read: as a CID or peer id if it is one, and otherwise
/// in hexadecimal.
pub(in crate::node) fn key_text(key: &[u8]) -> String {
    if let Ok(peer) = PeerId::from_bytes(key) {
        return peer.to_string();
    }
    if let Ok(text) = std::str::from_utf8(key)
        && !text.chars().any(char::is_control)
    {
        return text.chars().take(80).collect();
    }
    key.iter().take(40).map(|b| format!("{b:02x}")).collect()
}
