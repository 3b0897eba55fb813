//! How much the reason for a failed try tells whoever reads it. Pure.
//!
//! Of many peers that failed one is named in the error, with its reason. Reasons come
//! as lines of text from the transports, the gate, the DHT and streams, often several
//! in one line, one for each address. What a line is worth is what the best of them is;
//! so it is the words that are looked at, and the tests say for the errors of each of
//! those rooms what they are worth.

/// What a reason is worth; the order is that of the variants, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Telling {
    /// The try was given up before anything came of it: this node was busy.
    GivenUp,
    /// Nobody knows an address of the peer.
    Nowhere,
    /// An address is known, and nothing came back from there.
    NoAnswer,
    /// Something else, which the line says.
    Other,
    /// A host or router said no: the daemon does not run there, or a network is down.
    Refused,
    /// Somebody answered who is not the peer, or the peer, and it does not want this node.
    Unwanted,
    /// A rule or limit of this node is in the way, which whoever reads this can change.
    Here,
}

/// Words by which a line is known.
const WORDS: [(&str, Telling); 27] = [
    ("this node's own limit", Telling::Here),
    (
        "are being opened already, which is the limit of this node",
        Telling::Here,
    ),
    (
        "are open on the connection, which is the limit of this node",
        Telling::Here,
    ),
    ("this node itself", Telling::Here),
    ("no transport of this node", Telling::Here),
    ("another peer", Telling::Unwanted),
    (" answered", Telling::Unwanted),
    ("closed the connection at once", Telling::Unwanted),
    ("not a valid libp2p certificate", Telling::Unwanted),
    ("nothing listens on that port", Telling::Refused),
    ("network unreachable", Telling::Refused),
    ("host unreachable", Telling::Refused),
    // As the kernel says it.
    ("Network is unreachable", Telling::Refused),
    ("Network is down", Telling::Refused),
    ("No route to host", Telling::Refused),
    ("Host is down", Telling::Refused),
    ("Connection refused", Telling::Refused),
    ("timed out", Telling::NoAnswer),
    // As libp2p-core says it of a connection that was not ready in time.
    ("Timeout has been reached", Telling::NoAnswer),
    ("did not finish within", Telling::NoAnswer),
    ("did not answer", Telling::NoAnswer),
    ("no stream within", Telling::NoAnswer),
    ("no byte has moved on the stream", Telling::NoAnswer),
    ("no address of it is known", Telling::Nowhere),
    ("knows an address of it", Telling::Nowhere),
    ("the DHT was not asked", Telling::GivenUp),
    ("others are faster", Telling::GivenUp),
];

/// What comes before words of the remote: the reason in its CONNECTION_CLOSE, as quinn
/// shows it.
const REMOTE: [&str; 2] = ["closed by peer: ", "aborted by peer: "];

/// The part of a reason that this node has written. Nothing tells where the words of a
/// remote end, and it may write whatever it wants there, so all after them is left out.
fn own_words(reason: &str) -> &str {
    let begins = REMOTE.iter().filter_map(|words| reason.find(words));
    begins.min().map_or(reason, |at| &reason[..at])
}

impl Telling {
    /// What a reason in words is worth.
    pub(crate) fn of(reason: &str) -> Telling {
        let reason = own_words(reason);
        let known = WORDS.iter().filter(|(words, _)| reason.contains(words));
        known
            .map(|(_, telling)| *telling)
            .max()
            .unwrap_or(Telling::Other)
    }
}
