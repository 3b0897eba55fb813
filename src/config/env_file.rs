//! The environment file: it is written from the table, and read at the start and at every
//! reload.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use super::{ENV_FILE, Environment, Error, VARIABLES};

/// The largest size of an environment file, in bytes. The packaged one with every comment
/// has 8 KiB. A list of ten thousand addresses still fits, and reading `/dev/zero` ends.
const MOST_BYTES: u64 = 1 << 20;

/// A line of an environment file, as an error names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    path: Arc<str>,
    line: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.path, self.line)
    }
}

/// The contents of an environment file.
#[derive(Debug, Clone, Default)]
pub struct EnvFile {
    values: BTreeMap<OsString, (OsString, Position)>,
}

impl EnvFile {
    /// Returns the value of a variable and the line of its assignment. If there are
    /// several assignments, the last one counts.
    pub fn get(&self, name: &OsStr) -> Option<(&OsStr, &Position)> {
        let (value, position) = self.values.get(name)?;
        Some((value, position))
    }

    /// Returns every variable in the file with its position, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr, &Position)> {
        self.values
            .iter()
            .map(|(name, (value, position))| (name.as_os_str(), value.as_os_str(), position))
    }

    /// Returns the variables of the file without their positions.
    pub fn environment(&self) -> Environment {
        self.iter()
            .map(|(name, value, _)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Reads the environment file at `path`.
///
/// # Errors
/// Fails if the file cannot be read, is not a regular text of at most 1 MiB, or has a
/// line that is not an assignment.
pub fn read(path: &Path) -> Result<EnvFile, ReadError> {
    let mut text = Vec::new();
    std::fs::File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(ReadError::Io(io::Error::other(format!(
            "it is longer than {} bytes, so it is no environment file",
            MOST_BYTES
        ))));
    }
    Ok(parse(&text, &path.display().to_string())?)
}

/// The reason why an environment file cannot be used. The two are kept apart because a
/// file that does not exist may be allowed to be missing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line of it is wrong.
    #[error(transparent)]
    Line(#[from] Error),
}

/// The values that the packages set although they are not defaults. A host that installs
/// a package expects QUIC and IPv6, while the plain default needs neither.
const PACKAGED: &[(&str, &str)] = &[(
    "P2P_LISTEN_ADDRS",
    "/ip4/0.0.0.0/tcp/4001,/ip6/::/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1,/ip6/::/udp/4001/quic-v1",
)];

/// Returns the text of `/etc/p2p-node/p2p-node.env`: every variable as a comment with its
/// default, and the values that the packages set.
pub fn render() -> String {
    let mut out = String::from(
        "# Configuration of p2p-node, read by p2p-node.service.\n\
         #\n\
         # One NAME=VALUE per line. To set a variable, remove the # in front of it.\n\
         # Lists are separated by commas; durations look like 500ms, 30s, 10m or 24h,\n\
         # and sizes like 512MiB or 10GiB. To check a file before a restart, run\n\
         # `p2p-node config check --env-file FILE`.\n",
    );
    // The path of the file cannot be set in the file itself.
    for v in VARIABLES.iter().filter(|v| v.name != ENV_FILE) {
        let _ = writeln!(out, "\n# {}.", v.help);
        let _ = writeln!(out, "# Accepted: {}.", v.accepts);
        if !v.effective {
            let _ = writeln!(out, "# This version checks the value but does not use it.");
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

/// Reads an environment file as systemd does (systemd.exec(5), `EnvironmentFile=`). Blank
/// lines and lines that begin with `#` or `;` are ignored, a backslash at the end of a
/// line continues it, and values may be in single or double quotes. `path` is for
/// messages only.
///
/// systemd skips a line that is not an assignment. Here it is an error, since somebody
/// wrote it for a purpose.
///
/// # Errors
/// The error names the file, the line and what is wrong with it.
pub fn parse(text: &[u8], path: &str) -> Result<EnvFile, Error> {
    let mut file = EnvFile::default();
    let path: Arc<str> = path.into();
    let mut rest = text;
    let mut line_number = 0;
    while !rest.is_empty() {
        line_number += 1;
        let position = |line| Position {
            path: path.clone(),
            line,
        };
        let fail = |why: &str| Error::EnvFile {
            path: position(line_number).to_string(),
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
        if value.contains(&0) {
            return Err(fail("a value cannot hold a zero byte"));
        }
        let begins = line_number;
        line_number += line[..name_end + 1 + used]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        // The line break that `read_value` used was counted above as well.
        line_number -= usize::from(line[..name_end + 1 + used].last() == Some(&b'\n'));
        file.values.insert(
            OsStr::from_bytes(name).to_owned(),
            (OsString::from_vec(value), position(begins)),
        );
        rest = &line[name_end + 1 + used..];
    }
    Ok(file)
}

/// Reads a value up to and including the end of its line. Returns the value and the
/// number of bytes used.
fn read_value(text: &[u8]) -> Result<(Vec<u8>, usize), &'static str> {
    let mut value = Vec::new();
    // The length up to which blanks belong to the value, since they were quoted.
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
            .environment()
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
        assert!(wrong("A=1\nB=\0").starts_with("f.env, line 2: a value cannot"));
    }

    #[test]
    fn knows_where_a_value_begins() {
        let text = "# c\nA=1\n\nB=\"x\ny\"\nC=1\\\n2\nA=3\n";
        let file = parse(text.as_bytes(), "f.env").unwrap();
        let positions: Vec<_> = file
            .iter()
            .map(|(name, value, position)| format!("{name:?} {value:?} {position}"))
            .collect();
        assert_eq!(
            positions,
            [
                r#""A" "3" f.env, line 8"#,
                r#""B" "x\ny" f.env, line 4"#,
                r#""C" "12" f.env, line 6"#
            ]
        );
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = super::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
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
        let mut env = parse(text.as_bytes(), "f").unwrap().environment();
        assert!(env.len() > 30);
        let packaged = parse(render().as_bytes(), "f").unwrap().environment();
        assert_eq!(packaged.len(), PACKAGED.len());
        env.extend(packaged);
        env.insert("HOME".into(), "/home/x".into());
        Config::from_env_map(&env, &Flags::new()).unwrap();
    }
}
