//! Encodings in which a message may repeat a secret.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// Bytes of a secret's beginning that reveal too much of it.
///
/// Shorter prefixes occur in ordinary words.
const BEGINNING: usize = 8;

/// One encoding of a secret.
pub(super) struct SecretForm {
    text: SecretString,
    /// True if the search ignores case.
    folds: bool,
    /// Length in bytes of the prefix that counts as a repetition.
    beginning: usize,
}

impl SecretForm {
    /// Adds every encoding of `secret`.
    ///
    /// Plain, in JSON, in a URL, in hexadecimal, and in base64, also as part of a longer text such
    /// as `user:password`.
    pub(super) fn all(secret: &str, forms: &mut Vec<Self>) {
        let plain = Self::of(secret.to_ascii_lowercase(), true, beginning(secret));
        let quoted = Zeroizing::new(Value::from(secret).to_string());
        let quoted = quoted.trim_matches('"');
        let encoded = Zeroizing::new(super::request::percent_encoded(secret));
        forms.push(plain);
        for other in [quoted, encoded.as_str()].into_iter().filter(|other| *other != secret) {
            forms.push(Self::of(other.to_ascii_lowercase(), true, beginning(other)));
        }
        let long = secret.len() >= BEGINNING;
        let hex = hex::encode(secret);
        let least = if long { 2 * BEGINNING } else { hex.len() };
        forms.push(Self::of(hex, true, least));
        for before in 0..3 {
            for alphabet in [b"+/", b"-_"] {
                let text = base64(secret.as_bytes(), before, alphabet);
                // Fewer characters occur in any longer base64 text.
                if text.len() >= 6 {
                    let least = text.len().min(if long { BEGINNING * 8 / 6 } else { usize::MAX });
                    forms.push(Self::of(text, false, least));
                }
            }
        }
    }

    fn of(text: String, folds: bool, beginning: usize) -> Self {
        let beginning = text.floor_char_boundary(beginning.min(text.len()));
        Self { text: SecretString::from(text), folds, beginning }
    }

    /// Returns true if the message contains this encoding, starting before byte `end`.
    ///
    /// `lower` is the message in lower case.
    pub(super) fn is_in(&self, message: &str, lower: &str, end: usize) -> bool {
        let text = if self.folds { lower } else { message };
        text.find(&self.text.expose_secret()[..self.beginning]).is_some_and(|at| at < end)
    }

    /// Returns the length of the encoding in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.expose_secret().len()
    }
}

/// Returns how many bytes of the text count as a repetition.
///
/// Addresses, headers of keys and sentences have common beginnings, so they must match in full.
fn beginning(text: &str) -> usize {
    const MAX_WORD_LEN: usize = 12;
    let whole = text.contains("://") || text.starts_with("-----") || text.contains([' ', '=', ';']);
    match text.get(..BEGINNING) {
        Some(start) if start.bytes().all(|byte| byte.is_ascii_alphabetic()) && !whole => MAX_WORD_LEN,
        Some(_) if !whole => BEGINNING,
        _ => text.len(),
    }
}

/// Encodes the base64 characters that depend on these bytes alone.
///
/// `before` is the number of bytes in front of them.
fn base64(bytes: &[u8], before: usize, last_two: &[u8; 2]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digit = |value: usize| LETTERS.get(value).copied().unwrap_or_else(|| last_two[value & 1]);
    let bit = |at: usize| usize::from(bytes[(at - 8 * before) / 8] >> (7 - at % 8) & 1);
    let first = (8 * before).div_ceil(6);
    let past = 8 * (before + bytes.len()) / 6;
    (first..past)
        .map(|n| char::from(digit((6 * n..6 * n + 6).fold(0, |value, at| value << 1 | bit(at)))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(secret: &str, message: &str) -> bool {
        let mut forms = Vec::new();
        SecretForm::all(secret, &mut forms);
        forms.iter().any(|form| form.is_in(message, &message.to_ascii_lowercase(), usize::MAX))
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        for message in [
            "login hunter2-x9 failed",
            "login HUNTER2-X9 failed",
            "login hunter2-… failed",
            "login hunter2- and more",
            "68756e746572322d7839",
            "68756E746572322D7839",
            "Basic aHVudGVyMi14OQ==",
            // me:hunter2-x9, a:hunter2-x9, ab:hunter2-x9:c
            "Basic bWU6aHVudGVyMi14OQ==",
            "Basic YTpodW50ZXIyLXg5",
            "Basic YWI6aHVudGVyMi14OTpj",
        ] {
            assert!(is_in("hunter2-x9", message), "{message}");
        }
        assert!(is_in("a\"b c/d+e", "{\"a\\\"b c/d+e\"}") && is_in("a b/c?d", "a%20b%2fc%3Fd"));
        assert!(is_in("ÿþý>>>???", "w7_DvsO9Pj4-Pz8_"), "the alphabet of URLs");
    }

    #[test]
    fn what_only_begins_alike_is_shown() {
        for (secret, message) in [
            ("password-1x", "password authentication failed for user \"reader\""),
            ("hunter2-x9", "hunter2 is a user"),
            ("postgres://u:pw@h/db", "postgres://other/x is not reachable"),
            ("-----BEGIN PRIVATE KEY-----\nMII", "no -----BEGIN PRIVATE KEY----- found"),
            ("host=h password=x", "host=h2"),
            ("secret", "the server secured it"),
        ] {
            assert!(!is_in(secret, message), "{secret}: {message}");
        }
    }
}
