//! Cache of workspaces that an earlier run found, or left, in sync.
//!
//! While all inputs of that result are unchanged, these workspaces are only listed; their files are not
//! parsed and their lists not compared.

use super::args::{Common, Format, LimitArgs};
use super::context::{self, CachedStart, CommandContext, CommandStart};
use super::select::Selector;
use crate::client::{ApiReader, ListDigest};
use crate::config::{self, WorkspaceFingerprint};
use crate::model::{Fingerprint, FingerprintKey, PlatformUrl, SecretRef, WorkspaceRef};
use crate::plan::UnchangedSummary;
use crate::reconcile::{InSync, fingerprint};
use crate::secrets::Secrets;
use crate::settings::{self, PlatformChoice, Settings};
use crate::store::{PlanCacheRows, Store};
use crate::tree;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Cache key: inputs that affect every workspace.
#[derive(Serialize, Deserialize, PartialEq)]
struct PlanCacheKey {
    /// Hash of the program, its flags and the host file.
    made_by: String,
    /// Digest of `wellspring.toml`; `None` if there is none.
    settings: Option<[u8; 32]>,
    /// `platform.url` in that file.
    declared: Option<PlatformUrl>,
    variables: BTreeMap<String, Option<Fingerprint>>,
}

/// Cache entry: the inputs of a workspace's plan, and its summary.
#[derive(Serialize, Deserialize)]
struct CacheEntry {
    files: WorkspaceFingerprint,
    list: ListDigest,
    secrets: Vec<(SecretRef, Fingerprint)>,
    says: UnchangedSummary,
}

/// Cached results that are still valid.
#[derive(Default)]
pub(super) struct CacheHits {
    unchanged: BTreeMap<WorkspaceRef, UnchangedSummary>,
    /// Workspaces with an invalid cache entry.
    invalidated: Vec<WorkspaceRef>,
}

/// Returns true if workspaces in sync need not appear in the output.
pub(super) fn is_applicable(common: &Common, selector: &Selector) -> bool {
    // Other formats contain every source.
    common.format == Format::Human && !common.verbose() && selector.selects_everything()
}

/// Determines which cached workspaces are unchanged.
///
/// Lists each workspace with unchanged files.
pub(super) async fn load_unchanged(
    common: &Common,
    limits: &LimitArgs,
    selector: &Selector,
) -> (CommandStart, CacheHits) {
    let mut start = CommandStart::default();
    let mut hits = CacheHits::default();
    if is_applicable(common, selector)
        && let Some((cached, unchanged)) = try_load_unchanged(common, limits, &mut start.state).await
    {
        start.cached = Some(cached);
        hits = unchanged;
    }
    (start, hits)
}

/// Opens the state as `opened`.
async fn try_load_unchanged(
    common: &Common,
    limits: &LimitArgs,
    opened: &mut Option<Store>,
) -> Option<(CachedStart, CacheHits)> {
    let settings = context::resolve(common).ok()?;
    let root = context::root(&settings);
    // Only the cache entry contains the URL of the platform.
    let state = opened.insert(Store::open_read_only(&settings.state_dir, "").ok()??);
    let ground: PlanCacheKey = serde_json::from_str(&state.plan_cache(&root).await.ok()??.ground).ok()?;
    let Ok(PlatformChoice::Remote(base_url)) = settings.platform(ground.declared.as_ref()) else {
        return None;
    };
    let state = state.for_platform(base_url.as_str());
    let PlanCacheRows { entries: workspaces, .. } = state.plan_cache(&root).await.ok()??;
    let tree = tree::read(&settings.root).ok()?;
    let read_by = tree.files.iter().find(|file| &*file.path == config::FILE_NAME).map(|file| file.digest);
    let names = ground.variables.keys().cloned();
    let now = PlanCacheKey::new(&settings, limits, read_by, ground.declared.as_ref(), names, state.key());
    if tree.git_locked || now != ground {
        return None;
    }
    let token = settings::token(&settings, &base_url, common.interactive()).ok()?;
    let reader = context::reader(&settings, base_url, token).ok()?;

    let mut before = CacheHits::default();
    let candidates = before.with_unchanged_files(workspaces, &tree);
    let settled = before.still_unchanged(candidates, &reader, &settings.secrets(), state.key()).await;
    let variable = settings.variables();
    let variables = ground.variables.into_keys().map(|name| {
        let value = variable(&name).value();
        (name, value)
    });
    let known = config::ParseCache::from_unchanged(ground.settings, variables.collect(), settled);
    Some((CachedStart { tree, cache: known, reader }, before))
}

impl CacheHits {
    fn with_unchanged_files(
        &mut self,
        workspaces: Vec<(WorkspaceRef, String)>,
        tree: &tree::TreeSnapshot,
    ) -> BTreeMap<WorkspaceRef, CacheEntry> {
        let digests: HashMap<&str, [u8; 32]> =
            tree.files.iter().map(|file| (&*file.path, file.digest)).collect();
        let mut candidates = BTreeMap::new();
        for (workspace, found) in workspaces {
            match serde_json::from_str::<CacheEntry>(&found) {
                Ok(found) if found.files.is_current(|path| digests.get(path).copied()) => {
                    candidates.insert(workspace, found);
                }
                _ => self.invalidated.push(workspace),
            }
        }
        candidates
    }

    /// Lists the candidates, and returns those with unchanged list and secrets.
    async fn still_unchanged(
        &mut self,
        mut candidates: BTreeMap<WorkspaceRef, CacheEntry>,
        reader: &ApiReader,
        secrets: &Secrets,
        key: &Arc<FingerprintKey>,
    ) -> Vec<(WorkspaceRef, WorkspaceFingerprint)> {
        let mut fingerprints: HashMap<SecretRef, Option<Fingerprint>> = HashMap::new();
        let mut is_same = |(reference, was): &(SecretRef, Fingerprint)| {
            let now = fingerprints.entry(reference.clone());
            *now.or_insert_with(|| fingerprint(reference, secrets, key)) == Some(*was)
        };
        let mut settled = Vec::new();
        for (workspace, list) in list_digests(reader, key, candidates.keys().cloned()).await {
            let Some(found) = candidates.remove(&workspace) else { continue };
            if list == Some(found.list) && found.secrets.iter().all(&mut is_same) {
                self.unchanged.insert(workspace.clone(), found.says);
                settled.push((workspace, found.files));
            } else {
                self.invalidated.push(workspace);
            }
        }
        settled
    }

    /// Returns the summaries of the workspaces that the load skipped.
    pub(super) fn unchanged_summaries(&self, place: &CommandContext) -> Vec<UnchangedSummary> {
        let settled = place.reading.desired.unchanged.iter();
        settled.filter_map(|workspace| self.unchanged.get(&workspace.unit).cloned()).collect()
    }

    /// Stores the results for the next run.
    ///
    /// No other process has written these workspaces meanwhile.
    pub(super) async fn store(
        self,
        limits: &LimitArgs,
        place: &CommandContext,
        in_sync: BTreeMap<WorkspaceRef, InSync>,
    ) {
        let found = cache_entries(place, in_sync);
        let Some(state) = &place.state else { return };
        if found.is_empty() && self.invalidated.is_empty() {
            return;
        }
        let (reading, settings) = (&place.reading, &place.settings);
        let (declared, names) = (reading.desired.platform.as_ref(), reading.variables.iter().cloned());
        let ground =
            PlanCacheKey::new(settings, limits, reading.settings_digest, declared, names, state.key());
        let Ok(ground) = serde_json::to_string(&ground) else { return };
        let root = context::root(&place.settings);
        // An error only makes the next run slower.
        let _ = state.store(&root, PlanCacheRows { ground, entries: found }, self.invalidated).await;
    }
}

/// Returns the digests of the lists; `None` for a failed request.
///
/// The lists are dropped: planned workspaces are listed again, by writers under their lock.
async fn list_digests(
    reader: &ApiReader,
    key: &Arc<FingerprintKey>,
    workspaces: impl Iterator<Item = WorkspaceRef>,
) -> Vec<(WorkspaceRef, Option<ListDigest>)> {
    let mut asking = JoinSet::new();
    for workspace in workspaces {
        let (reader, key) = (reader.clone(), Arc::clone(key));
        asking.spawn(async move {
            let list = reader.fetch_listing(&workspace).await.ok();
            (workspace, list.map(|list| list.digest(&key)))
        });
    }
    asking.join_all().await
}

/// Returns cache entries for the workspaces in sync.
fn cache_entries(
    place: &CommandContext,
    in_sync: BTreeMap<WorkspaceRef, InSync>,
) -> Vec<(WorkspaceRef, String)> {
    let entry = |(workspace, in_sync): (WorkspaceRef, InSync)| {
        let entry = CacheEntry {
            files: place.reading.workspace_fingerprint(&workspace)?,
            list: in_sync.inputs.list(),
            secrets: in_sync.inputs.secrets().to_vec(),
            says: in_sync.summary?,
        };
        Some((workspace, serde_json::to_string(&entry).ok()?))
    };
    if place.is_local() { Vec::new() } else { in_sync.into_iter().filter_map(entry).collect() }
}

impl PlanCacheKey {
    fn new(
        settings: &Settings,
        limits: &LimitArgs,
        read_by: Option<[u8; 32]>,
        declared: Option<&PlatformUrl>,
        names: impl Iterator<Item = String>,
        key: &FingerprintKey,
    ) -> Self {
        let variable = settings.variables();
        let variables = names.map(|name| {
            let value = variable(&name).value();
            (name, value.map(|value| key.fingerprint(&serde_json::Value::from(value))))
        });
        let (made_by, declared) = (inputs_digest(settings, limits), declared.cloned());
        Self { made_by, settings: read_by, declared, variables: variables.collect() }
    }
}

/// Hashes all inputs except the files.
fn inputs_digest(settings: &Settings, limits: &LimitArgs) -> String {
    // Builds with the same version may differ.
    let build = std::env::current_exe().and_then(std::fs::metadata).ok();
    let build = build.map(|build| (build.len(), build.modified().ok()));
    let all = format!("{:?}", (env!("CARGO_PKG_VERSION"), build, limits, &settings.host));
    hex::encode(Sha256::digest(all))
}
