//! Parallel traversal of definitions, leaf by leaf.
//!
//! Paths are built in one buffer during the traversal; callers clone the ones they keep.

use super::{Declared, Definition, Echo, FieldPath, Leaf, same_in_any_order, same_value};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::slice;

/// A part of a definition, from the files or as JSON.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A value in the files.
    Declared(&'a Declared),
    /// A JSON value.
    Json(&'a Value),
}

/// The two halves of a definition: `connection_config` and `metadata`.
#[derive(Clone, Copy)]
pub struct Halves<'a>([Branch<'a>; 2]);

/// The children of a part.
#[derive(Clone, Copy)]
enum Branch<'a> {
    Nothing,
    Table(&'a [(Box<str>, Declared)]),
    Values(&'a [(Box<str>, Value)]),
    Items(&'a [Declared]),
    Object(&'a Map<String, Value>),
    Array(&'a [Value]),
}

/// Both halves empty.
impl Default for Halves<'_> {
    fn default() -> Self {
        Self([Branch::Nothing; 2])
    }
}

impl<'a> From<&'a Definition> for Halves<'a> {
    fn from(definition: &'a Definition) -> Self {
        Self([Branch::Table(&definition.connection_config), Branch::Values(&definition.metadata)])
    }
}

impl<'a> From<&'a Echo> for Halves<'a> {
    fn from(echo: &'a Echo) -> Self {
        let half = |value: &'a Option<Value>| match value {
            Some(Value::Object(entries)) => Branch::Object(entries),
            _ => Branch::Nothing,
        };
        Self([half(&echo.connection_config), half(&echo.metadata)])
    }
}

/// A `connection_config` as it is sent.
impl<'a> From<&'a Map<String, Value>> for Halves<'a> {
    fn from(config: &'a Map<String, Value>) -> Self {
        Self([Branch::Object(config), Branch::Nothing])
    }
}

/// Calls `each` for every path at which one of the definitions has a leaf.
///
/// `each` receives the leaves of all definitions at that path. A list is one leaf, unless one of the
/// definitions refers to a secret in it: then its elements are leaves. An empty table is a leaf, so that
/// declaring `{}` differs from declaring nothing.
pub fn side_by_side<'a, const N: usize, F>(of: [Halves<'a>; N], mut each: F)
where
    F: FnMut(&FieldPath, [Option<Part<'a>>; N]),
{
    for (n, root) in ["connection_config", "metadata"].into_iter().enumerate() {
        below(&mut FieldPath::on_the_way(root), of.map(|halves| halves.0[n]), &mut each);
    }
}

fn below<'a, const N: usize, F>(path: &mut FieldPath, branches: [Branch<'a>; N], each: &mut F)
where
    F: FnMut(&FieldPath, [Option<Part<'a>>; N]),
{
    let mut entries = branches.map(|branch| branch.entries().peekable());
    while let Some(key) = entries.iter_mut().filter_map(|entries| Some(entries.peek()?.0)).min() {
        let mut parts = [None; N];
        for (part, entries) in parts.iter_mut().zip(&mut entries) {
            *part = entries.next_if(|(other, _)| *other == key).map(|(_, part)| part);
        }
        let length = path.enter(key);
        at(path, parts, each);
        path.leave(length);
    }
    let items = branches.iter().map(Branch::items).max().unwrap_or(0);
    for n in 0..items {
        let length = path.enter_item(n);
        at(path, branches.map(|branch| branch.item(n)), each);
        path.leave(length);
    }
}

fn at<'a, const N: usize, F>(path: &mut FieldPath, parts: [Option<Part<'a>>; N], each: &mut F)
where
    F: FnMut(&FieldPath, [Option<Part<'a>>; N]),
{
    let lists = parts.iter().flatten().any(|part| part.is_list_with_references());
    let branches = parts.map(|part| part.map_or(Branch::Nothing, |part| part.branch(lists)));
    let mut leaves = parts;
    for (leaf, branch) in leaves.iter_mut().zip(&branches) {
        *leaf = leaf.filter(|_| matches!(branch, Branch::Nothing));
    }
    if leaves.iter().any(Option::is_some) {
        each(path, leaves);
    }
    if branches.iter().any(|branch| !matches!(branch, Branch::Nothing)) {
        below(path, branches, each);
    }
}

impl<'a> Branch<'a> {
    fn entries(self) -> Entries<'a> {
        match self {
            Self::Table(entries) => Entries::Table(entries.iter()),
            Self::Values(entries) => Entries::Values(entries.iter()),
            Self::Object(entries) => Entries::Object(entries.iter()),
            _ => Entries::None,
        }
    }

    fn items(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Array(items) => items.len(),
            _ => 0,
        }
    }

    fn item(self, n: usize) -> Option<Part<'a>> {
        match self {
            Self::Items(items) => items.get(n).map(Part::Declared),
            Self::Array(items) => items.get(n).map(Part::Json),
            _ => None,
        }
    }
}

/// Iterator over any kind of table, sorted by key.
enum Entries<'a> {
    None,
    Table(slice::Iter<'a, (Box<str>, Declared)>),
    Values(slice::Iter<'a, (Box<str>, Value)>),
    Object(serde_json::map::Iter<'a>),
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, Part<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::None => None,
            Self::Table(entries) => entries.next().map(|(key, value)| (&**key, Part::Declared(value))),
            Self::Values(entries) => entries.next().map(|(key, value)| (&**key, Part::Json(value))),
            Self::Object(entries) => entries.next().map(|(key, value)| (key.as_str(), Part::Json(value))),
        }
    }
}

/// Calls `each` for every undeclared part of `echo`.
///
/// These are keys that `definition` lacks, once each with everything below, and surplus elements of lists
/// with references.
pub fn beside<'a>(definition: Halves<'_>, echo: Halves<'a>, mut each: impl FnMut(&FieldPath, &'a Value)) {
    for (n, root) in ["connection_config", "metadata"].into_iter().enumerate() {
        beside_below(&mut FieldPath::on_the_way(root), definition.0[n], echo.0[n], &mut each);
    }
}

fn beside_below<'a, F>(path: &mut FieldPath, declared: Branch<'_>, shown: Branch<'a>, each: &mut F)
where
    F: FnMut(&FieldPath, &'a Value),
{
    let mut entries = declared.entries().peekable();
    for (key, part) in shown.entries() {
        while entries.next_if(|(other, _)| *other < key).is_some() {}
        let declared = entries.next_if(|(other, _)| *other == key).map(|(_, part)| part);
        let length = path.enter(key);
        beside_at(path, declared, part, each);
        path.leave(length);
    }
    for n in 0..shown.items() {
        let length = path.enter_item(n);
        if let Some(part) = shown.item(n) {
            beside_at(path, declared.item(n), part, each);
        }
        path.leave(length);
    }
}

fn beside_at<'a, F>(path: &mut FieldPath, declared: Option<Part<'_>>, shown: Part<'a>, each: &mut F)
where
    F: FnMut(&FieldPath, &'a Value),
{
    match (declared, shown) {
        (None, Part::Json(value)) => each(path, value),
        (None, Part::Declared(_)) => {}
        (Some(declared), shown) => {
            let lists = declared.is_list_with_references();
            beside_below(path, declared.branch(lists), shown.branch(lists), each);
        }
    }
}

impl<'a> Part<'a> {
    /// Returns the children; with `lists`, the elements of a list count as children.
    fn branch(self, lists: bool) -> Branch<'a> {
        match self {
            Self::Declared(Declared::Table(entries)) if !entries.is_empty() => Branch::Table(entries),
            Self::Declared(Declared::Array(items)) if lists && !items.is_empty() => Branch::Items(items),
            Self::Json(Value::Object(entries)) if !entries.is_empty() => Branch::Object(entries),
            Self::Json(Value::Array(items)) if lists && !items.is_empty() => Branch::Array(items),
            _ => Branch::Nothing,
        }
    }

    fn is_list_with_references(self) -> bool {
        matches!(self, Self::Declared(list @ Declared::Array(_)) if list.has_secret())
    }

    /// Returns true if this is a reference to a secret.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Declared(Declared::Template(_) | Declared::Secret(_)))
    }

    /// Returns true if both leaves are the same value; a reference equals no value.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Declared(one), Self::Declared(other)) if one == other => !self.is_secret(),
            (Self::Declared(Declared::String(one)), Self::Json(Value::String(other)))
            | (Self::Json(Value::String(other)), Self::Declared(Declared::String(one))) => one == other,
            _ => {
                matches!((self.plain(), other.plain()), (Some(one), Some(other)) if same_value(&one, &other))
            }
        }
    }

    /// Returns true if both leaves are lists of the same values, in any order.
    #[must_use]
    pub fn is_reordered(self, other: Self) -> bool {
        let (Some(one), Some(other)) = (self.plain(), other.plain()) else { return false };
        one.is_array() && same_in_any_order(&one, &other)
    }

    /// Returns the value; `None` if it contains a reference.
    fn plain(self) -> Option<Cow<'a, Value>> {
        match self {
            Self::Json(value) => Some(Cow::Borrowed(value)),
            Self::Declared(declared) => declared.plain().map(Cow::Owned),
        }
    }

    /// Returns the leaf as an owned value.
    #[must_use]
    pub fn leaf(self) -> Leaf {
        Leaf::Plain(match self {
            Self::Json(value) => value.clone(),
            Self::Declared(Declared::Template(template)) => return Leaf::Secret(template.to_string()),
            Self::Declared(Declared::Secret(reference)) => return Leaf::Secret(reference.to_string()),
            Self::Declared(declared) => declared.plain().unwrap_or_default(),
        })
    }
}
