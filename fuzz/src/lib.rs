//! Bodies of the fuzz targets, also used by `tests/it/fuzz_corpus.rs` on stable Rust.

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use wellspring_core::config::document::Document;
use wellspring_core::config::parse::parse_exhaustively;
use wellspring_core::config::sink::DiagnosticSink;
use wellspring_core::config::{SourceFile, events, read, render};
use wellspring_core::listing::{self, ListError};
use wellspring_core::model::{
    Missed, Overlap, Schedule, Scope, SourceName, SyncSpec, WorkspaceId, WorkspaceRef,
};
use wellspring_core::plan::saved::SavedPlan;
use wellspring_core::schedule::{CompiledSchedule, describe};

/// Parses a document in both ways, and returns true if it is an ordinary one.
///
/// # Panics
/// When the short way leads to another tree, or keeps a finding to itself.
pub fn parse_both_ways(text: &str) -> bool {
    let documents = [Document::new("w.toml".into(), text)];
    let mut findings = DiagnosticSink::new(&documents);
    let whole = parse_exhaustively(0, &mut findings);
    let Some(tree) = events::parse(0, text) else { return false };
    assert_eq!(findings.count(), 0, "{:?}", findings.into_sorted());
    assert_eq!(format!("{:?}", Some(tree)), format!("{whole:?}"));
    true
}

/// Loads a project.
///
/// Files follow one another, each below a line `#=== PATH`; text before the first is a workspace file. Bytes
/// that are not UTF-8 become an unreadable file.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let files = [SourceFile { path: "broken.toml".into(), text: Err("not UTF-8".into()) }];
        assert!(read(&files, &|_| None).has_errors());
        return;
    };
    let mut files = Vec::new();
    for (n, part) in text.split("#=== ").enumerate().take(20) {
        let (path, text) =
            if n == 0 { ("w.toml", part) } else { part.split_once('\n').unwrap_or((part, "")) };
        parse_both_ways(text);
        files.push(SourceFile { path: Arc::from(path), text: Ok(text) });
    }
    let variable = |name: &str| (!name.is_empty()).then(|| format!("value of {name}"));
    let reading = read(&files, &variable);
    assert_eq!(reading.has_errors(), !reading.desired.broken.is_empty(), "an error breaks its file");
    assert!(reading.desired.workspaces.is_sorted_by(|a, b| a.unit < b.unit), "each workspace stands once");
    let _ = render(&reading.diagnostics, &files, bytes.len().is_multiple_of(2));
    for desired in reading.desired.open_workspaces() {
        for source in &desired.sources {
            if let Some(spec) = &source.sync {
                assert!(
                    CompiledSchedule::compile(&desired.unit, &source.name, spec).is_ok(),
                    "a schedule that was accepted"
                );
                let _ = describe(spec);
            }
        }
    }
}

/// Decodes the body of a `list` response.
pub fn list(bytes: &[u8]) {
    match listing::parse(bytes, None) {
        Ok(sources) => assert!(sources.iter().all(|source| !source.name.as_str().is_empty())),
        Err(ListError::Malformed(reason)) => {
            assert!(reason.len() < 1024, "a reason is short, whatever was sent");
        }
        Err(_) => {}
    }
}

/// Parses the text of a saved plan, as `apply FILE` does.
pub fn saved(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match SavedPlan::from_text(text) {
        Ok(plan) => {
            let again = SavedPlan::from_text(&plan.to_text());
            assert_eq!(again.as_ref(), Ok(&plan), "what is written is read back");
            assert_eq!(plan.check(&plan), Ok(()), "a plan is not stale beside itself");
        }
        Err(stale) => assert!(stale.to_string().len() < 8 * 1024, "a message is short, whatever was read"),
    }
}

/// Evaluates a schedule.
///
/// The input is a cron expression on the first line, a time zone on the second, and seconds since 1970 on the
/// third.
pub fn cron(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let expression = lines.next().unwrap_or_default().to_owned();
    let timezone = lines.next().unwrap_or("UTC").to_owned();
    let from = lines.next().and_then(|line| line.parse().ok());
    let from = from.and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let workspace = WorkspaceRef {
        workspace: WorkspaceId::parse("w").expect("a plain id"),
        scope: Scope::parse("user").expect("a plain scope"),
    };
    let spec = SyncSpec {
        when: Schedule::Cron { expression, timezone },
        jitter: Duration::from_secs(60),
        stale_after: None,
        missed: Missed::Once,
        timeout: None,
        on_connect: false,
        on_change: false,
        overlap: Overlap::Forbid,
    };
    let _ = describe(&spec);
    let name = SourceName::parse("s").expect("a plain name");
    let Ok(timing) = CompiledSchedule::compile(&workspace, &name, &spec) else { return };
    let upcoming = timing.upcoming(from, 20);
    assert!(upcoming.is_sorted_by(|a, b| a < b), "firings come one after another");
    assert!(upcoming.first().is_none_or(|first| *first > from));
    for firing in upcoming {
        let just_before = firing.saturating_sub(SignedDuration::from_nanos(1));
        let next = just_before.ok().and_then(|before| timing.next_after(before));
        assert_eq!(next, Some(firing), "a firing is found from just before it");
        assert_eq!(timing.latest_at_or_before(firing), Some(firing));
    }
}
