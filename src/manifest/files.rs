//! Loads the workspace files incrementally.
//!
//! Parses the files that changed and reassembles the units that they affect.

use super::FILE_NAME;
use super::diagnostic::Code;
use super::document::{self, Span, small};
use super::findings::Findings;
use super::known::{File, Kept, Known, KnownFile, KnownUnit, Learned, Missing};
use super::settings::Settings;
use super::units::{self, ByUnit};
use super::workspace::{self, FileReading};
use super::{Keep, Spread, parse};
use crate::model::{BrokenFile, FoldedUnit, SettledUnit, Unit};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Result of loading the workspace files.
pub(super) struct Read {
    /// Sorted.
    pub(super) units: Vec<Arc<FoldedUnit>>,
    /// Sorted.
    pub(super) settled: Vec<SettledUnit>,
    pub(super) broken: Vec<BrokenFile>,
    pub(super) known: (HashMap<Arc<str>, KnownFile>, HashMap<Unit, KnownUnit>),
}

/// Loads the files with the indexes `wanted`.
pub(super) fn read<'a>(
    files: &[&File<'a>],
    wanted: &[usize],
    settings: Option<&Settings<'a>>,
    known: Option<&Known>,
    findings: &mut Findings<'_, 'a>,
    (keep, spread): (Keep, Spread<'_>),
) -> Result<Read, Missing> {
    let mut tree = Tree { files, settings, known, keep, entries: BTreeMap::new() };
    let unknown = tree.take_what_is_known(wanted, findings);
    tree.parse(unknown, Together::Perhaps, findings, spread)?;
    let mut checked = BTreeSet::new();
    // An error in one file makes everything it declares uncertain, so repeat until nothing changes.
    loop {
        let complete = tree.entries.values().all(|entry| entry.units.is_some());
        let by_unit = tree.by_unit();
        let broken = tree.broken(findings);
        let touched = tree.touched(&by_unit, &broken, complete);
        let unread = touched.values().flat_map(|files| files.iter().copied());
        let unread: BTreeSet<usize> = unread.filter(|n| tree.entries[n].learned.is_none()).collect();
        if !unread.is_empty() {
            tree.parse(unread.into_iter().collect(), Together::Yes, findings, spread)?;
            continue;
        }
        let fresh: ByUnit<'_> = touched
            .iter()
            .filter(|(unit, _)| !checked.contains(*unit))
            .map(|(unit, files)| (unit.clone(), tree.readings(files)))
            .collect();
        if fresh.is_empty() {
            return Ok(tree.put_together(&by_unit, &touched, &broken, complete, findings));
        }
        checked.extend(fresh.keys().cloned());
        units::check(&fresh, complete, findings);
    }
}

/// The files of a load, by index.
struct Tree<'r, 'a> {
    files: &'r [&'r File<'a>],
    settings: Option<&'r Settings<'a>>,
    known: Option<&'r Known>,
    keep: Keep,
    entries: BTreeMap<usize, Entry>,
}

/// Knowledge about one file.
struct Entry {
    /// Units that the file names; `None` if unknown.
    units: Option<Arc<[Unit]>>,
    weight: usize,
    /// `None` if the file is known to be valid and was not parsed now, or was not kept.
    learned: Option<Box<FileReading>>,
    /// The file's unit, if no other file contributes to it.
    alone: Option<Kept>,
}

/// States if other files contribute to the units of the parsed ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    /// Usually none does, so a file's unit is assembled at once.
    ///
    /// The parsed form is dropped then.
    Perhaps,
    Yes,
}

/// Indexes of the files of each unit.
type Numbers<'u> = BTreeMap<Unit, Vec<usize>>;

impl<'r, 'a> Tree<'r, 'a> {
    /// Takes cached results, and returns the files without one.
    fn take_what_is_known(&mut self, wanted: &[usize], findings: &Findings<'_, 'a>) -> Vec<usize> {
        let mut unknown = Vec::new();
        for n in wanted {
            let file = self.files[*n];
            let known = self.known.and_then(|known| known.files.get(&file.path));
            let known = known.filter(|known| Some(known.digest) == file.digest);
            match known.filter(|known| findings.take_room(known.weight)) {
                Some(KnownFile { units, weight, .. }) => {
                    let entry =
                        Entry { units: Some(Arc::clone(units)), weight: *weight, learned: None, alone: None };
                    self.entries.insert(*n, entry);
                }
                None => unknown.push(*n),
            }
        }
        unknown
    }

    /// Parses files, several in parallel.
    fn parse(
        &mut self,
        numbers: Vec<usize>,
        together: Together,
        findings: &mut Findings<'_, 'a>,
        spread: Spread<'_>,
    ) -> Result<(), Missing> {
        let without_text = numbers.iter().filter(|n| self.files[**n].text.is_none());
        let missing: Vec<Arc<str>> = without_text.map(|n| Arc::clone(&self.files[*n].path)).collect();
        if !missing.is_empty() {
            return Err(Missing(missing));
        }
        numbers.iter().filter_map(|n| self.entries.get(n)).for_each(|entry| findings.give_room(entry.weight));
        let parsed: Vec<OnceLock<(Learned, Option<Arc<FoldedUnit>>)>> =
            numbers.iter().map(|_| OnceLock::new()).collect();
        let (documents, shared) = (findings.documents, findings.shared.clone());
        spread(numbers.len(), &|at| {
            let mut own = Findings::of_one_file(documents, &shared);
            let mut reading = file(small(numbers[at]), self.files[numbers[at]], self.settings, &mut own);
            let units = reading.all_units().filter(|_| together == Together::Perhaps);
            let alone = match (self.settings, units.as_ref().and_then(BTreeSet::first)) {
                (Some(settings), Some(unit)) if units.as_ref().is_some_and(|units| units.len() == 1) => {
                    units::alone(unit, &mut reading, settings, &mut own)
                }
                _ => None,
            };
            let alone = alone.map(|unit| Arc::new((self.keep)(unit)));
            let _ = parsed[at].set((own.learned(reading), alone));
        });
        for (n, parsed) in numbers.into_iter().zip(parsed.into_iter().filter_map(OnceLock::into_inner)) {
            let (learned, alone) = parsed;
            findings.absorb(&learned);
            let units = match &alone {
                Some(alone) => Some(Arc::from([alone.unit.clone()])),
                None => learned.reading.all_units().map(|units| units.into_iter().collect()),
            };
            let weight = learned.weight;
            let learned = alone.is_none().then(|| Box::new(learned.reading));
            let alone = alone.map(Kept::Unit);
            self.entries.insert(n, Entry { units, weight, learned, alone });
        }
        Ok(())
    }

    fn by_unit(&self) -> Numbers<'r> {
        let mut by_unit: Numbers<'_> = BTreeMap::new();
        for (n, entry) in &self.entries {
            for unit in entry.units.iter().flat_map(|units| units.iter()) {
                by_unit.entry(unit.clone()).or_default().push(*n);
            }
        }
        by_unit
    }

    /// Returns the files that declare nothing because of errors.
    fn broken(&self, findings: &Findings<'_, 'a>) -> HashSet<usize> {
        let errors = findings.documents_with_errors();
        let is_broken = |n: usize, entry: &Entry| {
            entry.learned.as_ref().is_some_and(|reading| !reading.sound) || errors.contains(&small(n))
        };
        self.entries.iter().filter(|(n, entry)| is_broken(**n, entry)).map(|(n, _)| *n).collect()
    }

    /// Returns the units that may have changed.
    fn touched(&self, by_unit: &Numbers<'_>, broken: &HashSet<usize>, complete: bool) -> Numbers<'r> {
        let is_touched = |(unit, files): &(&Unit, &Vec<usize>)| {
            files.iter().any(|n| broken.contains(n)) || self.kept(unit, files, complete).is_none()
        };
        by_unit.iter().filter(is_touched).map(|(unit, files)| (unit.clone(), files.clone())).collect()
    }

    /// Returns a unit that need not be reassembled, and if it has `[moved]` entries.
    fn kept(&self, unit: &Unit, files: &[usize], complete: bool) -> Option<(bool, &Kept)> {
        if let [n] = files
            && let Some(alone) = &self.entries[n].alone
        {
            return Some((false, alone));
        }
        let known = self.known?.units.get(unit)?;
        let same = |(n, (path, digest)): (&usize, &(Arc<str>, [u8; 32]))| {
            self.files[*n].path == *path && self.files[*n].digest == Some(*digest)
        };
        let stands = known.files.len() == files.len() && files.iter().zip(&known.files).all(same);
        (stands && (known.complete == complete || !known.moved)).then_some((known.moved, &known.desired))
    }

    fn readings(&self, files: &[usize]) -> Vec<&FileReading> {
        files.iter().filter_map(|n| self.entries[n].learned.as_deref()).collect()
    }

    fn put_together(
        &self,
        by_unit: &Numbers<'_>,
        touched: &Numbers<'_>,
        broken: &HashSet<usize>,
        complete: bool,
        findings: &mut Findings<'_, 'a>,
    ) -> Read {
        let is_sound = |n: &usize| !broken.contains(n);
        let sound: ByUnit<'_> = touched
            .iter()
            .map(|(unit, files)| {
                let sound: Vec<usize> = files.iter().copied().filter(is_sound).collect();
                (unit.clone(), self.readings(&sound))
            })
            .filter(|(_, files)| !files.is_empty())
            .collect();
        let put_together = match self.settings {
            Some(settings) => units::assemble(&sound, settings, findings),
            None => Vec::new(),
        };
        // Files with diagnostics are not cached, so that these are reported again by the next load.
        let reported = findings.documents_reported();
        let mut fresh: HashMap<Unit, (bool, Kept)> = put_together
            .into_iter()
            .map(|unit| {
                let moved = sound[&unit.unit].iter().any(|file| !file.moved.is_empty());
                (unit.unit.clone(), (moved, Kept::Unit(Arc::new((self.keep)(unit)))))
            })
            .collect();
        let mut units = Vec::with_capacity(by_unit.len());
        let mut settled = Vec::new();
        let mut known_units = HashMap::with_capacity(by_unit.len());
        for (unit, files) in by_unit {
            let known = || self.kept(unit, files, complete).filter(|_| !touched.contains_key(unit));
            let fresh = fresh.remove(unit);
            let kept = fresh.or_else(|| known().map(|(moved, desired)| (moved, desired.clone())));
            let Some((moved, desired)) = kept else { continue };
            let key = |n: &usize| Some((Arc::clone(&self.files[*n].path), self.files[*n].digest?));
            if files.iter().all(|n| is_sound(n) && !reported.contains(&small(*n)))
                && let Some(files) = files.iter().map(key).collect()
            {
                let known = KnownUnit { files, complete, moved, desired: desired.clone() };
                known_units.insert(unit.clone(), known);
            }
            match desired {
                Kept::Unit(desired) => units.push(desired),
                Kept::Settled => {
                    let files = files.iter().map(|n| Arc::clone(&self.files[*n].path)).collect();
                    settled.push(SettledUnit { unit: unit.clone(), files });
                }
            }
        }
        let known_file = |(n, entry): (&usize, &Entry)| {
            if reported.contains(&small(*n)) {
                return None;
            }
            let file = self.files[*n];
            let known = KnownFile {
                digest: file.digest?,
                units: Arc::clone(entry.units.as_ref()?),
                weight: entry.weight,
            };
            is_sound(n).then(|| (Arc::clone(&file.path), known))
        };
        let broken = |(n, entry): (&usize, &Entry)| {
            let units = entry.units.as_deref().map(<[Unit]>::to_vec);
            (!is_sound(n)).then(|| BrokenFile { file: Arc::clone(&self.files[*n].path), units })
        };
        Read {
            units,
            settled,
            broken: self.entries.iter().filter_map(broken).collect(),
            known: (self.entries.iter().filter_map(known_file).collect(), known_units),
        }
    }
}

fn file<'a>(
    document: u32,
    file: &File<'a>,
    settings: Option<&Settings<'a>>,
    findings: &mut Findings<'_, 'a>,
) -> FileReading {
    if file.path.rsplit('/').next() == Some(FILE_NAME) {
        let top = Span { document, start: 0, end: 0 };
        findings
            .error(Code::NestedSettings, top, format!("{FILE_NAME} is only read at the project root"))
            .help("move the settings to the root's file, or rename this file");
        return FileReading { document, ..Default::default() };
    }
    match text(document, file, findings) {
        Some(root) => workspace::read(document, root, settings, findings),
        None => FileReading { document, ..Default::default() },
    }
}

/// Parses a file; `None` if it is unreadable or not TOML.
pub(super) fn text<'a>(
    document: u32,
    file: &File<'a>,
    findings: &mut Findings<'_, 'a>,
) -> Option<document::Table<'a>> {
    match &file.text {
        Some(Err(why)) => {
            findings.error(Code::Unreadable, Span { document, start: 0, end: 0 }, why.as_str());
            None
        }
        _ => parse::parse(document, findings),
    }
}
