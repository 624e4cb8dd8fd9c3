//! Defaults, then a template, then the source: tables merge, everything else replaces.

use super::document::{Table, Value};
use super::references;

/// Lays `nearer` over `base`.
pub(super) fn lay_over<'a>(base: &mut Table<'a>, nearer: &Table<'a>) {
    let mut added = Vec::new();
    for (key, entry) in nearer.iter() {
        let Some(under) = base.get_mut(key) else {
            added.push((key.clone(), entry.clone()));
            continue;
        };
        match (&mut under.node.value, &entry.node.value) {
            (Value::Table(below), Value::Table(above))
                if !references::is_reference(below) && !references::is_reference(above) =>
            {
                if key == "sync" {
                    displace_schedule(below, above);
                }
                lay_over(below, above);
                // Messages about the table as a whole belong where it was last written.
                under.key = entry.key;
                under.node.span = entry.node.span;
            }
            _ => *under = entry.clone(),
        }
    }
    base.add(added);
}

/// `every` and `cron` exclude each other: the nearer one displaces the other.
fn displace_schedule(below: &mut Table<'_>, above: &Table<'_>) {
    if above.contains_key("every") {
        below.remove("cron");
    }
    if above.contains_key("cron") {
        below.remove("every");
    }
}

/// Removes the value at a dotted path. False when nothing was there.
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
