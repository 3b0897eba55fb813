//! What people, files and HTTP clients write.
//!
//! - A configuration that is accepted is accepted again from its own `config
//!   show`, with the same values; a refusal is one line.
//! - An environment file that is parsed can be parsed again from its quoted form.
//! - A network key that is parsed can be parsed again from its text.
//! - Text of remotes is printed without anything that controls a terminal.
//! - The head of a request is parsed in the same way when more bytes follow, and no
//!   answer contains anything from it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use p2p_node::config::{Config, Environment, Flags, VARIABLES, env_file};
use p2p_node::fuzzing;

use crate::stream;

/// `NAME=VALUE`; a name that is none stands for the variable of that number.
pub fn config_value(data: &[u8]) {
    let (name, value) = match data.iter().position(|b| *b == b'=') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => data.split_at(data.len().min(1)),
    };
    let known = VARIABLES.iter().find(|v| v.name.as_bytes() == name);
    let name: OsString = match (known, name) {
        (Some(variable), _) => variable.name.into(),
        (None, [number]) => VARIABLES[usize::from(*number) % VARIABLES.len()]
            .name
            .into(),
        (None, other) => OsString::from_vec(other.to_vec()),
    };
    let mut env: Environment = [("HOME".into(), "/home/x".into())].into();
    env.insert(name, OsString::from_vec(value.to_vec()));
    let config = match Config::from_env_map(&env, &Flags::new()) {
        Ok(config) => config,
        Err(error) => return super::one_line(&error),
    };
    let shown: Vec<(&str, String)> = config
        .settings()
        .into_iter()
        .map(|setting| (setting.variable.name, setting.value))
        .collect();
    let pairs = shown.iter().map(|(name, value)| (*name, value.as_str()));
    let again = Config::from_pairs(pairs.chain([("HOME", "/home/x")]))
        .unwrap_or_else(|error| panic!("its own values are refused: {error}"));
    for (before, after) in config.settings().iter().zip(again.settings()) {
        assert_eq!(before.value, after.value, "{}", before.variable.name);
    }
}

/// A file that systemd reads.
pub fn env_file(data: &[u8]) {
    let env = match env_file::parse(data, "file") {
        Ok(file) => file.environment(),
        Err(error) => return super::one_line(&error),
    };
    let mut quoted = Vec::new();
    for (name, value) in &env {
        assert!(!name.is_empty());
        assert!(!name.as_bytes().iter().any(|b| b"= \n\t\"'".contains(b)));
        quoted.extend_from_slice(name.as_bytes());
        quoted.extend_from_slice(b"=\"");
        for byte in value.as_bytes() {
            if b"\\\"".contains(byte) {
                quoted.push(b'\\');
            }
            quoted.push(*byte);
        }
        quoted.extend_from_slice(b"\"\n");
    }
    let again = env_file::parse(&quoted, "file").map(|file| file.environment());
    assert_eq!(again, Ok(env));
}

/// The text of a key file.
pub fn network_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(key) = fuzzing::config::network_key(text) {
        let again = fuzzing::config::network_key(&key.to_string()).expect("it shows itself");
        assert!(again.fingerprint() == key.fingerprint());
    }
}

/// Arguments, and text of remotes in what a command prints.
pub fn command_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match fuzzing::text::destination(&text) {
        Ok((peer, addr)) => {
            assert!(peer.is_some() || addr.is_some());
            if let (Some(peer), None) = (peer, &addr) {
                let again = fuzzing::text::destination(&peer.to_string());
                assert_eq!(again, Ok((Some(peer), None)));
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
    let printed = fuzzing::text::printable(&text);
    assert!(!printed.contains(char::is_control), "{printed:?}");
    assert_eq!(fuzzing::text::printable(&printed), printed);
}

/// The head of a request.
pub fn http_head(data: &[u8]) {
    let whole = fuzzing::http::head(data);
    if let Err(answer) = &whole {
        let known = [&b"HTTP/1.1 400 "[..], b"HTTP/1.1 431 "];
        assert!(known.iter().any(|status| answer.starts_with(status)));
        assert!(answer.len() < 500);
    }
    let cut = stream::hash(data) as usize % (data.len() + 1);
    match fuzzing::http::head(&data[..cut]) {
        Ok(None) => {}
        decided => assert_eq!(decided, whole, "more bytes changed what was decided"),
    }
}
