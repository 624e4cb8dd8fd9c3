//! Colours and column widths.

use super::escape::is_ascii_printable;
use unicode_width::UnicodeWidthStr;

/// Emphasis of a text if colours are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Plain,
    Green,
    Red,
    Yellow,
    Cyan,
    Magenta,
    Bold,
    Dim,
}

impl Color {
    /// Wraps the text, which must be escaped, in the colour codes of this tone.
    pub(super) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            _ if !color || text.is_empty() => return text.to_owned(),
            Self::Green => "32",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Magenta => "1;35",
            Self::Bold => "1",
            Self::Dim => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Returns the number of columns of an escaped text.
pub(super) fn width(text: &str) -> usize {
    if is_ascii_printable(text) { text.len() } else { UnicodeWidthStr::width(text) }
}

/// Pads the text with spaces to `columns`.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let spaces = columns.saturating_sub(width(text));
    let mut padded = String::with_capacity(text.len() + spaces);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', spaces));
    padded
}

/// Wraps text at spaces to at most `columns`.
///
/// Text in backticks is not broken, so that it can be copied. Very narrow widths disable wrapping.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    const TOO_NARROW: usize = 24;
    if columns < TOO_NARROW || width(text) <= columns {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in words(text) {
        let length = width(word);
        if used > 0 && used + 1 + length > columns {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

/// Splits at spaces outside of backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.split(move |c| {
        in_code ^= c == '`';
        c == ' ' && !in_code
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_never_within_a_command() {
        let text = "to allow: run `wellspring apply --prune -s crm/orders_db` once";
        assert_eq!(wrap(text, 30), ["to allow: run", "`wellspring apply --prune -s crm/orders_db`", "once"]);
        assert_eq!(wrap(text, 10), [text]);
        assert_eq!(wrap("short", 30), ["short"]);
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        assert_eq!(width("città"), 5);
        assert_eq!(width("東京"), 4);
        assert_eq!(pad("東京", 6), "東京  ");
    }
}
