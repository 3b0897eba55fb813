//! What the machine gives the node, checked at the start.

use crate::config::Config;
use crate::system::rlimits;

/// Raises what can be raised, and says what limits the node.
pub(super) fn report(config: &Config) {
    match rlimits::raise_descriptors() {
        Ok(limit) => {
            // Beside its connections a node holds files, clients and listeners.
            let wanted = u64::from(config.max_connections) + 128;
            if limit.now < wanted {
                log::warn!(
                    allowed = limit.now, wanted = wanted;
                    "too few file descriptors for P2P_MAX_CONNECTIONS; raise LimitNOFILE or lower the variable"
                );
            }
        }
        Err(e) => log::warn!(error:% = e; "cannot read the limit of file descriptors"),
    }
    for variable in config.set_without_effect() {
        let name = variable.name;
        log::warn!("{name} is set, but this version does not enforce it yet");
    }
}
