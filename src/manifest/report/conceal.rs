//! Hides what looks like a secret before a file's lines are shown.
//!
//! By the text alone: it must hold for files that are not TOML, too. Every hidden byte becomes
//! `*`, so that places keep their meaning.

use crate::model::{exposed, looks_secret};

/// Keys and addresses are shorter; looking no farther keeps the cost even.
const NEAR: usize = 1024;

/// The text with the values of secret-looking keys, and what [`exposed`] finds, hidden.
pub(super) fn conceal(text: &str) -> String {
    let mut hidden = vec![false; text.len()];
    for (at, sign) in text.match_indices(['=', ':', '"', '\'']) {
        if hidden[at] {
            continue;
        }
        // `key "value"`: the sign between them was forgotten.
        let quote = matches!(sign, "\"" | "'");
        let before = &text[..at];
        if (!quote || before.ends_with([' ', '\t'])) && key_before(before).is_some_and(looks_secret) {
            hide_value(text, if quote { at } else { at + 1 }, &mut hidden);
        }
    }
    for (at, _) in text.match_indices("://") {
        hide_password(text, at + 3, &mut hidden);
    }
    for range in exposed(text) {
        hidden[range].fill(true);
    }
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

/// The last part of the key that ends here.
fn key_before(text: &str) -> Option<&str> {
    let mut start = text.len().saturating_sub(NEAR);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let text = &text[start..];
    let text = text.trim_end_matches([' ', '\t', '\r']);
    let line = &text[text.rfind('\n').map_or(0, |at| at + 1)..];
    match line.chars().next_back()? {
        quote @ ('"' | '\'') => {
            let inner = &line[..line.len() - 1];
            Some(&inner[inner.rfind(quote)? + 1..])
        }
        _ => {
            let start = line
                .rfind(|character: char| !character.is_alphanumeric() && character != '_' && character != '-')
                .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
            Some(&line[start..]).filter(|key| !key.is_empty())
        }
    }
}

/// Hides the value that begins here: to the end of a string, a list, or the line.
fn hide_value(text: &str, from: usize, hidden: &mut [bool]) {
    let value = text[from..].trim_start_matches([' ', '\t']);
    let start = text.len() - value.len();
    if value.starts_with('{') {
        return; // its keys are looked at one by one
    }
    let end = if let Some(quotes) = ["\"\"\"", "'''"].iter().find(|quotes| value.starts_with(**quotes)) {
        value[3..].find(*quotes).map_or(value.len(), |at| at + 6)
    } else if value.starts_with('[') {
        value.find(']').map_or(value.len(), |at| at + 1)
    } else {
        match value.chars().next() {
            Some(quote @ ('"' | '\'')) => string_end(value, quote),
            _ => value.find([',', '}', '#', '\n']).unwrap_or(value.len()),
        }
    };
    if is_reference(&value[..end]) {
        return;
    }
    for flag in &mut hidden[start..start + end] {
        *flag = true;
    }
}

/// Where the string ends, at the line's end at the latest.
fn string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
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

/// `"${NAME}"`, `"env:NAME"`, an empty string: nothing is given away.
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

/// Hides the password of `user:password@` that begins here.
fn hide_password(text: &str, from: usize, hidden: &mut [bool]) {
    let mut near = (from + NEAR).min(text.len());
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
    // In a text that was cut short it may be a port.
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
        ] {
            assert_eq!(conceal(text), shown);
        }
    }

    proptest! {
        #[test]
        fn places_keep_their_meaning(text in "(password|a|=| |\"|'|\\$|\\{|\\[|\n|é|://|:|@){0,40}") {
            let shown = conceal(&text);
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
        }
    }
}
