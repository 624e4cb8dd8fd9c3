//! The host's list of what may be used where (`[[secrets.allow]]`). Once one entry stands, a reference
//! resolves only for the workspaces and towards the hosts that an entry names.
//!
//! Where a source leads is read from its `connection_config`: every text under a key such as `host`, `url`
//! or `brokers`, and every text with `://` in it. All of them must be permitted, and one whose host cannot
//! be told (a reference stands in it) is not.

use crate::model::{Declared, Definition, SecretRef, Segment};
use globset::GlobMatcher;
use std::collections::BTreeSet;

/// One entry of the list.
#[derive(Debug, Clone)]
pub struct Allow {
    /// Which references: `env:ORDERS_*`.
    pub name: GlobMatcher,
    /// In which workspaces, by alias or id; in all where it does not say.
    pub workspaces: Option<Vec<String>>,
    /// Towards which hosts: `*.db.example.com`; towards all where it does not say.
    pub hosts: Option<Vec<GlobMatcher>>,
}

/// Where a source leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Destination {
    Host(String),
    /// No host can be told from the text at this key.
    Unclear(String),
}

/// May `reference` be used by a source of this definition, in a workspace of these names?
///
/// # Errors
/// Why not, in a sentence for people.
pub(super) fn check(
    allowed: &[Allow],
    reference: &SecretRef,
    workspace: &[&str],
    definition: &Definition,
) -> Result<(), String> {
    if allowed.is_empty() {
        return Ok(());
    }
    let name = reference.to_string();
    let named: Vec<&Allow> = allowed.iter().filter(|allow| allow.name.is_match(&name)).collect();
    if named.is_empty() {
        return Err(format!("{name} is not on this host's list ([[secrets.allow]])"));
    }
    let here: Vec<&Allow> = named.into_iter().filter(|allow| allow.is_for(workspace)).collect();
    if here.is_empty() {
        let workspace = workspace.first().copied().unwrap_or_default();
        return Err(format!("{name} may not be used in the workspace {workspace} ([[secrets.allow]])"));
    }
    let destinations = destinations(definition);
    let mut refused = None;
    for allow in here {
        match allow.refused(&destinations) {
            None => return Ok(()),
            Some(why) => refused = Some(why),
        }
    }
    Err(format!("{name} {} ([[secrets.allow]])", refused.unwrap_or_default()))
}

impl Allow {
    fn is_for(&self, workspace: &[&str]) -> bool {
        let names = self.workspaces.as_ref();
        names.is_none_or(|names| names.iter().any(|name| workspace.contains(&name.as_str())))
    }

    fn refused(&self, destinations: &BTreeSet<Destination>) -> Option<String> {
        let hosts = self.hosts.as_ref()?;
        if destinations.is_empty() {
            return Some("may go to certain hosts only, and this source names none".to_owned());
        }
        destinations.iter().find_map(|destination| match destination {
            Destination::Host(host) if hosts.iter().any(|pattern| pattern.is_match(host)) => None,
            Destination::Host(host) => Some(format!("may not go to the host {host}")),
            Destination::Unclear(key) => {
                Some(format!("may go to certain hosts only, and which one `{key}` names cannot be told"))
            }
        })
    }
}

fn destinations(definition: &Definition) -> BTreeSet<Destination> {
    let mut found = BTreeSet::new();
    for (key, value) in &definition.connection_config {
        collect(key, value, &mut found);
    }
    found
}

fn collect(key: &str, value: &Declared, found: &mut BTreeSet<Destination>) {
    match value {
        Declared::String(text) => of_text(key, text, found),
        Declared::Template(template) => {
            let shown: String = template
                .0
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => text.as_str(),
                    // Stands in no host.
                    Segment::Env(_) => "\0",
                })
                .collect();
            of_text(key, &shown, found);
        }
        Declared::Secret(_) if names_hosts(key) => {
            found.insert(Destination::Unclear(key.to_owned()));
        }
        Declared::Array(items) => items.iter().for_each(|item| collect(key, item, found)),
        Declared::Table(entries) => entries.iter().for_each(|(key, value)| collect(key, value, found)),
        _ => {}
    }
}

fn of_text(key: &str, text: &str, found: &mut BTreeSet<Destination>) {
    let address = text.parse::<std::net::IpAddr>().is_ok();
    if !(address || names_hosts(key) || text.contains("://")) {
        return;
    }
    // `a:9092,b:9092`, but no comma within the path of a URL.
    let parts: Vec<&str> = if text.contains("://") { vec![text] } else { text.split(',').collect() };
    for part in parts {
        found.insert(match host(part.trim()) {
            Some(host) => Destination::Host(host),
            None => Destination::Unclear(key.to_owned()),
        });
    }
}

/// The host of `host`, `host:port`, `[::1]:port` or `scheme://user:password@host:port/…`. Whatever two
/// readers could take for different hosts is none.
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
    if let Ok(address) = place.parse::<std::net::IpAddr>() {
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

/// Does a key by its name hold an address?
fn names_hosts(key: &str) -> bool {
    const NAMES: [&str; 15] = [
        "host",
        "hostname",
        "server",
        "address",
        "addr",
        "endpoint",
        "url",
        "uri",
        "dsn",
        "proxy",
        "broker",
        "node",
        "connectionstring",
        "domain",
        "gateway",
    ];
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let one = plain.strip_suffix('s').unwrap_or(&plain);
    NAMES.iter().any(|name| plain.ends_with(name) || one.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fields, Template};
    use globset::Glob;

    fn glob(text: &str) -> GlobMatcher {
        Glob::new(text).unwrap().compile_matcher()
    }

    fn list() -> Vec<Allow> {
        vec![Allow {
            name: glob("env:ORDERS_*"),
            workspaces: Some(vec!["sales".to_owned()]),
            hosts: Some(vec![glob("*.db.example.com")]),
        }]
    }

    fn text(value: &str) -> Declared {
        Declared::String(value.to_owned())
    }

    fn verdict(name: &str, workspace: &str, config: &[(&str, Declared)]) -> Result<(), String> {
        let definition = Definition {
            kind: "database".to_owned(),
            connection_config: config.iter().cloned().collect(),
            metadata: Fields::default(),
        };
        check(&list(), &SecretRef::Env(name.to_owned()), &[workspace, "ws_1"], &definition)
    }

    #[test]
    fn a_listed_reference_resolves_in_its_workspace_towards_its_hosts() {
        for host in ["orders.db.example.com", "ORDERS.db.example.com:5432", "https://a.db.example.com/x@y"] {
            assert_eq!(verdict("ORDERS_DB", "sales", &[("host", text(host))]), Ok(()), "{host}");
        }
        let nothing = check(
            &[],
            &SecretRef::Env("A".to_owned()),
            &["w"],
            &Definition {
                kind: "api".to_owned(),
                connection_config: Fields::default(),
                metadata: Fields::default(),
            },
        );
        assert_eq!(nothing, Ok(()), "without a list everything is permitted");
    }

    #[test]
    fn another_name_workspace_or_host_is_refused_by_its_name() {
        let good = [("host", text("a.db.example.com"))];
        let why = verdict("OTHER", "sales", &good).unwrap_err();
        assert_eq!(why, "env:OTHER is not on this host's list ([[secrets.allow]])");
        let why = verdict("ORDERS_DB", "risk", &good).unwrap_err();
        assert_eq!(why, "env:ORDERS_DB may not be used in the workspace risk ([[secrets.allow]])");
        let why = verdict("ORDERS_DB", "sales", &[("host", text("evil.example.net"))]).unwrap_err();
        assert_eq!(why, "env:ORDERS_DB may not go to the host evil.example.net ([[secrets.allow]])");
    }

    #[test]
    fn no_spelling_leads_a_secret_elsewhere() {
        let good = ("host", text("a.db.example.com"));
        let template = |parts: Vec<Segment>| Declared::Template(Template(parts));
        let literal = |text: &str| Segment::Literal(text.to_owned());
        for elsewhere in [
            ("proxy", text("evil.net:3128")),
            ("callback", text("https://evil.net/")),
            ("jdbc", text("jdbc:postgresql://evil.net/db?x=a.db.example.com")),
            ("base_url", text("https://a.db.example.com\\@evil.net/")),
            ("base_url", text("https://a.db.example.com@evil.net/")),
            ("base_url", text("https://a.db.example.com@x@b.db.example.com/")),
            ("brokers", text("a.db.example.com:1,evil.net:2")),
            ("brokers", Declared::Array(vec![text("a.db.example.com"), text("evil.net")])),
            ("dsn", text("host=evil.net user=x")),
            ("anything", text("203.0.113.7")),
            ("host", template(vec![Segment::Env("ORDERS_HOST".to_owned())])),
            (
                "base_url",
                template(vec![literal("https://"), Segment::Env("X".to_owned()), literal(".db.example.com")]),
            ),
            ("host", Declared::Secret(SecretRef::Env("ORDERS_HOST".to_owned()))),
        ] {
            assert!(
                verdict("ORDERS_DB", "sales", &[good.clone(), elsewhere.clone()]).is_err(),
                "{elsewhere:?}"
            );
        }
        assert!(verdict("ORDERS_DB", "sales", &[("database", text("x"))]).is_err(), "no host at all");
        let url =
            vec![literal("postgres://u:"), Segment::Env("P".to_owned()), literal("@a.db.example.com/db")];
        assert_eq!(verdict("ORDERS_DB", "sales", &[("url", template(url))]), Ok(()));
    }
}
