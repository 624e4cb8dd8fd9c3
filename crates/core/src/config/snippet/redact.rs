//! Masks secrets before lines of a file are shown.
//!
//! Works on the text alone, because the file may not be valid TOML. Every masked byte becomes `*`, so that
//! locations remain valid.

use crate::model::{find_secrets, is_secret, looks_secret};
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use wellspring_sensitive::rank;

/// Maximum distance in bytes of a search for keys and addresses; bounds the cost.
const MAX_LOOKBACK: usize = 1024;
/// Maximum number of parts of a key.
const MAX_KEY_PARTS: usize = 16;
/// Lengths in bytes of secrets that are masked everywhere.
///
/// Shorter ones occur in too many words; longer ones would slow down the search.
const COPY_LENGTHS: RangeInclusive<usize> = 4..=256;
/// Maximum number of secrets masked everywhere; others are masked only where found.
const MAX_COPIES: usize = 256;

/// Masks the values of secret keys, secrets found by [`find_secrets`], and `more`.
pub(super) fn redact(text: &str, more: &[Range<usize>]) -> String {
    let mut hidden = vec![false; text.len()];
    // Tables are scanned only once.
    let mut past = 0;
    for (at, sign) in text.match_indices(['=', ':', '"', '\'']) {
        if hidden[at] {
            continue;
        }
        // `key "value"`: the `=` may have been forgotten.
        let quote = matches!(sign, "\"" | "'");
        let before = &text[..at];
        if quote && !before.ends_with([' ', '\t']) {
            continue;
        }
        let from = if quote { at } else { at + 1 };
        if ends_with_secret_key(before) || is_secret_value(before, &text[from..]) {
            hide_value(text, from, &mut past, &mut hidden);
        }
    }
    for (at, _) in text.match_indices("://") {
        hide_password(text, at + 3, &mut hidden);
    }
    // The ranges found below may span several values, whose copies would then differ.
    hide_copies(text, &mut hidden);
    for range in find_secrets(text).iter().chain(more) {
        if let Some(bytes) = hidden.get_mut(range.clone()) {
            bytes.fill(true);
        }
    }
    hide_copies(text, &mut hidden);
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if hidden[at] && character != '\n' && character != '\r' {
            out.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            out.push(character);
        }
    }
    out
}

/// Masks copies of the masked secrets.
fn hide_copies(text: &str, hidden: &mut [bool]) {
    let mut secrets: BTreeSet<&str> = BTreeSet::new();
    let mut at = 0;
    for stretch in hidden.chunk_by(|one, next| one == next) {
        if stretch[0] {
            let secret = text[at..at + stretch.len()].trim().trim_matches(['"', '\'']);
            secrets.extend(Some(secret).filter(|secret| COPY_LENGTHS.contains(&secret.len())));
        }
        at += stretch.len();
        if secrets.len() == MAX_COPIES {
            break;
        }
    }
    // The search is limited in number and length, so it cannot fail.
    if let Ok(secrets) = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(secrets) {
        secrets.find_iter(text).for_each(|copy| hidden[copy.range()].fill(true));
    }
}

/// Returns true if the value `after` the key that ends here looks like a secret.
fn is_secret_value(before: &str, after: &str) -> bool {
    let Some((_, key)) = key_before(before).filter(|(_, key)| rank(key).is_some()) else { return false };
    let near = &after[..after.floor_char_boundary(MAX_LOOKBACK)];
    let value = near.trim_start_matches([' ', '\t']);
    let quoted = value.starts_with(['"', '\'']);
    let end =
        if quoted { string_end(value) } else { value.find([',', '}', '#', '\n']).unwrap_or(value.len()) };
    is_secret(key, value[..end].trim().trim_matches(['"', '\'']))
}

/// Returns true if the key that ends here, or a part of it, looks secret.
///
/// An example is `password.value`.
fn ends_with_secret_key(mut text: &str) -> bool {
    for _ in 0..MAX_KEY_PARTS {
        let Some((before, key)) = key_before(text) else { return false };
        if looks_secret(key) {
            return true;
        }
        let Some(before) = before.trim_end_matches([' ', '\t']).strip_suffix('.') else { return false };
        text = before;
    }
    false
}

/// Splits off the last part of the key that ends here from the line before it.
fn key_before(text: &str) -> Option<(&str, &str)> {
    let mut start = text.len().saturating_sub(MAX_LOOKBACK);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let text = &text[start..];
    let text = text.trim_end_matches([' ', '\t', '\r']);
    let line = &text[text.rfind('\n').map_or(0, |at| at + 1)..];
    match line.chars().next_back()? {
        quote @ ('"' | '\'') => {
            let inner = &line[..line.len() - 1];
            let start = inner.rfind(quote)?;
            Some((&inner[..start], &inner[start + 1..]))
        }
        _ => {
            let start = line
                .rfind(|character: char| !character.is_alphanumeric() && character != '_' && character != '-')
                .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
            Some(line.split_at(start)).filter(|(_, key)| !key.is_empty())
        }
    }
}

/// Masks the value that begins here: a string, list or line, or a table's strings.
fn hide_value(text: &str, from: usize, past: &mut usize, hidden: &mut [bool]) {
    let value = text[from..].trim_start_matches([' ', '\t']);
    let start = text.len() - value.len();
    let end = match value.chars().next() {
        Some('{') => return hide_texts(text, start, past, hidden),
        Some('[') => value.find(']').map_or(value.len(), |at| at + 1),
        Some('"' | '\'') => string_end(value),
        _ => value.find([',', '}', '#', '\n']).unwrap_or(value.len()),
    };
    if is_reference(&value[..end]) {
        return;
    }
    for flag in &mut hidden[start..start + end] {
        *flag = true;
    }
}

/// Masks the strings of the table that begins here, except its keys.
fn hide_texts(text: &str, from: usize, past: &mut usize, hidden: &mut [bool]) {
    if from < *past {
        return;
    }
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(found) = text[at..].find(['{', '}', '"', '\'']) {
        at += found;
        let end = match text.as_bytes()[at] {
            b'{' => {
                depth += 1;
                at + 1
            }
            b'}' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            _ => {
                let end = at + string_end(&text[at..]);
                let is_key = text[end..].trim_start_matches([' ', '\t']).starts_with(['=', '.']);
                if !is_key && !is_reference(&text[at..end]) {
                    hidden[at..end].fill(true);
                }
                end
            }
        };
        at = end;
        if depth == 0 {
            break;
        }
    }
    *past = at;
}

/// Returns the end of the string that begins here.
///
/// At most the end of a single line.
fn string_end(text: &str) -> usize {
    if let Some(quotes) = ["\"\"\"", "'''"].iter().find(|quotes| text.starts_with(**quotes)) {
        return text[3..].find(*quotes).map_or(text.len(), |at| at + 6);
    }
    let mut escaped = false;
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else { return 0 };
    for (at, character) in characters {
        match character {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns true for references and empty strings, which reveal nothing.
///
/// References have the form `"${NAME}"` or `"env:NAME"`.
fn is_reference(value: &str) -> bool {
    let inner = value.trim().trim_matches(['"', '\'']);
    let name = inner
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .or_else(|| ["env:", "file:", "credential:"].iter().find_map(|store| inner.strip_prefix(store)));
    inner.is_empty()
        || name.is_some_and(|name| {
            name.chars().all(|character| character.is_ascii_alphanumeric() || "_.-/".contains(character))
        })
}

/// Masks the password of `user:password@` that begins here.
fn hide_password(text: &str, from: usize, hidden: &mut [bool]) {
    let mut near = (from + MAX_LOOKBACK).min(text.len());
    while !text.is_char_boundary(near) {
        near -= 1;
    }
    let rest = &text[from..near];
    let end = rest.find(['/', '"', '\'', '\n', ' ']).unwrap_or(rest.len());
    let (user, is_whole) = match rest[..end].rsplit_once('@') {
        Some((user, _)) => (user, true),
        None => (&rest[..end], false),
    };
    let Some((name, password)) = user.split_once(':') else { return };
    // In a truncated text, digits may be a port.
    let port = !is_whole && password.bytes().all(|byte| byte.is_ascii_digit());
    if !port && !is_reference(password) {
        let start = from + name.len() + 1;
        for flag in &mut hidden[start..start + password.len()] {
            *flag = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_hidden_and_references_are_not() {
        for (text, shown) in [
            ("password = \"hunter2\" # x", "password = ********* # x"),
            ("password = \"hunter2", "password = ********"),
            ("password = hunter2", "password = *******"),
            ("password = 'hun\"ter2'", "password = **********"),
            ("a.\"api-key\" = \"k\\\"ey\"", "a.\"api-key\" = *******"),
            ("x = { user = \"u\", token = \"t\" }", "x = { user = \"u\", token = *** }"),
            ("password = { secret = \"hunter2\" }", "password = { secret = ********* }"),
            (
                "password = { a = \"x\", b.c = { \"d\" = ['x'] } }, u = \"u\"",
                "password = { a = ***, b.c = { \"d\" = [***] } }, u = \"u\"",
            ),
            ("a.password.\"now\" = \"x\"", "a.password.\"now\" = ***"),
            ("password = { secret = \"env:DB\" }", "password = { secret = \"env:DB\" }"),
            ("password = \"${DB}\"", "password = \"${DB}\""),
            ("password = \"\"\"\nhunter2\n\"\"\"\na = 1", "password = ***\n*******\n***\na = 1"),
            ("tokens = 1\ntoken = [\"a\",\n\"b\"]", "tokens = 1\ntoken = *****\n****"),
            ("url = \"pg://u:p@h/d\"", "url = \"pg://u:*@h/d\""),
            ("password: hunter2", "password: *******"),
            ("password \"hunter2\"", "password *********"),
            ("note = \"a password\" # a", "note = \"a password\" # a"),
            ("url = \"pg://u:hunter2", "url = \"pg://u:*******"),
            ("url = \"http://h:80\"", "url = \"http://h:80\""),
            ("url = \"pg://u:${P}@h/d\"", "url = \"pg://u:${P}@h/d\""),
            ("password = \"é\"", "password = ****"),
            (
                "password = \"hunter2\", note = \"not hunter2\"\n# hunter2",
                "password = ******************************\"\n# *******",
            ),
            ("# s3cr3t!\nurl = \"pg://u:s3cr3t!@h/d\"", "# *******\nurl = \"pg://u:*******@h/d\""),
            ("a = \"x\"\ntoken = \"x\"", "a = \"x\"\ntoken = ***"),
        ] {
            assert_eq!(redact(text, &[]), shown);
        }
    }

    proptest! {
        #[test]
        fn places_keep_their_meaning(text in "(password|a|=| |\"|'|\\$|\\{|\\[|\n|é|://|:|@){0,40}") {
            let shown = redact(&text, &[]);
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        }
    }
}
