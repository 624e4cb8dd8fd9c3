//! The host's list of permitted uses of secrets (`[[secrets.allow]]`).
//!
//! Once one entry exists, a reference resolves only for the workspaces and hosts that an entry
//! names. A source's hosts are read from its `connection_config`: every value that could name a
//! host must be permitted. A value with a reference in it is denied, because its host is unknown.

use super::destinations::{Destination, destinations};
use crate::model::{Definition, SecretRef};
use globset::GlobMatcher;
use std::collections::BTreeSet;

/// One entry of the list.
#[derive(Debug, Clone)]
pub struct Allow {
    /// Pattern of references: `env:ORDERS_*`.
    pub name: GlobMatcher,
    /// Workspaces by alias or id; `None` for all.
    pub workspaces: Option<Vec<String>>,
    /// Patterns of hosts such as `*.db.example.com`; `None` for all.
    pub hosts: Option<Vec<GlobMatcher>>,
}

/// Checks that a source with this definition may use `reference`.
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
            Destination::Ambiguous(key) => {
                Some(format!("may go to certain hosts only, and the host that `{key}` names is unknown"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConfigValue, Segment, SortedMap, Template};
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

    fn text(value: &str) -> ConfigValue {
        ConfigValue::String(value.to_owned())
    }

    fn verdict(name: &str, workspace: &str, config: &[(&str, ConfigValue)]) -> Result<(), String> {
        let definition = Definition {
            kind: "database".to_owned(),
            connection_config: config.iter().cloned().collect(),
            metadata: SortedMap::default(),
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
                connection_config: SortedMap::default(),
                metadata: SortedMap::default(),
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
        let template = |parts: Vec<Segment>| ConfigValue::Template(Template(parts));
        let literal = |text: &str| Segment::Literal(text.to_owned());
        for elsewhere in [
            ("proxy", text("evil.net:3128")),
            ("callback", text("https://evil.net/")),
            ("jdbc", text("jdbc:postgresql://evil.net/db?x=a.db.example.com")),
            ("base_url", text("https://a.db.example.com\\@evil.net/")),
            ("base_url", text("https://a.db.example.com@evil.net/")),
            ("base_url", text("https://a.db.example.com@x@b.db.example.com/")),
            ("brokers", text("a.db.example.com:1,evil.net:2")),
            ("brokers", ConfigValue::Array(vec![text("a.db.example.com"), text("evil.net")])),
            ("dsn", text("host=evil.net user=x")),
            ("anything", text("203.0.113.7")),
            ("jdbc", text("oracle:thin:@evil.net:1521/x")),
            ("jdbc", text("oracle:thin:u/p@(DESCRIPTION=(ADDRESS=(HOST=evil.net)))")),
            ("odbc", text("Driver={X};Server=evil.net;Uid=x")),
            ("conn_str", text("host=evil.net dbname=x")),
            ("tns", text("(DESCRIPTION=(ADDRESS=(HOST=evil.net)))")),
            ("bootstrap", text("evil.net:9092")),
            ("contact_points", ConfigValue::Array(vec![text("a.db.example.com"), text("evil.net")])),
            ("seeds", text("evil")),
            ("target", text("evil.net")),
            ("service", text("evil")),
            ("service", template(vec![literal("x"), Segment::Env("X".to_owned())])),
            ("tunnel", ConfigValue::Table([("ssh", text("evil.net"))].into())),
            ("service", template(vec![Segment::Env("ORDERS_HOST".to_owned())])),
            ("target", ConfigValue::Secret(SecretRef::Env("ORDERS_HOST".to_owned()))),
            (
                "tunnel",
                ConfigValue::Table(
                    [(
                        "ssh",
                        ConfigValue::Array(vec![template(vec![Segment::Env("ORDERS_HOST".to_owned())])]),
                    )]
                    .into(),
                ),
            ),
            ("hosts", ConfigValue::Table([("evil.net", ConfigValue::Integer(1))].into())),
            ("x", ConfigValue::Table([("203.0.113.7", ConfigValue::Integer(1))].into())),
            ("query", text("select * from dblink('host=evil.net', 'x')")),
            ("query", text("copy t to 'ftp://evil.net'")),
            ("query", text("host=evil.net")),
            ("database", text("host=evil.net")),
            ("database", text("postgres://evil.net/x")),
            ("table", text("orders@evil.net")),
            ("path", text("//evil.net/x")),
            ("region", text("evil.net/")),
            ("url", text("postgres://a.db.example.com/x?host=evil.net")),
            ("url", text("postgres://a.db.example.com,evil.net/x")),
            ("host", ConfigValue::Integer(3_405_803_783)),
            ("host", ConfigValue::Integer(1)),
            ("host", ConfigValue::Float(127.1)),
            ("target", ConfigValue::Integer(3_405_803_783)),
            ("target", text("3405803783")),
            ("target", text("0xcb007107")),
            ("account", text("evil")),
            ("host", template(vec![Segment::Env("ORDERS_HOST".to_owned())])),
            (
                "base_url",
                template(vec![literal("https://"), Segment::Env("X".to_owned()), literal(".db.example.com")]),
            ),
            ("host", ConfigValue::Secret(SecretRef::Env("ORDERS_HOST".to_owned()))),
        ] {
            assert!(
                verdict("ORDERS_DB", "sales", &[good.clone(), elsewhere.clone()]).is_err(),
                "{elsewhere:?}"
            );
        }
        for beside in [
            ("database", text("orders")),
            ("port", ConfigValue::Integer(5432)),
            ("username", text("reader@example.com")),
            ("password", ConfigValue::Secret(SecretRef::Env("ORDERS_DB".to_owned()))),
            ("account_key", template(vec![Segment::Env("ORDERS_KEY".to_owned())])),
            ("sslmode", text("verify-full")),
            ("tables", ConfigValue::Array(vec![text("public.orders"), text("x")])),
            ("query", text("select a.id from public.a join b on a.id = b.id where x = 'new'")),
            ("path", text("/v1/orders")),
            ("format", text("csv")),
            ("region", text("eu-central-1")),
            ("delimiter", text(";")),
            ("batch", ConfigValue::Integer(1000)),
            ("ssl", ConfigValue::Bool(true)),
            ("timeout", ConfigValue::Float(1.5)),
            ("replica", text("a.db.example.com:5432")),
        ] {
            assert_eq!(verdict("ORDERS_DB", "sales", &[good.clone(), beside.clone()]), Ok(()), "{beside:?}");
        }
        assert!(verdict("ORDERS_DB", "sales", &[("database", text("x"))]).is_err(), "no host at all");
        let url =
            vec![literal("postgres://u:"), Segment::Env("P".to_owned()), literal("@a.db.example.com/db")];
        assert_eq!(verdict("ORDERS_DB", "sales", &[("url", template(url))]), Ok(()));
    }
}
