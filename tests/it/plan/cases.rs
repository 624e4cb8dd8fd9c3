//! Golden tests of every case; `UPDATE=1` rewrites the expectations.

use super::case::outcome;
use std::fs;
use std::path::{Path, PathBuf};

fn check(case: &Path) -> Result<(), String> {
    let found = outcome(case);
    let expected = case.join("expected.txt");
    if wellspring_testkit::rewrites_expectations() {
        fs::write(&expected, found).unwrap();
        return Ok(());
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    Err(format!("== {} ==\n-- expected\n{wanted}\n-- found\n{found}", case.display()))
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
