//! Checks that the lines of the planted mistakes occur once in their files.

use std::fs;
use std::path::Path;

#[test]
fn every_mistake_of_the_list_can_still_be_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/mutations/list.toml")).unwrap();
    let list: toml::Table = text.parse().unwrap();
    let mutations = list["mutation"].as_array().unwrap();
    assert!(mutations.len() >= 25);
    for mutation in mutations {
        let text = |key: &str| mutation[key].as_str().unwrap();
        let file = fs::read_to_string(root.join(text("file"))).unwrap();
        let times = file.lines().filter(|line| line.trim() == text("before")).count();
        assert_eq!(times, 1, "{}: {}", text("file"), text("before"));
        assert_eq!(file.matches(text("before")).count(), 1, "{}: {}", text("file"), text("before"));
        assert_ne!(text("before"), text("after"));
        assert!(!text("why").is_empty() && !mutation["tests"].as_array().unwrap().is_empty());
    }
}
