//! The references of definitions, with what they resolve to: each is looked up once for all sources of a
//! workspace, so whatever refers to the same is given the same.

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
    /// By which the workspace is called: its alias and its id.
    workspace: Vec<String>,
    found: BTreeMap<SecretRef, Result<Arc<Found>, String>>,
}

/// What the references of a workspace resolved to, kept small for as long as it may be asked for.
pub struct Kept(Box<[(SecretRef, Arc<Found>)]>);

/// Every value that somebody holds: thousands of workspaces refer to the same few, and hold each once.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<BTreeMap<SecretRef, Weak<Found>>>>);

impl Held {
    /// What holds this value: what others hold already, where it is the same.
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

/// What a reference resolved to.
struct Found {
    value: Arc<SecretString>,
    /// With the id of the key it was made with.
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
    /// For a workspace of these names.
    #[must_use]
    pub fn new(secrets: Arc<Secrets>, workspace: &[&str]) -> Self {
        let workspace = workspace.iter().map(|name| (*name).to_owned()).collect();
        Self { secrets, workspace, found: BTreeMap::new() }
    }

    /// The same, with what was found before.
    #[must_use]
    pub fn again(secrets: Arc<Secrets>, workspace: &[&str], kept: Kept) -> Self {
        let found = kept.0.into_iter().map(|(reference, found)| (reference, Ok(found)));
        Self { found: found.collect(), ..Self::new(secrets, workspace) }
    }

    /// What was found; what was not will be looked up once more.
    #[must_use]
    pub fn keep(self) -> Kept {
        Kept(self.found.into_iter().filter_map(|(reference, found)| Some((reference, found.ok()?))).collect())
    }

    /// Looks up every reference of `definition` that was not looked up before.
    ///
    /// # Errors
    /// [`Unresolved`] names every reference that has no usable value here, and no value.
    pub fn resolve(&mut self, definition: &Arc<Definition>) -> Result<Resolution, Unresolved> {
        let mut walk = Walk { resolver: self, definition, leaves: Vec::new(), missing: Vec::new() };
        walk.table(&mut FieldPath::root("connection_config"), &definition.connection_config);
        match walk.missing.is_empty() {
            true => Ok(Resolution { definition: Arc::clone(definition), leaves: walk.leaves }),
            false => Err(Unresolved { missing: walk.missing }),
        }
    }

    /// Every reference that was looked up, with a fingerprint of its value; `None` when one has no value.
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

/// One walk through a definition.
struct Walk<'a> {
    resolver: &'a mut Resolver,
    definition: &'a Definition,
    leaves: Vec<Leaf>,
    missing: Vec<Missing>,
}

/// A leaf that holds a secret.
struct Leaf {
    path: FieldPath,
    holds: Holds,
}

enum Holds {
    /// What one reference resolved to, and nothing else.
    Value(Arc<Found>),
    /// What several did, or with other text around it.
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
        // Sized beforehand: a text that grows leaves copies of itself behind in memory.
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

/// May a reference stand here, or below?
fn may_refer(declared: &Declared) -> bool {
    matches!(declared, Declared::Secret(_) | Declared::Template(_) | Declared::Array(_) | Declared::Table(_))
}

/// References without a usable value. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// At least one, in the order of the definition.
    pub missing: Vec<Missing>,
}

/// One reference without a usable value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The leaf it stands in.
    pub path: FieldPath,
    /// As written in the files: `${NAME}`, `env:NAME`, `file:NAME`, `credential:NAME`.
    pub reference: String,
    /// A sentence for people: `DB_PASSWORD is not set here`.
    pub why: String,
}

impl fmt::Display for Unresolved {
    /// Every reason once: `DB_PASSWORD is not set here; API_KEY is empty`.
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

/// What every leaf of a definition's `connection_config` that refers to a secret holds. The values are wiped
/// from memory with the last that shares them; it has no `Debug`, `Display` or `Serialize`.
pub struct Resolution {
    definition: Arc<Definition>,
    /// In the order of the definition.
    leaves: Vec<Leaf>,
}

impl Resolution {
    /// A fingerprint of the value at every leaf that holds a secret.
    #[must_use]
    pub fn fingerprints(&self, key: &FingerprintKey) -> BTreeMap<FieldPath, Fingerprint> {
        let print = |leaf: &Leaf| match &leaf.holds {
            Holds::Value(found) => found.print(key),
            Holds::Text(text, _) => key.of(text.expose_secret()),
        };
        self.leaves.iter().map(|leaf| (leaf.path.clone(), print(leaf))).collect()
    }

    /// The source as it is sent.
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
