//! Golden tests of every case; `UPDATE=1` rewrites the expectations.

use super::case::outcome;
use std::fs;
use std::path::{Path, PathBuf};

fn check(case: &Path) -> Result<(), String> {
    let found = outcome(case);
    wellspring_testkit::check_golden(&case.join("expected.txt"), &found)
}

#[test]
fn every_case_comes_to_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/plan/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 50, "the cases are not all there");
    let failures: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
