//! Folded workspaces of the first page, stored in the URL.
//!
//! A page that reloads itself keeps nothing else.

use crate::model::{Scope, WorkspaceId, WorkspaceRef};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::collections::BTreeSet;

/// Maximum number of workspaces named in a URL.
const MAX_NAMED: usize = 50;

/// Characters of a name that are not percent-encoded.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Folded workspaces: the listed ones, or all but these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folding {
    all: bool,
    except: BTreeSet<WorkspaceRef>,
}

impl Folding {
    /// Parses the query: `folded=a/user,b/user`, or `unfolded=a/user`.
    pub(super) fn of(query: Option<&str>) -> Self {
        let pairs =
            query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('='));
        let mut known = pairs.filter(|(key, _)| matches!(*key, "folded" | "unfolded"));
        let Some((key, names)) = known.next() else { return Self::default() };
        let workspaces = names.split(',').filter_map(|name| {
            let (workspace, scope) = name.split_once('/')?;
            let decoded = |text| percent_decode_str(text).decode_utf8().ok();
            Some(WorkspaceRef {
                workspace: WorkspaceId::parse(&decoded(workspace)?).ok()?,
                scope: Scope::parse(&decoded(scope)?).ok()?,
            })
        });
        Self { all: key == "unfolded", except: workspaces.take(MAX_NAMED).collect() }
    }

    pub(super) fn is_folded(&self, workspace: &WorkspaceRef) -> bool {
        self.all != self.except.contains(workspace)
    }

    /// Returns the URL of the page with this workspace toggled.
    pub(super) fn turned(&self, workspace: &WorkspaceRef) -> String {
        let mut turned = self.clone();
        if !turned.except.remove(workspace) {
            while turned.except.len() >= MAX_NAMED {
                turned.except.pop_first();
            }
            turned.except.insert(workspace.clone());
        }
        turned.address()
    }

    /// Returns the URL of the page with all workspaces folded, or none.
    pub(super) fn all(folded: bool) -> String {
        Self { all: folded, except: BTreeSet::new() }.address()
    }

    fn address(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NAME).to_string();
        let name = |workspace: &WorkspaceRef| {
            format!("{}/{}", encode(workspace.workspace.as_str()), encode(workspace.scope.as_str()))
        };
        let names = self.except.iter().map(name).collect::<Vec<_>>().join(",");
        match (self.all, names.is_empty()) {
            (false, true) => "/".to_owned(),
            (false, false) => format!("/?folded={names}"),
            (true, _) => format!("/?unfolded={names}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(workspace: &str) -> WorkspaceRef {
        WorkspaceRef { workspace: WorkspaceId::parse(workspace).unwrap(), scope: Scope::default() }
    }

    #[test]
    fn the_address_keeps_what_is_folded_whatever_the_names_hold() {
        let odd = workspace("a,b/c&d=e %");
        for folding in [Folding::default(), Folding::of(Some("unfolded="))] {
            let before = folding.is_folded(&odd);
            let turned = folding.turned(&odd);
            let again = Folding::of(turned.split_once('?').map(|(_, query)| query));
            assert_eq!(
                (again.is_folded(&odd), again.is_folded(&workspace("other"))),
                (!before, before),
                "{turned}"
            );
            let back = again.turned(&odd);
            assert_eq!(Folding::of(back.split_once('?').map(|(_, query)| query)), folding);
        }
        assert_eq!(Folding::of(Some("folded=nonsense&x")), Folding::default());
    }

    #[test]
    fn an_address_has_an_end() {
        let mut folding = Folding::default();
        for n in 0..200 {
            let address = folding.turned(&workspace(&format!("w{n:03}")));
            folding = Folding::of(address.split_once('?').map(|(_, query)| query));
        }
        assert!(folding.except.len() == MAX_NAMED && folding.is_folded(&workspace("w199")));
    }
}
