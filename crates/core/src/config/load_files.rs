//! Loads the workspace files incrementally.
//!
//! Parses the files that changed and reassembles the workspaces that they affect.

use super::FILE_NAME;
use super::assemble::{self, ByWorkspace};
use super::cache::{CachedContent, CachedFile, CachedFileText, CachedWorkspace, NeedsText, ParseCache};
use super::diagnostic::Code;
use super::document::{self, Span, small};
use super::repo_settings::RepoSettings;
use super::sink::{DiagnosticSink, FileDiagnostics};
use super::workspace::{self, FileContents};
use super::{CompressFn, Parallel, parse};
use crate::model::{BrokenFile, CompressedWorkspace, UnchangedWorkspace, WorkspaceRef};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Result of loading the workspace files.
pub(super) struct ReadFile {
    /// Sorted.
    pub(super) workspaces: Vec<Arc<CompressedWorkspace>>,
    /// Sorted.
    pub(super) unchanged: Vec<UnchangedWorkspace>,
    pub(super) broken_files: Vec<BrokenFile>,
    pub(super) cache: (HashMap<Arc<str>, CachedFile>, HashMap<WorkspaceRef, CachedWorkspace>),
}

/// Loads the files with the indexes `wanted`.
pub(super) fn read<'a>(
    files: &[&CachedFileText<'a>],
    wanted: &[usize],
    settings: Option<&RepoSettings<'a>>,
    cache: Option<&ParseCache>,
    findings: &mut DiagnosticSink<'_, 'a>,
    keep: CompressFn,
    spread: Parallel<'_>,
) -> Result<ReadFile, NeedsText> {
    let mut tree = FileSet { files, settings, cache, keep, entries: BTreeMap::new() };
    let unknown = tree.take_cached(wanted, findings);
    tree.parse(unknown, SharedWorkspaces::Unlikely, findings, spread)?;
    let mut checked = BTreeSet::new();
    // An error in one file makes everything it declares uncertain, so repeat until nothing changes.
    loop {
        let complete = tree.entries.values().all(|entry| entry.workspaces.is_some());
        let by_workspace = tree.by_workspace();
        let broken = tree.find_broken_files(findings);
        let touched = tree.changed_workspaces(&by_workspace, &broken, complete);
        let unread = touched.values().flat_map(|files| files.iter().copied());
        let unread: BTreeSet<usize> = unread.filter(|n| tree.entries[n].contents.is_none()).collect();
        if !unread.is_empty() {
            tree.parse(unread.into_iter().collect(), SharedWorkspaces::Yes, findings, spread)?;
            continue;
        }
        let fresh: ByWorkspace<'_> = touched
            .iter()
            .filter(|(workspace, _)| !checked.contains(*workspace))
            .map(|(workspace, files)| (workspace.clone(), tree.readings(files)))
            .collect();
        if fresh.is_empty() {
            return Ok(tree.assemble_all(&by_workspace, &touched, &broken, complete, findings));
        }
        checked.extend(fresh.keys().cloned());
        assemble::check(&fresh, complete, findings);
    }
}

struct FileSet<'r, 'a> {
    files: &'r [&'r CachedFileText<'a>],
    settings: Option<&'r RepoSettings<'a>>,
    cache: Option<&'r ParseCache>,
    keep: CompressFn,
    entries: BTreeMap<usize, FileEntry>,
}

/// Knowledge about one file.
struct FileEntry {
    /// Workspaces that the file names; `None` if unknown.
    workspaces: Option<Arc<[WorkspaceRef]>>,
    weight: usize,
    /// `None` if the file is known to be valid and was not parsed now, or was not kept.
    contents: Option<Box<FileContents>>,
    /// The file's workspace, if no other file contributes to it.
    single: Option<CachedContent>,
}

struct ParsedFile {
    contents: FileContents,
    diagnostics: FileDiagnostics,
    /// The file's workspace, if no other file contributes to it.
    single: Option<Arc<CompressedWorkspace>>,
}

/// States if other files contribute to the workspaces of the parsed ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SharedWorkspaces {
    /// Usually none does, so a file's workspace is assembled at once.
    ///
    /// The parsed form is dropped then.
    Unlikely,
    Yes,
}

/// Indexes of the files of each workspace.
type FilesByWorkspace<'u> = BTreeMap<WorkspaceRef, Vec<usize>>;

impl<'r, 'a> FileSet<'r, 'a> {
    /// Takes cached results, and returns the files without one.
    fn take_cached(&mut self, wanted: &[usize], findings: &DiagnosticSink<'_, 'a>) -> Vec<usize> {
        let mut unknown = Vec::new();
        for n in wanted {
            let file = self.files[*n];
            let known = self.cache.and_then(|known| known.files.get(&file.path));
            let known = known.filter(|known| Some(known.digest) == file.digest);
            match known.filter(|known| findings.try_reserve(known.weight)) {
                Some(CachedFile { workspaces, weight, .. }) => {
                    let entry = FileEntry {
                        workspaces: Some(Arc::clone(workspaces)),
                        weight: *weight,
                        contents: None,
                        single: None,
                    };
                    self.entries.insert(*n, entry);
                }
                None => unknown.push(*n),
            }
        }
        unknown
    }

    fn parse(
        &mut self,
        numbers: Vec<usize>,
        together: SharedWorkspaces,
        findings: &mut DiagnosticSink<'_, 'a>,
        spread: Parallel<'_>,
    ) -> Result<(), NeedsText> {
        let without_text = numbers.iter().filter(|n| self.files[**n].text.is_none());
        let missing: Vec<Arc<str>> = without_text.map(|n| Arc::clone(&self.files[*n].path)).collect();
        if !missing.is_empty() {
            return Err(NeedsText(missing));
        }
        numbers.iter().filter_map(|n| self.entries.get(n)).for_each(|entry| findings.release(entry.weight));
        let parsed: Vec<OnceLock<ParsedFile>> = numbers.iter().map(|_| OnceLock::new()).collect();
        let (documents, shared) = (findings.documents, findings.limits.clone());
        spread(numbers.len(), &|at| {
            let mut own = DiagnosticSink::for_file(documents, &shared);
            let mut reading = file(small(numbers[at]), self.files[numbers[at]], self.settings, &mut own);
            let workspaces =
                if together == SharedWorkspaces::Unlikely { reading.all_workspaces() } else { None };
            let alone = match (self.settings, workspaces.as_ref().and_then(BTreeSet::first)) {
                (Some(settings), Some(workspace))
                    if workspaces.as_ref().is_some_and(|workspaces| workspaces.len() == 1) =>
                {
                    assemble::assemble_single(workspace, &mut reading, settings, &mut own)
                }
                _ => None,
            };
            let single = alone.map(|workspace| Arc::new((self.keep)(workspace)));
            let diagnostics = own.into_file(reading.document);
            reading.is_valid = diagnostics.has_no_errors();
            let _ = parsed[at].set(ParsedFile { contents: reading, diagnostics, single });
        });
        for (n, parsed) in numbers.into_iter().zip(parsed.into_iter().filter_map(OnceLock::into_inner)) {
            let ParsedFile { contents, diagnostics, single } = parsed;
            findings.merge(&diagnostics);
            let workspaces = match &single {
                Some(single) => Some(Arc::from([single.unit.clone()])),
                None => contents.all_workspaces().map(|workspaces| workspaces.into_iter().collect()),
            };
            let contents = if single.is_none() { Some(Box::new(contents)) } else { None };
            let single = single.map(CachedContent::Workspace);
            let weight = diagnostics.weight;
            self.entries.insert(n, FileEntry { workspaces, weight, contents, single });
        }
        Ok(())
    }

    fn by_workspace(&self) -> FilesByWorkspace<'r> {
        let mut by_workspace: FilesByWorkspace<'_> = BTreeMap::new();
        for (n, entry) in &self.entries {
            for workspace in entry.workspaces.iter().flat_map(|workspaces| workspaces.iter()) {
                by_workspace.entry(workspace.clone()).or_default().push(*n);
            }
        }
        by_workspace
    }

    /// Returns the files that declare nothing because of errors.
    fn find_broken_files(&self, findings: &DiagnosticSink<'_, 'a>) -> HashSet<usize> {
        let errors = findings.documents_with_errors();
        let is_broken = |n: usize, entry: &FileEntry| {
            entry.contents.as_ref().is_some_and(|reading| !reading.is_valid) || errors.contains(&small(n))
        };
        self.entries.iter().filter(|(n, entry)| is_broken(**n, entry)).map(|(n, _)| *n).collect()
    }

    /// Returns the workspaces that may have changed.
    fn changed_workspaces(
        &self,
        by_workspace: &FilesByWorkspace<'_>,
        broken: &HashSet<usize>,
        complete: bool,
    ) -> FilesByWorkspace<'r> {
        let is_touched = |(workspace, files): &(&WorkspaceRef, &Vec<usize>)| {
            files.iter().any(|n| broken.contains(n))
                || self.cached_workspace(workspace, files, complete).is_none()
        };
        by_workspace
            .iter()
            .filter(is_touched)
            .map(|(workspace, files)| (workspace.clone(), files.clone()))
            .collect()
    }

    /// Returns a workspace that need not be reassembled, and if it has `[moved]` entries.
    fn cached_workspace(
        &self,
        workspace: &WorkspaceRef,
        files: &[usize],
        complete: bool,
    ) -> Option<(bool, &CachedContent)> {
        if let [n] = files
            && let Some(alone) = &self.entries[n].single
        {
            return Some((false, alone));
        }
        let known = self.cache?.workspaces.get(workspace)?;
        let same = |(n, (path, digest)): (&usize, &(Arc<str>, [u8; 32]))| {
            self.files[*n].path == *path && self.files[*n].digest == Some(*digest)
        };
        let stands = known.files.len() == files.len() && files.iter().zip(&known.files).all(same);
        (stands && (known.complete == complete || !known.moved)).then_some((known.moved, &known.desired))
    }

    fn readings(&self, files: &[usize]) -> Vec<&FileContents> {
        files.iter().filter_map(|n| self.entries[n].contents.as_deref()).collect()
    }

    fn assemble_all(
        &self,
        by_workspace: &FilesByWorkspace<'_>,
        touched: &FilesByWorkspace<'_>,
        broken: &HashSet<usize>,
        complete: bool,
        findings: &mut DiagnosticSink<'_, 'a>,
    ) -> ReadFile {
        let is_sound = |n: &usize| !broken.contains(n);
        let sound: ByWorkspace<'_> = touched
            .iter()
            .map(|(workspace, files)| {
                let sound: Vec<usize> = files.iter().copied().filter(is_sound).collect();
                (workspace.clone(), self.readings(&sound))
            })
            .filter(|(_, files)| !files.is_empty())
            .collect();
        let put_together = match self.settings {
            Some(settings) => assemble::assemble(&sound, settings, findings),
            None => Vec::new(),
        };
        // Files with diagnostics are not cached, so that these are reported again by the next load.
        let reported = findings.documents_reported();
        let mut fresh: HashMap<WorkspaceRef, (bool, CachedContent)> = put_together
            .into_iter()
            .map(|workspace| {
                let moved = sound[&workspace.unit].iter().any(|file| !file.moved.is_empty());
                (workspace.unit.clone(), (moved, CachedContent::Workspace(Arc::new((self.keep)(workspace)))))
            })
            .collect();
        let mut workspaces = Vec::with_capacity(by_workspace.len());
        let mut settled = Vec::new();
        let mut known_workspaces = HashMap::with_capacity(by_workspace.len());
        for (workspace, files) in by_workspace {
            let known = match fresh.remove(workspace) {
                Some(fresh) => Some(fresh),
                None if touched.contains_key(workspace) => None,
                None => self
                    .cached_workspace(workspace, files, complete)
                    .map(|(moved, desired)| (moved, desired.clone())),
            };
            let Some((moved, desired)) = known else { continue };
            let key = |n: &usize| Some((Arc::clone(&self.files[*n].path), self.files[*n].digest?));
            if files.iter().all(|n| is_sound(n) && !reported.contains(&small(*n)))
                && let Some(files) = files.iter().map(key).collect()
            {
                let known = CachedWorkspace { files, complete, moved, desired: desired.clone() };
                known_workspaces.insert(workspace.clone(), known);
            }
            match desired {
                CachedContent::Workspace(desired) => workspaces.push(desired),
                CachedContent::Unchanged => {
                    let files = files.iter().map(|n| Arc::clone(&self.files[*n].path)).collect();
                    settled.push(UnchangedWorkspace { unit: workspace.clone(), files });
                }
            }
        }
        let known_file = |(n, entry): (&usize, &FileEntry)| {
            if reported.contains(&small(*n)) {
                return None;
            }
            let file = self.files[*n];
            let known = CachedFile {
                digest: file.digest?,
                workspaces: Arc::clone(entry.workspaces.as_ref()?),
                weight: entry.weight,
            };
            if is_sound(n) { Some((Arc::clone(&file.path), known)) } else { None }
        };
        let broken = |(n, entry): (&usize, &FileEntry)| {
            let workspaces = entry.workspaces.as_deref().map(<[WorkspaceRef]>::to_vec);
            if is_sound(n) {
                return None;
            }
            Some(BrokenFile { file: Arc::clone(&self.files[*n].path), workspaces })
        };
        ReadFile {
            workspaces,
            unchanged: settled,
            broken_files: self.entries.iter().filter_map(broken).collect(),
            cache: (self.entries.iter().filter_map(known_file).collect(), known_workspaces),
        }
    }
}

fn file<'a>(
    document: u32,
    file: &CachedFileText<'a>,
    settings: Option<&RepoSettings<'a>>,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> FileContents {
    if file.path.rsplit('/').next() == Some(FILE_NAME) {
        let top = Span { document, start: 0, end: 0 };
        findings
            .error(Code::NestedSettings, top, format!("{FILE_NAME} is only read at the project root"))
            .help("move the settings to the root's file, or rename this file");
        return FileContents { document, ..Default::default() };
    }
    match text(document, file, findings) {
        Some(root) => workspace::read(document, root, settings, findings),
        None => FileContents { document, ..Default::default() },
    }
}

/// Parses a file; `None` if it is unreadable or not TOML.
pub(super) fn text<'a>(
    document: u32,
    file: &CachedFileText<'a>,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> Option<document::SpannedTable<'a>> {
    match &file.text {
        Some(Err(why)) => {
            findings.error(Code::Unreadable, Span { document, start: 0, end: 0 }, why.as_str());
            None
        }
        _ => parse::parse(document, findings),
    }
}
