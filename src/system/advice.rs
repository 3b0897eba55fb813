//! What to do about an error of the system, where the system's message does not say it.

use std::io;

/// Returns the text that follows the message of `error` about a file of the data folder:
/// nothing, or what to do, after a semicolon.
pub(crate) fn for_data(error: &io::Error) -> &'static str {
    match error.kind() {
        // Usually somebody ran a command as root there, or restored a backup.
        io::ErrorKind::PermissionDenied => {
            "; everything in the data folder has to belong to the user that the daemon runs as: \
             `chown -R USER: FOLDER` as root (the service's are p2p-node and /var/lib/p2p-node)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_remedy_gets_one() {
        let error = |kind| io::Error::new(kind, "x");
        assert!(for_data(&error(io::ErrorKind::PermissionDenied)).contains("chown"));
        assert_eq!(for_data(&error(io::ErrorKind::NotFound)), "");
    }
}
