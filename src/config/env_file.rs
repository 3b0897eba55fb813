//! The environment file that the unit reads: written from the table, and read
//! back by `config check`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Environment, Error, VARIABLES};

/// What the packages set although it is no default: a host that installs a
/// package expects QUIC and IPv6, while the plain default needs neither.
const PACKAGED: &[(&str, &str)] = &[(
    "P2P_LISTEN_ADDRS",
    "/ip4/0.0.0.0/tcp/4001,/ip6/::/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1,/ip6/::/udp/4001/quic-v1",
)];

/// The text of `/etc/p2p-node/p2p-node.env`: every variable as a comment with
/// its default, and what the packages set.
pub fn render() -> String {
    let mut out = String::from(
        "# Configuration of p2p-node, read by p2p-node.service.\n\
         #\n\
         # One NAME=VALUE a line. Remove the # before a line to change its value.\n\
         # Lists are separated by commas, durations are 500ms, 30s, 10m or 24h, sizes\n\
         # are 512MiB or 10GiB. `p2p-node config check --env-file FILE` says whether a\n\
         # file is good before a restart does.\n",
    );
    for v in VARIABLES {
        let _ = writeln!(out, "\n# {}.", v.help);
        let _ = writeln!(out, "# Accepted: {}.", v.accepts);
        if !v.effective {
            let _ = writeln!(
                out,
                "# Read and checked, but without effect in this version."
            );
        }
        if !v.derived.is_empty() {
            let _ = writeln!(out, "# Default: {}.", v.derived);
        }
        let _ = writeln!(out, "#{}={}", v.name, v.default);
        if let Some((name, value)) = PACKAGED.iter().find(|(name, _)| *name == v.name) {
            let _ = writeln!(out, "{name}={value}");
        }
    }
    out
}

/// Reads an environment file as systemd does (systemd.exec(5),
/// `EnvironmentFile=`): blank lines and lines that begin with `#` or `;` say
/// nothing, a backslash at the end of a line continues it, values may stand in
/// single or double quotes. `path` is for messages only.
///
/// systemd skips a line that is no assignment; here it is an error, since
/// somebody meant something by it.
pub fn parse(text: &[u8], path: &str) -> Result<Environment, Error> {
    let mut env = BTreeMap::new();
    let mut rest = text;
    let mut line_number = 0;
    while !rest.is_empty() {
        line_number += 1;
        let fail = |why: &str| Error::EnvFile {
            path: format!("{path}, line {line_number}"),
            why: why.into(),
        };
        let start = rest
            .iter()
            .position(|b| !b" \t\r".contains(b))
            .unwrap_or(rest.len());
        let line = &rest[start..];
        match line.first() {
            None => break,
            Some(b'\n') => {
                rest = &line[1..];
                continue;
            }
            Some(b'#' | b';') => {
                let end = line
                    .iter()
                    .position(|b| *b == b'\n')
                    .map_or(line.len(), |at| at + 1);
                rest = &line[end..];
                continue;
            }
            Some(_) => {}
        }
        let name_end = line
            .iter()
            .position(|b| *b == b'=' || *b == b'\n')
            .filter(|at| line[*at] == b'=')
            .ok_or_else(|| fail("not an assignment; accepted: NAME=VALUE or a # comment"))?;
        let name = line[..name_end].trim_ascii();
        let fits = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        if name.is_empty() || name[0].is_ascii_digit() || !name.iter().all(fits) {
            return Err(fail(
                "the name is not made of letters, digits and underscores",
            ));
        }
        let (value, used) = read_value(&line[name_end + 1..]).map_err(fail)?;
        line_number += line[..name_end + 1 + used]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        // The line end that `read_value` took was counted above as well.
        line_number -= usize::from(line[..name_end + 1 + used].last() == Some(&b'\n'));
        env.insert(
            OsStr::from_bytes(name).to_owned(),
            OsString::from_vec(value),
        );
        rest = &line[name_end + 1 + used..];
    }
    Ok(env)
}

/// Reads a value up to and with its line's end; answers it and the bytes used.
fn read_value(text: &[u8]) -> Result<(Vec<u8>, usize), &'static str> {
    let mut value = Vec::new();
    // Length up to which blanks belong to the value, since they were quoted.
    let mut keep = 0;
    let mut quote: Option<u8> = None;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match (quote, byte) {
            (None, b'\n') => break,
            (Some(q), b) if q == b => {
                quote = None;
                keep = value.len();
            }
            (None, b'\'' | b'"') if value.trim_ascii().is_empty() => {
                value.clear();
                quote = Some(byte);
            }
            (None | Some(b'"'), b'\\') => {
                match text.get(at) {
                    Some(b'\n') => {}
                    Some(&escaped) => {
                        value.push(escaped);
                        keep = value.len();
                    }
                    None => {}
                }
                at += 1;
            }
            (_, b) => value.push(b),
        }
    }
    if quote.is_some() {
        return Err("a quote is opened and not closed");
    }
    while value.len() > keep && value.last().is_some_and(u8::is_ascii_whitespace) {
        value.pop();
    }
    let blanks = if keep == 0 {
        value.iter().take_while(|b| b.is_ascii_whitespace()).count()
    } else {
        0
    };
    value.drain(..blanks);
    Ok((value, at.min(text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes(), "file")
            .unwrap()
            .into_iter()
            .map(|(k, v)| (k.into_string().unwrap(), v.into_string().unwrap()))
            .collect()
    }

    fn pair(k: &str, v: &str) -> Vec<(String, String)> {
        vec![(k.into(), v.into())]
    }

    #[test]
    fn reads_what_systemd_reads() {
        assert_eq!(read("# c\n; c\n\n A=b \n"), pair("A", "b"));
        assert_eq!(read("A=\"x y \""), pair("A", "x y "));
        assert_eq!(read("A='it \\is'"), pair("A", "it \\is"));
        assert_eq!(read("A=one\\\ntwo\n"), pair("A", "onetwo"));
        assert_eq!(read("A=\n"), pair("A", ""));
        assert_eq!(read("A=b\r\n"), pair("A", "b"));
        assert_eq!(read("A=1\nA=2"), pair("A", "2"));
    }

    #[test]
    fn says_which_line_is_wrong() {
        let wrong = |t: &str| parse(t.as_bytes(), "f.env").unwrap_err().to_string();
        assert!(wrong("A=1\n\nnonsense\n").starts_with("f.env, line 3: not an assignment"));
        assert!(wrong("A=1\\\n2\nB C=3").starts_with("f.env, line 3: the name"));
        assert!(wrong("A=\"1\nB=2").starts_with("f.env, line 1: a quote"));
    }

    #[test]
    fn the_packaged_file_is_the_table() {
        let committed = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/packaging/p2p-node.env"
        ));
        assert_eq!(
            committed,
            render(),
            "write it anew with: p2p-node config env-file > packaging/p2p-node.env"
        );
    }

    #[test]
    fn the_packaged_file_with_every_default_uncommented_is_good() {
        let text: String = render()
            .lines()
            .map(|l| match l.strip_prefix('#') {
                Some(l) if l.starts_with("P2P_") || l.starts_with("RUST_") => format!("{l}\n"),
                _ => String::new(),
            })
            // A derived default has no text to uncomment.
            .filter(|l| !l.ends_with("=\n") || l.contains("ADDRS") || l.contains("PEERS"))
            .collect();
        let mut env = parse(text.as_bytes(), "f").unwrap();
        assert!(env.len() > 30);
        let packaged = parse(render().as_bytes(), "f").unwrap();
        assert_eq!(packaged.len(), PACKAGED.len());
        env.extend(packaged);
        env.insert("HOME".into(), "/home/x".into());
        Config::from_env_map(&env, &Flags::new()).unwrap();
    }
}
