//! What the machine gives the node, checked at the start and at every reload.

use crate::config::Config;
use crate::peers::limits;
use crate::system::rlimits;

/// Raises what can be raised, and says what limits the node.
pub(super) fn report(config: &Config) {
    if let Err(e) = rlimits::raise_descriptors() {
        log::warn!(error:% = e; "cannot read the limit of file descriptors");
    }
    report_caps(config);
    for variable in config.set_without_effect() {
        let name = variable.name;
        log::warn!("{name} is set, but this version does not enforce it yet");
    }
}

/// Says when the descriptors do not reach for the connections that are allowed.
pub(super) fn report_caps(config: &Config) {
    let (Ok(descriptors), Some(possible)) = (rlimits::descriptors(), connections_possible()) else {
        return;
    };
    if possible < config.max_connections {
        let raise = u64::from(config.max_connections) + limits::DESCRIPTORS_BESIDE;
        log::warn!(
            wanted = config.max_connections, possible, descriptors;
            "P2P_MAX_CONNECTIONS={} needs more file descriptors than the {descriptors} that this process may open; \
             at most {possible} connections are allowed; raise LimitNOFILE of the unit to {raise}, or lower the variable",
            config.max_connections
        );
    }
}

/// Connections that there are descriptors for, beside what else the node opens.
/// QUIC takes none, but which transport peers choose is not known before.
pub(super) fn connections_possible() -> Option<u32> {
    let descriptors = rlimits::descriptors().ok()?;
    Some(limits::connections_possible(descriptors))
}
