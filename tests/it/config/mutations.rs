//! Tests that loading any contents terminates with a result.

use super::cases::{all, show, sources, tree, variable};
use crate::fuzz_corpus::inputs::parse_both_ways;
use proptest::prelude::*;
use std::sync::Arc;
use wellspring::config::{Code, Diagnostic, SourceFile, explain, read, render};

/// Loads the project; checks that every diagnostic is valid and can be rendered.
fn anything(files: &[(String, String)]) -> (Vec<Diagnostic>, String) {
    for (_, text) in files {
        parse_both_ways(text);
    }
    let sources = sources(files);
    let reading = read(&sources, &variable);
    for diagnostic in &reading.diagnostics {
        let text = files.iter().find(|(path, _)| **path == *diagnostic.file).map(|(_, text)| text).unwrap();
        let lines = text.lines().count().max(1);
        assert!((1..=lines).contains(&(diagnostic.line as usize)), "{diagnostic:?}\n{text}");
        assert!(text.get(diagnostic.span.clone()).is_some(), "{diagnostic:?}\n{text}");
        assert!(explain(diagnostic.code.as_str()).is_some());
    }
    for broken in &reading.desired.broken {
        let settings = reading.diagnostics.iter().any(|finding| &*finding.file == "wellspring.toml");
        // Duplicates across files are reported once with both places, and so are problems of the project.
        let told = |finding: &Diagnostic| {
            finding.file == broken.file
                || finding.labels.iter().any(|label| label.file == broken.file)
                || finding.message.starts_with("no wellspring.toml defines")
        };
        assert!(settings || reading.diagnostics.iter().any(told));
    }
    let shown = render(&reading.diagnostics, &sources, false);
    assert_eq!(shown.is_empty(), render(&reading.diagnostics, &sources, true).is_empty());
    (reading.diagnostics, shown)
}

/// Like [`anything`], for files with intact keys of secrets.
fn verdict(files: &[(String, String)]) -> Vec<Diagnostic> {
    let (diagnostics, shown) = anything(files);
    assert!(!shown.contains("hunter2"), "{shown}");
    diagnostics
}

fn with(files: &[(String, String)], at: usize, text: String) -> Vec<(String, String)> {
    let mut files = files.to_vec();
    files[at].1 = text;
    files
}

#[test]
fn both_ways_of_parsing_lead_to_one_tree() {
    let texts: Vec<String> = all().iter().flat_map(|case| tree(case)).map(|(_, text)| text).collect();
    let ordinary = texts.iter().filter(|text| parse_both_ways(text)).count();
    assert!(ordinary * 2 > texts.len(), "{ordinary} of {}", texts.len());
    for (text, is_ordinary) in [
        ("", true),
        ("a = 1\n[b]\nc.d = 'x'\nc.e = 2.5\n[b.f.g]\nh = [[1], {i = 2026-01-01}]\n[j]\n", true),
        ("a.b = 1\nc = 2\na.d = 3", false),
        ("[a.b]\n[a]\nc = 1", false),
        ("[a]\n[b]\n[a.c]", false),
        ("[[a]]", false),
        ("a = {b.c = 1}", false),
        ("a = {b = 1,}", false),
        ("a = {\nb = 1}", false),
        ("a = \"\\e\"", false),
        ("a = 07:30", false),
        ("a = inf", false),
        ("a = 9223372036854775808", false),
        ("a = 1\na = 2", false),
        ("[a]\n[a]", false),
        ("a.b = 1\n[a.c]", false),
        ("'$serde_json::private::RawValue' = 1", false),
        (&format!("a = {}1{}", "[".repeat(15), "]".repeat(15)), true),
        (&format!("a = {}1{}", "[".repeat(16), "]".repeat(16)), false),
    ] {
        assert_eq!(parse_both_ways(text), is_ordinary, "{text}");
    }
}

#[test]
fn files_cut_anywhere_are_judged_without_panic() {
    let mut judged = 0;
    let mut refused = 0;
    for case in all() {
        let files = tree(&case);
        for at in 0..files.len() {
            let text = files[at].1.clone();
            let step = (text.len() / 60).max(1);
            for cut in (0..text.len()).step_by(step).filter(|cut| text.is_char_boundary(*cut)) {
                judged += 1;
                refused += usize::from(!verdict(&with(&files, at, text[..cut].to_owned())).is_empty());
            }
        }
    }
    assert!(judged > 200 && refused > 200, "{judged} {refused}");
}

#[test]
fn lines_lost_or_doubled_are_judged_without_panic() {
    for case in all() {
        let files = tree(&case);
        for at in 0..files.len() {
            let lines: Vec<&str> = files[at].1.lines().collect();
            for line in 0..lines.len() {
                let mut lost = lines.clone();
                lost.remove(line);
                verdict(&with(&files, at, lost.join("\n")));
                let mut doubled = lines.clone();
                doubled.insert(line, lines[line]);
                verdict(&with(&files, at, doubled.join("\n")));
            }
        }
    }
}

#[test]
fn nesting_beyond_reason_is_refused_and_not_followed() {
    let dotted = |levels: usize| vec!["a"; levels].join(".");
    let mut inline = "1".to_owned();
    for _ in 0..79 {
        inline = format!("{{ {} = {inline} }}", dotted(79));
    }
    for text in [
        format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("x = {}", "{a=".repeat(100_000)),
        format!("{} = 1", dotted(100_000)),
        format!("[{}]", dotted(100_000)),
        format!("[{}]\n{} = {inline}", dotted(79), dotted(79)),
    ] {
        assert!(!verdict(&[("a.toml".to_owned(), text)]).is_empty());
    }
}

#[test]
fn long_lines_and_many_errors_are_bounded() {
    let start = "[workspace]\nid = \"w\"\n";
    let many = |text: &str| text.repeat((1 << 20) / text.len());
    for text in [
        format!("{start}x = \"{}\"\n", many("y")),
        many("= 1\n"),
        format!("{start}sources = {{ a = {{ x = 1, {} y = 1 }} }}", many("token = 1, ")),
        format!("{start}[sources]\n{}", (0..50_000).map(|n| format!("s{n} = {n}\n")).collect::<String>()),
        format!("{start}x = '{}'", many("://")),
        format!("{start}x = '{}'", many("token: \" ")),
        format!("{start}x = {}", many("token=[")),
        format!(
            "{start}sources = {{ {} z = {{}} }}",
            (0..20_000).map(|n| format!("s{n} = {{ type = 1 }}, ")).collect::<String>()
        ),
    ] {
        let files = [("a.toml".to_owned(), text)];
        let sources = sources(&files);
        let reading = read(&sources, &variable);
        let shown = render(&reading.diagnostics, &sources, false);
        assert!(!reading.diagnostics.is_empty());
        assert!(shown.len() < 1 << 20, "{}", shown.len());
    }
}

#[test]
fn a_small_file_cannot_multiply_into_all_memory() {
    let template =
        format!("[templates.t]\ntype = \"t\"\nconnection_config = {{ x = \"{}\" }}\n", "y".repeat(1 << 20));
    let sources_text: String = (0..2_000).map(|n| format!("[sources.s{n}]\nextends = \"t\"\n")).collect();
    let files = [
        ("a.toml".to_owned(), format!("[workspace]\nid = \"w\"\n{sources_text}")),
        ("wellspring.toml".to_owned(), template),
    ];
    let found = verdict(&files);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "this file declares 2000 sources, which is more than fits");
}

#[test]
fn what_multiplies_is_one_error_with_its_place_and_the_other_files_are_served() {
    let source = |n: usize| format!("[sources.s{n}]\nextends = \"t\"\n");
    let sources_text = |count: usize| (0..count).map(source).collect::<String>();
    let small = ("b.toml".to_owned(), format!("[workspace]\nid = \"w2\"\n{}", source(1)));
    let aliases: String = (0..5_000).map(|n| format!("a{n} = \"ws_{n}\"\n")).collect();
    let names: Vec<String> = (0..5_000).map(|n| format!("\"a{n}\"")).collect();
    let template =
        |config: &str| format!("[templates.t]\ntype = \"t\"\n\n[templates.t.connection_config]\n{config}\n");
    let many: String = (0..9_000).map(|n| format!("k{n} = {n}\n")).collect();
    for (settings, file) in [
        // A list of workspaces.
        (
            format!("[workspaces]\n{aliases}{}", template("x = 1")),
            format!("[workspace]\nuse = [{}]\n{}", names.join(", "), sources_text(2_000)),
        ),
        // A text with many references.
        (
            template(&format!("x = \"{}\"", "${A}".repeat(200_000))),
            format!("[workspace]\nid = \"w\"\n{}", sources_text(1_000)),
        ),
        // A template with many values.
        (template(&many), format!("[workspace]\nid = \"w\"\n{}", sources_text(40_000))),
    ] {
        let files = [("a.toml".to_owned(), file), small.clone(), ("wellspring.toml".to_owned(), settings)];
        let sources = sources(&files);
        let reading = read(&sources, &variable);
        let found: Vec<_> =
            reading.diagnostics.iter().map(|found| (&*found.file, found.line, found.code)).collect();
        assert_eq!(found, [("a.toml", 1, Code::TooMuch)]);
        assert_eq!(reading.desired.workspaces.len(), 1, "the other file");
    }
}

#[test]
fn a_source_of_many_thousand_keys_is_one_error() {
    let keys: String = (0..30_000).map(|n| format!("k{n}=1\n")).collect();
    let text = format!(
        "[workspace]\nid = \"w\"\n\n[sources.s]\ntype = \"t\"\n[sources.s.connection_config]\n{keys}"
    );
    let files = [("a.toml".to_owned(), text)];
    let (_, shown) = anything(&files);
    assert_eq!(
        shown,
        "error[W005]: this source holds more than 10000 values\n \
         --> a.toml:4:10\n  \
         |\n\
         4 | [sources.s]\n  \
         |          ^ 30001 values\n  \
         |\n  \
         = help: a source describes a connection; data belongs elsewhere\n\n"
    );
}

#[test]
fn what_a_terminal_would_act_on_is_escaped() {
    let evil = "\\u001b[31mevil\\u202e";
    let files = [
        (
            "a\u{1b}.toml".to_owned(),
            format!(
                "[workspace]\nuse = \"{evil}x\"\n[sources.\"{evil}\"]\ntype = 1\n\"{evil}\" = 1\nadopt = \"{evil}\"\n\
                 extends = \"{evil}x\"\nsync = {{ cron = \"{evil} * * * *\", timezone = \"{evil}\" }} # \u{202e}\n"
            ),
        ),
        (
            "wellspring.toml".to_owned(),
            format!("[workspaces]\n\"{evil}\" = \"x\"\n[templates.\"{evil}\"]\ntype = \"t\"\n"),
        ),
    ];
    let (found, shown) = anything(&files);
    assert!(found.len() >= 7, "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    for diagnostic in found {
        let text = format!("{}{:?}", diagnostic.message, diagnostic.help);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}

#[test]
fn every_code_has_a_case() {
    // Codes tested elsewhere: unreadable files, limits, refused variables, and warnings of `validate`.
    let elsewhere = [
        Code::Unreadable,
        Code::TooMuch,
        Code::RefusedVariable,
        Code::SuspendEnded,
        Code::UnusedAlias,
        Code::UnusedTemplate,
    ];
    let expected: String =
        all().iter().map(|case| std::fs::read_to_string(case.join("expected.txt")).unwrap()).collect();
    for code in Code::ALL.iter().filter(|code| !elsewhere.contains(code)) {
        assert!(expected.contains(&format!("[{code}]: ")), "{code}");
    }
}

#[test]
fn a_folder_out_of_reach_breaks_the_reading_where_its_files_would_be_read() {
    let settings = SourceFile {
        path: Arc::from("wellspring.toml"),
        text: Ok("files = [\"workspaces/**/*.toml\", \"more.toml\"]\n"),
    };
    for (path, broken) in
        [("workspaces", 1), ("workspaces/eu", 1), ("result", 0), ("other.toml", 0), ("more.toml", 1)]
    {
        let lost = SourceFile { path: Arc::from(path), text: Err("out of reach".to_owned()) };
        let reading = read(&[settings.clone(), lost], &variable);
        assert_eq!(reading.desired.broken.len(), broken, "{path}");
    }
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    for case in all() {
        let files = tree(&case);
        let mut sources = sources(&files);
        let expected = show(&read(&sources, &variable), &sources);
        for _ in 0..sources.len() {
            sources.rotate_left(1);
            assert_eq!(show(&read(&sources, &variable), &sources), expected);
        }
        sources.reverse();
        assert_eq!(show(&read(&sources, &variable), &sources), expected);
    }
}

#[test]
fn an_unreadable_file_is_broken_and_the_settings_break_all() {
    let unreadable = |path: &str| SourceFile { path: Arc::from(path), text: Err("it is gone".to_owned()) };
    let good = "sources = {}\n[workspace]\nid = \"ws\"\n";
    let read_with = |path: &str| {
        read(&[unreadable(path), SourceFile { path: Arc::from("good.toml"), text: Ok(good) }], &variable)
    };
    let one = read_with("bad.toml").desired;
    assert_eq!((one.workspaces.len(), one.broken.len()), (1, 1));
    let all = read_with("wellspring.toml");
    assert_eq!((all.desired.workspaces.len(), all.desired.broken.len()), (0, 2));
    assert!(all.desired.broken.iter().all(|broken| broken.workspaces.is_none()));
    let json = serde_json::to_value(&all.diagnostics).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{"code": "W001", "severity": "error", "file": "wellspring.toml", "line": 1,
            "column": 1, "message": "it is gone", "help": null}])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_edits_are_judged_without_panic(
        case in any::<prop::sample::Index>(),
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}=.\"'#,$a0\n\\\\é\r\u{1}-]{0,3}"), 1..6),
    ) {
        let cases = all();
        let files = tree(&cases[case.index(cases.len())]);
        let at = file.index(files.len());
        let mut text: Vec<char> = files[at].1.chars().collect();
        for (place, insert) in edits {
            let place = place.index(text.len() + 1);
            let end = (place + insert.chars().count() / 2).min(text.len());
            text.splice(place..end, insert.chars());
        }
        anything(&with(&files, at, text.into_iter().collect()));
    }
}
