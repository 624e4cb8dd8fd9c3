//! Recognises secrets that are written out: by their key, by their form, and by what stands beside them.
//!
//! One table for both sides of the wire: errors in the files, `pull`, plans, logs and the status page on this
//! one, the mask of the local platform on the other.

mod keys;
mod shapes;
mod texts;
mod values;

pub use keys::{Rank, rank};
pub use texts::exposed;
pub use values::{exposes_secret, exposes_secret_under, masked, masked_text};

use texts::{is_flag, is_literal};

/// Returns true if the values of a key of this name are not displayed, whatever they are.
#[must_use]
pub fn looks_secret(key: &str) -> bool {
    matches!(rank(key), Some(Rank::Certain | Rank::Likely))
}

/// Returns true if `text`, as the value of `key`, is a secret that is written out: neither a reference, nor
/// masked, nor something else that stands under such a key, such as a path or the name of a method.
#[must_use]
pub fn is_secret(key: &str, text: &str) -> bool {
    let Some(rank) = rank(key) else { return false };
    let text = text.trim();
    if !is_literal(text) || rank < Rank::Certain && is_flag(text) {
        return false;
    }
    match rank {
        Rank::Certain => true,
        Rank::Likely => !shapes::is_ordinary(text),
        Rank::Perhaps => match keys::last_word(key).as_str() {
            "pin" | "otp" => shapes::is_code(text) || shapes::is_random(text),
            "auth" | "authentication" => !shapes::is_method(text),
            "webhook" | "hook" => !shapes::is_ordinary(text) && text.len() > 8,
            _ => shapes::is_random(text),
        },
    }
}

/// Returns true if a number, as the value of `key`, is a secret.
#[must_use]
pub fn is_secret_number(key: &str, digits: &str) -> bool {
    match rank(key) {
        Some(Rank::Certain) => true,
        Some(Rank::Perhaps) => keys::last_word(key) == "pin" && shapes::is_code(digits),
        _ => false,
    }
}

/// The name that an entry of a table gives to the value of another: `{ name = "Authorization", value = "…" }`.
/// Returns the key of that value, and the name. `text` looks up a text of the table.
#[must_use]
pub fn named_value<'t>(text: impl Fn(&str) -> Option<&'t str>) -> Option<(&'static str, &'t str)> {
    const NAMES: [&str; 9] =
        ["name", "key", "header", "param", "parameter", "property", "field", "variable", "k"];
    const VALUES: [&str; 3] = ["value", "val", "v"];
    let name = NAMES.iter().find_map(|key| text(key).filter(|name| rank(name).is_some()))?;
    let value = VALUES.iter().find(|key| text(key).is_some())?;
    Some((value, name))
}

/// The name that an element of a list gives to the next one: `--password` in a list of arguments, or the first
/// of the two texts of a header.
#[must_use]
pub fn names_next<'t>(element: &'t str, next: &str, of: usize) -> Option<&'t str> {
    let flag = element.strip_prefix('-').map(|name| name.trim_start_matches('-'));
    match flag {
        Some("u" | "user") if next.contains(':') => Some("password"),
        Some(name) => Some(name).filter(|name| !name.contains('=') && rank(name).is_some()),
        None if of == 2 && rank(element).is_some() => {
            (shapes::is_random(next) || !exposed(next).is_empty()).then_some(element)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests;
