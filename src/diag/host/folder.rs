//! The data folder, as far as this user can see it.

use std::path::PathBuf;

use crate::diag::finding::{Finding, Severity};
use crate::text::foreign;

/// The data folder, as far as this user can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// The owner's user id and the mode of the folder; `None` when there is no folder.
    pub found: Option<(u32, u32)>,
    /// The owner's user id and the mode of the identity's file; `None` when there is no
    /// such file or when it cannot be seen.
    pub key: Option<(u32, u32)>,
    /// A file in the folder whose owner is not that of the folder, and its owner's user
    /// id.
    pub foreign: Option<(PathBuf, u32)>,
    /// Whether this user may look into it.
    pub readable: bool,
    /// The id of this user.
    pub user: u32,
}

/// Checks the data folder.
pub fn folder(f: &Folder) -> Finding {
    const CHECK: &str = "data-folder";
    let path = f.path.display();
    let Some((owner, mode)) = f.found else {
        return Finding::new(
            CHECK,
            Severity::Note,
            format!("{path} does not exist"),
            "the first start makes it; if there was one, P2P_DATA_DIR is another than before",
        );
    };
    if mode & 0o077 != 0 {
        return Finding::new(
            CHECK,
            Severity::Warning,
            format!("{path} has mode {mode:04o}: others may look into it"),
            format!("chmod 700 {path}"),
        );
    }
    if let Some((_, key_mode)) = f.key
        && key_mode & 0o077 != 0
    {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!("{path}/identity.key has mode {key_mode:04o}: it is refused"),
            format!("chmod 600 {path}/identity.key"),
        );
    }
    if let Some((file, other)) = &f.foreign {
        return Finding::new(
            CHECK,
            Severity::Problem,
            format!(
                "{path} belongs to user id {owner}, and {} to {other}: a start by another user has \
                 left it",
                foreign::printable(&file.display().to_string())
            ),
            format!("chown -R {owner}:{owner} {path}, and restart the service"),
        );
    }
    if f.key.is_none() && !f.readable {
        return Finding::ok(
            CHECK,
            format!(
                "{path} belongs to user id {owner}; user id {} may not look into it",
                f.user
            ),
        );
    }
    Finding::ok(CHECK, format!("{path}, user id {owner}, mode {mode:04o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_and_its_key_belong_to_one_user_and_nobody_else() {
        let good = Folder {
            path: "/d".into(),
            found: Some((7, 0o700)),
            key: Some((7, 0o600)),
            foreign: None,
            readable: true,
            user: 0,
        };
        let severity = |f: Folder| folder(&f).severity;
        assert_eq!(severity(good.clone()), Severity::Ok);
        let with = |found, key| Folder {
            found,
            key,
            ..good.clone()
        };
        assert_eq!(severity(with(Some((7, 0o750)), None)), Severity::Warning);
        assert_eq!(
            severity(with(Some((7, 0o700)), Some((7, 0o640)))),
            Severity::Problem
        );
        let foreign = Some((PathBuf::from("/d/blocks/00000000.seg"), 0));
        let finding = folder(&Folder {
            foreign,
            ..good.clone()
        });
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.finding.contains("00000000.seg to 0"), "{finding:?}");
        assert_eq!(severity(with(None, None)), Severity::Note);
        assert_eq!(
            severity(Folder {
                readable: false,
                ..with(Some((7, 0o700)), None)
            }),
            Severity::Ok
        );
    }
}
