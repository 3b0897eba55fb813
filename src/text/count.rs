//! Numbers of things, written for people.

/// Returns `1 file waits` or `12 files wait`: the number with the words for one thing, or
/// with those for any other number.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many_have_their_own_words() {
        assert_eq!(counted(1, "file waits", "files wait"), "1 file waits");
        assert_eq!(counted(0, "file waits", "files wait"), "0 files wait");
    }
}
