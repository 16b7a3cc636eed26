//! Repairs JSON from browsers that strict parsers refuse.

/// The replacement for half of a surrogate pair, U+FFFD, as an escape in JSON.
const ESCAPE: &[u8; 6] = b"\\ufffd";

/// The same as UTF-8.
const BYTES: &[u8; 3] = "\u{FFFD}".as_bytes().first_chunk().expect("U+FFFD has three bytes");

/// Replaces every half of a surrogate pair by U+FFFD, whether it is escaped (`\ud83d`) or encoded as three bytes. A browser
/// produces halves when a script cuts a text within an emoji, and a parser refuses the whole text for one half. Everything
/// else stays unchanged, even if it is not JSON.
pub fn mend_surrogates(json: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = json.get_mut(at..).filter(|rest| !rest.is_empty()) {
        at = at.saturating_add(mend_first(rest));
    }
}

/// Repairs the first character or escape of `rest`. Returns its length in bytes.
fn mend_first(rest: &mut [u8]) -> usize {
    match rest {
        [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..] => {
            if let Some(half) = rest.first_chunk_mut() {
                *half = *BYTES;
            }
            BYTES.len()
        }
        [b'\\', b'u', ..] => match (escaped(rest), rest.get(ESCAPE.len()..).and_then(escaped)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => ESCAPE.len().saturating_mul(2),
            (Some(0xD800..=0xDFFF), _) => {
                if let Some(half) = rest.first_chunk_mut() {
                    *half = *ESCAPE;
                }
                ESCAPE.len()
            }
            _ => 2,
        },
        [b'\\', _, ..] => 2,
        _ => 1,
    }
}

/// The code unit of the `\u` escape that the text begins with.
fn escaped(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digit = |unit: u16, byte: &u8| Some((unit << 4) | u16::try_from(char::from(*byte).to_digit(16)?).ok()?);
    digits.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(json: &[u8]) -> Vec<u8> {
        let mut json = json.to_vec();
        mend_surrogates(&mut json);
        json
    }

    fn check(json: &str, expected: &str) {
        let text: String = serde_json::from_slice(&mended(json.as_bytes())).unwrap();
        assert_eq!(text, expected, "{json}");
    }

    #[test]
    fn halves_become_the_replacement_character_and_pairs_stay() {
        check(r#""\ude00 private""#, "\u{FFFD} private");
        check(r#""cut \uD83D""#, "cut \u{FFFD}");
        check(r#""\ud83d\ude00 \ud83d\ud83d\ude00 \ude00\ud83d""#, "😀 \u{FFFD}😀 \u{FFFD}\u{FFFD}");
        check(r#""\\ud83d \\\ud83d \u00e9""#, "\\ud83d \\\u{FFFD} é");
    }

    #[test]
    fn halves_that_are_encoded_become_it_too() {
        assert_eq!(mended(b"\"a\xED\xA0\xBD\xED\xB8\x80\xED\x9F\xBF\""), "\"a\u{FFFD}\u{FFFD}\u{D7FF}\"".as_bytes());
    }

    #[test]
    fn what_is_no_json_stays() {
        for text in [&b"\\"[..], b"\\u", b"\\ud8", b"\xED", b"\xED\xA0", b"\xFF\\ud83", b"\\uzzzz", b""] {
            assert_eq!(mended(text), text);
        }
    }

    proptest! {
        #[test]
        fn what_can_be_read_stays_as_it_is(text in "(.|\\\\){0,30}") {
            let json = serde_json::to_vec(&text).unwrap();
            prop_assert_eq!(mended(&json), json);
        }

        #[test]
        fn any_code_units_can_be_read_once_mended(units in proptest::collection::vec(any::<u16>(), 0..20)) {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let text: String = serde_json::from_slice(&mended(format!("\"{escapes}\"").as_bytes())).unwrap();
            prop_assert_eq!(text, String::from_utf16_lossy(&units));
        }
    }
}
