//! Invisible and direction-changing characters.

/// Returns true for characters that are invisible, hide text or reorder text.
///
/// These are control characters, bidirectional marks, fillers and other characters without width or ink, line
/// separators and tags.
#[must_use]
pub fn is_invisible_or_bidi(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the first character that must not be part of a name.
///
/// These are invisible characters and any space but the plain one. Joiners and variation selectors are
/// permitted except after ASCII, because other scripts and emoji need them.
#[must_use]
pub fn invalid_name_char(name: &str) -> Option<char> {
    let mut before = 'a';
    name.chars().find(|c| {
        let shapes =
            matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let unfit = if shapes {
            before.is_ascii()
        } else {
            is_invisible_or_bidi(*c) || (c.is_whitespace() && *c != ' ')
        };
        before = *c;
        unfit
    })
}

#[cfg(test)]
mod tests {
    use super::invalid_name_char;

    #[test]
    fn a_name_is_what_it_looks_like() {
        for name in [
            "orders",
            "orders 2",
            "Aufträge",
            "注文",
            "می\u{200c}خواهم",
            "❤\u{fe0f}",
            "👩\u{200d}💻",
            "e\u{301}",
        ] {
            assert_eq!(invalid_name_char(name), None, "{name}");
        }
        for c in
            "\n\t\u{7f}\u{a0}\u{ad}\u{34f}\u{200b}\u{200d}\u{202e}\u{2003}\u{2800}\u{fe0f}\u{ffa0}\u{e0100}"
                .chars()
        {
            for name in [format!("orders{c}"), format!("{c}orders"), format!("or{c}ders")] {
                assert_eq!(invalid_name_char(&name), Some(c), "{name:?}");
            }
        }
    }
}
