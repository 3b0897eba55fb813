//! The nearest known name for a misspelt one.

/// Returns the known name that is nearest to `name`. Names in an environment are short.
/// One that is longer than 128 bytes is not a misspelling and gets no answer, so that the
/// cost is bounded.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 128 {
        return None;
    }
    known.min_by_key(|k| strsim::osa_distance(name, k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_the_misspelt_name() {
        let known = ["P2P_LISTEN_ADDRS", "P2P_EXTERNAL_ADDRS", "P2P_RELAYS"];
        assert_eq!(
            nearest("P2P_LISTEN_ADDR", known.into_iter()),
            Some("P2P_LISTEN_ADDRS")
        );
        // Two letters that changed places are one mistake, and so is a missing letter.
        assert_eq!(nearest("P2P_REALYS", known.into_iter()), Some("P2P_RELAYS"));
        assert_eq!(nearest(&"x".repeat(10_000), known.into_iter()), None);
    }
}
