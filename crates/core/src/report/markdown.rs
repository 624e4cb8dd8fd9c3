//! Renders a plan as a pull request comment.

use super::layout::LineLayout;
use super::sections::Detail;
use super::{ReportInput, escape, humanize, sections, text};

/// First line of the comment, by which later runs find it.
pub const MARKDOWN_MARKER: &str = "<!-- wellspring-plan -->";
/// Maximum size of a comment in bytes.
pub const MARKDOWN_LIMIT: usize = 60_000;
/// Bytes reserved for the text after the blocks.
const RESERVED_BYTES: usize = 5_000;
/// Maximum number of omitted workspaces that are named.
const LEFT_OUT_NAMED: usize = 8;
/// Maximum length of these names in characters.
const NAME: usize = 40;

/// Renders the view in Markdown, at most [`MARKDOWN_LIMIT`] bytes.
///
/// Starts with the summary, followed by a block for each workspace. The end lists omitted parts.
#[must_use]
pub fn markdown(view: &ReportInput<'_>) -> String {
    let verb = if view.outcomes.is_some() { "apply" } else { "plan" };
    let mut out =
        format!("{MARKDOWN_MARKER}\n### Wellspring {verb}\n\n**{}**\n", escape::markdown(&view.sum()));
    for (_, problem) in view.problems.lines(view.plan) {
        out.push_str(&format!("\n- {}", escape::markdown(&problem)));
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    let mut left_out = Vec::new();
    for (index, workspace) in view.plan.workspaces.iter().enumerate() {
        let page = LineLayout { color: false, width: 0, flush_left: true };
        let lines = text::body(workspace, view.outcome(index), view.here(), Detail::Attributes, page);
        if lines.is_empty() {
            continue;
        }
        let heading = sections::heading(workspace);
        let room = (MARKDOWN_LIMIT - RESERVED_BYTES).saturating_sub(out.len());
        let rest = push_block(&mut out, &title(&heading), &lines, room);
        if rest > 0 {
            let label: String = escape::terminal(&heading.label).chars().take(NAME).collect();
            left_out.push(format!("{} of {}", humanize::count(rest, "line"), escape::markdown_code(&label)));
        }
    }
    if let Some(text) =
        text::remainder(view.plan, view.outcomes).filter(|text| text.len() < RESERVED_BYTES / 10)
    {
        out.push_str(&format!("\n{}\n", escape::markdown(&text)));
    }
    if !left_out.is_empty() {
        let more = left_out.len().saturating_sub(LEFT_OUT_NAMED);
        left_out.truncate(LEFT_OUT_NAMED);
        if more > 0 {
            left_out.push(humanize::count(more, "more workspace"));
        }
        let note = "This comment is cut to fit. Left out:";
        out.push_str(&format!(
            "\n**{note} {}.** `wellspring plan` shows everything.\n",
            humanize::list(&left_out)
        ));
    }
    out.push_str(&format!("\n<sub>Plan {}</sub>\n", escape::markdown_code(view.plan_id)));
    out
}

fn title(heading: &sections::Heading) -> String {
    let id = heading.id.as_ref().map(|id| format!(" {}", escape::markdown_code(id)));
    let scope = heading.scope.as_ref().map(|scope| format!(" ({})", escape::markdown(scope)));
    let parts: String = [id, scope].into_iter().flatten().collect();
    format!("#### {}{parts}", escape::markdown(&heading.label))
}

/// Appends the lines that fit, and returns the number of omitted ones.
fn push_block(out: &mut String, title: &str, lines: &[String], room: usize) -> usize {
    let fence = escape::markdown_fence(&lines.join("\n"));
    let mut left = room.saturating_sub(title.len() + 2 * fence.len() + "\n\ndiff\n\n".len());
    let fitting = lines
        .iter()
        .take_while(|line| {
            let fits = line.len() < left;
            left = left.saturating_sub(line.len() + 1);
            fits
        })
        .count();
    if fitting > 0 {
        let body = lines[..fitting].join("\n");
        out.push_str(&format!("\n{title}\n{fence}diff\n{body}\n{fence}\n"));
    }
    lines.len() - fitting
}
