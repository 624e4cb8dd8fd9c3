//! Tests of formatting: it is idempotent, and keeps contents and comments.

use super::cases::{all, tree};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use wellspring::config::format;

/// Returns the texts to format, except for those with errors.
fn texts() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/format");
    let folders = all().into_iter().chain([folder]);
    let files = folders.flat_map(|folder| {
        tree(&folder).into_iter().map(move |(path, text)| (folder.join(path), text)).collect::<Vec<_>>()
    });
    files.filter(|(_, text)| format(text).is_some()).collect()
}

fn words_of_comments(text: &str) -> Vec<String> {
    let comments = text.lines().filter_map(|line| line.split_once('#')).map(|(_, comment)| comment);
    let mut words: Vec<String> =
        comments.flat_map(|comment| comment.split_whitespace().map(|word| word.replace('#', ""))).collect();
    words.retain(|word| !word.is_empty());
    words.sort();
    words
}

/// Formats a text and checks the promises.
#[track_caller]
fn check(text: &str) -> String {
    let once = format(text).unwrap();
    assert_eq!(format(&once).as_deref(), Some(once.as_str()), "it is at rest:\n{text}");
    let table = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(table(text), table(&once), "it says the same:\n{text}");
    assert!(once.is_empty() || once.ends_with('\n') && !once.ends_with("\n\n"), "{once:?}");
    assert!(!once.contains("\n\n\n") || text.contains("\"\"\"") || text.contains("'''"), "{once}");
    once
}

#[test]
fn every_file_says_the_same_when_formatted_and_then_rests() {
    for (path, text) in texts() {
        let once = check(&text);
        let wanted = path.with_extension("formatted");
        if path.parent().is_some_and(|folder| folder.ends_with("manifest/format")) {
            wellspring_testkit::check_golden(&wanted, &once).unwrap_or_else(|differs| panic!("{differs}"));
        }
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_taken_off() {
    assert_eq!(format("\u{feff}a = 1\r\n\r\n\r\nb = 2\r\n").as_deref(), Some("a = 1\n\nb = 2\n"));
}

#[test]
fn what_is_not_toml_is_not_formatted() {
    for text in ["a = [", "a = 1\na = 2", "[a", "a = { b = 1,\n}", "= 1"] {
        assert_eq!(format(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_comment_is_lost_and_none_changes_what_is_said(
        which in any::<prop::sample::Index>(),
        lines in prop::collection::vec((any::<prop::sample::Index>(), "(#[a-z]{1,5}|# [a-z]{1,5}|)"), 0..12),
    ) {
        let texts = texts();
        let (_, text) = &texts[which.index(texts.len())];
        // Lines inserted into multi-line strings would become part of these.
        prop_assume!(!text.contains('\u{feff}'));
        prop_assume!(!text.contains("\"\"\"") && !text.contains("'''") && !text.contains("#:schema"));
        let mut all: Vec<&str> = text.lines().collect();
        for (at, line) in &lines {
            all.insert(at.index(all.len() + 1), line);
        }
        let text = all.join("\n");
        let once = check(&text);
        prop_assert_eq!(words_of_comments(&text), words_of_comments(&once));
    }
}
