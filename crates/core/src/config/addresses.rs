//! Refuses two sources of an account with one address.

use super::diagnostic::{Code, display_key};
use super::document::Span;
use super::sink::DiagnosticSink;
use super::workspace::FileContents;
use crate::model::{Address, Place, WorkspaceRef};
use std::collections::HashMap;

/// Reports sources of an account that have one address.
pub(super) fn check_addresses(
    files: &[&FileContents],
    unit: &WorkspaceRef,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    if unit.workspace.account().is_none() {
        return;
    }
    let mut taken: HashMap<Place, Vec<(Address, Span)>> = HashMap::new();
    for source in files.iter().flat_map(|file| file.sources_of(unit)) {
        let Some(address) = source.desired.as_ref().and_then(|desired| Address::of(&desired.definition))
        else {
            continue;
        };
        let others = taken.entry(address.place().clone()).or_default();
        if let Some((_, other)) = others.iter().find(|(other, _)| other.is_same(&address)) {
            let (first, second) = ((*other).min(source.key_span), (*other).max(source.key_span));
            findings
                .error(
                    Code::DuplicateName,
                    second,
                    format!("two sources have the address {}", display_key(&address.to_string())),
                )
                .with_label(first, "the other one")
                .help("remove one of them: the platform lists the table once for both");
            findings.mark_broken(first);
        } else {
            others.push((address, source.key_span));
        }
    }
}
