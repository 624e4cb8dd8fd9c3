//! Makes texts from the platform safe to show.

use super::forms::SecretForm;
use crate::model::{ResolvedSource, looks_secret, wipe};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::OnceLock;
use wellspring_sensitive::{find_secrets, is_secret, masked, masked_text, name_for_next, named_value};

/// Maximum length in characters: some sentences, but no stack trace or HTML page.
const MAX_MESSAGE_LEN: usize = 500;

/// Bytes beyond the shown part that are searched for secrets, because masking shortens the text.
const SCANNED_BEYOND: usize = 4096;

/// Maximum number of JSON values searched for in a message, which bounds the cost.
const MAX_JSON_VALUES: usize = 32;

/// Minimum length of a secret in bytes.
///
/// Shorter ones would withhold messages that contain them by chance.
const MIN_SECRET_LEN: usize = 4;

/// Replacement for a message that repeats a secret.
pub(super) const WITHHELD: &str = "(message withheld: it repeats a secret)";

/// Secrets sent with a request; messages that repeat one are withheld.
#[derive(Default)]
pub(super) struct SentSecrets {
    secrets: Vec<SecretString>,
    /// Encodings of the secrets, computed for the first message.
    forms: OnceLock<Vec<SecretForm>>,
    /// Indices by hash, because many sources share a few secrets.
    index_by_hash: HashMap<u64, usize>,
    hashes: RandomState,
}

impl SentSecrets {
    /// Collects the known secrets of `sources` and the values that look secret.
    pub(super) fn from_sources(sources: &[&ResolvedSource]) -> Self {
        let mut sent = Self::default();
        for source in sources {
            source.secrets().for_each(|secret| sent.add(secret.expose_secret()));
            // The value owns copies of the secrets, so it is wiped afterwards.
            let mut config = serde_json::to_value(source.expose_connection_config()).unwrap_or_default();
            sent.collect(&config, false);
            wipe(&mut config);
        }
        sent
    }

    fn collect(&mut self, value: &Value, secret: bool) {
        match value {
            Value::Object(entries) => {
                let named = named_value(|key| entries.get(key).and_then(Value::as_str));
                for (key, value) in entries {
                    let key = named.filter(|(of, _)| of == key).map_or(key.as_str(), |(_, name)| name);
                    let is_secret = value.as_str().is_some_and(|text| is_secret(key, text));
                    self.collect(value, secret || is_secret || looks_secret(key));
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    let before = n.checked_sub(1).and_then(|n| items[n].as_str()).zip(item.as_str());
                    let named =
                        before.is_some_and(|(name, text)| name_for_next(name, text, items.len()).is_some());
                    self.collect(item, secret || named);
                }
            }
            Value::String(text) if secret => self.add(text),
            Value::String(text) => self.collect_from_text(text),
            Value::Number(number) if secret => self.add(&number.to_string()),
            _ => {}
        }
    }

    /// Collects secrets in connection strings.
    ///
    /// Examples: `scheme://user:SECRET@host`, `password=SECRET;`.
    fn collect_from_text(&mut self, text: &str) {
        if let Some((_, rest)) = text.split_once("://") {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            // An unescaped `/` or `@` in a password moves the end, so use the longest reading too.
            for part in [authority, rest] {
                if let Some((_, password)) = part.rsplit_once('@').and_then(|(user, _)| user.split_once(':'))
                {
                    self.add(password);
                }
            }
        }
        for pair in text.split([';', '&', '?', ' ', ',']) {
            if let Some((key, value)) = pair.split_once('=')
                && looks_secret(key)
            {
                self.add(value.trim_matches(['"', '\'']));
            }
        }
        for secret in find_secrets(text) {
            self.add(&text[secret]);
        }
    }

    fn add(&mut self, text: &str) {
        if text.len() < MIN_SECRET_LEN {
            return;
        }
        let hash = self.hashes.hash_one(text);
        let known = self.index_by_hash.get(&hash).and_then(|place| self.secrets.get(*place));
        if known.is_some_and(|known| known.expose_secret() == text) {
            return;
        }
        self.index_by_hash.insert(hash, self.secrets.len());
        self.secrets.push(SecretString::from(text.to_owned()));
    }

    /// Returns true if the shown part of `message` repeats a secret or the token.
    ///
    /// Covers every encoding, and also a mere beginning of a secret.
    pub(super) fn appears_in(&self, message: &str, token: Option<&SecretString>) -> bool {
        let forms = self.forms.get_or_init(|| forms(&self.secrets));
        let of_token = forms_of(token);
        let longest = forms.iter().chain(&of_token).map(SecretForm::len).max().unwrap_or(0);
        let seen = shown_range(message).end;
        let message = &message[..message.ceil_char_boundary(seen.saturating_add(longest))];
        let lower = message.to_ascii_lowercase();
        forms.iter().chain(&of_token).any(|form| form.is_in(message, &lower, seen))
    }
}

fn forms<'s>(secrets: impl IntoIterator<Item = &'s SecretString>) -> Vec<SecretForm> {
    let mut forms = Vec::new();
    secrets.into_iter().for_each(|secret| SecretForm::all(secret.expose_secret(), &mut forms));
    forms
}

fn forms_of(token: Option<&SecretString>) -> Vec<SecretForm> {
    forms(token.filter(|token| !token.expose_secret().is_empty()))
}

fn shown_range(text: &str) -> Range<usize> {
    let trimmed = text.trim_start();
    let start = text.len() - trimmed.len();
    let trimmed = trimmed.trim_end();
    let end = trimmed.char_indices().nth(MAX_MESSAGE_LEN).map_or(trimmed.len(), |(end, _)| end);
    start..start + end
}

/// Formats a message of the platform, without what looks like a secret.
///
/// The shape reveals secrets that were never sent, such as those of a source that someone else connected.
pub(super) fn safe(text: &str) -> String {
    let end = text.floor_char_boundary(shown_range(text).end.saturating_add(SCANNED_BEYOND));
    printable(&masked_text(&without_json_secrets(&text[..end])))
}

/// Masks the secrets of the JSON values that the text contains.
fn without_json_secrets(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut done, mut from) = (0, 0);
    for _ in 0..MAX_JSON_VALUES {
        let Some(at) = text[from..].find(['{', '[']).map(|at| from + at) else { break };
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else {
            from = at + 1;
            continue;
        };
        from = at + values.byte_offset();
        let hidden = masked(&value);
        if hidden != value {
            out.push_str(&text[done..at]);
            out.push_str(&hidden.to_string());
            done = from;
        }
    }
    if done == 0 { Cow::Borrowed(text) } else { Cow::Owned(out + &text[done..]) }
}

/// Formats the text on one line with limited length.
///
/// Escapes characters that could control a terminal or change the reading direction.
pub(super) fn printable(text: &str) -> String {
    let shown = shown_range(text);
    let mut out = String::with_capacity(shown.len());
    for character in text[shown.clone()].chars() {
        match character {
            '\n' | '\r' | '\t' => out.push(' '),
            hidden if hidden.is_control() || has_control_chars(hidden) => {
                let _ = write!(out, "{}", hidden.escape_unicode());
            }
            plain => out.push(plain),
        }
    }
    if shown.end < text.trim_end().len() {
        out.push('…');
    }
    out
}

/// Returns true for line separators, direction marks and zero-width characters.
fn has_control_chars(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConfigValue, Definition, SortedMap, SourceName};
    use serde_json::json;
    use std::sync::Arc;

    fn source(config: &Value) -> ResolvedSource {
        let definition = Definition {
            kind: "database".into(),
            connection_config: [("it", declared(config))].into(),
            metadata: SortedMap::default(),
        };
        ResolvedSource::new(SourceName::parse("s").unwrap(), Arc::new(definition), Vec::new())
    }

    fn declared(value: &Value) -> ConfigValue {
        match value {
            Value::Number(number) => ConfigValue::Integer(number.as_i64().unwrap()),
            Value::Array(items) => ConfigValue::Array(items.iter().map(declared).collect()),
            Value::Object(entries) => ConfigValue::Table(
                entries.iter().map(|(key, value)| (key.clone(), declared(value))).collect(),
            ),
            text => ConfigValue::String(text.as_str().unwrap().to_owned()),
        }
    }

    fn sent(config: &Value) -> SentSecrets {
        SentSecrets::from_sources(&[&source(config)])
    }

    #[test]
    fn a_message_that_repeats_a_sent_secret_is_withheld() {
        for (config, message) in [
            (json!({"password": "hunter22"}), "cannot log in with hunter22"),
            (json!({"auth": {"token": ["abcd"]}}), "bad abcd"),
            (json!({"credentials": {"any": {"key": "deep-one"}}}), "deep-one"),
            (json!({"dsn": "postgres://me:pa/s@s@host/db"}), "no route: postgres://me:pa/s@s@host/db"),
            (json!({"dsn": "Server=x;Password='q1w2e3';"}), "login q1w2e3 failed"),
            (json!({"url": "https://h/?api_key=zzzz99&x=1"}), "GET https://h/?api_key=zzzz99"),
            (json!({"password": "a\"b\\c"}), "sent {\"password\":\"a\\\"b\\\\c\"}"),
            (json!({"password": "p q&r"}), "password=p%20q%26r"),
            (json!({"password": 123_456}), "123456 is not a text"),
        ] {
            assert!(sent(&config).appears_in(message, None), "{config}");
        }
        let token = SecretString::from("eyJtoken");
        assert!(SentSecrets::default().appears_in("Bearer eyJtoken is bad", Some(&token)));
    }

    #[test]
    fn a_known_secret_is_withheld_wherever_it_stands() {
        let source = source(&json!({"x": "a-b-c"})).with_secrets(vec![Arc::new(SecretString::from("a-b-c"))]);
        assert!(SentSecrets::from_sources(&[&source]).appears_in("what is a-b-c?", None));
    }

    #[test]
    fn a_secret_that_begins_within_what_is_shown_is_withheld_however_far_it_goes_on() {
        let password = format!("a\"b c{}", "z".repeat(700));
        let sent = sent(&json!({"host": "h", "password": password}));
        let quoted = Value::from(password.as_str()).to_string();
        let encoded = crate::client::request::percent_encoded(&password);
        let token = SecretString::from("t".repeat(900));
        let forms = [password.as_str(), quoted.trim_matches('"'), encoded.as_str(), token.expose_secret()];
        for (form, before) in
            forms.into_iter().flat_map(|form| [(form, "é"), (form, "x"), (form, "\u{200b}")])
        {
            for blank in ["", " \n"] {
                let message = |shown: usize| format!("{blank}{}{form}é{blank}", before.repeat(shown));
                for shown in [1, MAX_MESSAGE_LEN - 4, MAX_MESSAGE_LEN - 1] {
                    let message = message(shown);
                    assert!(sent.appears_in(&message, Some(&token)), "{shown}: {message}");
                }
                // The secret is beyond the shown part, so it need not be found.
                let beyond = message(MAX_MESSAGE_LEN + 1000);
                assert!(!sent.appears_in(&beyond, Some(&token)));
                assert!(!printable(&beyond).contains(['a', 'z', 't']));
            }
        }
    }

    #[test]
    fn a_secret_that_begins_before_what_is_shown_is_withheld() {
        let blank = " ".repeat(2000);
        let sent = sent(&json!({"password": format!("{blank}word")}));
        assert!(sent.appears_in(&format!("{blank}{blank}word"), None));
    }

    #[test]
    fn what_looks_like_a_secret_is_masked_though_it_was_never_sent() {
        for (message, safe_one) in [
            ("cannot open postgres://me:hunter2@h/db", "cannot open postgres://me:***@h/db"),
            ("bad [\"--password\",\"hunter2\"], retry", "bad [\"--password\",\"***\"], retry"),
            (
                "got { \"name\": \"DB_PASS\", \"value\": \"hunter2\" }",
                "got {\"name\":\"DB_PASS\",\"value\":\"***\"}",
            ),
            ("see { \"host\": \"h\" } [x]", "see { \"host\": \"h\" } [x]"),
            (
                "password authentication failed for user \"reader\"",
                "password authentication failed for user \"reader\"",
            ),
        ] {
            assert_eq!(safe(message), safe_one);
        }
    }

    #[test]
    fn an_innocent_message_is_shown() {
        let sent = sent(&json!({"host": "db.example.com", "username": "reader", "password": "pw"}));
        assert!(!sent.appears_in("reader cannot reach db.example.com, pw", None));
    }

    #[test]
    fn a_message_cannot_steer_the_terminal_nor_fill_it() {
        assert_eq!(printable(" a\nb\u{1b}[31m\u{202e}c\0 "), "a b\\u{1b}[31m\\u{202e}c\\u{0}");
        assert_eq!(printable(&"é".repeat(10_000)).chars().count(), MAX_MESSAGE_LEN + 1);
    }
}
