//! Finds secrets inside texts whose key does not indicate one.
//!
//! Covers URLs, `key=value` pairs, headers, command lines, and forms that only secrets have.

use super::keys::{Rank, last_word, rank};
use super::plain::{self, is_literal};
use super::scan::work;
use super::{is_secret, shapes};
use std::ops::Range;

/// Maximum bytes searched for a key or an address, which bounds the cost.
const MAX_SCAN_BYTES: usize = 1024;

/// Returns the byte ranges of literal secrets in this text.
///
/// References such as `${NAME}` are not secrets.
#[must_use]
pub fn find_secrets(text: &str) -> Vec<Range<usize>> {
    let begins_option = text.starts_with(['-', '/']);
    if !begins_option && !text.as_bytes().windows(2).any(may_start_secret) && !begins_shape(text) {
        return Vec::new();
    }
    let mut found: Vec<Range<usize>> = addresses(text)
        .flat_map(|address| [password(text, address.start), webhook(text, address)])
        .flatten()
        .collect();
    found.extend(login(text));
    found.extend(pairs(text));
    found.extend(quoted_pairs(text));
    found.extend(plain::logins(text));
    found.extend(plain::lines(text));
    found.extend(plain::commands(text));
    found.extend(plain::markup(text));
    found.extend(flags(text));
    found.extend(schemes(text));
    found.extend(shapes::shapes(text));
    found.extend(shapes::private_keys(text));
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut past = 0;
    found.retain(|range| {
        let fresh = range.start >= past;
        past = past.max(range.end);
        fresh
    });
    found
}

/// Returns true if these two bytes may precede a secret.
///
/// Most texts contain no such pair.
fn may_start_secret(two: &[u8]) -> bool {
    matches!(
        two,
        [b'=', _]
            | b":/"
            | b"--"
            | b" -"
            | b"\":"
            | b"':"
            | b": "
            | b" /"
            | b"</"
            | [b':', b'0'..=b'9' | b'*']
            | [b'@', _]
            | [b'r' | b'R' | b'c' | b'C' | b'd', b' ']
    )
}

/// Returns true if a sufficiently long word begins like one of the forms.
fn begins_shape(text: &str) -> bool {
    const LEAST: usize = 14;
    text.len() >= LEAST && shapes::shapes(text).next().is_some()
}

/// Returns the range of each address after its scheme, up to the next address in the text.
fn addresses(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut starts = text.match_indices("://").map(|(at, _)| at).peekable();
    std::iter::from_fn(move || {
        let from = starts.next()? + 3;
        Some(from..starts.peek().copied().unwrap_or(text.len()).max(from))
    })
}

/// Finds `scheme://user:PASSWORD@…` or `scheme://KEY@…`.
///
/// The authority begins at `from`.
fn password(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = &text[from..];
    let end = rest.find(['/', '?', '#', '"', '\'', '\n', ' ']).unwrap_or(rest.len());
    work::add(end);
    let (user, _) = rest[..end].rsplit_once('@')?;
    match user.split_once(':') {
        Some((name, password)) => {
            let start = from + name.len() + 1;
            if is_literal(password) { Some(start..start + password.len()) } else { None }
        }
        None if is_literal(user) && shapes::is_random(user) => Some(from..from + user.len()),
        None => None,
    }
}

/// Finds Oracle's `user/PASSWORD@…`.
fn login(text: &str) -> Option<Range<usize>> {
    let from = text.find(":thin:").map(|at| at + 6).or_else(|| text.find(":oci:").map(|at| at + 5))?;
    let (user, _) = text[from..].split_once('@')?;
    let (name, password) = user.split_once('/')?;
    let start = from + name.len() + 1;
    if !password.contains('/') && is_literal(password) { Some(start..start + password.len()) } else { None }
}

/// Finds the path of a webhook's address, which alone permits posting to it.
///
/// The authority begins with `address`.
fn webhook(text: &str, address: Range<usize>) -> Option<Range<usize>> {
    const HOSTS: [&str; 17] = [
        "hooks.slack.com/",
        "discord.com/api/webhooks/",
        "discordapp.com/api/webhooks/",
        "webhook.office.com/",
        "outlook.office.com/webhook/",
        "hooks.zapier.com/",
        "maker.ifttt.com/trigger/",
        "api.telegram.org/bot",
        "hook.make.com/",
        "hook.eu1.make.com/",
        "hook.us1.make.com/",
        "events.pagerduty.com/integration/",
        "open.feishu.cn/open-apis/bot/",
        "open.larksuite.com/open-apis/bot/",
        "alert.victorops.com/integrations/",
        "webhooks.mongodb-realm.com/",
        "hooks.glip.com/",
    ];
    let from = address.start;
    let rest = &text[from..text.floor_char_boundary(address.end.min(from + MAX_SCAN_BYTES)).max(from)];
    work::add(rest.len());
    let end = rest.find(['"', '\'', '\n', ' ', '<', '>']).unwrap_or(rest.len());
    let address = &rest[..end];
    let known = HOSTS.iter().find_map(|host| address.find(host).map(|at| at + host.len()));
    let start = known.or_else(|| {
        // `/hooks/LONGANDRANDOM` on any host.
        let (_, path) = address.split_once('/')?;
        let path_at = address.len() - path.len();
        let is_hook = |part: &str| ["hook", "hooks", "webhook", "webhooks"].contains(&part);
        let mut at = path_at;
        let mut parts = path.split('/').map(|part| {
            let start = at;
            at += part.len() + 1;
            (start, part)
        });
        parts.find(|(_, part)| is_hook(&part.to_ascii_lowercase()))?;
        parts.find(|(_, part)| shapes::is_random(part)).map(|(start, _)| start)
    })?;
    if start < end && is_literal(&address[start..]) { Some(from + start..from + end) } else { None }
}

/// Finds `token=VALUE`, as in queries and connection strings.
fn pairs(text: &str) -> impl Iterator<Item = Range<usize>> {
    // Search each value once.
    let mut past = 0;
    text.match_indices('=').filter_map(move |(at, _)| {
        if at < past {
            return None;
        }
        let (key, in_query) = key_before(&text[..at])?;
        let rank =
            rank(key).or_else(|| (in_query && key.eq_ignore_ascii_case("code")).then_some(Rank::Perhaps))?;
        let value = value_at(text, at + 1);
        let literal = &text[value.clone()];
        let secret = match rank {
            _ if !is_literal(literal) || is_flag(literal) => false,
            Rank::Certain => true,
            Rank::Likely => !shapes::is_ordinary(literal),
            Rank::Perhaps if last_word(key) == "auth" => !shapes::is_method(literal),
            Rank::Perhaps if in_query => shapes::is_random_in_query(literal),
            Rank::Perhaps => is_secret(key, literal),
        };
        past = value.end;
        secret.then_some(value)
    })
}

/// Returns the key that ends here, and true if it is part of a URL's query.
fn key_before(text: &str) -> Option<(&str, bool)> {
    let near = near_end(text);
    let part = |c: char| c.is_alphanumeric() || "_-.%".contains(c);
    // `password = 'x'`; without quotes this is usually a comparison.
    let start = near
        .rfind(|c: char| !part(c))
        .map_or(0, |at| at + near[at..].chars().next().map_or(1, char::len_utf8));
    let key = &near[start..];
    work::add(key.len() + 1);
    let in_query = near[..start].ends_with(['?', '&']) || near[..start].ends_with("&amp;");
    (!key.is_empty()).then_some((key, in_query))
}

fn near_end(text: &str) -> &str {
    let mut start = text.len().saturating_sub(MAX_SCAN_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// Finds `"password": "VALUE"` and `password = 'VALUE'`.
///
/// Occurs in JSON and YAML within a text.
fn quoted_pairs(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut past = 0;
    text.match_indices([':', '=']).filter_map(move |(at, sign)| {
        let before = text[..at].trim_end_matches([' ', '\\']);
        let quoted = before.ends_with(['"', '\'']);
        let spaced = sign == "=" && before.len() < at;
        if at < past || !(sign == ":" && quoted || spaced) {
            return None;
        }
        let name = before.trim_end_matches(['"', '\'', '\\']);
        let (key, _) = key_before(name)?;
        let rest = text[at + 1..].trim_start_matches([' ', '\\']);
        let open = rest.chars().next().filter(|open| matches!(open, '"' | '\''))?;
        let start = text.len() - rest.len() + 1;
        let end = start + rest[1..].find([open, '\\']).unwrap_or(rest.len() - 1);
        work::add(end - at);
        past = end;
        let value = &text[start..end];
        let stores = ["env:", "file:", "credential:"];
        let refers = stores.iter().any(|store| value.starts_with(store));
        (!key.contains('.') && !refers && is_secret(key, value)).then_some(start..end)
    })
}

/// Finds `--password VALUE` and `-u user:VALUE`, as in a command line.
fn flags(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    let words: Vec<(usize, &str)> = if text.contains('-') {
        text.split(' ')
            .map(|word| {
                let start = at;
                at += word.len() + 1;
                (start, word)
            })
            .collect()
    } else {
        Vec::new()
    };
    let joined = words.iter().filter_map(|(start, word)| {
        let (flag, value) = word.trim_matches(['"', '\'']).split_once('=')?;
        if !flag.starts_with('-') || !flag.ends_with("user") {
            return None;
        }
        let (user, password) = value.split_once(':')?;
        let end = start + word.trim_end_matches(['"', '\'']).len();
        if !user.is_empty() && is_literal(password) { Some(end - password.len()..end) } else { None }
    });
    let found: Vec<Range<usize>> = words
        .windows(2)
        .filter_map(|two| {
            let ((_, flag), (start, value)) = (two[0], two[1]);
            let name = flag.strip_prefix('-')?.trim_start_matches('-');
            let quotes = value.len() - value.trim_start_matches(['"', '\'']).len();
            let inner = value.trim_matches(['"', '\'']);
            let start = start + quotes;
            if matches!(name, "u" | "user") {
                let (user, password) = inner.split_once(':')?;
                let start = start + user.len() + 1;
                return if is_literal(password) { Some(start..start + password.len()) } else { None };
            }
            let secret = !inner.starts_with('-') && !name.contains('=') && is_secret(name, inner);
            if secret { Some(start..start + inner.len()) } else { None }
        })
        .chain(joined)
        .collect();
    found.into_iter()
}

/// Finds `Bearer VALUE` and `Basic VALUE`.
fn schemes(text: &str) -> impl Iterator<Item = Range<usize>> {
    const ANYWHERE: [&str; 2] = ["bearer ", "basic "];
    const FIRST: [&str; 5] = ["token ", "apikey ", "negotiate ", "splunk ", "sso-key "];
    let starts = |at: usize, scheme: &str| {
        text.get(at..at + scheme.len()).is_some_and(|word| word.eq_ignore_ascii_case(scheme))
    };
    let first = FIRST.iter().find(|scheme| starts(0, scheme)).map(|scheme| scheme.len());
    let anywhere = text.match_indices(' ').filter_map(move |(space, _)| {
        ANYWHERE.iter().find_map(|scheme| {
            let at = (space + 1).checked_sub(scheme.len())?;
            let begins = at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
            (begins && starts(at, scheme)).then_some(space + 1)
        })
    });
    first.into_iter().chain(anywhere).filter_map(move |start| {
        let end = text[start..].find([' ', '"', '\'', '\n', ',', ';']).map_or(text.len(), |end| start + end);
        work::add(end - start);
        let value = &text[start..end];
        (value.len() >= 8 && is_literal(value) && looks_encoded(value)).then_some(start..end)
    })
}

/// Returns true unless the value looks like a word of a sentence.
fn looks_encoded(value: &str) -> bool {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-.:".contains(&byte));
    let inner = value.get(1..).unwrap_or_default();
    let mixed = inner.bytes().any(|byte| byte.is_ascii_uppercase())
        && inner.bytes().any(|byte| byte.is_ascii_lowercase());
    !plain || mixed && !value.contains(['-', '.', ':'])
}

/// Returns the range of the value that starts here, up to its quote or separator.
fn value_at(text: &str, start: usize) -> Range<usize> {
    let rest = &text[start..];
    let value = match rest.chars().next() {
        Some(open @ ('"' | '\'' | '{')) => {
            let close = if open == '{' { '}' } else { open };
            let end = rest[1..].find(close).map_or(rest.len(), |end| end + 1);
            start + 1..start + end
        }
        _ => {
            let ends = |c: char| c.is_whitespace() || "&;,#\"'".contains(c);
            start..start + rest.find(ends).unwrap_or(rest.len())
        }
    };
    work::add(value.len());
    value
}

/// Returns true for words such as `true` or `required`, which are not secrets.
pub(super) fn is_flag(value: &str) -> bool {
    const WORDS: [&str; 12] = [
        "true", "false", "yes", "no", "none", "null", "on", "off", "required", "optional", "default",
        "disabled",
    ];
    WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}
