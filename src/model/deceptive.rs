//! Characters that a reader does not see as they are.

/// Controls, and what reorders or hides text: bidirectional marks, fillers and other characters without a width
/// or an ink, line separators, tags.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The first character of a name that cannot be meant there: one that is not seen, or a space that is not the
/// plain one. Joiners and variation selectors can be, but for Latin letters and the like: other scripts and emoji
/// are written with them.
#[must_use]
pub fn unfit_for_a_name(name: &str) -> Option<char> {
    let mut before = 'a';
    name.chars().find(|c| {
        let shapes =
            matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let unfit = match shapes {
            true => before.is_ascii(),
            false => is_deceptive(*c) || (c.is_whitespace() && *c != ' '),
        };
        before = *c;
        unfit
    })
}

#[cfg(test)]
mod tests {
    use super::unfit_for_a_name;

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
            assert_eq!(unfit_for_a_name(name), None, "{name}");
        }
        for c in
            "\n\t\u{7f}\u{a0}\u{ad}\u{34f}\u{200b}\u{200d}\u{202e}\u{2003}\u{2800}\u{fe0f}\u{ffa0}\u{e0100}"
                .chars()
        {
            for name in [format!("orders{c}"), format!("{c}orders"), format!("or{c}ders")] {
                assert_eq!(unfit_for_a_name(&name), Some(c), "{name:?}");
            }
        }
    }
}
