//! Makes text that a remote chose safe for terminals and logs.

use std::fmt::Write;

use libp2p::Multiaddr;

/// Returns whether a character could control a terminal, break a line or change the
/// direction of writing.
fn is_unsafe(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Appends `text`. Every character that could control a terminal, break a line or change
/// the direction of writing is escaped.
pub fn push_printable(out: &mut String, text: &str) {
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// Does the same as [`push_printable`], and returns a new string.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_printable(&mut out, text);
    out
}

/// Returns the first `most` characters of [`printable`].
pub fn printable_start(text: &str, most: usize) -> String {
    // Each character yields at least one, so that the rest of them cannot matter.
    let start: String = text.chars().take(most).collect();
    printable(&start).chars().take(most).collect()
}

/// Returns an address for a terminal. Names in it are free text, and come from remote
/// peers.
pub fn address(address: &Multiaddr) -> String {
    printable(&address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::multiaddr::Protocol;

    #[test]
    fn text_of_remotes_cannot_steer_a_terminal() {
        assert_eq!(printable("go/1.0 ü"), "go/1.0 ü");
        assert_eq!(
            printable("a\u{1b}[2J\nb\u{202e}\u{200f}"),
            "a\\u{1b}[2J\\nb\\u{202e}\\u{200f}"
        );
    }

    #[test]
    fn the_start_of_a_text_does_not_grow_by_its_escapes() {
        assert_eq!(printable_start("abc", 2), "ab");
        let escapes = "\u{1b}".repeat(10_000);
        assert_eq!(printable_start(&escapes, 64).chars().count(), 64);
    }

    #[test]
    fn addresses_of_remotes_cannot_steer_a_terminal() {
        let hostile = Multiaddr::empty().with(Protocol::Dns4("a\u{1b}[2J".into()));
        assert_eq!(address(&hostile), "/dns4/a\\u{1b}[2J");
    }
}
