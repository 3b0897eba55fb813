//! The nearest known name for a misspelt one.

/// Number of insertions, deletions, replacements and swaps of neighbours that
/// turn `a` into `b` (optimal string alignment distance).
pub(super) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The known name nearest to `name`. Names in an environment are short; one
/// longer than 128 bytes is no misspelling and gets no answer, so that the cost
/// stays bounded.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 128 {
        return None;
    }
    known.min_by_key(|k| distance(name, k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("P2P_MDSN", "P2P_MDNS"), 1);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn nearest_finds_the_misspelt_name() {
        let known = ["P2P_LISTEN_ADDRS", "P2P_EXTERNAL_ADDRS", "P2P_RELAYS"];
        assert_eq!(
            nearest("P2P_LISTEN_ADDR", known.into_iter()),
            Some("P2P_LISTEN_ADDRS")
        );
        assert_eq!(nearest(&"x".repeat(10_000), known.into_iter()), None);
    }
}
