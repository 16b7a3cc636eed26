//! Which characters may be in a text that other users are shown.
//!
//! Deliberately absent: lengths, Unicode normal forms and the fields of a request. The code that parses a field knows those.

use icu_properties::{
    CodePointSetData,
    props::{BidiControl, DefaultIgnorableCodePoint},
};

/// Whether line feeds and tabs are kept in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// For a description: they stay.
    Kept,
    /// For a title or a name: they are removed, like other control characters.
    Removed,
}

/// Removes characters that readers cannot see or that change how the text around them is shown: control characters, line and
/// paragraph separators, bidirectional formatting, and invisible characters. Joiners, variation selectors and the tags of emoji
/// stay where they follow a visible character, since they may change its shape. White space at the ends is removed, and so are
/// characters there that are drawn blank. Cleaning twice changes nothing more.
pub fn clean(text: &str, lines: Lines) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut follows_visible = false;
    for c in text.chars() {
        let line = lines == Lines::Kept && matches!(c, '\n' | '\t');
        if is_formatting(c) && !line {
            continue;
        }
        if is_ignorable(c) {
            if !(follows_visible && changes_shape(c)) {
                continue;
            }
            // Of several joiners in a row, only the first stays.
            follows_visible = !is_joiner(c);
        } else {
            follows_visible = is_visible(c);
        }
        cleaned.push(c);
    }
    cleaned.trim_matches(|c: char| c.is_whitespace() || is_blank(c)).to_owned()
}

/// Whether readers see anything of this text.
pub fn has_visible(text: &str) -> bool {
    text.chars().any(is_visible)
}

/// Whether a character is a control character, separates lines, or changes the direction of the text around it. A name with
/// such a character is refused: nobody types one in a name, and it can make a name look like another.
pub fn is_formatting(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || CodePointSetData::new::<BidiControl>().contains(c)
}

/// Whether a reader sees the character itself.
fn is_visible(c: char) -> bool {
    !(c.is_whitespace() || is_formatting(c) || is_ignorable(c) || is_blank(c))
}

/// Whether every font draws the character blank, although Unicode calls it a letter, a symbol or a mark.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{13441}' | '\u{13442}' | '\u{16FE4}' | '\u{1D159}')
}

/// Whether a font may show nothing for the character: it is default-ignorable, an interlinear annotation character, or a
/// noncharacter.
fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || matches!(c, '\u{FFF9}'..='\u{FFFB}' | '\u{FDD0}'..='\u{FDEF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Whether an ignorable character may change the look of the one before it: joiners, variation selectors, and the tags that
/// select the flag of a region.
fn changes_shape(c: char) -> bool {
    is_joiner(c)
        || matches!(c, '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
        || matches!(c, '\u{E0020}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(clean(text, Lines::Removed), expected, "{text:?}");
    }

    #[test]
    fn characters_that_nobody_sees_are_removed() {
        check(" a\u{0}b\u{7}\u{85}c\n\td \r\n", "abcd");
        check("pay\u{202E}gpj.exe\u{2066}\u{200F}\u{61C}\u{2028}", "paygpj.exe");
        check("\u{FEFF}so\u{AD}ft\u{200B}\u{2060}\u{2063}\u{180E}", "soft");
        check("\u{200B} \u{3164}\u{200D}", "");
        check("Alice\u{3164}\u{3164}\u{FFA0}\u{115F}\u{34F}\u{17B5}", "Alice");
        check("\u{2800}Alice \u{2800}B\u{2800}\u{200D} \u{2800}", "Alice \u{2800}B");
        check("a\u{FFF9}b\u{FFFB}\u{FFFE}\u{FDD0}\u{1FFFF}", "ab");
    }

    #[test]
    fn lines_of_a_description_stay() {
        assert_eq!(clean("\n one\n\ttwo\r\n\u{202E}three\n", Lines::Kept), "one\n\ttwo\nthree");
    }

    #[test]
    fn characters_that_shape_a_visible_one_stay() {
        for text in [
            "👩\u{200D}💻",
            "❤\u{FE0F}\u{200D}🔥",
            "می\u{200C}خواهم",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "क\u{94D}\u{200D}ष",
            "1\u{FE0F}\u{20E3}",
        ] {
            check(text, text);
        }
        check("\u{200D}a \u{200C}b\u{200D}\u{200D}\u{200D}c", "a b\u{200D}c");
        check("\u{E0041}\u{E0042}x\u{E0001}", "x");
    }

    #[test]
    fn blank_characters_are_not_visible() {
        for text in [
            "",
            " ",
            "\u{3000}",
            "\u{200B}",
            "\u{3164}\u{115F}",
            "\u{2800}",
            "\u{2060}\u{AD}",
            "\u{202E}",
            "\u{FE0F}",
            "\u{FFF9}",
            "\u{FFFE}",
            "\u{13441}",
        ] {
            assert!(!has_visible(text), "{text:?}");
        }
        for text in ["a", "김", "👍", "\u{301}", "\u{FFFD}", "\u{3164}가"] {
            assert!(has_visible(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing_more(text in "([ -~]|[\u{200B}-\u{2064}]|[\u{FE00}-\u{FE0F}]|[\u{E0000}-\u{E0100}]|\\PC|.){0,30}") {
            for lines in [Lines::Kept, Lines::Removed] {
                let cleaned = clean(&text, lines);
                prop_assert_eq!(clean(&cleaned, lines), cleaned);
            }
        }
    }
}
