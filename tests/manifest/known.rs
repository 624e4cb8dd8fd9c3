//! What an earlier reading learned changes nothing but the time it takes.

use super::cases::{all, show, sources, tree, variable};
use std::collections::BTreeSet;
use std::sync::Arc;
use wellspring::manifest::{File, Known, Missing, Reading, SourceFile, TextDigest, read, read_again};

/// Good enough to tell the texts of these tests apart.
fn digest(text: &str) -> TextDigest {
    let mut digest = [0_u8; 32];
    for (n, byte) in text.bytes().enumerate() {
        digest[n % 32] = u8::rotate_left(digest[n % 32], 3) ^ byte.wrapping_add((n / 32) as u8);
    }
    digest
}

/// Spreads the work over threads, one for each number.
fn threads(count: usize, work: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| (0..count).for_each(|n| drop(scope.spawn(move || work(n)))));
}

/// Reads as one who has the texts only of what is new to `known` and of what turns out to be needed.
fn reread(
    files: &[SourceFile<'_>],
    digests: &dyn Fn(&SourceFile<'_>) -> Option<TextDigest>,
    variable: &dyn Fn(&str) -> Option<String>,
    (known, seen): (&Known, &[SourceFile<'_>]),
) -> (Reading, Known) {
    let mut needed = BTreeSet::new();
    loop {
        let mut given = Vec::new();
        for file in files {
            let was = seen.iter().find(|was| was.path == file.path).and_then(digests);
            let digest = digests(file);
            let unread = digest.is_some() && digest == was && !needed.contains(&file.path);
            let text = (!unread).then(|| file.text.as_deref().map_err(Clone::clone));
            given.push(File { path: Arc::clone(&file.path), digest, text });
        }
        match read_again(&given, variable, known, &threads) {
            Ok(read) => return read,
            Err(Missing(paths)) => {
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

fn again(files: &[SourceFile<'_>], known: (&Known, &[SourceFile<'_>])) -> (String, Known) {
    let (reading, known) = reread(files, &of_text, &variable, known);
    (show(&reading, files), known)
}

#[test]
fn files_read_again_say_what_they_say_when_read_anew() {
    for case in all() {
        let files = tree(&case);
        let before = sources(&files);
        let (_, known) = again(&before, (&Known::default(), &[]));
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

#[test]
fn a_file_with_the_digest_it_had_is_not_parsed_again() {
    let text = "[workspace]\nid = \"ws\"\n\n[sources.a]\ntype = \"file\"\nconnection_config = {}\n";
    let tree = |text: &str| vec![("a.toml".to_owned(), text.to_owned())];
    let (good, broken) = (tree(text), tree("oops = ["));
    let same = |_: &SourceFile<'_>| Some([7; 32]);
    let anew = (&Known::default(), &[][..]);
    let (first, known) = reread(&sources(&good), &same, &variable, anew);
    let (second, _) = reread(&sources(&broken), &same, &variable, (&known, &sources(&good)));
    assert!(second.diagnostics.is_empty(), "its text was not looked at");
    assert!(Arc::ptr_eq(&first.desired.units[0], &second.desired.units[0]), "it was not put together again");
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
    let (_, known) = again(&sources(&one), (&Known::default(), &[]));
    assert!(again(&sources(&two), (&known, &sources(&one))).0.contains("ws_2"));
    let tree = files("[workspaces]\ncrm = \"${ID}\"\n");
    let files = sources(&tree);
    let with = |id: &'static str, known: (&Known, &[SourceFile<'_>])| {
        let (reading, known) = reread(&files, &of_text, &move |_| Some(id.to_owned()), known);
        (reading.desired.units[0].unit.workspace.to_string(), known)
    };
    let (first, known) = with("ws_1", (&Known::default(), &[]));
    assert_eq!((first.as_str(), with("ws_2", (&known, &files)).0.as_str()), ("ws_1", "ws_2"));
}
