//! Finds every value in a `connection_config` that could name a host.
//!
//! A text under a key such as `host` or `url` names hosts. A text under a key with another known
//! meaning, such as `database` or `username`, names none unless it is written like an address.
//! Every other text counts as a host, because the platform may use it in any way.

use crate::model::{ConfigValue, Definition, Segment, SortedMap};
use std::collections::BTreeSet;
use std::net::IpAddr;
use wellspring_sensitive::{self as sensitive, Words};

/// A possible destination of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Host(String),
    /// The value at this key could name a host, but the host is unknown.
    Ambiguous(String),
}

/// Meaning of a key, derived from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueRole {
    Hosts,
    /// A secret, or a user name.
    Login,
    /// A statement in a query language.
    Query,
    /// A name, a path or a setting.
    Other,
    Unknown,
}

/// Smallest integer that some parsers read as an address: 16777216 is 1.0.0.0.
const MIN_NUMERIC_ADDRESS: i64 = 1 << 24;

pub(super) fn destinations(definition: &Definition) -> BTreeSet<Destination> {
    let mut found = BTreeSet::new();
    table(None, &definition.connection_config, &mut found);
    found
}

fn table(above: Option<&str>, entries: &SortedMap<ConfigValue>, found: &mut BTreeSet<Destination>) {
    for (key, value) in entries {
        let key_is_host = key.contains("://")
            || is_address(key)
            || above.is_some_and(|above| value_role(above) == ValueRole::Hosts);
        // Below `host`, a property key such as `port` is not a host.
        if key_is_host && (key.contains(['.', ':']) || is_address(key)) {
            hosts(key, key, found);
        }
        collect(key, value, found);
    }
}

fn collect(key: &str, value: &ConfigValue, found: &mut BTreeSet<Destination>) {
    let unclear = || Destination::Ambiguous(key.to_owned());
    match value {
        ConfigValue::String(text) => of_text(key, text, found),
        ConfigValue::Template(template) => {
            let shown: String = template
                .0
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => text.as_str(),
                    // Cannot occur in a host.
                    Segment::Env(_) => "\0",
                })
                .collect();
            of_text(key, &shown, found);
        }
        // The platform may use its value in any way.
        ConfigValue::Secret(_) if matches!(value_role(key), ValueRole::Hosts | ValueRole::Unknown) => {
            found.insert(unclear());
        }
        ConfigValue::Integer(number) => {
            let of_address = *number >= MIN_NUMERIC_ADDRESS && value_role(key) == ValueRole::Unknown;
            if of_address || value_role(key) == ValueRole::Hosts && !is_count(key) {
                found.insert(unclear());
            }
        }
        ConfigValue::Float(_) if value_role(key) == ValueRole::Hosts => {
            found.insert(unclear());
        }
        ConfigValue::Array(items) => items.iter().for_each(|item| collect(key, item, found)),
        ConfigValue::Table(entries) => table(Some(key), entries, found),
        _ => {}
    }
}

fn of_text(key: &str, text: &str, found: &mut BTreeSet<Destination>) {
    let text = text.trim();
    match value_role(key) {
        _ if text.is_empty() => {}
        ValueRole::Hosts => hosts(key, text, found),
        ValueRole::Login if text.contains("://") || text.starts_with("\\\\") => hosts(key, text, found),
        ValueRole::Other if has_address_syntax(text) || text.contains('@') || leaves_its_label(key, text) => {
            hosts(key, text, found);
        }
        ValueRole::Query if may_name_host(text) => {
            found.insert(Destination::Ambiguous(key.to_owned()));
        }
        ValueRole::Login | ValueRole::Query | ValueRole::Other => {}
        ValueRole::Unknown if is_plain_setting(text) => {}
        ValueRole::Unknown => hosts(key, text, found),
    }
}

fn hosts(key: &str, text: &str, found: &mut BTreeSet<Destination>) {
    // Split `a:9092,b:9092`, but not the path of a URL.
    let parts: Vec<&str> = if text.contains("://") { vec![text] } else { text.split(',').collect() };
    for part in parts {
        found.insert(match host(part.trim()) {
            Some(host) => Destination::Host(host),
            None => Destination::Ambiguous(key.to_owned()),
        });
        // `?host=` overrides the host of some addresses.
        let query = part.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in query.split(['&', ';']).filter_map(|pair| pair.split_once('=')) {
            if value_role(name) == ValueRole::Hosts
                || has_address_syntax(value)
                || value.contains("%3A%2F%2F")
            {
                hosts(name, value, found);
            }
        }
    }
}

/// Returns the host of an address.
///
/// Accepts `host`, `host:port`, `[::1]:port` and `scheme://user:password@host:port/…`. Returns
/// `None` if two parsers could find different hosts.
fn host(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = match authority.split('@').collect::<Vec<_>>().as_slice() {
        [place] | [_, place] => *place,
        _ => return None,
    };
    if authority.contains('\\') || rest.contains("://") {
        return None;
    }
    if let Ok(address) = place.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(inner) => {
            let (address, port) = inner.split_once(']')?;
            (address.parse::<std::net::Ipv6Addr>().ok()?.to_string(), port.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (place.to_owned(), None),
        },
    };
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let plain_port = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (plain_port && !host.is_empty() && host.chars().all(usable)).then_some(host)
}

fn value_role(key: &str) -> ValueRole {
    const HOSTS: Words = Words(
        "host hostname hostaddr server address addr endpoint url uri dsn proxy broker node connectionstring
        domain gateway",
    );
    const LOGINS: Words = Words("username user login uid clientid keyid");
    const QUERIES: Words = Words("query sql statement where");
    const OTHERS: Words = Words(
        "accept apiversion applicationname appname authmechanism authsource batchsize catalog charset codec
        collation collection column comment compression contenttype cursor cursorfield database databasename
        dateformat db dbname delimiter description dialect directory driver encoding engine escape field file
        folder format frequency granttype groupid interval key kind label language level locale mechanism
        method mode note orderby owner pagination partition path prefix primarykey protocol quote
        readpreference region replicaset role schema scope separator sheet ssl sslmode strategy suffix table
        tag timezone topic version view",
    );
    const OTHER_ENDS: Words = Words("type column table schema format mode");
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let one = plain.strip_suffix('s').unwrap_or(&plain);
    let ends = |names: Words| names.iter().any(|name| plain.ends_with(name) || one.ends_with(name));
    let is = |names: Words| names.contains(&plain) || names.contains(one);
    match () {
        () if ends(HOSTS) => ValueRole::Hosts,
        () if sensitive::looks_secret(key) || ends(LOGINS) => ValueRole::Login,
        () if is(QUERIES) => ValueRole::Query,
        () if is(OTHERS) || OTHER_ENDS.iter().any(|end| one.ends_with(end)) => ValueRole::Other,
        () => ValueRole::Unknown,
    }
}

/// Returns true for keys such as `replicas_per_node`, whose number is not a host.
fn is_count(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["max", "min", "num", "count", "per_", "retries", "timeout"].iter().any(|word| key.contains(word))
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}

/// Returns true for a text that is an address regardless of its key.
fn has_address_syntax(text: &str) -> bool {
    let pair =
        |pair: &str| pair.split_once('=').is_some_and(|(key, _)| value_role(key.trim()) == ValueRole::Hosts);
    text.contains("://")
        || text.starts_with("//")
        || text.starts_with("\\\\")
        || is_address(text)
        || text.split([' ', ';', '(', ',', '&']).any(pair)
}

/// Returns true for a region that is more than one label of a host, such as `x.example.net/`.
fn leaves_its_label(key: &str, text: &str) -> bool {
    key.to_ascii_lowercase().contains("region")
        && text.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-')
}

/// Returns true if a statement may name a host.
///
/// That is an address, or a dotted text in quotes or after `=`.
fn may_name_host(text: &str) -> bool {
    let dotted = |word: &str| word.contains('.') && !word.starts_with('.') && word.parse::<f64>().is_err();
    let words = |text: &str| {
        text.split(|c: char| c.is_whitespace() || "(),;".contains(c)).map(str::to_owned).collect()
    };
    let all: Vec<String> = words(text);
    has_address_syntax(text)
        || text.contains('@')
        || all.iter().any(|word| is_address(word.trim_matches(['\'', '"'])))
        || text.split('\'').skip(1).step_by(2).any(|quoted| dotted(quoted) || has_address_syntax(quoted))
        || all.iter().any(|word| word.split_once('=').is_some_and(|(_, value)| dotted(value)))
}

/// Returns true for a text that no parser reads as a host: a flag, number or path.
fn is_plain_setting(text: &str) -> bool {
    const WORDS: Words = Words("true false yes no on off none auto default require disable prefer");
    let number = text.parse::<i64>().is_ok_and(|number| number < MIN_NUMERIC_ADDRESS);
    let path = text.starts_with('/') && !text.starts_with("//") && !text.contains(['\\', '@', ':']);
    let sign = !text.contains(|c: char| c.is_alphanumeric() || c == '\0');
    number || path || sign || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
