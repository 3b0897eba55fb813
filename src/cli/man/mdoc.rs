//! Writes mdoc(7): turns prose into lines with the right macros.
//!
//! Prose is plain text in which backticks mark text that the reader types literally.
//! Variables, options and names of manual pages are recognised without backticks.

/// Maximum width of a line of prose, as is customary for mdoc.
const WIDTH: usize = 78;

/// A manual page under construction.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Starts a page with the header that all pages share. `what` is the line that
    /// `apropos` shows.
    pub(super) fn new(comment: &str, name: &str, section: u8, what: &str) -> Page {
        let mut page = Page {
            text: String::new(),
        };
        for line in comment.lines() {
            page.text.push_str(".\\\" ");
            page.text.push_str(line);
            page.text.push('\n');
        }
        page.macro_line("Dd", &[super::DATED]);
        page.macro_line("Dt", &[&name.to_uppercase(), &section.to_string()]);
        page.macro_line("Os", &[]);
        page.heading("NAME");
        page.macro_line("Nm", &[name]);
        page.raw(&format!(".Nd {}", text(what)));
        page
    }

    /// Returns the finished page.
    pub(super) fn finish(self) -> String {
        // mandoc warns of a paragraph macro that no text follows.
        self.text
            .replace(".Pp\n.Sh", ".Sh")
            .replace(".Pp\n.Ss", ".Ss")
    }

    /// Begins a section.
    pub(super) fn heading(&mut self, title: &str) {
        self.raw(&format!(".Sh {}", text(title)));
    }

    /// Begins a subsection.
    pub(super) fn subheading(&mut self, title: &str) {
        self.raw(&format!(".Ss {}", text(title)));
    }

    /// Writes a macro with its arguments, each of which is taken as it is. As usual in
    /// mdoc, they may be macros in turn.
    pub(super) fn macro_line(&mut self, name: &str, arguments: &[&str]) {
        let mut line = format!(".{name}");
        for a in arguments {
            line.push(' ');
            line.push_str(a);
        }
        self.raw(&line);
    }

    /// Writes a line of roff.
    pub(super) fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes paragraphs, which are separated by blank lines.
    pub(super) fn prose(&mut self, prose: &str) {
        for (i, paragraph) in prose.split("\n\n").enumerate() {
            if i > 0 {
                self.raw(".Pp");
            }
            let mut lines = Lines::default();
            for token in tokens(paragraph) {
                lines.push(&token);
            }
            lines.flush();
            self.text.push_str(&lines.done);
        }
    }

    /// Writes lines exactly as they are typed or shown.
    pub(super) fn literal(&mut self, lines: &[&str]) {
        self.raw(".Bd -literal -offset indent");
        for line in lines {
            self.raw(&code(line));
        }
        self.raw(".Ed");
        self.raw(".Pp");
    }
}

/// Escapes plain text, so that it can stand anywhere but at the start of a line.
fn text(plain: &str) -> String {
    escape(plain, false)
}

/// Escapes a line of a literal display.
fn code(line: &str) -> String {
    let escaped = escape(line, true);
    match escaped.chars().next() {
        Some('.' | '\'') => format!("\\&{escaped}"),
        _ => escaped,
    }
}

/// Escapes an argument of a macro, so that it is one word and is not taken for a macro.
pub(super) fn argument(word: &str) -> String {
    let escaped = escape(word, true).replace('"', "\\(dq");
    let callable = word.len() <= 3 && word.starts_with(|c: char| c.is_ascii_uppercase());
    let delimiter = word.len() == 1 && !word.starts_with(|c: char| c.is_ascii_alphanumeric());
    let guard = if callable || delimiter || word.is_empty() {
        "\\&"
    } else {
        ""
    };
    if escaped.contains(' ') {
        format!("\"{guard}{escaped}\"")
    } else {
        format!("{guard}{escaped}")
    }
}

/// Replaces the characters that are special to roff, and those beyond ASCII, by their
/// names. A dash in text that is typed must stay a dash that a shell understands.
fn escape(plain: &str, typed: bool) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' if typed => out.push_str("\\-"),
            '\'' if typed => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '…' => out.push_str("..."),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    out
}

/// A word of prose.
#[derive(Debug, PartialEq, Eq)]
struct Token<'a> {
    /// Brackets and quotes in front of the word.
    open: &'a str,
    /// The word itself. For a word in backticks, this is the text between them.
    core: &'a str,
    marked: bool,
    /// Text that follows the closing backtick and is no delimiter, such as `s`.
    suffix: &'a str,
    /// Delimiters after the word.
    close: &'a str,
}

fn is_open(c: char) -> bool {
    matches!(c, '(' | '[')
}

fn is_close(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '?' | '!' | ')' | ']')
}

fn tokens(paragraph: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = paragraph.trim_start();
    while !rest.is_empty() {
        let after_open = rest.trim_start_matches(is_open);
        let (open, body) = rest.split_at(rest.len() - after_open.len());
        let (core, marked, after) = match body.strip_prefix('`').and_then(|b| b.split_once('`')) {
            Some((core, after)) => (core, true, after),
            None => {
                let end = body.find(char::is_whitespace).unwrap_or(body.len());
                let word = body[..end].trim_end_matches(is_close);
                (word, false, &body[word.len()..])
            }
        };
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (tail, next) = after.split_at(end);
        let suffix = tail.trim_end_matches(is_close);
        found.push(Token {
            open,
            core,
            marked,
            suffix,
            close: &tail[suffix.len()..],
        });
        rest = next.trim_start();
    }
    found
}

/// Returns the macro for a word, with its arguments; `None` for plain text.
fn semantic(token: &Token<'_>) -> Option<String> {
    let core = token.core;
    let all = |fits: fn(char) -> bool| !core.is_empty() && core.chars().all(fits);
    let is_variable =
        core.contains('_') && all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_variable {
        return Some(format!("Ev {core}"));
    }
    let is_long = core.strip_prefix("--").is_some_and(|o| {
        o.starts_with(|c: char| c.is_ascii_lowercase())
            && o.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    });
    if is_long {
        return Some(flag(core));
    }
    if !token.marked {
        // This is the name of a manual page, whose section is at the start of `close`.
        return None;
    }
    if core == "p2p-node" {
        return Some("Nm p2p-node".into());
    }
    if core.len() == 2 && core.starts_with('-') && core != "--" {
        return Some(flag(core));
    }
    let system = ["/etc/", "/var/", "/run/", "/usr/", "/dev/"];
    if system.iter().any(|s| core.starts_with(s)) && !core.contains(' ') {
        return Some(format!("Pa {}", argument(core)));
    }
    if all(|c| c.is_ascii_lowercase() || c == '-') {
        return Some(format!("Cm {}", argument(core)));
    }
    Some(format!("Ql {}", argument(core)))
}

/// Returns the `Fl` macro for an option that is written with its dashes.
pub(super) fn flag(option: &str) -> String {
    let name = option.strip_prefix('-').unwrap_or(option);
    format!("Fl {}", name.replace('-', "\\-"))
}

/// Reads `name(8)` as a reference to a manual page.
fn reference<'a>(token: &Token<'a>) -> Option<(&'a str, char, &'a str)> {
    // The closing bracket was taken for a delimiter and is not part of the word.
    let (name, section) = token.core.rsplit_once('(')?;
    let section = section.parse().ok().filter(char::is_ascii_digit)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let close = token.close.strip_prefix(')')?;
    (!token.marked && !name.is_empty() && name.chars().all(fits)).then_some((name, section, close))
}

/// Lines of prose that are being assembled.
#[derive(Default)]
struct Lines {
    done: String,
    line: String,
}

impl Lines {
    fn push(&mut self, token: &Token<'_>) {
        let (call, close) = match reference(token) {
            Some((name, section, close)) => (Some(format!("Xr {name} {section}")), close),
            None => (semantic(token), token.close),
        };
        match call {
            Some(call) => {
                self.flush();
                self.done.push('.');
                // Opening delimiters are printed before the word and not in its font.
                let (name, rest) = call.split_once(' ').unwrap_or((&call, ""));
                self.done.push_str(name);
                for c in token.open.chars() {
                    self.done.push(' ');
                    self.done.push(c);
                }
                self.done.push(' ');
                self.done.push_str(rest);
                if !token.suffix.is_empty() {
                    self.done.push_str(" Ns ");
                    self.done.push_str(&argument(token.suffix));
                }
                for c in close.chars() {
                    self.done.push(' ');
                    self.done.push(c);
                }
                self.done.push('\n');
            }
            None => {
                let word = format!("{}{}{}", token.open, token.core, token.close);
                let word = text(&word);
                if !self.line.is_empty() && self.line.len() + 1 + word.len() > WIDTH {
                    self.flush();
                }
                if self.line.is_empty() {
                    if word.starts_with(['.', '\'']) {
                        self.line.push_str("\\&");
                    }
                } else {
                    self.line.push(' ');
                }
                self.line.push_str(&word);
                if ends_sentence(token) {
                    self.flush();
                }
            }
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.done.push_str(&self.line);
            self.done.push('\n');
            self.line.clear();
        }
    }
}

/// Returns whether the word ends a sentence. In mdoc every sentence begins on a new line,
/// so that the formatter knows where sentences end.
fn ends_sentence(token: &Token<'_>) -> bool {
    token
        .close
        .trim_end_matches([')', ']'])
        .ends_with(['.', '?', '!'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose(text: &str) -> String {
        let mut page = Page {
            text: String::new(),
        };
        page.prose(text);
        page.finish()
    }

    #[test]
    fn words_get_their_macros() {
        assert_eq!(
            prose("Set P2P_BOOTSTRAP (or `--bootstrap`). See p2p-node.env(5), then."),
            "Set\n.Ev P2P_BOOTSTRAP\n(or\n.Fl \\-bootstrap ) .\nSee\n.Xr p2p-node.env 5 ,\nthen.\n"
        );
        assert_eq!(
            prose("Look at `/etc/p2p-node/x`, `put`, `a b`s and (`Ar`)"),
            "Look at\n.Pa /etc/p2p\\-node/x ,\n.Cm put ,\n.Ql \"a b\" Ns s\nand\n.Ql ( \\&Ar )\n"
        );
    }

    #[test]
    fn every_sentence_begins_a_line_and_no_line_is_long() {
        let long = "word ".repeat(40);
        let made = prose(&format!("One. Two, three. {long}"));
        assert!(made.starts_with("One.\nTwo, three.\nword"), "{made}");
        assert!(made.lines().all(|l| l.len() <= WIDTH), "{made}");
    }

    #[test]
    fn nothing_in_a_text_is_taken_for_roff() {
        assert_eq!(prose(".Sh 'x \\fB"), "\\&.Sh 'x \\efB\n");
        assert_eq!(code(".a -b 'c'"), "\\&.a \\-b \\(aqc\\(aq");
        assert_eq!(argument("a \"b\""), "\"a \\(dqb\\(dq\"");
        assert_eq!(text("é…"), "\\[u00E9]...");
    }
}
