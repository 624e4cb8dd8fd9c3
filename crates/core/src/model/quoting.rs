//! Keys and strings in TOML, fit for a file and for a terminal.

use super::is_invisible_or_bidi;
use std::fmt::Write as _;
use toml_writer::{ToTomlKey as _, ToTomlValue as _, TomlKeyBuilder, TomlStringBuilder};

/// A key, quoted where it must be.
#[must_use]
pub fn toml_key(key: &str) -> String {
    let builder = TomlKeyBuilder::new(key);
    visible(&builder.as_unquoted().unwrap_or_else(|| builder.as_basic()).to_toml_key())
}

/// A string on one line, in double quotes.
#[must_use]
pub fn toml_string(text: &str) -> String {
    visible(&TomlStringBuilder::new(text).as_basic().to_toml_value())
}

/// Escapes what acts on a terminal, or reorders or hides text.
fn visible(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    for c in written.chars() {
        // A string cannot fail to be written to.
        let _ = match (is_invisible_or_bidi(c), u32::from(c)) {
            (false, _) => text.write_char(c),
            (true, code @ ..=0xFFFF) => write!(text, "\\u{code:04X}"),
            (true, code) => write!(text, "\\U{code:08X}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{toml_key, toml_string};

    #[test]
    fn a_key_is_written_as_a_file_needs_it() {
        assert_eq!(toml_key("price-list_2"), "price-list_2");
        assert_eq!(toml_key("cafe\u{301}"), "\"cafe\u{301}\"");
        assert_eq!(toml_key("a \"b\" \\ c"), r#""a \"b\" \\ c""#);
        assert_eq!(toml_key(""), "\"\"");
        assert_eq!(toml_string("a\n\u{1b}\u{202e}\u{7f}\u{e0001}é"), r#""a\n\u001B\u202E\u007F\U000E0001é""#);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in
            ["", "plain", "a\tb\r\n\"\\'", "\u{0}\u{85}\u{feff}\u{e0001}", "cafe\u{301} 注文 👩\u{200d}💻"]
        {
            let file: toml::Table = format!("{} = {}", toml_key(text), toml_string(text)).parse().unwrap();
            assert_eq!(file.into_iter().collect::<Vec<_>>(), [(text.to_owned(), text.into())]);
        }
    }
}
