//! Merges defaults, template and source: tables are merged, other values replaced.

use super::document::{SpannedTable, TomlValue};
use super::references;

/// Merges `base` into `nearer`, whose values win.
///
/// Messages refer to the location in `nearer`.
pub(super) fn merge_defaults<'a>(nearer: &mut SpannedTable<'a>, base: &SpannedTable<'a>) {
    let mut added = Vec::new();
    for (key, entry) in base.iter() {
        let Some(over) = nearer.get_mut(key) else {
            added.push((key.clone(), entry.clone()));
            continue;
        };
        if let (TomlValue::Table(above), TomlValue::Table(below)) = (&mut over.node.value, &entry.node.value)
            && !references::is_reference(above)
            && !references::is_reference(below)
        {
            if key == "sync" {
                let mut below = below.clone();
                override_schedule(&mut below, above);
                merge_defaults(above, &below);
            } else {
                merge_defaults(above, below);
            }
        }
    }
    if !added.is_empty() {
        nearer.add(added);
    }
}

/// Removes the schedule of `below` if `above` has one.
///
/// `every` and `cron` exclude each other.
fn override_schedule(below: &mut SpannedTable<'_>, above: &SpannedTable<'_>) {
    if above.contains_key("every") {
        below.remove("cron");
    }
    if above.contains_key("cron") {
        below.remove("every");
    }
}

/// Removes the value at a dotted path; returns false if there is none.
pub(super) fn unset(table: &mut SpannedTable<'_>, path: &str) -> bool {
    match path.split_once('.') {
        None => table.remove(path).is_some(),
        Some((key, rest)) => match table.get_mut(key) {
            Some(entry) => match &mut entry.node.value {
                TomlValue::Table(inner) => unset(inner, rest),
                _ => false,
            },
            None => false,
        },
    }
}
