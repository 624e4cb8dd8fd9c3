//! Secrets that stand inside a text whose key says nothing of them: in URLs, in `key=value` pairs,
//! and by a shape that only secrets have. One rule for what is an error in the files and for what a
//! plan does not show.

use super::looks_secret;
use serde_json::Value;
use std::ops::Range;

/// No key and no address is longer; looking no farther keeps the cost even.
const NEAR: usize = 1024;

/// Where secrets are written out in this text, in bytes. References such as `${NAME}` are none.
#[must_use]
pub fn exposed(text: &str) -> Vec<Range<usize>> {
    if !text.as_bytes().windows(2).any(may_begin) {
        return Vec::new();
    }
    let mut found: Vec<Range<usize>> =
        starts(text, "://", b':').filter_map(|at| password(text, at + 3)).collect();
    found.extend(pairs(text));
    found.extend(shapes(text));
    found.sort_by_key(|range| range.start);
    found
}

/// Do these two bytes begin what may hold a secret? In most texts none do.
fn may_begin(two: &[u8]) -> bool {
    matches!(two, [b'=', _] | b":/" | b"--") || begins_shape(two)
}

/// Does a text anywhere in this value expose a secret?
#[must_use]
pub fn exposes_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => !exposed(text).is_empty(),
        Value::Array(items) => items.iter().any(exposes_secret),
        Value::Object(entries) => entries.values().any(exposes_secret),
        _ => false,
    }
}

/// `scheme://user:PASSWORD@…`; an authority begins at `from`.
fn password(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = &text[from..];
    let authority = &rest[..rest.find(['/', '?', '#', '"', '\'', '\n', ' ']).unwrap_or(rest.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let (name, password) = user.split_once(':')?;
    let start = from + name.len() + 1;
    is_literal(password).then(|| start..start + password.len())
}

/// `token=VALUE`, as in queries and connection strings.
fn pairs(text: &str) -> impl Iterator<Item = Range<usize>> {
    // What stands in a value is looked at once.
    let mut past = 0;
    text.match_indices('=').filter_map(move |(at, _)| {
        if at < past || !looks_secret(key_before(&text[..at])) {
            return None;
        }
        let value = value_at(text, at + 1);
        past = value.end;
        let literal = &text[value.clone()];
        let is_flag = ["true", "false", "yes", "no"].iter().any(|flag| literal.eq_ignore_ascii_case(flag));
        (is_literal(literal) && !is_flag).then_some(value)
    })
}

fn key_before(text: &str) -> &str {
    let mut start = text.len().saturating_sub(NEAR);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let near = &text[start..];
    let end = near.rfind(|c: char| !(c.is_alphanumeric() || "_-.%".contains(c)));
    end.map_or(near, |end| {
        near[end..].trim_start_matches(|c: char| !(c.is_alphanumeric() || "_-.%".contains(c)))
    })
}

/// The value that begins here: to the end of its quotes, or to the next sign that ends one.
fn value_at(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    match rest.chars().next() {
        Some(open @ ('"' | '\'' | '{')) => {
            let close = if open == '{' { '}' } else { open };
            let end = rest[1..].find(close).map_or(rest.len(), |end| end + 1);
            start + 1..start + end
        }
        _ => {
            let ends = |c: char| c.is_whitespace() || "&;,#\"'".contains(c);
            start..start + rest.find(ends).unwrap_or(rest.len())
        }
    }
}

/// Written out, neither empty, nor masked, nor a reference.
fn is_literal(value: &str) -> bool {
    let refers = value.replace("$${", "").contains("${");
    !refers && !value.bytes().all(|byte| b"*x.".contains(&byte))
}

fn begins_shape(two: &[u8]) -> bool {
    matches!(two, b"AK" | b"gh" | b"gi" | b"xo" | b"sk" | b"ey")
}

/// What only secrets look like.
fn shapes(text: &str) -> impl Iterator<Item = Range<usize>> {
    /// What it begins with, and how many of which characters follow at least.
    type Shape = (&'static str, usize, fn(u8) -> bool);
    const SHAPES: [Shape; 8] = [
        ("AKIA", 16, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
        ("ghp_", 20, |byte| byte.is_ascii_alphanumeric()),
        ("github_pat_", 20, word),
        ("xoxb-", 10, token),
        ("xoxa-", 10, token),
        ("xoxp-", 10, token),
        ("sk_live_", 10, word),
        ("eyJ", 20, |byte| token(byte) || byte == b'.'),
    ];
    // One look at each two bytes finds where any of them may begin.
    let mut past = [0; SHAPES.len()];
    let begins = text.as_bytes().windows(2).enumerate().filter(|(_, two)| begins_shape(two));
    let known = begins.flat_map(|(at, _)| SHAPES.into_iter().enumerate().map(move |shape| (at, shape)));
    let known = known.filter_map(move |(at, (n, (start, least, permitted)))| {
        let rest = text.as_bytes()[at..].strip_prefix(start.as_bytes())?;
        if at < past[n] || text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return None;
        }
        let length = rest.iter().take_while(|byte| permitted(**byte)).count();
        let whole = match start {
            "AKIA" => length == least,
            "eyJ" => rest[..length].split(|byte| *byte == b'.').filter(|part| part.len() > 3).count() >= 3,
            _ => length >= least,
        };
        past[n] = at + start.len() + length;
        whole.then_some(at..past[n])
    });
    const BEGIN: &str = "-----BEGIN ";
    let mut past = 0;
    let keys = starts(text, BEGIN, b'-').filter_map(move |at| {
        if at < past {
            return None;
        }
        let title = text[at + BEGIN.len()..].split("-----").next()?;
        if title.len() > 40 || !title.ends_with("PRIVATE KEY") {
            return None;
        }
        past = text[at..].find("-----END").map_or(text.len(), |end| at + end);
        Some(at..past)
    });
    known.chain(keys)
}

/// Where `word`, which begins with the byte `first`, stands. Most texts have no such byte.
fn starts(text: &str, word: &'static str, first: u8) -> impl Iterator<Item = usize> {
    let begins = text.bytes().enumerate().filter(move |(_, byte)| *byte == first);
    begins.map(|(at, _)| at).filter(move |at| text.as_bytes()[*at..].starts_with(word.as_bytes()))
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn token(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text with what it exposes in brackets.
    fn marked(text: &str) -> String {
        let mut out = String::new();
        let mut from = 0;
        for range in exposed(text) {
            out += &format!("{}[{}]", &text[from..range.start], &text[range.clone()]);
            from = range.end;
        }
        out + &text[from..]
    }

    #[test]
    fn what_is_written_out_is_found_where_it_stands() {
        let jwt = format!("{}.{}.{}", "eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", "dozjgNryP4J3jVmN");
        for (text, found) in [
            ("https://x/y?api_key=abc123def&z=1", "https://x/y?api_key=[abc123def]&z=1"),
            ("Server=h;Pwd=hunter2", "Server=h;Pwd=[hunter2]"),
            ("host=h password='hun ter2' user=u", "host=h password='[hun ter2]' user=u"),
            ("Pwd={a;b};Server=h", "Pwd={[a;b]};Server=h"),
            ("ssl.truststore.password=é", "ssl.truststore.password=[é]"),
            ("postgres://u:hunter2@h/d", "postgres://u:[hunter2]@h/d"),
            ("a AKIAIOSFODNN7EXAMPLE b", "a [AKIAIOSFODNN7EXAMPLE] b"),
            ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[ghp_0123456789abcdefghijABCDEFGHIJ012345]"),
            ("xoxb-1234567890-abc", "[xoxb-1234567890-abc]"),
            ("sk_live_0123456789abcdef", "[sk_live_0123456789abcdef]"),
            (&jwt, &format!("[{jwt}]")),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
                "[-----BEGIN RSA PRIVATE KEY-----\nMII\n]-----END RSA PRIVATE KEY-----",
            ),
        ] {
            assert_eq!(marked(text), found);
        }
    }

    #[test]
    fn what_gives_nothing_away_is_left_alone() {
        for text in [
            "https://x/y?api_key=${KEY}&page=1",
            "Server=h;Pwd=${PW}",
            "Server=h;Pwd=;User=u",
            "Server=h;Pwd=***",
            "https://x/y?max_tokens=100",
            "jdbc:sqlserver://h:1433;databaseName=x",
            "http://h:80/a@b:c",
            "postgres://u@h/d",
            "use_password=true",
            "select * from a join b on a.token = b.token",
            "a note on the password",
            "AKIA is how they begin",
            "eyJ.a.b",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        ] {
            assert!(exposed(text).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn where_nothing_may_begin_nothing_is_found(text in "(pwd|=|:|/|u|@|-|A|K|I|e|y|J|[A-Z0-9]{16}){0,8}") {
            if !text.as_bytes().windows(2).any(may_begin) {
                prop_assert_eq!(starts(&text, "://", b':').filter_map(|at| password(&text, at + 3)).count(), 0);
                prop_assert_eq!(pairs(&text).chain(shapes(&text)).count(), 0);
            }
        }

        #[test]
        fn places_can_be_cut_out_of_any_text(
            text in "(pwd|=|;|&|\\$\\{|\\}|'|\"|://|:|@|é|AKIA|eyJ|\\.|-----BEGIN |PRIVATE KEY|-----|[A-Z0-9]{16}){0,30}",
        ) {
            for range in exposed(&text) {
                prop_assert!(text.get(range).is_some());
            }
        }
    }
}
