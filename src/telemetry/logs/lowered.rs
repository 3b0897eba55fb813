//! The level at which a dependency's line counts.
//!
//! An error in this log says that somebody on this host must act. Only this program knows
//! when that is so: to a library, the violation of a protocol by a peer is an error too.
//! So an error of a dependency counts as a warning, and a warning of a crate that reads
//! what remotes send ([`REMOTE`]) as a detail. Whether this program considers the cause as
//! worth a line is said by its own lines: those about misbehaviour name the peer
//! and its address.
//!
//! A module that `RUST_LOG` names keeps the levels that its authors chose.

use log::{Level, Metadata};

use super::limit::is_of;

/// Crates whose warnings are about what a remote sent. For each of them, the sources of
/// the locked version were searched for `error!` and `warn!`; these are examples that a
/// remote reaches.
const REMOTE: [&str; 12] = [
    // A violation of the window, an unknown stream, an unexpected pong.
    "yamux",
    // More than is allowed in the headers of a message.
    "soketto",
    // A listener that does not know a protocol.
    "multistream_select",
    // Invalid packets, duplicate reset tokens.
    "quinn_proto",
    // Alerts, extensions that are no longer allowed.
    "rustls",
    // What a name server answers.
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "netlink_proto",
    "snow",
    "asynchronous_codec",
    "igd_next",
];

/// All crates of libp2p begin with this. Gossipsub warns of every message that is invalid,
/// identify and relay of every stream above their number, autonat of every request that
/// fails.
const LIBP2P: &str = "libp2p_";

/// Which levels count as others.
#[derive(Clone, Debug, Default)]
pub(super) struct Lowered {
    /// The modules that `RUST_LOG` names.
    named: Vec<String>,
}

impl Lowered {
    /// Returns how levels count when `RUST_LOG` is `filter`.
    pub(super) fn unless_named(filter: &str) -> Lowered {
        // What follows a slash is a pattern for the text of lines.
        let directives = filter.split('/').next().unwrap_or_default();
        let named = directives.split(',').filter_map(|directive| {
            let (name, level) = match directive.split_once('=') {
                Some((name, _)) => (name.trim(), None),
                None => (directive.trim(), Some(directive.trim())),
            };
            let is_level = level.is_some_and(|l| l.parse::<log::LevelFilter>().is_ok());
            (!name.is_empty() && !is_level).then(|| name.to_owned())
        });
        Lowered {
            named: named.collect(),
        }
    }

    /// Returns the level at which a line with this metadata counts.
    pub(super) fn level(&self, metadata: &Metadata<'_>) -> Level {
        let (level, target) = (metadata.level(), metadata.target());
        if level > Level::Warn
            || is_of("p2p_node", target)
            || self
                .named
                .iter()
                .any(|module| target.starts_with(&**module))
        {
            return level;
        }
        let of_remotes =
            target.starts_with(LIBP2P) || REMOTE.iter().any(|module| is_of(module, target));
        match level {
            Level::Error => Level::Warn,
            Level::Warn if of_remotes => Level::Debug,
            level => level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(filter: &str, level: Level, target: &str) -> Level {
        let metadata = Metadata::builder().level(level).target(target).build();
        Lowered::unless_named(filter).level(&metadata)
    }

    #[test]
    fn only_this_program_calls_for_somebody_and_warnings_about_remotes_are_details() {
        use Level::{Debug, Error, Info, Warn};
        for (target, error, warn) in [
            ("p2p_node::store", Error, Warn),
            ("yamux::connection", Warn, Debug),
            ("libp2p_gossipsub::protocol", Warn, Debug),
            ("rustls::check", Warn, Debug),
            ("quinn::endpoint", Warn, Warn),
            ("quinn_udp", Warn, Warn),
            ("somebody_elses", Warn, Warn),
        ] {
            for filter in ["", "info", "debug", "warn,p2p_node::node=trace"] {
                assert_eq!(level(filter, Error, target), error, "{target} {filter}");
                assert_eq!(level(filter, Warn, target), warn, "{target} {filter}");
                assert_eq!(level(filter, Info, target), Info);
            }
        }
    }

    #[test]
    fn a_module_that_is_named_keeps_its_levels() {
        for filter in [
            "yamux=warn",
            "info,yamux",
            "info, yamux = error",
            "yamux/window",
        ] {
            assert_eq!(
                level(filter, Level::Error, "yamux::connection"),
                Level::Error
            );
            assert_eq!(level(filter, Level::Error, "rustls"), Level::Warn);
        }
    }
}
