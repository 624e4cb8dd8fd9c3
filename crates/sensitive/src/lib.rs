//! Recognises literal secrets by key, by form and by neighbouring values.
//!
//! Both sides of the wire use this table: errors in files, `pull`, plans, logs and the status page
//! on this side, the mask of the local platform on the other.
//!
//! Invariant: pure; depends on no other module.

#![warn(missing_docs)]

mod keys;
mod plain;
mod scan;
mod shapes;
mod texts;
mod values;
mod words;

pub use keys::{Rank, rank};
pub use texts::find_secrets;
pub use values::{exposes_secret, exposes_secret_under, masked, masked_text};
pub use words::Words;

use plain::is_literal;
use std::sync::LazyLock;
use texts::is_flag;
use words::WordList;

/// Returns true if values of a key with this name must not be displayed.
#[must_use]
pub fn looks_secret(key: &str) -> bool {
    matches!(rank(key), Some(Rank::Certain | Rank::Likely))
}

/// Returns true if `text`, as the value of `key`, is a literal secret.
///
/// References, masked values and ordinary values of such keys (a path, an authentication method)
/// are not.
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
            "info" | "userinfo" | "login" => {
                let is_user = |user: &str| {
                    user.starts_with(|c: char| c.is_ascii_alphabetic()) && !user.contains([' ', '/'])
                };
                text.split_once(':').is_some_and(|(user, password)| {
                    is_user(user)
                        && !password.is_empty()
                        && !password.starts_with(['/', ' '])
                        && !is_number(password)
                })
            }
            "webhook" | "hook" => !shapes::is_ordinary(text) && text.len() > 8,
            _ => shapes::is_random(text),
        },
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte))
}

/// Returns true if a number is a secret as the value of `key`.
#[must_use]
pub fn is_secret_number(key: &str, digits: &str) -> bool {
    match rank(key) {
        Some(Rank::Certain) => true,
        Some(Rank::Perhaps) => keys::last_word(key) == "pin" && shapes::is_code(digits),
        _ => false,
    }
}

/// Finds pairs such as `{ name = "Authorization", value = "…" }` in a table.
///
/// Returns the key of the value and the name that applies to it. `text` looks up a string of the
/// table.
#[must_use]
pub fn named_value<'t>(text: impl Fn(&str) -> Option<&'t str>) -> Option<(&'static str, &'t str)> {
    static NAMES: WordList = LazyLock::new(|| {
        Words("name key header param parameter property field variable k id option Name Key Header NAME KEY")
            .iter()
            .collect()
    });
    static VALUES: WordList =
        LazyLock::new(|| Words("value val v content argument Value VALUE Content text").iter().collect());
    let name = NAMES.iter().find_map(|key| text(key).filter(|name| rank(name).is_some()))?;
    let value = VALUES.iter().copied().find(|key| text(key).is_some())?;
    Some((value, name))
}

/// Returns the name that an element of a list gives to the next one.
///
/// Examples: `--password` in a list of arguments, and the first of the two strings of a header.
#[must_use]
pub fn name_for_next<'t>(element: &'t str, next: &str, of: usize) -> Option<&'t str> {
    let flag = element.strip_prefix('-').map(|name| name.trim_start_matches('-'));
    match flag {
        Some("u" | "user") if next.contains(':') => Some("password"),
        // `-p` is more often a port.
        Some("p" | "P") if next.len() >= 6 && shapes::is_random_in_query(next) => Some("password"),
        Some(name) => Some(name).filter(|name| !name.contains('=') && rank(name).is_some()),
        None if of == 2 && rank(element).is_some() => {
            let is_value =
                is_secret(element, next) && !shapes::is_ordinary(next) && !shapes::is_numbered_word(next);
            (is_value || shapes::is_random(next) || !find_secrets(next).is_empty()).then_some(element)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests;
