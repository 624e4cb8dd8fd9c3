//! Groups subtables with their table and dotted keys with their key.
//!
//! Otherwise keeps the order.

use super::tokens::LineToken;
use std::collections::HashMap;

/// A header or an entry, with the comments above and the lines up to the next one.
struct Block<'a> {
    parts: Vec<String>,
    lines: Vec<LineToken<'a>>,
}

/// Groups related tables in the order of first mention, each before its subtables.
pub(super) fn group_tables(lines: Vec<LineToken<'_>>) -> Vec<LineToken<'_>> {
    // Elements of a list of tables have no names to sort by.
    if lines.iter().any(|line| matches!(line, LineToken::Header(header, _) if header.starts_with("[["))) {
        return lines;
    }
    let (top, tables) = blocks(lines, |line| match line {
        LineToken::Header(_, parts) => Some(parts.clone()),
        _ => None,
    });
    let tables = sorted(tables).into_iter().map(|table| table.lines);
    std::iter::once(top).chain(tables).flat_map(entries).collect()
}

/// Groups the entries of one table; a blank line separates groups of the author.
fn entries(lines: Vec<LineToken<'_>>) -> Vec<LineToken<'_>> {
    let mut out = Vec::new();
    let mut group = Vec::new();
    for line in lines {
        let parts = matches!(line, LineToken::Blank | LineToken::Header(..));
        group.push(line);
        if parts {
            out.extend(group_of_entries(std::mem::take(&mut group)));
        }
    }
    out.extend(group_of_entries(group));
    out
}

fn group_of_entries(lines: Vec<LineToken<'_>>) -> Vec<LineToken<'_>> {
    if lines.iter().all(|line| !matches!(line, LineToken::Entry(_, parts, _) if parts.len() > 1)) {
        return lines;
    }
    let (top, mut entries) = blocks(lines, |line| match line {
        LineToken::Entry(_, parts, _) => Some(parts.clone()),
        _ => None,
    });
    // Comments below the last entry, and the blank line, stay at the end.
    let end = entries.last_mut().map(|last| last.lines.split_off(own(&last.lines))).unwrap_or_default();
    let entries = sorted(entries).into_iter().flat_map(|entry| entry.lines);
    top.into_iter().chain(entries).chain(end).collect()
}

/// Returns the number of lines that belong to an entry: its comments and itself.
fn own(lines: &[LineToken<'_>]) -> usize {
    lines.iter().position(|line| matches!(line, LineToken::Entry(..))).map_or(lines.len(), |at| at + 1)
}

/// Splits lines into those above the first named line, and a block per named line.
fn blocks<'a>(
    lines: Vec<LineToken<'a>>,
    name: impl Fn(&LineToken<'a>) -> Option<Vec<String>>,
) -> (Vec<LineToken<'a>>, Vec<Block<'a>>) {
    let mut top = Vec::new();
    let mut blocks: Vec<Block<'a>> = Vec::new();
    for line in lines {
        let parts = name(&line);
        let current = blocks.last_mut().map_or(&mut top, |block| &mut block.lines);
        match parts {
            Some(parts) => {
                let mut own = current.split_off(attached(current));
                own.push(line);
                blocks.push(Block { parts, lines: own });
            }
            None => current.push(line),
        }
    }
    (top, blocks)
}

/// Returns the index of the comments directly above the next line.
fn attached(lines: &[LineToken<'_>]) -> usize {
    let is_comment =
        |line: &&LineToken<'_>| matches!(line, LineToken::Comment(text) if !super::is_directive(text));
    lines.len() - lines.iter().rev().take_while(is_comment).count()
}

fn sorted(mut blocks: Vec<Block<'_>>) -> Vec<Block<'_>> {
    let mut first: HashMap<Vec<String>, usize> = HashMap::new();
    for (n, block) in blocks.iter().enumerate() {
        for length in 1..=block.parts.len() {
            first.entry(block.parts[..length].to_vec()).or_insert(n);
        }
    }
    blocks.sort_by_cached_key(|block| -> Vec<usize> {
        (1..=block.parts.len())
            .map(|length| first.get(&block.parts[..length]).copied().unwrap_or(0))
            .collect()
    });
    blocks
}
