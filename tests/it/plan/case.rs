//! One case: a project, a listing, and an inventory.
//!
//! ```text
//! NAME/now/**          the project
//! NAME/observed.json   rows of a list response, for every workspace or `{"UNIT": rows}`
//! NAME/before/**       the project when last applied: every source of it with a row is managed
//! NAME/listed.json     the rows after that; by default those of observed.json
//! NAME/options.json    everything else, see [`Options`]
//! NAME/expected.txt    the expected result
//! ```

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use wellspring::load::{FileIndex, LoadedConfig};
use wellspring::model::{
    DesiredSource, DesiredWorkspace, FingerprintKey, Inventory, LastApplied, Limit, ManagedSource,
    ObservedSource, Prune, Readback, Scope, SentConnect, SourceId, SourceName, WorkspaceId, WorkspaceRef,
};
use wellspring::plan::{
    HostLimits, Overrides, PendingWrite, Plan, PlanInput, Quarantine, RemovalBlock, SecretState,
    WithheldReason, WorkspacePlan, approve, plan, record_readback, with_location, withhold_departures,
};
use wellspring::report::{self, Problems, ReportInput, Style};
use wellspring::secrets::Secrets;

/// Root under which the project is known.
const ROOT: &str = "/srv/sources";

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    /// Values of the secrets now, and when last applied.
    secrets: BTreeMap<String, String>,
    secrets_before: BTreeMap<String, String>,
    owner: Option<String>,
    /// Root in which the managed sources were last declared, if another one.
    root_before: Option<String>,
    /// True if the fingerprints were made with a lost key.
    key_lost: bool,
    /// True if `.git/index.lock` exists.
    git_locked: bool,
    /// True if the daemon saw the files change a moment ago.
    unsettled: bool,
    pending: Vec<String>,
    held: BTreeMap<String, String>,
    mended: BTreeMap<String, usize>,
    released: Vec<String>,
    upserts: bool,
    /// Older ids of ours, by name.
    superseded: BTreeMap<String, Vec<Value>>,
    /// Recorded without an id.
    no_id: Vec<String>,
    /// Ours by their names alone.
    unproven: Vec<String>,
    /// Connected in one pass, by name.
    together: Vec<String>,
    /// Removals in the last hour.
    recent: usize,
    prune: bool,
    max_cleanup: Option<u32>,
    host_max_cleanup: Option<u32>,
    host_max_replace: Option<u32>,
    host_prune_off: bool,
    /// Also show the JSON.
    json: bool,
}

/// Returns the result of a case.
pub(super) fn outcome(case: &Path) -> String {
    let options: Options = match fs::read_to_string(case.join("options.json")) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display())),
        Err(_) => Options::default(),
    };
    let listed = rows(case, "observed.json").unwrap_or_default();
    let before = read(&case.join("before"), false);
    let after_before = rows(case, "listed.json").unwrap_or_else(|| listed.clone());
    let reading = read(&case.join("now"), options.git_locked);
    let mut memory = FileIndex::new();
    let mut inventories = BTreeMap::new();
    if let Some(before) = &before {
        memory = before.updated_index(&memory);
        for workspace in &before.desired.workspaces {
            inventories.insert(
                workspace.unit.clone(),
                inventory(&options, &workspace.open(), of(&after_before, &workspace.unit)),
            );
        }
    }
    let reading = reading.unwrap();
    let asked = reading.work_set(&memory);
    let mut out = String::new();
    let mut plans = Vec::new();
    let all = inventories.clone();
    for task in &asked.tasks {
        let inventory = inventories.remove(&task.desired.unit).unwrap_or_default();
        let unsettled = options.unsettled.then(|| RemovalBlock {
            code: WithheldReason::Unsettled,
            reason: "no longer declared, but they have only just changed".to_owned(),
        });
        let barred = task.removals_blocked.clone().or(unsettled);
        let listing = of(&listed, &task.desired.unit);
        let mut plan = planned(&options, &task.desired.open(), &inventory, listing, barred);
        let departures = task.declarations.departures(&plan, &inventory);
        withhold_departures(&mut plan, &departures, &all);
        plans.push(plan);
    }
    let recent = asked.tasks.iter().map(|task| (task.desired.unit.clone(), options.recent)).collect();
    let approved = approve(Plan { workspaces: plans, ..Plan::default() }, &host(&options), &recent);
    show(&options, approved.plan(), &mut out);
    for (workspace, file) in &asked.blocked {
        writeln!(out, "held: {workspace} because of {file}").unwrap();
        inventories.remove(workspace);
    }
    for workspace in inventories.keys() {
        writeln!(out, "nobody declares {workspace}: its sources are left alone").unwrap();
    }
    out
}

fn show(options: &Options, plan: &Plan, out: &mut String) {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let view =
        ReportInput { plan, outcomes: None, now, local: None, plan_id: "-", problems: &Problems::default() };
    out.push_str(&report::text(&view, &Style { verbose: true, width: 0, ..Style::default() }));
    if options.json {
        writeln!(out, "{}", report::json(&view)).unwrap();
    }
    for workspace in &plan.workspaces {
        for withheld in &workspace.withheld {
            let refused = if withheld.refused { "refused" } else { "not asked for" };
            writeln!(out, "{} {}: {} ({refused})", withheld.action, withheld.name, withheld.code).unwrap();
        }
        for (name, owned) in &workspace.refresh {
            let ManagedSource { key, superseded, protect, declared_in, line, .. } = &**owned;
            let root = declared_in.as_deref().unwrap_or("-");
            writeln!(
                out,
                "books {name}: {key} {superseded:?} protect={protect} {root}:{}",
                line.unwrap_or_default()
            )
            .unwrap();
        }
    }
}

fn planned(
    options: &Options,
    desired: &Arc<DesiredWorkspace>,
    inventory: &Inventory,
    listing: &[ObservedSource],
    removals_barred: Option<RemovalBlock>,
) -> WorkspacePlan {
    let overrides = Overrides { prune: options.prune, max_cleanup: options.max_cleanup.map(Limit::Count) };
    let desired = overrides.apply_to(desired, &host(options));
    let named = |text: &String| SourceName::parse(text).unwrap();
    let quarantine = Quarantine {
        blocked: options.held.iter().map(|(name, why)| (named(name), why.clone())).collect(),
        corrected: options.mended.iter().map(|(name, times)| (named(name), *times)).collect(),
        released: options.released.iter().map(named).collect(),
    };
    let secrets = desired
        .sources
        .iter()
        .filter_map(|source| Some((source.name.clone(), secret_state(source, &options.secrets, &key(1))?)))
        .collect();
    plan(&PlanInput {
        desired: &desired,
        listing,
        inventory,
        pending: &options.pending.iter().map(|name| (named(name), PendingWrite::Settling)).collect(),
        secrets: &secrets,
        key: &key(1),
        owner: options.owner.as_deref(),
        root: ROOT,
        removals_blocked: removals_barred,
        quarantine: &quarantine,
        upserts: options.upserts,
    })
}

fn host(options: &Options) -> HostLimits {
    HostLimits {
        max_cleanup: options.host_max_cleanup.map(Limit::Count),
        max_replace: options.host_max_replace.map(Limit::Count),
        prune: options.host_prune_off.then_some(Prune::Off),
    }
}

fn key(byte: u8) -> FingerprintKey {
    FingerprintKey::new([byte; 32])
}

fn secret_state(
    source: &DesiredSource,
    set: &BTreeMap<String, String>,
    key: &FingerprintKey,
) -> Option<SecretState> {
    let set = set.clone();
    let secrets = Secrets::of_variables(Arc::new(move |name| set.get(name).cloned()));
    let has_secret =
        source.definition.connection_config.values().any(wellspring::model::ConfigValue::has_secret);
    has_secret.then(|| match secrets.resolve(&source.definition, &[]) {
        Ok(resolution) => SecretState::Resolved(resolution.fingerprints(key)),
        Err(missing) => SecretState::Missing(missing.to_string()),
    })
}

/// Returns the inventory after applying the project and listing these rows.
fn inventory(options: &Options, desired: &DesiredWorkspace, rows: &[ObservedSource]) -> Inventory {
    let key = key(if options.key_lost { 2 } else { 1 });
    let mut inventory = Inventory::default();
    for source in &desired.sources {
        let Some(row) = rows.iter().find(|row| row.name == source.name) else { continue };
        let secrets = match secret_state(source, &options.secrets_before, &key) {
            Some(SecretState::Resolved(secrets)) => secrets,
            _ => BTreeMap::new(),
        };
        let older = options.superseded.get(source.name.as_str()).into_iter().flatten();
        let owned = ManagedSource {
            key: source.key.clone(),
            id: row.id.clone().filter(|_| !options.no_id.iter().any(|name| name == source.name.as_str())),
            superseded: older.map(|id| SourceId::from_json(id).unwrap()).collect(),
            sent: match options.together.iter().any(|name| name == source.name.as_str()) {
                true => {
                    let stamp = key.fingerprint(source.name.as_str());
                    vec![SentConnect { stamp, at: Timestamp::UNIX_EPOCH, id: None, applied: None }]
                }
                false => Vec::new(),
            },
            former: Vec::new(),
            listed_as: None,
            connected_at: None,
            unidentified: false,
            taken_from: None,
            unproven_since: options
                .unproven
                .iter()
                .any(|name| name == source.name.as_str())
                .then_some(Timestamp::UNIX_EPOCH),
            applied: record_readback(
                LastApplied {
                    definition: Arc::clone(&source.definition).into(),
                    secrets,
                    echo: Default::default(),
                    stamp: None,
                    key_id: key.id().to_owned(),
                    sync: source.sync.clone(),
                    sync_since: None,
                },
                row,
                &key,
            ),
            protect: source.protect,
            declared_in: None,
            file: None,
            line: None,
        };
        let owned = with_location(Arc::new(owned), source, options.root_before.as_deref().unwrap_or(ROOT));
        inventory.managed.insert(source.name.clone(), owned);
    }
    inventory
}

/// Loads a project; `None` if it does not exist.
fn read(tree: &Path, git_locked: bool) -> Option<LoadedConfig> {
    if !tree.exists() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    copy(tree, folder.path());
    if git_locked {
        fs::create_dir(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join(".git/index.lock"), "").unwrap();
    }
    Some(LoadedConfig::load(folder.path(), &|_| wellspring::config::Lookup::Unset).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

type Rows = BTreeMap<Option<WorkspaceRef>, Vec<ObservedSource>>;

fn of<'a>(rows: &'a Rows, workspace: &WorkspaceRef) -> &'a [ObservedSource] {
    let rows = rows.get(&Some(workspace.clone())).or_else(|| rows.get(&None));
    rows.map(Vec::as_slice).unwrap_or_default()
}

fn rows(case: &Path, file: &str) -> Option<Rows> {
    let text = fs::read_to_string(case.join(file)).ok()?;
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    Some(match value {
        Value::Object(workspaces) => workspaces
            .into_iter()
            .map(|(workspace, rows)| (Some(workspace_of(&workspace)), list(&rows)))
            .collect(),
        rows => BTreeMap::from([(None, list(&rows))]),
    })
}

fn workspace_of(text: &str) -> WorkspaceRef {
    let (workspace, scope) = text.split_once('/').unwrap_or((text, "user"));
    WorkspaceRef { workspace: WorkspaceId::parse(workspace).unwrap(), scope: Scope::parse(scope).unwrap() }
}

fn list(rows: &Value) -> Vec<ObservedSource> {
    rows.as_array().unwrap().iter().map(row).collect()
}

fn row(row: &Value) -> ObservedSource {
    let mut metadata = row.get("metadata").filter(|value| value.is_object()).cloned();
    let stamp = metadata.as_mut().and_then(|metadata| metadata.as_object_mut()?.remove("wellspring"));
    let stamped = |key: &str| Some(stamp.as_ref()?.get(key)?.as_str()?.to_owned());
    let config = row.get("connection_config").filter(|value| value.is_object()).cloned();
    let (writer, owner, fingerprint) = (stamped("writer"), stamped("owner"), stamped("fingerprint"));
    let mut echo = Readback::of_values(config, metadata);
    (echo.writer, echo.owner, echo.fingerprint) = (writer, owner, fingerprint);
    ObservedSource {
        id: row.get("id").and_then(SourceId::from_json),
        name: SourceName::parse(row["name"].as_str().unwrap()).unwrap(),
        kind: row.get("type").and_then(Value::as_str).map(str::to_owned),
        echo,
    }
}
