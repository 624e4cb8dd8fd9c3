//! Merges defaults, template and source: tables are merged, other values replaced.

use super::document::{Table, Value};
use super::references;

/// Merges `base` into `nearer`, whose values win.
///
/// Messages refer to the location in `nearer`.
pub(super) fn lay_under<'a>(nearer: &mut Table<'a>, base: &Table<'a>) {
    let mut added = Vec::new();
    for (key, entry) in base.iter() {
        let Some(over) = nearer.get_mut(key) else {
            added.push((key.clone(), entry.clone()));
            continue;
        };
        if let (Value::Table(above), Value::Table(below)) = (&mut over.node.value, &entry.node.value)
            && !references::is_reference(above)
            && !references::is_reference(below)
        {
            if key == "sync" {
                let mut below = below.clone();
                displace_schedule(&mut below, above);
                lay_under(above, &below);
            } else {
                lay_under(above, below);
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
fn displace_schedule(below: &mut Table<'_>, above: &Table<'_>) {
    if above.contains_key("every") {
        below.remove("cron");
    }
    if above.contains_key("cron") {
        below.remove("every");
    }
}

/// Removes the value at a dotted path; returns false if there is none.
pub(super) fn unset(table: &mut Table<'_>, path: &str) -> bool {
    match path.split_once('.') {
        None => table.remove(path).is_some(),
        Some((key, rest)) => match table.get_mut(key) {
            Some(entry) => match &mut entry.node.value {
                Value::Table(inner) => unset(inner, rest),
                _ => false,
            },
            None => false,
        },
    }
}
