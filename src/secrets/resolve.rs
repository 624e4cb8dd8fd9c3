//! Resolves the references of a workspace's definitions, each one once.
//!
//! All sources of the workspace thus receive the same value for the same reference.

use super::{Secrets, allow};
use crate::model::{
    Declared, Definition, FieldPath, Fields, Fingerprint, FingerprintKey, ResolvedSource, SecretRef, Segment,
    SourceName, Template,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Resolves the definitions of one workspace.
pub struct Resolver {
    secrets: Arc<Secrets>,
    /// Names of the workspace: its alias and its id.
    workspace: Vec<String>,
    found: BTreeMap<SecretRef, Result<Arc<Found>, String>>,
}

/// Resolved references of a workspace in compact form.
pub struct Kept(Box<[(SecretRef, Arc<Found>)]>);

/// Values in use, shared between workspaces.
///
/// Thousands of workspaces refer to the same few values, so each is stored once.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<BTreeMap<SecretRef, Weak<Found>>>>);

impl Held {
    /// Returns the shared entry if its value is the same, else a new one.
    fn share(&self, reference: &SecretRef, value: &str) -> Arc<Found> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.get(reference).and_then(Weak::upgrade);
        before.filter(|before| before.value.expose_secret() == value).unwrap_or_else(|| {
            let found =
                Arc::new(Found { value: Arc::new(SecretString::from(value)), print: OnceLock::new() });
            held.insert(reference.clone(), Arc::downgrade(&found));
            found
        })
    }
}

/// A resolved value.
struct Found {
    value: Arc<SecretString>,
    /// Fingerprint, with the id of its key.
    print: OnceLock<(String, Fingerprint)>,
}

impl Found {
    fn print(&self, key: &FingerprintKey) -> Fingerprint {
        let anew = || key.of(self.value.expose_secret());
        let (key_id, print) = self.print.get_or_init(|| (key.id().to_owned(), anew()));
        if key_id == key.id() { *print } else { anew() }
    }
}

impl Resolver {
    /// Creates a resolver for a workspace with these names.
    #[must_use]
    pub fn new(secrets: Arc<Secrets>, workspace: &[&str]) -> Self {
        let workspace = workspace.iter().map(|name| (*name).to_owned()).collect();
        Self { secrets, workspace, found: BTreeMap::new() }
    }

    /// Creates a resolver that starts with the values resolved before.
    #[must_use]
    pub fn again(secrets: Arc<Secrets>, workspace: &[&str], kept: Kept) -> Self {
        let found = kept.0.into_iter().map(|(reference, found)| (reference, Ok(found)));
        Self { found: found.collect(), ..Self::new(secrets, workspace) }
    }

    /// Returns the resolved values; failed references are resolved again later.
    #[must_use]
    pub fn keep(self) -> Kept {
        Kept(self.found.into_iter().filter_map(|(reference, found)| Some((reference, found.ok()?))).collect())
    }

    /// Resolves every reference of `definition` that is not resolved yet.
    ///
    /// # Errors
    /// [`Unresolved`] names every reference without a usable value, and contains no value.
    pub fn resolve(&mut self, definition: &Arc<Definition>) -> Result<Resolution, Unresolved> {
        let mut walk = Walk { resolver: self, definition, leaves: Vec::new(), missing: Vec::new() };
        walk.table(&mut FieldPath::root("connection_config"), &definition.connection_config);
        match walk.missing.is_empty() {
            true => Ok(Resolution { definition: Arc::clone(definition), leaves: walk.leaves }),
            false => Err(Unresolved { missing: walk.missing }),
        }
    }

    /// Returns all resolved references with fingerprints of their values.
    ///
    /// `None` if one has no value.
    #[must_use]
    pub fn fingerprints(&self, key: &FingerprintKey) -> Option<Vec<(SecretRef, Fingerprint)>> {
        let print = |(reference, found): (&SecretRef, &Result<Arc<Found>, String>)| {
            Some((reference.clone(), found.as_ref().ok()?.print(key)))
        };
        self.found.iter().map(print).collect()
    }

    fn found(&mut self, reference: SecretRef, of: &Definition) -> Result<Arc<Found>, String> {
        let secrets = &self.secrets;
        if !secrets.allow.is_empty() {
            let workspace: Vec<&str> = self.workspace.iter().map(String::as_str).collect();
            allow::check(&secrets.allow, &reference, &workspace, of)?;
        }
        if let Some(found) = self.found.get(&reference) {
            return found.clone();
        }
        let found = secrets.look_up(&reference).map(|value| secrets.held.share(&reference, &value));
        self.found.insert(reference, found.clone());
        found
    }
}

/// State of a traversal of one definition.
struct Walk<'a> {
    resolver: &'a mut Resolver,
    definition: &'a Definition,
    leaves: Vec<Leaf>,
    missing: Vec<Missing>,
}

/// A leaf with a secret.
struct Leaf {
    path: FieldPath,
    holds: Holds,
}

enum Holds {
    /// Exactly the value of one reference.
    Value(Arc<Found>),
    /// Text that combines references and literal parts.
    Text(Arc<SecretString>, Vec<Arc<Found>>),
}

impl Walk<'_> {
    fn table(&mut self, path: &mut FieldPath, entries: &Fields<Declared>) {
        for (key, declared) in entries {
            if may_refer(declared) {
                let length = path.enter(key);
                self.value(path, declared);
                path.leave(length);
            }
        }
    }

    fn value(&mut self, path: &mut FieldPath, declared: &Declared) {
        let holds = match declared {
            Declared::Secret(reference) => {
                self.reference(path, reference.clone(), || reference.to_string()).map(Holds::Value)
            }
            Declared::Template(template) => self.template(path, template),
            Declared::Array(items) => {
                for (n, item) in items.iter().enumerate().filter(|(_, item)| may_refer(item)) {
                    let length = path.enter_item(n);
                    self.value(path, item);
                    path.leave(length);
                }
                return;
            }
            Declared::Table(entries) => return self.table(path, entries),
            _ => return,
        };
        self.leaves.extend(holds.map(|holds| Leaf { path: path.clone(), holds }));
    }

    fn template(&mut self, path: &FieldPath, template: &Template) -> Option<Holds> {
        let mut found = Vec::new();
        for segment in &template.0 {
            if let Segment::Env(name) = segment {
                found.extend(self.reference(path, SecretRef::Env(name.clone()), || format!("${{{name}}}")));
            }
        }
        if let ([Segment::Env(_)], [_]) = (template.0.as_slice(), found.as_slice()) {
            return found.pop().map(Holds::Value);
        }
        let mut values = found.iter();
        let pieces: Option<Vec<&str>> = template
            .0
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => Some(text.as_str()),
                Segment::Env(_) => values.next().map(|found| found.value.expose_secret()),
            })
            .collect();
        // Allocate once: a growing string leaves copies of the secret in memory.
        let text = pieces?.concat();
        Some(Holds::Text(Arc::new(SecretString::from(text)), found))
    }

    fn reference(
        &mut self,
        path: &FieldPath,
        reference: SecretRef,
        written: impl FnOnce() -> String,
    ) -> Option<Arc<Found>> {
        match self.resolver.found(reference, self.definition) {
            Ok(found) => Some(found),
            Err(why) => {
                self.missing.push(Missing { path: path.clone(), reference: written(), why });
                None
            }
        }
    }
}

/// Returns true if this value may contain references.
fn may_refer(declared: &Declared) -> bool {
    matches!(declared, Declared::Secret(_) | Declared::Template(_) | Declared::Array(_) | Declared::Table(_))
}

/// References without a usable value. Contains no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// The references, at least one, in the order of the definition.
    pub missing: Vec<Missing>,
}

/// One reference without a usable value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Path of the leaf.
    pub path: FieldPath,
    /// Reference as written: `${NAME}`, `env:NAME`, `file:NAME`, `credential:NAME`.
    pub reference: String,
    /// Reason as a sentence: `DB_PASSWORD is not set here`.
    pub why: String,
}

impl fmt::Display for Unresolved {
    /// Writes every reason once: `DB_PASSWORD is not set here; API_KEY is empty`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = BTreeSet::new();
        for missing in &self.missing {
            if said.insert(&missing.why) {
                let separator = if said.len() > 1 { "; " } else { "" };
                write!(f, "{separator}{}", missing.why)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Unresolved {}

/// Resolved values of a definition's `connection_config`, by leaf.
///
/// The values are zeroed in memory when the last owner drops them; the type has no `Debug`,
/// `Display` or `Serialize`.
pub struct Resolution {
    definition: Arc<Definition>,
    /// Leaves in the order of the definition.
    leaves: Vec<Leaf>,
}

impl Resolution {
    /// Returns a fingerprint of the value at every leaf with a secret.
    #[must_use]
    pub fn fingerprints(&self, key: &FingerprintKey) -> BTreeMap<FieldPath, Fingerprint> {
        let print = |leaf: &Leaf| match &leaf.holds {
            Holds::Value(found) => found.print(key),
            Holds::Text(text, _) => key.of(text.expose_secret()),
        };
        self.leaves.iter().map(|leaf| (leaf.path.clone(), print(leaf))).collect()
    }

    /// Builds the source as it is sent.
    #[must_use]
    pub fn into_source(self, name: SourceName) -> ResolvedSource {
        let mut values = Vec::with_capacity(self.leaves.len());
        let mut texts = Vec::with_capacity(self.leaves.len());
        for leaf in self.leaves {
            match leaf.holds {
                Holds::Value(found) => {
                    values.push(Arc::clone(&found.value));
                    texts.push(Arc::clone(&found.value));
                }
                Holds::Text(text, found) => {
                    values.extend(found.iter().map(|found| Arc::clone(&found.value)));
                    texts.push(text);
                }
            }
        }
        ResolvedSource::new(name, self.definition, texts).with_secrets(values)
    }
}
