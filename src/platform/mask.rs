//! What of a configuration may be shown: everything but the secrets.

use serde_json::Value;

const MASK: &str = "***";

/// Keys under which a secret stands, when they end like this (letters and digits only, lower case).
const NAMES: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "credential",
    "credentials",
    "authorization",
    "pwd",
];

/// The same value with `***` for every secret: by the name of its key at any depth, and for the
/// password in the address of an URL or in its query.
pub(super) fn masked(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| {
                    let shown = if looks_secret(key) { hidden(value) } else { masked(value) };
                    (key.clone(), shown)
                })
                .collect(),
        ),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::String(text) => Value::String(masked_text(text)),
        plain => plain.clone(),
    }
}

/// The same text without the password of a URL in it.
pub(super) fn masked_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let word = after.find(char::is_whitespace).unwrap_or(after.len());
        let (user, host) = after.split_at(user_end(&after[..word]).unwrap_or(0));
        out.push_str(&masked_user(user));
        rest = host;
    }
    out.push_str(rest);
    masked_pairs(&out)
}

/// Where the `user:password` of an address ends, if it has one. A password may hold any sign
/// unescaped, so rather too much counts as password than too little.
fn user_end(address: &str) -> Option<usize> {
    let path = address.find(['?', '#']).unwrap_or(address.len());
    let authority = &address[..address.find(['/', '?', '#']).unwrap_or(address.len())];
    if authority.contains('@') {
        return address[..path].rfind('@');
    }
    let (_, port) = authority.split_once(':')?;
    let is_port = port.bytes().all(|digit| digit.is_ascii_digit());
    if is_port { None } else { address.rfind('@') }
}

fn masked_user(user: &str) -> String {
    match user.split_once(':') {
        Some((name, _)) => format!("{name}:{MASK}"),
        None => user.to_owned(),
    }
}

/// `key=value` pairs as in a query or a connection string.
fn masked_pairs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(['?', '&', ';', ' ']) {
        match piece.split_once('=') {
            Some((key, value)) if looks_secret(key) && !value.is_empty() => {
                out.push_str(key);
                out.push('=');
                out.push_str(MASK);
                out.extend(value.chars().last().filter(|last| matches!(last, '?' | '&' | ';' | ' ')));
            }
            _ => out.push_str(piece),
        }
    }
    out
}

fn looks_secret(key: &str) -> bool {
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    NAMES.iter().any(|name| plain.ends_with(name))
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), hidden(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(hidden).collect(),
        _ => Value::String(MASK.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{NAMES, looks_secret, masked, masked_text};
    use crate::model;

    #[test]
    fn what_the_files_must_not_say_openly_is_masked() {
        let mut names: Vec<&str> =
            (0..=u8::MAX).flat_map(|last| model::secret_names(Some(last))).copied().collect();
        names.sort_unstable();
        let mut masked = NAMES;
        masked.sort_unstable();
        assert_eq!(names, masked);
    }

    proptest! {
        #[test]
        fn a_key_looks_secret_on_both_sides_of_the_wire_or_on_neither(
            before in "[a-zA-Zß_.-]{0,5}", name in prop::sample::select(&NAMES[..]),
            upper in any::<[bool; 13]>(), after in "[ _.-]{0,2}[a-z]?",
        ) {
            let spelled: String = name
                .chars()
                .zip(upper)
                .flat_map(|(letter, upper)| [if upper { letter.to_ascii_uppercase() } else { letter }, '-'])
                .collect();
            for key in [format!("{before}{name}{after}"), format!("{before}{spelled}{after}"), before] {
                prop_assert_eq!(looks_secret(&key), model::looks_secret(&key), "{}", key);
            }
        }

        #[test]
        fn no_password_of_an_address_is_shown(password in "[a-z!$%][^\\s@]{3,19}", rest in "[a-z./]{0,20}") {
            let shown = masked_text(&format!("db://user:{password}@host/{rest}"));
            prop_assert!(!shown.contains(&format!(":{password}@")), "{shown}");
        }

        #[test]
        fn any_text_can_be_masked(text in ".{0,200}") {
            masked_text(&text);
        }
    }

    #[test]
    fn secrets_are_masked_at_any_depth_and_the_rest_is_kept() {
        let shown = masked(&json!({
            "host": "db", "password": "pa55", "Api-Key": 12, "port": 5432,
            "more": [{"client_secret": {"a": "x", "b": null}, "user": "u"}],
        }));
        assert_eq!(
            shown,
            json!({
                "host": "db", "password": "***", "Api-Key": "***", "port": 5432,
                "more": [{"client_secret": {"a": "***", "b": null}, "user": "u"}],
            })
        );
    }

    #[test]
    fn passwords_in_addresses_are_masked() {
        for (text, shown) in [
            ("postgres://u:pw@host/db", "postgres://u:***@host/db"),
            ("postgres://u:p@w@host/db", "postgres://u:***@host/db"),
            ("postgres://u:p/w@host/db", "postgres://u:***@host/db"),
            ("see https://u:pw@h and https://h2/x", "see https://u:***@h and https://h2/x"),
            ("https://u@h/x", "https://u@h/x"),
            ("https://h/x?a=1&token=abc&b=2", "https://h/x?a=1&token=***&b=2"),
            ("host=h password=abc user=u", "host=h password=*** user=u"),
            ("postgres://u:p?w#@host/db", "postgres://u:***@host/db"),
            ("https://h:8080/x?mail=a@b", "https://h:8080/x?mail=a@b"),
            ("https://h/a@b", "https://h/a@b"),
            ("nothing: here", "nothing: here"),
            ("://", "://"),
        ] {
            assert_eq!(masked_text(text), shown);
        }
    }
}
