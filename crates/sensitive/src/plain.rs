//! Finds secrets in logins without a scheme, commands, lines of configuration files, and markup.

use super::scan::work;
use super::words::Words;
use super::{Rank, is_secret, rank, shapes};
use std::ops::Range;

/// Returns true if the value is neither empty, masked nor a reference.
pub(super) fn is_literal(value: &str) -> bool {
    let refers = value.replace("$${", "").contains("${");
    !refers && !value.bytes().all(|byte| b"*x.".contains(&byte)) && !value.chars().all(|c| c == '•')
}

/// Returns the words of a text with their positions, without quotes around them.
fn words(text: &str, ends: fn(char) -> bool) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(ends).filter_map(move |word| {
        let start = at;
        // Every separator has one byte.
        at += word.len() + 1;
        work::add(word.len() + 1);
        (!word.is_empty()).then_some((start, word))
    })
}

/// Finds `user:PASSWORD@host` and `user/PASSWORD@host:1521/name`.
pub(super) fn logins(text: &str) -> impl Iterator<Item = Range<usize>> {
    let ends = |c: char| c.is_ascii_whitespace() || "\"'`,;<>[".contains(c);
    words(text, ends).filter_map(|(start, word)| {
        let password = password_of_login(word)?;
        Some(start + password.start..start + password.end)
    })
}

fn password_of_login(word: &str) -> Option<Range<usize>> {
    const NO_USERS: [&str; 10] =
        ["jdbc", "mailto", "sip", "sips", "acct", "xmpp", "npm", "urn", "file", "git"];
    let (login, host) = word.rsplit_once('@')?;
    if word.contains("://")
        || host.starts_with("sha256:")
        || !host.starts_with(|c: char| c.is_alphanumeric() || c == '/')
    {
        return None;
    }
    let is_user = |user: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-\\".contains(&byte);
        !user.is_empty() && user.bytes().all(plain) && !NO_USERS.contains(&user)
    };
    let has_port_or_path = host.contains([':', '/', '(']);
    if let Some((user, password)) = login.split_once(':') {
        // `owner:name@example.com` is an address of mail.
        let is_word = password.bytes().all(|byte| byte.is_ascii_lowercase() || b".-_+".contains(&byte));
        let is_number = password.bytes().all(|byte| byte.is_ascii_digit());
        let is_password = !is_number && !password.starts_with(':') && (has_port_or_path || !is_word);
        let start = user.len() + 1;
        return (is_user(user) && is_password && is_literal(password)).then_some(start..login.len());
    }
    let (user, password) = login.split_once('/')?;
    let has_port = host.trim_start_matches('/').split_once(':').is_some_and(|(_, port)| {
        port.split('/')
            .next()
            .is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let is_password = !password.contains('/') && (has_port || host.starts_with("//")) && is_literal(password);
    (is_user(user) && is_password).then_some(user.len() + 1..login.len())
}

/// Finds `NAME: VALUE` and `NAME = VALUE` on lines of their own, and headers within quotes.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let in_lines = words(text, |c| c == '\n').flat_map(|(start, line)| {
        let of_line = [pair(line, ": "), pair(line, " = "), pgpass(line)];
        of_line.into_iter().flatten().map(move |value| start + value.start..start + value.end)
    });
    let in_quotes = words(text, |c| matches!(c, '"' | '\'' | '\n')).filter_map(|(start, part)| {
        let value = pair(part, ": ")?;
        Some(start + value.start..start + value.end)
    });
    in_lines.chain(in_quotes)
}

/// Finds the value of a header such as `X-Api-Key: VALUE`, or of a line of YAML or INI.
fn pair(line: &str, sign: &str) -> Option<Range<usize>> {
    let (before, after) = line.split_once(sign)?;
    let name = before.trim_start().trim_start_matches("- ").trim_end();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    let value = after.trim();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''));
    let inner = quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let is_cookie = name.to_ascii_lowercase().ends_with("cookie");
    let one_word = inner.is_some() || is_cookie || !value.contains([' ', '"', '\'']);
    let value = inner.unwrap_or(value);
    let start = line.len() - after.len() + after.find(value)?;
    if one_word && is_secret(name, value) { Some(start..start + value.len()) } else { None }
}

/// Finds the password in a line `host:port:database:user:PASSWORD`.
fn pgpass(line: &str) -> Option<Range<usize>> {
    let mut fields = line.trim_end().splitn(5, ':');
    let [host, port, database, user] = [(); 4].map(|()| fields.next().unwrap_or_default());
    let password = fields.next()?;
    let is_port =
        port == "*" || (3..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |field: &str| !field.is_empty() && !field.contains([' ', '/']);
    let is_line = is_port && [host, database, user, password].into_iter().all(plain);
    let end = line.trim_end().len();
    if is_line && is_literal(password) { Some(end - password.len()..end) } else { None }
}

/// Options for a password, each with the programs that have it.
const OPTIONS: [(&str, Words); 5] = [
    ("-p", Words("sshpass mongo mongosh mongodump mongoexport mongoimport cqlsh")),
    ("-P", Words("sqlcmd bcp osql")),
    ("-a", Words("redis-cli")),
    ("-w", Words("ldapsearch vsql")),
    ("--password", Words("clickhouse-client kinit")),
];

/// Finds the password of a command's option of one letter, `/password:VALUE`, and that of `.netrc`.
pub(super) fn commands(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut program = "";
    let mut before = ["", "", ""];
    words(text, |c| c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '`')).filter_map(
        move |(start, word)| {
            let [login, user, flag] = before;
            before = [user, flag, word];
            let is_netrc = login == "login" && !user.is_empty() && flag == "password";
            let whole = start..start + word.len();
            let is_option =
                OPTIONS.iter().any(|(option, programs)| *option == flag && programs.contains(program));
            let name = word.rsplit('/').next().unwrap_or_default();
            let is_mysql = |name: &str| name.starts_with("mysql") || name.starts_with("mariadb");
            if !word.starts_with('-')
                && (is_mysql(name) || OPTIONS.iter().any(|(_, programs)| programs.contains(name)))
            {
                program = name;
            }
            if (is_option || is_netrc) && is_literal(word) && !word.starts_with('-') {
                // The option of a program that this one starts is another.
                program = "";
                return Some(whole);
            }
            if let Some(joined) = word.strip_prefix("-p").filter(|joined| !joined.is_empty()) {
                let is_password =
                    is_mysql(program) || joined.len() >= 6 && shapes::is_random_in_query(joined);
                return if is_password && is_literal(joined) { Some(start + 2..whole.end) } else { None };
            }
            let (name, value) = word.strip_prefix('/')?.split_once(':')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            if is_name && is_secret(name, value) { Some(whole.end - value.len()..whole.end) } else { None }
        },
    )
}

/// Finds `<password>VALUE</password>`.
pub(super) fn markup(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut past = 0;
    text.match_indices("</").filter_map(move |(at, _)| {
        let from = std::mem::replace(&mut past, at + 2);
        let start = from + text[from..at].rfind('>')? + 1;
        let name = text[at + 2..].split('>').next().filter(|name| name.len() <= 100)?;
        work::add(at - from + name.len());
        let value = &text[start..at];
        (rank(name) >= Some(Rank::Likely) && is_secret(name, value)).then_some(start..at)
    })
}
