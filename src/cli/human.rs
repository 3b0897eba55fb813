//! Text for people that only the commands print.

/// Returns a reputation in whole points. A score that rounds to zero has no sign.
pub(crate) fn score(score: f64) -> String {
    format!("{}", score.round() as i64)
}

/// Returns the number of columns that a text takes, which is accurate enough for what is
/// printed here.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

/// Adds bytes to a JSON object: under `name` when they are text, and otherwise in base64
/// under `name_base64`.
pub(crate) fn bytes_to_json(
    object: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    bytes: &[u8],
) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => {
            use cid::multibase::Base;
            object.insert(
                format!("{name}_base64"),
                Base::Base64Pad.encode(bytes).into(),
            )
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_base64() {
        let json = |bytes: &[u8]| {
            let mut object = serde_json::Map::new();
            bytes_to_json(&mut object, "data", bytes);
            serde_json::Value::from(object).to_string()
        };
        assert_eq!(json(b"hi"), r#"{"data":"hi"}"#);
        assert_eq!(
            json(&[0xff, 0xfe, 0xfd, 0xfc]),
            r#"{"data_base64":"//79/A=="}"#
        );
    }
}
