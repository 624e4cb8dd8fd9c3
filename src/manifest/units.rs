//! From files to units: what several files say about one workspace is put together here.

use super::diagnostic::Code;
use super::document::Span;
use super::fields::shown;
use super::findings::Findings;
use super::policy::Stated;
use super::settings::{AliasId, Settings};
use super::workspace::FileReading;
use crate::model::{BrokenFile, DesiredSource, DesiredUnit, Moved, Policy, Scope, Unit};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the files together say about one unit.
#[derive(Default)]
struct Gathered<'r> {
    files: Vec<&'r FileReading>,
    policy: Stated,
}

/// Reports what the files say against each other.
pub(super) fn check(readings: &[&FileReading], findings: &mut Findings<'_, '_>) {
    // Where a file's units are unknown, what seems to be missing may stand in it.
    let complete = readings.iter().all(|reading| reading.all_units().is_some());
    for (unit, gathered) in gather(readings.iter().copied(), findings) {
        check_sources(&unit, &gathered.files, findings);
        check_moves(&unit, &gathered.files, complete, findings);
    }
}

/// Puts the units together from files without errors, sorted.
pub(super) fn assemble(
    readings: &[&FileReading],
    settings: &Settings<'_>,
    findings: &mut Findings<'_, '_>,
) -> (Vec<Arc<DesiredUnit>>, Vec<BrokenFile>) {
    let errors = findings.documents_with_errors();
    let (broken, sound): (Vec<&FileReading>, Vec<&FileReading>) =
        readings.iter().copied().partition(|reading| !reading.sound || errors.contains(&reading.document));
    let repository = settings.policy.over(&Policy::default());
    let units = gather(sound.into_iter(), findings)
        .into_iter()
        .map(|(unit, gathered)| {
            let mut sources: Vec<DesiredSource> = Vec::new();
            let mut moved: Vec<Moved> = Vec::new();
            let mut removed = Vec::new();
            let mut files: Vec<Arc<str>> = Vec::new();
            for file in &gathered.files {
                moved.extend(file.moved.iter().map(|(moved, _)| moved.clone()));
                removed.extend(file.removed.iter().map(|(removed, _)| removed.clone()));
                sources.extend(file.sources_of(&unit).filter_map(|source| source.desired.clone()));
                files.push(Arc::clone(&findings.documents[file.document as usize].path));
            }
            sources.sort_by(|a, b| a.name.cmp(&b.name));
            // A source's own scope may have put it into another unit.
            moved.retain(|moved| sources.iter().any(|source| source.key == moved.to));
            let policy = gathered.policy.over(&repository);
            let alias = alias(&unit, settings);
            Arc::new(DesiredUnit { alias, policy, sources, moved, removed, files, unit })
        })
        .collect();
    let broken = broken
        .into_iter()
        .map(|reading| BrokenFile {
            file: Arc::clone(&findings.documents[reading.document as usize].path),
            units: reading.all_units().map(|units| units.into_iter().collect()),
        })
        .collect();
    (units, broken)
}

/// Groups the files by the units they name, and joins their policies.
fn gather<'r>(
    readings: impl Iterator<Item = &'r FileReading>,
    findings: &mut Findings<'_, '_>,
) -> BTreeMap<Unit, Gathered<'r>> {
    let mut units: BTreeMap<Unit, Gathered<'r>> = BTreeMap::new();
    for reading in readings {
        for unit in reading.all_units().unwrap_or_default() {
            let label = unit.to_string();
            let gathered = units.entry(unit).or_default();
            gathered.files.push(reading);
            gathered.policy.merge(&reading.policy, &shown(&label), findings);
        }
    }
    units
}

fn check_sources(unit: &Unit, files: &[&FileReading], findings: &mut Findings<'_, '_>) {
    let mut keys: HashMap<&str, Span> = HashMap::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    for file in files {
        for source in file.sources_of(unit) {
            if let Some(other) = keys.insert(source.key.as_str(), source.key_span) {
                let what = format!("source `{}`", shown(source.key.as_str()));
                twice(Code::DuplicateKey, &what, unit, (other, source.key_span), findings);
            } else if let Some(other) = names.insert(source.name.as_str(), source.name_span) {
                let what = format!("the name `{}`", shown(source.name.as_str()));
                twice(Code::DuplicateName, &what, unit, (other, source.name_span), findings);
            }
        }
    }
}

/// Reports once, with both places. Which of the two is meant is not known, so both files are broken.
fn twice(
    code: Code,
    what: &str,
    unit: &Unit,
    (first, second): (Span, Span),
    findings: &mut Findings<'_, '_>,
) {
    findings
        .error(code, second, format!("{what} is declared twice in {}", shown(&unit.to_string())))
        .also(first, "declared here first")
        .help("rename or remove one of them");
    findings.break_too(first);
}

fn check_moves(unit: &Unit, files: &[&FileReading], complete: bool, findings: &mut Findings<'_, '_>) {
    let declared: HashMap<&str, Span> = files
        .iter()
        .flat_map(|file| file.sources_of(unit))
        .map(|source| (source.key.as_str(), source.key_span))
        .collect();
    for file in files {
        for (removed, span) in &file.removed {
            if let Some(source) = declared.get(removed.key.as_str()) {
                let key = shown(removed.key.as_str());
                findings
                    .error(
                        Code::Contradiction,
                        *span,
                        format!("`{key}` is removed here, and declared as well"),
                    )
                    .also(*source, "declared here")
                    .help("keep one of the two");
            }
        }
        for (moved, span) in &file.moved {
            // `key = "key"` says that the source under this key has another name now.
            let stays = moved.from == moved.to;
            if let Some(source) = declared.get(moved.from.as_str()).filter(|_| !stays) {
                let from = shown(moved.from.as_str());
                findings
                    .error(
                        Code::Contradiction,
                        *span,
                        format!("`{from}` has moved away, but is still declared"),
                    )
                    .also(*source, "declared here")
                    .help("remove the source that has moved, or the line in [moved]");
            }
            let known = file.sources.iter().any(|source| source.key == moved.to);
            if complete && !known && !declared.contains_key(moved.to.as_str()) {
                let to = shown(moved.to.as_str());
                findings
                    .error(
                        Code::Contradiction,
                        *span,
                        format!("nothing is declared as `{to}`, where this moves to"),
                    )
                    .help("[moved] reads old = \"new\", and the new one stands in [sources]");
            }
        }
    }
}

/// How people call the unit: the alias with its very scope, else one of the same workspace.
fn alias(unit: &Unit, settings: &Settings<'_>) -> Option<String> {
    let mut found = None;
    for (name, alias) in &settings.aliases {
        if matches!(&alias.id, AliasId::Known(id) if *id == unit.workspace) {
            if alias.scope.clone().unwrap_or_else(Scope::default) == unit.scope {
                return Some(name.clone());
            }
            found = found.or(Some(name.clone()));
        }
    }
    found
}
