//! Escapes foreign text for each kind of output.

use crate::model::is_invisible_or_bidi;

/// Escapes text for one line of a terminal.
///
/// Characters that move the cursor, or reorder or hide text, become `\u{…}`; newlines and tabs
/// become `\n` and `\t`.
#[must_use]
pub fn terminal(text: &str) -> String {
    if is_ascii_printable(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut out, c));
    out
}

/// Returns true for nearly every text: one column for each byte, and nothing to escape for a terminal.
pub(super) fn is_ascii_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Escapes one line of a longer text: like [`terminal`], but keeps tabs.
#[must_use]
pub fn terminal_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\t' { out.push(c) } else { push_visible(&mut out, c) }
    }
    out
}

/// Formats a string in double quotes like in the files, escaped for a terminal.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    if is_ascii_printable(text) && !text.contains(['"', '\\']) {
        out.push_str(text);
        out.push('"');
        return out;
    }
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        push_visible(&mut out, c);
    }
    out.push('"');
    out
}

/// Escapes Markdown text: markup, HTML, mentions, links and table borders.
#[must_use]
pub fn markdown(text: &str) -> String {
    /// Separates text that would still be linked: `@name`, `#1`, `https://`, `www.`.
    const JOINER: char = '\u{2060}';
    let mut out = String::with_capacity(text.len());
    for c in terminal(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' | '#' => out.extend(['\\', c, JOINER]),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' | '$' => {
                out.extend(['\\', c]);
            }
            _ => out.push(c),
        }
    }
    out.replace("://", &format!(":{JOINER}//")).replace("www.", &format!("www{JOINER}."))
}

/// Formats a Markdown code span with enough backticks around it.
#[must_use]
pub fn markdown_code(text: &str) -> String {
    let text = terminal(text).replace('|', "\\|");
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Returns the fence of a Markdown code block for this content.
///
/// Longer than any run of backticks in the content, and at least three.
#[must_use]
pub fn markdown_fence(content: &str) -> String {
    "`".repeat(longest_run(content, '`').max(2) + 1)
}

/// Escapes the message of a workflow annotation.
#[must_use]
pub fn annotation(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(terminal_line).collect();
    lines.join("\n").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow annotation: `file`, `title`.
#[must_use]
pub fn annotation_property(text: &str) -> String {
    annotation(&terminal(text)).replace(':', "%3A").replace(',', "%2C")
}

/// Escapes a JSON document for any output without changing its meaning.
///
/// Characters that JSON permits in strings and a terminal would interpret become `\uXXXX`.
#[must_use]
pub fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        if c != '\n' && is_invisible_or_bidi(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Quotes a word of a shell command; `None` if no quoting makes it safe to copy.
#[must_use]
pub fn shell(word: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if word.is_empty() || word.chars().any(is_invisible_or_bidi) {
        None
    } else if word.chars().all(plain) && !word.starts_with('-') {
        Some(word.to_owned())
    } else if word.starts_with('-') {
        None
    } else {
        Some(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

fn push_visible(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_invisible_or_bidi(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

fn longest_run(text: &str, wanted: char) -> usize {
    let (longest, _) = text.chars().fold((0, 0), |(longest, run), c| {
        let run = if c == wanted { run + 1 } else { 0 };
        (longest.max(run), run)
    });
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn what_moves_a_cursor_or_hides_text_is_written_out() {
        assert_eq!(terminal("a\u{1b}[2Jb\n\t\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\n\\t\\u{202e}c\\u{9b}");
        assert_eq!(terminal("città 東京 🦀"), "città 東京 🦀");
        assert_eq!(quoted("say \"a\\b\"\n"), r#""say \"a\\b\"\n""#);
    }

    #[test]
    fn markdown_text_is_only_text() {
        assert_eq!(markdown("<b>&|`*"), "&lt;b&gt;&amp;\\|\\`\\*");
        assert!(!markdown("@octocat").contains("@o"));
        assert!(!markdown("https://example.com").contains("://"));
        assert_eq!(markdown_code("a``b"), "```a``b```");
        assert_eq!(markdown_code("`"), "`` ` ``");
        assert_eq!(markdown_fence("x ```` y"), "`````");
    }

    #[test]
    fn an_annotation_stays_one_command() {
        assert_eq!(annotation("50%\n::error::x"), "50%25%0A::error::x");
        assert_eq!(annotation_property("a:b,c\r"), "a%3Ab%2Cc\\r");
    }

    #[test]
    fn a_copied_command_does_only_what_it_says() {
        assert_eq!(shell("crm/orders_db").as_deref(), Some("crm/orders_db"));
        assert_eq!(shell("crm/$(rm -rf ~)").as_deref(), Some("'crm/$(rm -rf ~)'"));
        assert_eq!(shell("crm/it's").as_deref(), Some(r"'crm/it'\''s'"));
        for word in ["", "-rf", "a\nb", "a\u{202e}b"] {
            assert_eq!(shell(word), None);
        }
    }

    proptest! {
        #[test]
        fn no_escaped_text_has_a_control_character(text: String) {
            for shown in [terminal(&text), quoted(&text), annotation(&text), markdown_code(&text)] {
                prop_assert!(!shown.chars().any(is_invisible_or_bidi));
            }
            let joined = markdown(&text).replace('\u{2060}', "");
            prop_assert!(!joined.chars().any(is_invisible_or_bidi));
        }
    }
}
