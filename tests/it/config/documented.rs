//! Tests that the examples in the file reference are accepted.

use super::cases::{sources, variable};
use wellspring::config::{FILE_NAME, read};
use wellspring::settings::HostFile;

/// Returns every block of TOML, with the section of the page it is in.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let (mut part, mut block, mut found) = ("", None::<String>, Vec::new());
    for line in page.lines() {
        match &mut block {
            None if line == "```toml" => block = Some(String::new()),
            None => part = line.strip_prefix("## ").unwrap_or(part),
            Some(_) if line == "```" => found.extend(block.take().map(|text| (part, text))),
            Some(text) => *text += &format!("{line}\n"),
        }
    }
    found
}

#[test]
fn every_example_of_the_reference_is_valid() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/files.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = blocks(&page);
    let repository = blocks.iter().find(|(part, _)| part.contains(FILE_NAME)).unwrap().1.clone();
    let mut seen = [0; 3];
    for (part, block) in blocks {
        let files = match part {
            "The project's settings: wellspring.toml" => {
                seen[0] += 1;
                vec![(FILE_NAME.to_owned(), block.clone())]
            }
            "A workspace's file" => {
                seen[1] += 1;
                let header = if block.contains("[workspace]") { "" } else { "[workspace]\nuse = \"crm\"\n" };
                let file = ("workspaces/a.toml".to_owned(), format!("{header}{block}"));
                vec![(FILE_NAME.to_owned(), repository.clone()), file]
            }
            "The host file: --config" => {
                seen[2] += 1;
                HostFile::parse("daemon.toml", &block).unwrap();
                continue;
            }
            other => panic!("a block in {other:?}"),
        };
        let reading = read(&sources(&files), &variable);
        assert!(!reading.has_errors(), "{block}\n{:#?}", reading.diagnostics);
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
