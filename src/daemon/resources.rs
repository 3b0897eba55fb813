//! The resources that the machine gives the node, checked at the start and at every
//! reload.

use crate::config::Config;
use crate::peers::limits;
use crate::system::rlimits;

/// Raises the limits that can be raised, and logs what limits the node.
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

/// Logs a warning when there are not enough descriptors for the connections that are
/// allowed.
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

/// Returns how many connections there are descriptors for, after those that the node
/// needs for other things. QUIC connections need none, but it is not known in advance
/// which transport peers will choose.
pub(super) fn connections_possible() -> Option<u32> {
    let descriptors = rlimits::descriptors().ok()?;
    Some(limits::connections_possible(descriptors))
}
