//! What an earlier reading learned changes nothing but the time it takes.

use super::cases::{all, show, sources, tree, variable};
use wellspring::manifest::{Known, SourceFile, TextDigest, read, read_again};

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

fn again(files: &[SourceFile<'_>], known: &Known) -> (String, Known) {
    let digests = |path: &str| {
        let file = files.iter().find(|file| &*file.path == path)?;
        Some(digest(file.text.as_ref().ok()?))
    };
    let (reading, known) = read_again(files, &variable, &digests, known, &threads);
    (show(&reading, files), known)
}

#[test]
fn files_read_again_say_what_they_say_when_read_anew() {
    for case in all() {
        let files = tree(&case);
        let (_, known) = again(&sources(&files), &Known::default());
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
            let (found, then) = again(&files, &known);
            let wanted = show(&read(&files, &variable), &files);
            assert_eq!(found, wanted, "{}", case.display());
            assert_eq!(again(&files, &then).0, wanted, "{}", case.display());
        }
    }
}

#[test]
fn a_file_with_the_digest_it_had_is_not_parsed_again() {
    let text = "[workspace]\nid = \"ws\"\n\n[sources.a]\ntype = \"file\"\nconnection_config = {}\n";
    let tree = |text: &str| vec![("a.toml".to_owned(), text.to_owned())];
    let (good, broken) = (tree(text), tree("oops = ["));
    let same = |_: &str| Some([7; 32]);
    let (_, known) = read_again(&sources(&good), &variable, &same, &Known::default(), &threads);
    let (reading, _) = read_again(&sources(&broken), &variable, &same, &known, &threads);
    assert!(reading.diagnostics.is_empty(), "its text was not looked at");
    let other = |_: &str| Some([8; 32]);
    let (reading, _) = read_again(&sources(&broken), &variable, &other, &known, &threads);
    assert!(!reading.diagnostics.is_empty());
}

#[test]
fn other_settings_or_variables_make_every_file_new() {
    let text = "[workspace]\nuse = \"crm\"\n\n[sources.a]\ntype = \"file\"\nconnection_config = {}\n";
    let files = |settings: &str| {
        vec![("a.toml".to_owned(), text.to_owned()), ("wellspring.toml".to_owned(), settings.to_owned())]
    };
    let (one, two) = (files("[workspaces]\ncrm = \"ws_1\"\n"), files("[workspaces]\ncrm = \"ws_2\"\n"));
    let (_, known) = again(&sources(&one), &Known::default());
    assert!(again(&sources(&two), &known).0.contains("ws_2"));
    let tree = files("[workspaces]\ncrm = \"${ID}\"\n");
    let digests = |_: &str| Some([1; 32]);
    let with = |id: &'static str, known: &Known| {
        let (reading, known) =
            read_again(&sources(&tree), &move |_| Some(id.to_owned()), &digests, known, &threads);
        (reading.desired.units[0].unit.workspace.to_string(), known)
    };
    let (first, known) = with("ws_1", &Known::default());
    assert_eq!((first.as_str(), with("ws_2", &known).0.as_str()), ("ws_1", "ws_2"));
}
