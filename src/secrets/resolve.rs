//! Resolves the references of a workspace's definitions, each one once.
//!
//! All sources of the workspace thus receive the same value for the same reference.

use super::{Secrets, allow};
use crate::model::{
    ConfigValue, Definition, FieldPath, Fingerprint, FingerprintKey, ResolvedSource, SecretRef, Segment,
    SortedMap, SourceName, Template,
};
use crate::mutex::lock;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use thiserror::Error;

/// Resolves the definitions of one workspace.
pub struct Resolver {
    secrets: Arc<Secrets>,
    /// Names of the workspace: its alias and its id.
    workspace: Vec<String>,
    found: BTreeMap<SecretRef, Result<Arc<SecretValue>, String>>,
}

/// Resolved references of a workspace in compact form.
pub struct ResolvedRefs(Box<[(SecretRef, Arc<SecretValue>)]>);

/// Values in use, shared between workspaces.
///
/// Thousands of workspaces refer to the same few values, so each is stored once.
#[derive(Clone, Default)]
pub struct SharedSecrets(Arc<Mutex<BTreeMap<SecretRef, Weak<SecretValue>>>>);

impl SharedSecrets {
    /// Returns the shared entry if its value is the same, else a new one.
    fn intern(&self, reference: &SecretRef, value: &str) -> Arc<SecretValue> {
        let mut held = lock(&self.0);
        let before = held.get(reference).and_then(Weak::upgrade);
        before.filter(|before| before.value.expose_secret() == value).unwrap_or_else(|| {
            let found =
                Arc::new(SecretValue { value: Arc::new(SecretString::from(value)), print: OnceLock::new() });
            held.insert(reference.clone(), Arc::downgrade(&found));
            found
        })
    }
}

struct SecretValue {
    value: Arc<SecretString>,
    /// Fingerprint, with the id of its key.
    print: OnceLock<(String, Fingerprint)>,
}

impl SecretValue {
    fn print(&self, key: &FingerprintKey) -> Fingerprint {
        let anew = || key.fingerprint(self.value.expose_secret());
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
    pub fn with_cached(secrets: Arc<Secrets>, workspace: &[&str], kept: ResolvedRefs) -> Self {
        let found = kept.0.into_iter().map(|(reference, found)| (reference, Ok(found)));
        Self { found: found.collect(), ..Self::new(secrets, workspace) }
    }

    /// Returns the resolved values; failed references are resolved again later.
    pub fn into_cache(self) -> ResolvedRefs {
        ResolvedRefs(
            self.found.into_iter().filter_map(|(reference, found)| Some((reference, found.ok()?))).collect(),
        )
    }

    /// Resolves every reference of `definition` that is not resolved yet.
    ///
    /// # Errors
    /// [`UnresolvedSecrets`] names every reference without a usable value, and contains no value.
    pub fn resolve(&mut self, definition: &Arc<Definition>) -> Result<Resolution, UnresolvedSecrets> {
        let mut walk = DefinitionWalk { resolver: self, definition, leaves: Vec::new(), missing: Vec::new() };
        walk.table(&mut FieldPath::root("connection_config"), &definition.connection_config);
        if walk.missing.is_empty() {
            Ok(Resolution { definition: Arc::clone(definition), leaves: walk.leaves })
        } else {
            Err(UnresolvedSecrets { missing: walk.missing })
        }
    }

    /// Returns all resolved references with fingerprints of their values.
    ///
    /// `None` if one has no value.
    pub fn fingerprints(&self, key: &FingerprintKey) -> Option<Vec<(SecretRef, Fingerprint)>> {
        let print = |(reference, found): (&SecretRef, &Result<Arc<SecretValue>, String>)| {
            Some((reference.clone(), found.as_ref().ok()?.print(key)))
        };
        self.found.iter().map(print).collect()
    }

    fn found(&mut self, reference: SecretRef, of: &Definition) -> Result<Arc<SecretValue>, String> {
        let secrets = &self.secrets;
        if !secrets.allow.is_empty() {
            let workspace: Vec<&str> = self.workspace.iter().map(String::as_str).collect();
            allow::check(&secrets.allow, &reference, &workspace, of)?;
        }
        if let Some(found) = self.found.get(&reference) {
            return found.clone();
        }
        let found = secrets.look_up(&reference).map(|value| secrets.shared.intern(&reference, &value));
        self.found.insert(reference, found.clone());
        found
    }
}

/// State of a traversal of one definition.
struct DefinitionWalk<'a> {
    resolver: &'a mut Resolver,
    definition: &'a Definition,
    leaves: Vec<SecretLeaf>,
    missing: Vec<MissingSecret>,
}

struct SecretLeaf {
    path: FieldPath,
    secret: SecretPart,
}

enum SecretPart {
    /// Exactly the value of one reference.
    Value(Arc<SecretValue>),
    /// Text that combines references and literal parts.
    Text(Arc<SecretString>, Vec<Arc<SecretValue>>),
}

impl DefinitionWalk<'_> {
    fn table(&mut self, path: &mut FieldPath, entries: &SortedMap<ConfigValue>) {
        for (key, declared) in entries {
            if may_contain_reference(declared) {
                let length = path.push_key(key);
                self.value(path, declared);
                path.truncate(length);
            }
        }
    }

    fn value(&mut self, path: &mut FieldPath, declared: &ConfigValue) {
        let holds = match declared {
            ConfigValue::Secret(reference) => {
                self.reference(path, reference.clone(), || reference.to_string()).map(SecretPart::Value)
            }
            ConfigValue::Template(template) => self.template(path, template),
            ConfigValue::Array(items) => {
                for (n, item) in items.iter().enumerate().filter(|(_, item)| may_contain_reference(item)) {
                    let length = path.push_index(n);
                    self.value(path, item);
                    path.truncate(length);
                }
                return;
            }
            ConfigValue::Table(entries) => return self.table(path, entries),
            _ => return,
        };
        self.leaves.extend(holds.map(|holds| SecretLeaf { path: path.clone(), secret: holds }));
    }

    fn template(&mut self, path: &FieldPath, template: &Template) -> Option<SecretPart> {
        let mut found = Vec::new();
        for segment in &template.0 {
            if let Segment::Env(name) = segment {
                found.extend(self.reference(path, SecretRef::Env(name.clone()), || format!("${{{name}}}")));
            }
        }
        if let ([Segment::Env(_)], [_]) = (template.0.as_slice(), found.as_slice()) {
            return found.pop().map(SecretPart::Value);
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
        Some(SecretPart::Text(Arc::new(SecretString::from(text)), found))
    }

    fn reference(
        &mut self,
        path: &FieldPath,
        reference: SecretRef,
        written: impl FnOnce() -> String,
    ) -> Option<Arc<SecretValue>> {
        match self.resolver.found(reference, self.definition) {
            Ok(found) => Some(found),
            Err(why) => {
                self.missing.push(MissingSecret { path: path.clone(), reference: written(), reason: why });
                None
            }
        }
    }
}

fn may_contain_reference(declared: &ConfigValue) -> bool {
    matches!(
        declared,
        ConfigValue::Secret(_) | ConfigValue::Template(_) | ConfigValue::Array(_) | ConfigValue::Table(_)
    )
}

/// References without a usable value. Contains no values.
///
/// Displays every reason once: `DB_PASSWORD is not set here; API_KEY is empty`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", distinct_reasons(.missing))]
pub struct UnresolvedSecrets {
    /// The references, at least one, in the order of the definition.
    pub missing: Vec<MissingSecret>,
}

/// One reference without a usable value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSecret {
    pub path: FieldPath,
    /// Reference as written: `${NAME}`, `env:NAME`, `file:NAME`, `credential:NAME`.
    pub reference: String,
    /// Reason as a sentence: `DB_PASSWORD is not set here`.
    pub reason: String,
}

fn distinct_reasons(missing: &[MissingSecret]) -> String {
    let mut seen = BTreeSet::new();
    let reasons = missing.iter().map(|missing| missing.reason.as_str());
    reasons.filter(|reason| seen.insert(*reason)).collect::<Vec<_>>().join("; ")
}

/// Resolved values of a definition's `connection_config`, by leaf.
///
/// The values are zeroed in memory when the last owner drops them; the type has no `Debug`,
/// `Display` or `Serialize`.
pub struct Resolution {
    definition: Arc<Definition>,
    /// Leaves in the order of the definition.
    leaves: Vec<SecretLeaf>,
}

impl Resolution {
    /// Returns a fingerprint of the value at every leaf with a secret.
    pub fn fingerprints(&self, key: &FingerprintKey) -> BTreeMap<FieldPath, Fingerprint> {
        let print = |leaf: &SecretLeaf| match &leaf.secret {
            SecretPart::Value(found) => found.print(key),
            SecretPart::Text(text, _) => key.fingerprint(text.expose_secret()),
        };
        self.leaves.iter().map(|leaf| (leaf.path.clone(), print(leaf))).collect()
    }

    pub fn into_source(self, name: SourceName) -> ResolvedSource {
        let mut values = Vec::with_capacity(self.leaves.len());
        let mut texts = Vec::with_capacity(self.leaves.len());
        for leaf in self.leaves {
            match leaf.secret {
                SecretPart::Value(found) => {
                    values.push(Arc::clone(&found.value));
                    texts.push(Arc::clone(&found.value));
                }
                SecretPart::Text(text, found) => {
                    values.extend(found.iter().map(|found| Arc::clone(&found.value)));
                    texts.push(text);
                }
            }
        }
        ResolvedSource::new(name, self.definition, texts).with_secrets(values)
    }
}
