//! `[policy]`, in `wellspring.toml` and in workspace files.

use super::diagnostic::Code;
use super::document::{Span, SpannedTable, TomlValue};
use super::fields::{self, unknown_keys};
use super::keys;
use super::sink::DiagnosticSink;
use crate::model::{Adopt, Limit, MetadataPolicy, OnConflict, Policy, Prune};

/// Settings of one `[policy]` table with their locations; others are inherited.
#[derive(Debug, Clone, Default)]
pub(super) struct PartialPolicy {
    prune: Option<(Prune, Span)>,
    adopt: Option<(Adopt, Span)>,
    max_cleanup: Option<(Limit, Span)>,
    max_replace: Option<(Limit, Span)>,
    on_conflict: Option<(OnConflict, Span)>,
    metadata: Option<(MetadataPolicy, Span)>,
}

/// Values of `adopt`, in `[policy]` and in sources.
pub(super) const ADOPT: [(&str, Adopt); 4] = [
    ("never", Adopt::Never),
    ("identical", Adopt::Identical),
    ("by-name", Adopt::ByName),
    ("replace", Adopt::Replace),
];

pub(super) fn policy(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> PartialPolicy {
    const PRUNE: [(&str, Prune); 2] = [("off", Prune::Off), ("owned", Prune::Owned)];
    const ON_CONFLICT: [(&str, OnConflict); 2] =
        [("recreate", OnConflict::Recreate), ("withhold", OnConflict::Withhold)];
    const METADATA: [(&str, MetadataPolicy); 2] =
        [("replace", MetadataPolicy::Replace), ("withhold", MetadataPolicy::Withhold)];
    unknown_keys(table, &keys::POLICY, findings);
    PartialPolicy {
        prune: choice(table, "prune", &PRUNE, findings),
        adopt: choice(table, "adopt", &ADOPT, findings),
        max_cleanup: limit(table, "max_cleanup", findings),
        max_replace: limit(table, "max_replace", findings),
        on_conflict: choice(table, "on_conflict", &ON_CONFLICT, findings),
        metadata: choice(table, "metadata", &METADATA, findings),
    }
}

fn choice<T: Copy>(
    table: &SpannedTable<'_>,
    key: &str,
    choices: &[(&'static str, T)],
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<(T, Span)> {
    let value = fields::choice(table, key, choices, findings)?;
    Some((value, table.get(key)?.node.span))
}

fn limit(
    table: &SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<(Limit, Span)> {
    let entry = table.get(key)?;
    let limit = match &entry.node.value {
        TomlValue::Integer(count @ 1..) => Some(Limit::Count(u32::try_from(*count).unwrap_or(u32::MAX))),
        TomlValue::String(text) => text
            .strip_suffix('%')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|percent| (1..=100).contains(percent))
            .map(Limit::Percent),
        _ => None,
    };
    if limit.is_none() {
        let help = if key == "max_cleanup" {
            "write a number from 1, or a share such as \"30%\"; to remove nothing, write prune = \"off\""
        } else {
            "write a number from 1, or a share such as \"30%\""
        };
        findings.error(Code::InvalidValue, entry.node.span, format!("`{key}` is not a limit")).help(help);
    }
    Some((limit?, entry.node.span))
}

impl PartialPolicy {
    /// Applies these settings over an inherited policy.
    pub(super) fn or_defaults(&self, farther: &Policy) -> Policy {
        fn or<T: Copy>(nearer: &Option<(T, Span)>, farther: T) -> T {
            nearer.map_or(farther, |(value, _)| value)
        }
        Policy {
            prune: or(&self.prune, farther.prune),
            adopt: or(&self.adopt, farther.adopt),
            max_cleanup: or(&self.max_cleanup, farther.max_cleanup),
            max_replace: self.max_replace.map(|(value, _)| value).or(farther.max_replace),
            on_conflict: or(&self.on_conflict, farther.on_conflict),
            metadata: or(&self.metadata, farther.metadata),
        }
    }

    /// Adds the settings of another file for the same workspace; reports conflicts.
    pub(super) fn merge(&mut self, other: &Self, workspace: &str, findings: &mut DiagnosticSink<'_, '_>) {
        fn add<T: Copy + PartialEq>(
            mine: &mut Option<(T, Span)>,
            other: Option<(T, Span)>,
            said: (&str, &str),
            findings: &mut DiagnosticSink<'_, '_>,
        ) {
            match (*mine, other) {
                (Some((a, at)), Some((b, there))) if a != b => {
                    let (key, workspace) = said;
                    let message = format!("two files give {workspace} different values of `{key}`");
                    for (here, elsewhere) in [(at, there), (there, at)] {
                        findings
                            .error(Code::PolicyConflict, here, message.clone())
                            .with_label(elsewhere, "the other one")
                            .help("set it in one of the files, or to the same value in both");
                    }
                }
                (None, Some(other)) => *mine = Some(other),
                _ => {}
            }
        }
        add(&mut self.prune, other.prune, ("prune", workspace), findings);
        add(&mut self.adopt, other.adopt, ("adopt", workspace), findings);
        add(&mut self.max_cleanup, other.max_cleanup, ("max_cleanup", workspace), findings);
        add(&mut self.max_replace, other.max_replace, ("max_replace", workspace), findings);
        add(&mut self.on_conflict, other.on_conflict, ("on_conflict", workspace), findings);
        add(&mut self.metadata, other.metadata, ("metadata", workspace), findings);
    }
}
