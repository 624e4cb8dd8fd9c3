//! Characters that a reader does not see as they are.

/// Controls, and what reorders or hides text: bidirectional marks, characters without a width, line
/// separators, tags.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The first character of a name that cannot be meant there. The two joiners can: scripts and emoji are
/// written with them.
#[must_use]
pub fn unfit_for_a_name(name: &str) -> Option<char> {
    name.chars().find(|c| is_deceptive(*c) && !matches!(c, '\u{200c}' | '\u{200d}'))
}
