//! Parallel traversal of definitions, leaf by leaf.
//!
//! Paths are built in one buffer during the traversal; callers clone the ones they keep.

use super::{ConfigValue, FieldPath, LeafValue, same_in_any_order, same_value};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::slice;

/// A part of a definition, from the files or as JSON.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// A value in the files.
    Declared(&'a ConfigValue),
    /// A JSON value.
    Json(&'a Value),
}

/// The two halves of a definition: `connection_config` and `metadata`.
#[derive(Clone, Copy)]
pub struct DefinitionView<'a>([ValueNode<'a>; 2]);

#[derive(Clone, Copy)]
enum ValueNode<'a> {
    Empty,
    Table(&'a [(Box<str>, ConfigValue)]),
    Values(&'a [(Box<str>, Value)]),
    Items(&'a [ConfigValue]),
    Object(&'a Map<String, Value>),
    Array(&'a [Value]),
}

/// Both halves empty.
impl Default for DefinitionView<'_> {
    fn default() -> Self {
        Self([ValueNode::Empty; 2])
    }
}

impl<'a> DefinitionView<'a> {
    /// Views the halves of a definition in the files.
    pub(super) fn declared(config: &'a [(Box<str>, ConfigValue)], metadata: &'a [(Box<str>, Value)]) -> Self {
        Self([ValueNode::Table(config), ValueNode::Values(metadata)])
    }

    /// Views the halves of a row; anything but an object is empty.
    pub(super) fn observed(config: Option<&'a Value>, metadata: Option<&'a Value>) -> Self {
        let half = |value: Option<&'a Value>| match value {
            Some(Value::Object(entries)) => ValueNode::Object(entries),
            _ => ValueNode::Empty,
        };
        Self([half(config), half(metadata)])
    }
}

/// A `connection_config` as it is sent.
impl<'a> From<&'a Map<String, Value>> for DefinitionView<'a> {
    fn from(config: &'a Map<String, Value>) -> Self {
        Self([ValueNode::Object(config), ValueNode::Empty])
    }
}

/// Calls `each` for every path at which one of the definitions has a leaf.
///
/// `each` receives the leaves of all definitions at that path. A list is one leaf, unless one of the
/// definitions refers to a secret in it: then its elements are leaves. An empty table is a leaf, so that
/// declaring `{}` differs from declaring nothing.
pub fn zip_leaves<'a, const N: usize, F>(of: [DefinitionView<'a>; N], mut each: F)
where
    F: FnMut(&FieldPath, [Option<ValueRef<'a>>; N]),
{
    for (n, root) in ["connection_config", "metadata"].into_iter().enumerate() {
        zip_children(&mut FieldPath::with_capacity(root), of.map(|halves| halves.0[n]), &mut each);
    }
}

fn zip_children<'a, const N: usize, F>(path: &mut FieldPath, branches: [ValueNode<'a>; N], each: &mut F)
where
    F: FnMut(&FieldPath, [Option<ValueRef<'a>>; N]),
{
    let mut entries = branches.map(|branch| branch.entries().peekable());
    while let Some(key) = entries.iter_mut().filter_map(|entries| Some(entries.peek()?.0)).min() {
        let mut parts = [None; N];
        for (part, entries) in parts.iter_mut().zip(&mut entries) {
            *part = entries.next_if(|(other, _)| *other == key).map(|(_, part)| part);
        }
        let length = path.push_key(key);
        at(path, parts, each);
        path.truncate(length);
    }
    let items = branches.iter().map(ValueNode::items).max().unwrap_or(0);
    for n in 0..items {
        let length = path.push_index(n);
        at(path, branches.map(|branch| branch.item(n)), each);
        path.truncate(length);
    }
}

fn at<'a, const N: usize, F>(path: &mut FieldPath, parts: [Option<ValueRef<'a>>; N], each: &mut F)
where
    F: FnMut(&FieldPath, [Option<ValueRef<'a>>; N]),
{
    let lists = parts.iter().flatten().any(|part| part.is_list_with_references());
    let branches = parts.map(|part| part.map_or(ValueNode::Empty, |part| part.branch(lists)));
    let mut leaves = parts;
    for (leaf, branch) in leaves.iter_mut().zip(&branches) {
        if !matches!(branch, ValueNode::Empty) {
            *leaf = None;
        }
    }
    if leaves.iter().any(Option::is_some) {
        each(path, leaves);
    }
    if branches.iter().any(|branch| !matches!(branch, ValueNode::Empty)) {
        zip_children(path, branches, each);
    }
}

impl<'a> ValueNode<'a> {
    fn entries(self) -> NodeEntries<'a> {
        match self {
            Self::Table(entries) => NodeEntries::Table(entries.iter()),
            Self::Values(entries) => NodeEntries::Values(entries.iter()),
            Self::Object(entries) => NodeEntries::Object(entries.iter()),
            _ => NodeEntries::None,
        }
    }

    fn items(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Array(items) => items.len(),
            _ => 0,
        }
    }

    fn item(self, n: usize) -> Option<ValueRef<'a>> {
        match self {
            Self::Items(items) => items.get(n).map(ValueRef::Declared),
            Self::Array(items) => items.get(n).map(ValueRef::Json),
            _ => None,
        }
    }
}

/// Iterator over any kind of table, sorted by key.
enum NodeEntries<'a> {
    None,
    Table(slice::Iter<'a, (Box<str>, ConfigValue)>),
    Values(slice::Iter<'a, (Box<str>, Value)>),
    Object(serde_json::map::Iter<'a>),
}

impl<'a> Iterator for NodeEntries<'a> {
    type Item = (&'a str, ValueRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::None => None,
            Self::Table(entries) => entries.next().map(|(key, value)| (&**key, ValueRef::Declared(value))),
            Self::Values(entries) => entries.next().map(|(key, value)| (&**key, ValueRef::Json(value))),
            Self::Object(entries) => entries.next().map(|(key, value)| (key.as_str(), ValueRef::Json(value))),
        }
    }
}

/// Calls `each` for every undeclared part of `echo`.
///
/// These are keys that `definition` lacks, once each with everything below, and surplus elements of lists
/// with references.
pub fn for_each_undeclared<'a>(
    definition: DefinitionView<'_>,
    echo: DefinitionView<'a>,
    mut each: impl FnMut(&FieldPath, &'a Value),
) {
    for (n, root) in ["connection_config", "metadata"].into_iter().enumerate() {
        undeclared_children(&mut FieldPath::with_capacity(root), definition.0[n], echo.0[n], &mut each);
    }
}

fn undeclared_children<'a, F>(
    path: &mut FieldPath,
    declared: ValueNode<'_>,
    shown: ValueNode<'a>,
    each: &mut F,
) where
    F: FnMut(&FieldPath, &'a Value),
{
    let mut entries = declared.entries().peekable();
    for (key, part) in shown.entries() {
        while entries.next_if(|(other, _)| *other < key).is_some() {}
        let declared = entries.next_if(|(other, _)| *other == key).map(|(_, part)| part);
        let length = path.push_key(key);
        undeclared_at(path, declared, part, each);
        path.truncate(length);
    }
    for n in 0..shown.items() {
        let length = path.push_index(n);
        if let Some(part) = shown.item(n) {
            undeclared_at(path, declared.item(n), part, each);
        }
        path.truncate(length);
    }
}

fn undeclared_at<'a, F>(
    path: &mut FieldPath,
    declared: Option<ValueRef<'_>>,
    shown: ValueRef<'a>,
    each: &mut F,
) where
    F: FnMut(&FieldPath, &'a Value),
{
    match (declared, shown) {
        (None, ValueRef::Json(value)) => each(path, value),
        (None, ValueRef::Declared(_)) => {}
        (Some(declared), shown) => {
            let lists = declared.is_list_with_references();
            undeclared_children(path, declared.branch(lists), shown.branch(lists), each);
        }
    }
}

impl<'a> ValueRef<'a> {
    /// Returns the children; with `lists`, the elements of a list count as children.
    fn branch(self, lists: bool) -> ValueNode<'a> {
        match self {
            Self::Declared(ConfigValue::Table(entries)) if !entries.is_empty() => ValueNode::Table(entries),
            Self::Declared(ConfigValue::Array(items)) if lists && !items.is_empty() => {
                ValueNode::Items(items)
            }
            Self::Json(Value::Object(entries)) if !entries.is_empty() => ValueNode::Object(entries),
            Self::Json(Value::Array(items)) if lists && !items.is_empty() => ValueNode::Array(items),
            _ => ValueNode::Empty,
        }
    }

    fn is_list_with_references(self) -> bool {
        matches!(self, Self::Declared(list @ ConfigValue::Array(_)) if list.has_secret())
    }

    /// Returns true if this is a reference to a secret.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Declared(ConfigValue::Template(_) | ConfigValue::Secret(_)))
    }

    /// Returns true if both leaves are the same value; a reference equals no value.
    #[must_use]
    pub fn eq_value(self, other: Self) -> bool {
        match (self, other) {
            (Self::Declared(one), Self::Declared(other)) if one == other => !self.is_secret(),
            (Self::Declared(ConfigValue::String(one)), Self::Json(Value::String(other)))
            | (Self::Json(Value::String(other)), Self::Declared(ConfigValue::String(one))) => one == other,
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
    pub fn leaf(self) -> LeafValue {
        LeafValue::Plain(match self {
            Self::Json(value) => value.clone(),
            Self::Declared(ConfigValue::Template(template)) => {
                return LeafValue::Secret(template.to_string());
            }
            Self::Declared(ConfigValue::Secret(reference)) => {
                return LeafValue::Secret(reference.to_string());
            }
            Self::Declared(declared) => declared.plain().unwrap_or_default(),
        })
    }
}
