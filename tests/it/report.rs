//! Golden tests of output for terminals, scripts and pull requests.
//!
//! The expected output is in `tests/it/report/cases/NAME.*`; `UPDATE=1 cargo test --test it report` rewrites
//! it for review.

mod plans;

use plans::{all, applied, everything, huge, in_workspace, now, plan_of, quiet};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use wellspring::plan::{ActionResult, ApplyOutcome, INTERRUPTED, Plan};
use wellspring::report::{
    MARKDOWN_LIMIT, MARKDOWN_MARKER, Problems, ReportInput, Style, TimeContext, action_line, counts, github,
    github_below, json, markdown, outcome_line, plan_id, summary_line, text, workspace_text,
};

/// Compares with the case file, or writes it if `UPDATE` is set.
fn check(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/report/cases").join(file);
    wellspring_testkit::check_golden(&path, actual).unwrap_or_else(|differs| panic!("{differs}"));
}

/// Checks the four formats of one plan.
fn check_all(name: &str, plan: &Plan, outcomes: Option<&[ApplyOutcome]>) {
    check_with(name, plan, outcomes, &Problems::default());
}

fn check_with(name: &str, plan: &Plan, outcomes: Option<&[ApplyOutcome]>, problems: &Problems) {
    let id = plan_id(plan);
    let view = ReportInput { plan, outcomes, now: now(), local: None, plan_id: &id, problems };
    check(&format!("{name}.txt"), &text(&view, &Style::default()));
    check(&format!("{name}.json"), &(json(&view) + "\n"));
    check(&format!("{name}.md"), &markdown(&view));
    check(&format!("{name}.annotations"), &github(&view));
}

fn verbose() -> Style {
    Style { verbose: true, ..Style::default() }
}

fn shown(plan: &Plan, look: &Style) -> String {
    text(&input(plan, ""), look)
}

/// Returns the input for a plan that was not applied, without problems.
fn input<'a>(plan: &'a Plan, plan_id: &'a str) -> ReportInput<'a> {
    static NONE: LazyLock<Problems> = LazyLock::new(Problems::default);
    ReportInput { plan, outcomes: None, now: now(), local: None, plan_id, problems: &NONE }
}

fn here() -> TimeContext<'static> {
    TimeContext { now: now(), zone: None }
}

#[test]
fn a_typical_plan_fits_one_screen() {
    check_all("typical", &plans::typical(), None);
}

#[test]
fn problems_come_first_and_are_counted() {
    let (plan, problems) = plans::problems();
    check_with("problems", &plan, None, &problems);
}

#[test]
fn no_changes_is_not_said_over_a_problem() {
    let plan = quiet();
    let (_, all) = plans::problems();
    assert!(summary_line(&plan, &Problems::default()).starts_with("No changes."));
    let of_one = [
        Problems { rejected: all.rejected, ..Problems::default() },
        Problems { orphaned: all.orphaned, ..Problems::default() },
        Problems { unknown_ownership: true, ..Problems::default() },
    ];
    for problems in of_one {
        let line = summary_line(&plan, &problems);
        assert!(line.starts_with("Nothing planned: ") && line.contains("up to date"), "{line}");
        let done = outcome_line(&plan, &[], &problems);
        assert_eq!(done, line);
    }
}

#[test]
fn every_kind_of_thing_is_told() {
    let plan = everything();
    check_all("everything", &plan, None);
    check("everything-verbose.txt", &shown(&plan, &verbose()));
    check("everything-narrow.txt", &shown(&plan, &Style { width: 60, ..Style::default() }));
    check("everything-color.txt", &shown(&plan, &Style { color: true, ..Style::default() }));
}

#[test]
fn what_became_of_it_is_told() {
    let (plan, outcomes) = applied();
    check_all("applied", &plan, Some(&outcomes));
    let mut lines = String::new();
    for (workspace, outcome) in plan.workspaces.iter().zip(&outcomes) {
        for (action, result) in workspace.actions.iter().zip(&outcome.results) {
            lines += &(action_line(workspace, action, result, &Style::default()) + "\n");
        }
    }
    check("applied-lines.txt", &lines);
}

#[test]
fn nothing_to_do_is_one_line() {
    check_all("quiet", &quiet(), None);
    check("quiet-verbose.txt", &shown(&quiet(), &verbose()));
}

#[test]
fn text_from_elsewhere_cannot_act() {
    let plan = plans::hostile();
    check_all("hostile", &plan, None);
    let id = plan_id(&plan);
    let view = input(&plan, &id);
    for shown in [text(&view, &verbose()), json(&view), markdown(&view), github(&view)] {
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{9b}']));
    }
    assert!(github(&view).lines().all(|line| line.starts_with("::")));
}

#[test]
fn values_of_many_lines_are_compared_line_by_line() {
    let plan = plans::multi_line();
    check("multi-line.txt", &shown(&plan, &Style::default()));
    check("multi-line.md", &markdown(&input(&plan, "0")));
}

#[test]
fn long_wide_and_many_names_keep_their_columns() {
    check("wide.txt", &shown(&plans::wide(), &Style::default()));
}

#[test]
fn what_became_of_it_is_summed_up() {
    let plan = huge(1, 2);
    let check = |results: [ActionResult; 2], expected: &str| {
        let outcomes = [ApplyOutcome { results: results.into(), ..ApplyOutcome::default() }];
        assert_eq!(outcome_line(&plan, &outcomes, &Problems::default()), expected);
    };
    let failed = || ActionResult::Failed("no".into());
    check([ActionResult::Done, ActionResult::Done], "Done: 2 connected.");
    check([failed(), ActionResult::Done], "Partly done: 1 connected; not done: 1 failed.");
    let interrupted = || ActionResult::Skipped(INTERRUPTED.into());
    check(
        [ActionResult::Done, interrupted()],
        "Partly done: 1 connected; not done: 1 not started (interrupted).",
    );
    check([failed(), ActionResult::Skipped("so".into())], "Not done: 1 failed, 1 skipped (reasons above).");
}

#[test]
fn schedules_are_told_in_their_own_zone() {
    check("schedules.txt", &shown(&plans::schedules(), &Style::default()));
}

#[test]
fn one_none_and_many_are_told_apart() {
    let mut lines = String::new();
    for plan in plans::counted() {
        lines += &(summary_line(&plan, &Problems::default()) + "\n");
    }
    check("counted.txt", &lines);
}

#[test]
fn a_huge_plan_is_cut_to_a_comment_and_says_so() {
    let plan = huge(400, 40);
    let id = plan_id(&plan);
    let shown = markdown(&input(&plan, &id));
    assert!(shown.len() <= MARKDOWN_LIMIT, "{}", shown.len());
    assert!(shown.starts_with(MARKDOWN_MARKER));
    assert!(shown.contains("This comment is cut to fit. Left out:"));
    assert!(shown.contains("Plan: 16,000 to connect"));
    assert!(shown.contains(&id));
    assert!(shown.lines().filter(|line| line.starts_with("```")).count().is_multiple_of(2));
    let tail: Vec<&str> = shown.lines().rev().take(6).collect();
    check("huge-tail.md", &tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_tree_below_the_repository_is_annotated_where_it_stands() {
    let plan = everything();
    let view = input(&plan, "");
    assert!(github_below(&view, "infra/sources/").contains("file=infra/sources/workspaces/crm.toml,line=6,"));
}

#[test]
fn a_plan_keeps_its_id_while_it_would_do_the_same() {
    let plan = everything();
    let id = plan_id(&plan);
    assert_eq!(id.len(), 12);
    let mut reordered = plan.clone();
    reordered.workspaces.reverse();
    assert_eq!(plan_id(&reordered), id);
    let mut reworded = plan.clone();
    for action in reworded.workspaces.iter_mut().flat_map(|workspace| &mut workspace.actions) {
        action.reason.push_str(" indeed");
        action.location = None;
    }
    assert_eq!(plan_id(&reworded), id);
    let mut other = plan.clone();
    other.workspaces[0].actions.pop();
    assert_ne!(plan_id(&other), id);
    let mut edited = plan;
    for workspace in &mut edited.workspaces {
        let desired = Arc::make_mut(&mut workspace.desired);
        desired
            .sources
            .iter_mut()
            .for_each(|source| Arc::make_mut(&mut source.definition).kind = "other".to_owned());
    }
    assert_ne!(plan_id(&edited), id);
}

#[test]
fn a_workspace_alone_is_its_block_of_the_whole() {
    let plan = everything();
    let whole = shown(&plan, &verbose());
    for workspace in &plan.workspaces {
        assert!(whole.contains(&workspace_text(workspace, here(), &verbose())));
    }
    assert_eq!(workspace_text(&quiet().workspaces[0], here(), &Style::default()), "");
}

#[test]
fn colour_changes_nothing_but_the_colour() {
    let plan = everything();
    let colored = shown(&plan, &Style { color: true, ..Style::default() });
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(plain + rest, shown(&plan, &Style::default()));
}

#[test]
fn the_json_of_a_plan_can_be_read() {
    let (plan, outcomes) = applied();
    let view = ReportInput { outcomes: Some(&outcomes), ..input(&plan, "0") };
    let read: serde_json::Value = serde_json::from_str(&json(&view)).unwrap();
    assert_eq!(read["format_version"], 1);
    assert_eq!(read["summary"]["failed"], counts(&plan, Some(&outcomes), &Problems::default()).failed);
}

proptest! {
    /// Checks that sensitive values never appear.
    ///
    /// The change may contain anything else.
    #[test]
    fn a_sensitive_value_is_shown_nowhere(drift: bool, lines in 1_usize..4, verbose: bool) {
        let secret = vec!["hunter2-s3cr3t"; lines].join("\n");
        let plan = plans::sensitive(&secret, drift);
        let id = plan_id(&plan);
        let view = input(&plan, &id);
        let look = Style { verbose, ..Style::default() };
        for shown in [text(&view, &look), json(&view), markdown(&view), github(&view)] {
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
            prop_assert!(shown.contains("password"));
        }
        prop_assert!(plan_id(&plans::sensitive("other", drift)) == id);
    }

    /// Checks that no name, value or message breaks a format or causes a panic.
    #[test]
    fn no_text_breaks_out_of_its_place(hostile in any::<String>(), other in any::<String>(), width in 0_usize..200) {
        let plan = in_workspace(&hostile, &other);
        let id = plan_id(&plan);
        let view = input(&plan, &id);
        for verbose in [false, true] {
            let shown = text(&view, &Style { color: false, verbose, width });
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        }
        let shown = json(&view);
        prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(&read["workspaces"][0]["actions"][1]["changes"][0]["before"], &serde_json::json!(hostile));
        prop_assert!(github(&view).lines().all(|line| line.starts_with("::")));
        let shown = markdown(&view);
        prop_assert!(shown.len() <= MARKDOWN_LIMIT);
        prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    }
}

#[test]
fn plans_of_every_size_have_a_text() {
    for plan in all() {
        assert!(shown(&plan, &Style { width: 0, ..Style::default() }).ends_with(".\n"));
    }
    assert_eq!(shown(&plan_of(Vec::new()), &Style::default()), "No changes. Nothing is declared.\n");
}
