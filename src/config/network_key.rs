//! The pre-shared key of a private network (`P2P_NETWORK_KEY_FILE`).

use std::path::Path;

use libp2p::pnet::PreSharedKey;

use super::Error;

/// Reads the key from `path`: three lines, `/key/swarm/psk/1.0.0/`, `/base16/` and 64
/// hexadecimal digits (the pnet specification). This blocks on the disk.
///
/// # Errors
/// Returns [`Error::Bad`], which names the variable, the file and what is wrong.
pub fn load(path: &Path) -> Result<PreSharedKey, Error> {
    let bad = |why: String| Error::Bad {
        origin: "P2P_NETWORK_KEY_FILE".into(),
        value: path.display().to_string(),
        why,
        accepts: "a file with the lines /key/swarm/psk/1.0.0/, /base16/ and 64 hexadecimal digits",
    };
    let text = std::fs::read_to_string(path).map_err(|e| bad(format!("cannot read it: {e}")))?;
    // The message about a wrong secret contains no part of it.
    parse(&text).ok_or_else(|| bad("it is no key of a private network".into()))
}

/// Returns the key in the text of a file.
pub(crate) fn parse(text: &str) -> Option<PreSharedKey> {
    // The parser requires Unix line ends and no blanks at the ends of lines. Editors
    // leave both.
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let text = lines.join("\n");
    // The parser cuts the digits two by two, which panics inside a longer character.
    text.is_ascii().then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keys_and_names_what_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swarm.key");
        let key = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "0a".repeat(32));
        std::fs::write(&path, &key).unwrap();
        let fingerprint = load(&path).unwrap().fingerprint();
        std::fs::write(&path, key.replace('\n', " \r\n")).unwrap();
        assert!(load(&path).unwrap().fingerprint() == fingerprint);

        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            load(&path).unwrap_err().to_string()
        };
        let wide = key.replacen("a0a", "\u{a0}a", 1);
        for text in ["", "secret words", &key[..key.len() - 3], &wide] {
            let error = refused(text);
            assert!(
                error.contains("swarm.key") && !error.contains("secret"),
                "{error}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("cannot read"));
    }
}
