//! Writes numbers, and text that others chose, as HTML.

use crate::text::size;

/// Escapes `text` for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Returns the text escaped, beginning with a capital letter.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().to_string());
    escape(&(first + chars.as_str()))
}

/// Returns a number such as `12,345`.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// Returns a number of bytes, such as `1.5 MiB`.
pub(super) fn bytes(n: u64) -> String {
    whole(&size::show(n))
}

/// Returns a rate, such as `1.5 MiB/s`.
pub(super) fn rate(a_second: f64) -> String {
    whole(&size::show_rate(a_second as u64))
}

/// Replaces spaces by no-break spaces, so that a number and its unit stay on one line.
fn whole(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

pub(super) fn span(seconds: f64) -> String {
    match seconds.round() as u64 {
        3571.. => "1 hour".into(),
        s @ 91.. => format!("{} min", (s + 30) / 60),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_their_units() {
        assert_eq!(bytes(0), "0\u{a0}B");
        assert_eq!(bytes(1023), "1023\u{a0}B");
        assert_eq!(bytes(1024), "1.0\u{a0}KiB");
        assert_eq!(bytes(10 << 30), "10.0\u{a0}GiB");
        assert_eq!(bytes(u64::MAX), "16.0\u{a0}EiB");
        assert_eq!(rate(1536.0), "1.5\u{a0}KiB/s");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(123), "123");
        assert_eq!(span(3600.0), "1 hour");
        assert_eq!(span(60.0), "60 s");
    }
}
