//! Tests that the cache of earlier loads changes only the time needed.

use super::cases::{all, show, sources, tree, variable};
use std::collections::BTreeSet;
use std::sync::Arc;
use wellspring::config::{
    CachedFileText, FILE_NAME, Lookup, NeedsText, ParseCache, ParsedTree, SourceFile, TextDigest,
    WorkspaceFingerprint, read, read_compressed, read_with_cache,
};
use wellspring::model::{CompressedWorkspace, WorkspaceRef};

/// Returns a digest that suffices to distinguish the texts of these tests.
fn digest(text: &str) -> TextDigest {
    let mut digest = [0_u8; 32];
    for (n, byte) in text.bytes().enumerate() {
        digest[n % 32] = u8::rotate_left(digest[n % 32], 3) ^ byte.wrapping_add((n / 32) as u8);
    }
    digest
}

/// Distributes the work over threads, one for each number.
fn threads(count: usize, work: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| (0..count).for_each(|n| drop(scope.spawn(move || work(n)))));
}

fn lookup(name: &str) -> Lookup {
    variable(name).into()
}

/// Loads with only those texts that are new to `known` or turn out to be needed.
fn reread(
    files: &[SourceFile<'_>],
    digests: &dyn Fn(&SourceFile<'_>) -> Option<TextDigest>,
    variable: &dyn Fn(&str) -> Option<String>,
    (known, seen): (&ParseCache, &[SourceFile<'_>]),
) -> (ParsedTree, ParseCache) {
    let mut needed = BTreeSet::new();
    loop {
        let mut given = Vec::new();
        for file in files {
            let was = seen.iter().find(|was| was.path == file.path).and_then(digests);
            let digest = digests(file);
            let unread = digest.is_some() && digest == was && !needed.contains(&file.path);
            let text = (!unread).then(|| file.text.as_deref().map_err(Clone::clone));
            given.push(CachedFileText { path: Arc::clone(&file.path), digest, text });
        }
        match read_compressed(&given, &|name: &str| variable(name).into(), known, &threads) {
            Ok(read) => return read,
            Err(NeedsText(paths)) => {
                let before = needed.len();
                needed.extend(paths);
                assert!(needed.len() > before, "the same is missed twice");
            }
        }
    }
}

fn of_text(file: &SourceFile<'_>) -> Option<TextDigest> {
    Some(digest(file.text.as_ref().ok()?))
}

fn again(files: &[SourceFile<'_>], known: (&ParseCache, &[SourceFile<'_>])) -> (String, ParseCache) {
    let (reading, known) = reread(files, &of_text, &variable, known);
    (show(&reading, files), known)
}

#[test]
fn files_read_again_say_what_they_say_when_read_anew() {
    for case in all() {
        let files = tree(&case);
        let before = sources(&files);
        let (_, known) = again(&before, (&ParseCache::default(), &[]));
        // Unchanged; one less at each place; one more at the beginning and at the end; one changed.
        let mut trees = vec![files.clone()];
        for n in 0..files.len() {
            let mut fewer = files.clone();
            fewer.remove(n);
            trees.push(fewer);
            let mut changed = files.clone();
            changed[n].1.push_str("\n# more\n");
            trees.push(changed);
        }
        for name in ["0.toml", "zz.toml"] {
            let mut more = files.clone();
            more.push((
                name.to_owned(),
                "[workspace]\nid = \"more\"\n\n[sources.x]\ntipe = \"file\"\n".to_owned(),
            ));
            more.sort();
            trees.push(more);
        }
        for tree in trees {
            let files = sources(&tree);
            let (found, then) = again(&files, (&known, &before));
            let wanted = show(&read(&files, &variable), &files);
            assert_eq!(found, wanted, "{}", case.display());
            assert_eq!(again(&files, (&then, &files)).0, wanted, "{}", case.display());
            assert_eq!(again(&before, (&then, &files)).0, show(&read(&before, &variable), &before));
        }
    }
}

/// Returns every file with its text.
fn whole<'a>(files: &'a [SourceFile<'_>]) -> Vec<CachedFileText<'a>> {
    let text = |file: &'a SourceFile<'_>| Some(file.text.as_deref().map_err(Clone::clone));
    let whole = |file: &'a SourceFile<'_>| CachedFileText {
        path: Arc::clone(&file.path),
        digest: of_text(file),
        text: text(file),
    };
    files.iter().map(whole).collect()
}

/// Loads as a process that received these records of `before`.
fn reread_settled(
    files: &[SourceFile<'_>],
    (reading, before): (&ParsedTree, &[SourceFile<'_>]),
    records: &[(WorkspaceRef, WorkspaceFingerprint)],
) -> ParsedTree {
    let settings = before.iter().find(|file| &*file.path == FILE_NAME).and_then(of_text);
    let variables = reading.setup.variables.iter().map(|name| (name.clone(), variable(name))).collect();
    let known = ParseCache::from_unchanged(settings, variables, records.iter().cloned());
    read_with_cache(&whole(files), &lookup, &known, &threads).0
}

#[test]
fn workspaces_told_to_be_settled_are_passed_over_where_the_files_still_say_the_same() {
    let mut passed_over = 0;
    for case in all() {
        let files = tree(&case);
        let before = sources(&files);
        let (reading, known) = read_with_cache(&whole(&before), &lookup, &ParseCache::default(), &threads);
        let record = |workspace: &Arc<CompressedWorkspace>| {
            Some((workspace.unit.clone(), known.record(&workspace.unit)?))
        };
        let records: Vec<_> = reading.desired.workspaces.iter().filter_map(record).collect();
        let mut trees = vec![files.clone()];
        for n in 0..files.len() {
            let mut fewer = files.clone();
            fewer.remove(n);
            let mut changed = files.clone();
            changed[n].1.push_str("\n# more\n");
            let mut twice = files.clone();
            twice.push(("zz.toml".to_owned(), files[n].1.clone()));
            trees.extend([fewer, changed, twice]);
        }
        let halves = records.chunks(records.len().div_ceil(2).max(1));
        for tree in &trees {
            let files = sources(tree);
            let anew = read(&files, &variable);
            for told in std::iter::once(&records[..]).chain(halves.clone()) {
                let again = reread_settled(&files, (&reading, &before), told);
                assert_eq!(format!("{:?}", again.diagnostics), format!("{:?}", anew.diagnostics));
                assert_eq!(again.desired.broken, anew.desired.broken);
                let mut workspaces = again.desired.workspaces.clone();
                for settled in &again.desired.unchanged {
                    let was = reading
                        .desired
                        .workspaces
                        .iter()
                        .find(|workspace| workspace.unit == settled.unit)
                        .unwrap();
                    assert_eq!(settled.files, was.files);
                    workspaces.push(Arc::clone(was));
                    passed_over += 1;
                }
                workspaces.sort_by(|a, b| a.unit.cmp(&b.unit));
                assert_eq!(workspaces, anew.desired.workspaces, "{}", case.display());
            }
        }
    }
    assert!(passed_over > 100, "{passed_over}");
}

#[test]
fn a_file_with_the_digest_it_had_is_not_parsed_again() {
    let text = "[workspace]\nid = \"ws\"\n\n[sources.a]\ntype = \"file\"\nconnection_config = {}\n";
    let tree = |text: &str| vec![("a.toml".to_owned(), text.to_owned())];
    let (good, broken) = (tree(text), tree("oops = ["));
    let same = |_: &SourceFile<'_>| Some([7; 32]);
    let anew = (&ParseCache::default(), &[][..]);
    let (first, known) = reread(&sources(&good), &same, &variable, anew);
    let (second, _) = reread(&sources(&broken), &same, &variable, (&known, &sources(&good)));
    assert!(second.diagnostics.is_empty(), "its text was not looked at");
    assert!(
        Arc::ptr_eq(&first.desired.workspaces[0], &second.desired.workspaces[0]),
        "it was not put together again"
    );
    let other = |_: &SourceFile<'_>| Some([8; 32]);
    let (reading, _) = reread(&sources(&broken), &other, &variable, (&known, &[]));
    assert!(!reading.diagnostics.is_empty());
}

#[test]
fn other_settings_or_variables_make_every_file_new() {
    let text = "[workspace]\nuse = \"crm\"\n\n[sources.a]\ntype = \"file\"\nconnection_config = {}\n";
    let files = |settings: &str| {
        vec![("a.toml".to_owned(), text.to_owned()), ("wellspring.toml".to_owned(), settings.to_owned())]
    };
    let (one, two) = (files("[workspaces]\ncrm = \"ws_1\"\n"), files("[workspaces]\ncrm = \"ws_2\"\n"));
    let (_, known) = again(&sources(&one), (&ParseCache::default(), &[]));
    assert!(again(&sources(&two), (&known, &sources(&one))).0.contains("ws_2"));
    let tree = files("[workspaces]\ncrm = \"${ID}\"\n");
    let files = sources(&tree);
    let with = |id: &'static str, known: (&ParseCache, &[SourceFile<'_>])| {
        let (reading, known) = reread(&files, &of_text, &move |_| Some(id.to_owned()), known);
        (reading.desired.workspaces[0].unit.workspace.as_str().to_owned(), known)
    };
    let (first, known) = with("ws_1", (&ParseCache::default(), &[]));
    assert_eq!((first.as_str(), with("ws_2", (&known, &files)).0.as_str()), ("ws_1", "ws_2"));
}
