//! Parses the host file with all its errors, without showing possible secrets.

use super::{
    DaemonSettings, HostAllow, HostFile, HostHttp, HostLimit, HostLimitSettings, HostNotify, HostPlatform,
    HostPrune, HostSecrets, HostState, HostVariables, HumanDuration, Mode, NonNegativeDuration,
    TokenReference,
};
use crate::config::document::{Document, Span, SpannedTable, SpannedValue, TableEntry, TomlValue};
use crate::config::fields::{self, text, unknown_keys, words};
use crate::config::keys::{self, KeyTable};
use crate::config::sink::DiagnosticSink;
use crate::config::{Code, Diagnostic, parse, references};
use crate::model::Limit;
use crate::settings::address;
use crate::webhooks::{NotificationEvent, PayloadFormat};
use globset::{Glob, GlobMatcher};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use wellspring_sensitive::Words;

/// Keys whose values are not secrets, except below `[[notify]]`.
const NON_SECRET_KEYS: Words = Words(
    "allow allow_plaintext dir events format hosts interval listen max_cleanup max_in_flight max_replace mode
    name prune requests_per_second settle sync_timeout timeout url variables workspaces",
);

/// Parses the host file, or returns all errors.
pub(super) fn host_file(name: &str, text: &str) -> Result<HostFile, Vec<Diagnostic>> {
    let documents = [Document::new(Arc::from(name), text)];
    let mut findings = DiagnosticSink::new(&documents);
    let host = parse::parse(0, &mut findings).map(|root| file(&root, &mut findings));
    let mut found = findings.into_sorted();
    match host {
        Some(host) if found.is_empty() => Ok(host),
        _ => {
            found.iter_mut().take(1).for_each(|first| first.redacted = secret_ranges(text));
            Err(found)
        }
    }
}

/// Byte ranges that no diagnostic may show: values of potentially secret keys.
///
/// Works on the text, which may be invalid TOML.
fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let (mut at, mut in_notify, mut harmless) = (0, false, true);
    for line in text.split_inclusive('\n') {
        let (start, content) = (at, line.trim());
        at += line.len();
        let header = content.starts_with('[') && content.trim_end_matches(']') != content;
        let key = content.split_once('=').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
        let value = match key {
            _ if header && !content.contains('=') => {
                (in_notify, harmless) = (content.contains("notify"), true);
                continue;
            }
            Some(key) => {
                let last = key.rsplit(['.', ' ']).next().unwrap_or(key);
                let is_address = line.contains("://");
                let is_list = last != "allow" || content.trim_end().ends_with(['[', ']', ',']);
                harmless =
                    NON_SECRET_KEYS.contains(last) && is_list && (!is_address || last == "url" && !in_notify);
                start + line.find('=').map_or(0, |sign| sign + 1)
            }
            None => start,
        };
        if !harmless && !is_reference(&text[value..at]) {
            hidden.push(value..at);
        }
    }
    hidden
}

/// Returns true if the text is exactly a reference: `{ secret = "env:NAME" }`.
fn is_reference(text: &str) -> bool {
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let value = inner.and_then(|inner| inner.trim().strip_prefix("secret")?.trim_start().strip_prefix('='));
    let name = value.map(|value| value.trim().trim_matches(['"', '\'']));
    name.and_then(|name| name.split_once(':')).is_some_and(|(store, name)| {
        ["env", "file", "credential"].contains(&store)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    })
}

fn file(root: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> HostFile {
    unknown_keys(root, &keys::HOST, findings);
    let mut host = HostFile::default();
    if let Some(table) = section(root, "daemon", &keys::DAEMON, findings) {
        host.daemon = DaemonSettings {
            dir: path(table, "dir", findings),
            mode: fields::choice(
                table,
                "mode",
                &[("apply", Mode::Apply), ("dry-run", Mode::DryRun)],
                findings,
            )
            .unwrap_or_default(),
            interval: parsed::<HumanDuration>(table, "interval", findings),
            settle: parsed::<NonNegativeDuration>(table, "settle", findings),
        };
    }
    if let Some((table, _)) = fields::table(root, "platform", findings) {
        host.platform = platform(table, findings);
    }
    if let Some(table) = section(root, "limits", &keys::LIMITS, findings) {
        host.limits = HostLimitSettings {
            max_cleanup: limit(table, "max_cleanup", findings),
            max_replace: limit(table, "max_replace", findings),
            prune: fields::choice(
                table,
                "prune",
                &[("off", HostPrune::Off), ("owned", HostPrune::Owned)],
                findings,
            ),
        };
    }
    if let Some(table) = section(root, "secrets", &keys::SECRETS, findings) {
        let allow = tables(table, "allow", findings);
        host.secrets = HostSecrets {
            dir: path(table, "dir", findings),
            allow: allow
                .into_iter()
                .filter_map(|(entry, table)| permission(entry, table, findings))
                .collect(),
        };
    }
    if let Some(table) = section(root, "variables", &keys::VARIABLES, findings) {
        host.variables = HostVariables { allow: patterns(table, "allow", findings) };
    }
    if let Some(table) = section(root, "state", &keys::STATE, findings) {
        host.state = HostState { dir: path(table, "dir", findings) };
    }
    if let Some(table) = section(root, "http", &keys::HTTP, findings) {
        host.http = HostHttp {
            listen: listen(table, findings),
            hosts: owned(table, "hosts", findings).unwrap_or_default(),
        };
    }
    let notify = tables(root, "notify", findings);
    host.notify = notify.into_iter().filter_map(|(entry, table)| webhook(entry, table, findings)).collect();
    host
}

fn platform(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> HostPlatform {
    unknown_keys(table, &keys::HOST_PLATFORM, findings);
    HostPlatform {
        url: text(table, "url", findings).map(|(url, _)| url.to_owned()),
        token: reference(table, "token", "the platform's token", findings),
        timeout: parsed(table, "timeout", findings),
        sync_timeout: parsed(table, "sync_timeout", findings),
        settle: parsed(table, "settle", findings),
        max_in_flight: count(table, "max_in_flight", findings),
        requests_per_second: count(table, "requests_per_second", findings),
        allow_plaintext: fields::boolean(table, "allow_plaintext", findings).unwrap_or_default(),
    }
}

fn permission(
    entry: &SpannedValue<'_>,
    table: &SpannedTable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<HostAllow> {
    unknown_keys(table, &keys::ALLOW, findings);
    if !table.contains_key("name") {
        findings
            .error(Code::Missing, entry.span, "`[[secrets.allow]]` needs a `name`")
            .help("write which references it permits: name = \"env:ORDERS_*\"");
    }
    let (name, span) = text(table, "name", findings)?;
    Some(HostAllow {
        name: pattern(name, span, findings)?,
        workspaces: owned(table, "workspaces", findings),
        hosts: patterns(table, "hosts", findings),
    })
}

fn webhook(
    entry: &SpannedValue<'_>,
    table: &SpannedTable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<HostNotify> {
    unknown_keys(table, &keys::NOTIFY, findings);
    if !table.contains_key("url") {
        findings
            .error(Code::Missing, entry.span, "`[[notify]]` needs a `url`")
            .help("name where the address is kept: url = { secret = \"env:SLACK_WEBHOOK\" }");
    }
    let shapes = [("json", PayloadFormat::Json), ("slack", PayloadFormat::Slack)];
    let format = fields::choice(table, "format", &shapes, findings).unwrap_or_default();
    let known = NotificationEvent::ALL.map(|event| (event.key(), event));
    let events = words(table, "events", findings).map(|words| {
        let event = |(word, span)| fields::chosen("events", word, span, &known, findings);
        words.into_iter().filter_map(event).collect()
    });
    let url = reference(table, "url", "a webhook's address", findings)?;
    Some(HostNotify { url, format, events })
}

/// Returns the table under `key` and reports unknown keys.
fn section<'t, 'a>(
    of: &'t SpannedTable<'a>,
    key: &str,
    known: &KeyTable,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<&'t SpannedTable<'a>> {
    let (table, _) = fields::table(of, key, findings)?;
    unknown_keys(table, known, findings);
    Some(table)
}

/// Returns the tables of the array under `key`, with their positions.
fn tables<'t, 'a>(
    of: &'t SpannedTable<'a>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Vec<(&'t SpannedValue<'a>, &'t SpannedTable<'a>)> {
    let Some(TableEntry { node, .. }) = of.get(key) else { return Vec::new() };
    let items = match &node.value {
        TomlValue::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut tables = Vec::new();
    for item in items {
        match (&node.value, &item.value) {
            (TomlValue::Array(_), TomlValue::Table(table)) => tables.push((item, table)),
            _ => {
                findings.error(Code::WrongType, item.span, format!("`{key}` takes a list of tables")).help(
                    format!("write a header for each: [[{key}]], or [[secrets.{key}]] below `secrets`"),
                );
            }
        }
    }
    tables
}

/// Parses a reference to a secret; a literal secret is an error that hides it.
fn reference(
    of: &SpannedTable<'_>,
    key: &str,
    what: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<TokenReference> {
    let entry = of.get(key)?;
    match &entry.node.value {
        TomlValue::Table(table) if references::is_reference(table) => {
            references::host_secret(table, findings).map(|secret| TokenReference { secret })
        }
        value => {
            let (code, found) = match value {
                TomlValue::Table(_) => (Code::WrongType, "a table of another form"),
                _ => (Code::PlainSecret, "the value itself"),
            };
            findings
                .error(code, entry.node.span, format!("`{key}` takes a reference to {what}; this is {found}"))
                .label("not shown")
                .help(format!(
                    "write {key} = {{ secret = \"env:NAME\" }}, \"file:NAME\" or \"credential:NAME\"; if this value was ever shared, change it"
                ));
            None
        }
    }
}

fn path(of: &SpannedTable<'_>, key: &str, findings: &mut DiagnosticSink<'_, '_>) -> Option<PathBuf> {
    text(of, key, findings).map(|(path, _)| PathBuf::from(path))
}

fn owned(of: &SpannedTable<'_>, key: &str, findings: &mut DiagnosticSink<'_, '_>) -> Option<Vec<String>> {
    Some(words(of, key, findings)?.into_iter().map(|(word, _)| word.to_owned()).collect())
}

fn parsed<T: FromStr<Err = &'static str>>(
    of: &SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<T> {
    let (written, span) = text(of, key, findings)?;
    match written.parse() {
        Ok(value) => Some(value),
        Err(why) => {
            findings.error(Code::BadDuration, span, format!("`{key}` is not a usable duration")).help(why);
            None
        }
    }
}

/// Reads a port, as a number or as text, or an address.
fn listen(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<SocketAddr> {
    let entry = table.get("listen")?;
    let written = match &entry.node.value {
        TomlValue::Integer(port) => port.to_string(),
        _ => text(table, "listen", findings)?.0.to_string(),
    };
    address(&written)
        .map_err(|why| {
            let message = "`listen` cannot be used".to_owned();
            findings.error(Code::InvalidValue, entry.node.span, message).help(why);
        })
        .ok()
}

fn count<T: TryFrom<i64>>(
    of: &SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<T> {
    let entry = of.get(key)?;
    let number = match entry.node.value {
        TomlValue::Integer(number) => T::try_from(number).ok(),
        _ => None,
    };
    if number.is_none() {
        findings.error(Code::InvalidValue, entry.node.span, format!("`{key}` is a whole number"));
    }
    number
}

/// Parses a count or a percentage.
fn limit(of: &SpannedTable<'_>, key: &str, findings: &mut DiagnosticSink<'_, '_>) -> Option<HostLimit> {
    let entry = of.get(key)?;
    let limit = match &entry.node.value {
        TomlValue::Integer(number) => u32::try_from(*number).ok().map(Limit::Count),
        TomlValue::String(text) => text
            .strip_suffix('%')
            .and_then(|percent| percent.parse::<u8>().ok())
            .filter(|percent| *percent <= 100)
            .map(Limit::Percent),
        _ => None,
    };
    if limit.is_none() {
        findings
            .error(
                Code::InvalidValue,
                entry.node.span,
                format!("`{key}` is neither a number nor a percentage"),
            )
            .help("write a number such as 3, or a percentage such as \"30%\"");
    }
    limit.map(HostLimit)
}

fn patterns(
    of: &SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Vec<GlobMatcher>> {
    let words = words(of, key, findings)?;
    Some(words.into_iter().filter_map(|(word, span)| pattern(word, span, findings)).collect())
}

fn pattern(written: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) -> Option<GlobMatcher> {
    match Glob::new(written) {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(error) => {
            let why = error.kind().to_string();
            findings.error(Code::InvalidValue, span, "this is not a pattern").help(why);
            None
        }
    }
}
