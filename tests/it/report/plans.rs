//! Plans for the tests of output.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wellspring::model::{
    ConfigValue, Definition, DesiredSource, DesiredWorkspace, FieldPath, LastApplied, ManagedSource, Missed,
    Overlap, Policy, Schedule, Scope, Segment, SourceId, SourceKey, SourceLocation, SourceName, Suspend,
    SyncSpec, Template, TestSpec, WorkspaceId, WorkspaceRef,
};
use wellspring::plan::{
    Action, ActionKind, ActionResult, ApplyOutcome, ChangeKind, ErrorKind, FieldChange, Plan, Removal, Step,
    Suspended, TestStatus, Unchecked, Unmanaged, Withheld, WithheldReason, WorkspaceError, WorkspacePlan,
};
use wellspring::report::{Orphan, Problems};

const NOW: &str = "2026-11-23T21:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn key(text: &str) -> SourceKey {
    SourceKey::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> SourceName {
    SourceName::parse(text).unwrap()
}

fn id(text: &str) -> SourceId {
    SourceId::from_json(&json!(text)).unwrap()
}

fn at(file: &str, line: u32) -> SourceLocation {
    SourceLocation { file: file.into(), line }
}

fn path(text: &str) -> FieldPath {
    let mut parts = text.split('.');
    let root = FieldPath::root(parts.next().unwrap());
    parts.fold(root, |path, key| path.key(key))
}

pub(crate) fn every(seconds: u64) -> SyncSpec {
    SyncSpec {
        when: Schedule::Every(Duration::from_secs(seconds)),
        jitter: Duration::ZERO,
        stale_after: None,
        missed: Missed::Once,
        timeout: None,
        on_connect: true,
        on_change: false,
        overlap: Overlap::Forbid,
    }
}

fn cron(expression: &str, timezone: &str) -> SyncSpec {
    SyncSpec { when: Schedule::Cron { expression: expression.into(), timezone: timezone.into() }, ..every(1) }
}

fn definition() -> Definition {
    let password = Template(vec![Segment::Env("DB_PASSWORD".into())]);
    let config = [
        ("host", ConfigValue::String("db2.example.com".into())),
        ("port", ConfigValue::Integer(5432)),
        ("password", ConfigValue::Template(password)),
    ];
    Definition {
        kind: "postgresql".into(),
        connection_config: config.into(),
        metadata: [("team", json!("data"))].into(),
    }
}

pub(crate) fn source(text: &str, line: u32) -> DesiredSource {
    DesiredSource {
        key: key(text),
        name: name(text),
        definition: Arc::new(definition()),
        protect: false,
        adopt: None,
        sync: None,
        sync_options: serde_json::Map::new(),
        suspend: None,
        test: TestSpec::default(),
        at: at("workspaces/crm.toml", line),
    }
}

/// Creates a workspace that declares `sources` and has an empty plan.
pub(crate) fn workspace(label: &str, id: &str, scope: &str, sources: Vec<DesiredSource>) -> WorkspacePlan {
    let desired = DesiredWorkspace {
        unit: WorkspaceRef {
            workspace: WorkspaceId::parse(id).unwrap(),
            scope: Scope::parse(scope).unwrap(),
        },
        alias: (label != id).then(|| label.to_owned()),
        policy: Policy::default(),
        sources,
        moved: Vec::new(),
        removed: Vec::new(),
        files: vec!["workspaces/crm.toml".into()],
    };
    let error = WorkspaceError::new(ErrorKind::List, String::new());
    WorkspacePlan { error: None, ..WorkspacePlan::failed(Arc::new(desired), error) }
}

pub(crate) fn plan_of(workspaces: Vec<WorkspacePlan>) -> Plan {
    Plan { workspaces, ..Plan::default() }
}

pub(crate) fn action(step: Step, source: &str, reason: &str, line: u32) -> Action {
    Action {
        step,
        source: key(source),
        name: name(source),
        reason: reason.into(),
        location: Some(at("workspaces/crm.toml", line)),
        changes: Vec::new(),
        corrects_drift: false,
        missing_secrets: None,
        test_status: None,
    }
}

pub(crate) fn change(field: &str, before: Value, after: Value) -> FieldChange {
    let known = |value: Value| (!value.is_null()).then_some(value);
    FieldChange {
        path: path(field),
        kind: ChangeKind::Changed,
        before: known(before),
        after: known(after),
        sensitive: false,
        reference: None,
        drift: false,
    }
}

fn drifted(change: FieldChange) -> FieldChange {
    FieldChange { drift: true, ..change }
}

fn secret(field: &str, reference: Option<&str>) -> FieldChange {
    FieldChange {
        sensitive: true,
        reference: reference.map(str::to_owned),
        ..change(field, Value::Null, Value::Null)
    }
}

fn withheld(source: &str, action: ActionKind, code: WithheldReason, reason: &str, allow: &str) -> Withheld {
    Withheld {
        source: key(source),
        name: name(source),
        action,
        code,
        reason: reason.into(),
        location: Some(at("workspaces/crm.toml", 40)),
        allow: (!allow.is_empty()).then(|| allow.into()),
        refused: matches!(
            code,
            WithheldReason::Protected | WithheldReason::MaxCleanup | WithheldReason::Adopt
        ),
        changes: Vec::new(),
    }
}

fn unmanaged(text: &str) -> Unmanaged {
    Unmanaged { name: name(text), kind: Some("csv".into()), id: Some(id("source_77")) }
}

fn owned() -> Arc<ManagedSource> {
    let applied = LastApplied {
        definition: Arc::new(definition()).into(),
        secrets: BTreeMap::new(),
        echo: Default::default(),
        stamp: None,
        key_id: String::new(),
        sync: None,
        sync_since: None,
    };
    Arc::new(ManagedSource {
        key: key("tickets"),
        id: Some(id("source_9")),
        superseded: Vec::new(),
        sent: Vec::new(),
        former: Vec::new(),
        listed_as: None,
        connected_at: None,
        unidentified: false,
        taken_from: None,
        unproven_since: None,
        applied,
        protect: false,
        declared_in: None,
        file: None,
        line: None,
    })
}

fn replace(index: usize, old: &str) -> Step {
    Step::Replace { index, old: id(old) }
}

fn cleanup(old: &str, removal: Removal) -> Step {
    Step::Cleanup { id: id(old), removal }
}

pub(crate) fn typical() -> Plan {
    let mut crm = crm();
    crm.unchanged = ["leads", "a", "b"].map(name).into();
    let mut sales = sales();
    sales.actions = vec![action(Step::Connect { index: 0 }, "sales_api", "new", 21), sales.actions.remove(3)];
    sales.unchecked.clear();
    sales.unchanged.push(name("returns"));
    let mut risk = risk();
    risk.actions.truncate(1);
    risk.withheld.truncate(1);
    risk.unmanaged = risk.unmanaged.iter().take(1).collect();
    let mut support = support();
    support.actions.clear();
    support.unchecked.clear();
    support.suspended[0].drift.clear();
    plan_of(vec![crm, sales, risk, support])
}

/// Problems that come first, on a platform known to update in place.
pub(crate) fn problems() -> (Plan, Problems) {
    let mut crm = crm();
    crm.in_place = true;
    let verdict = TestStatus { passed: false, message: "no route to host".into() };
    crm.actions[0].test_status = Some(verdict);
    let metadata = "only metadata differs; it will be sent with the next change";
    let mut sales = sales();
    sales.actions.truncate(0);
    sales.unchecked.clear();
    sales.withheld = vec![Withheld {
        changes: vec![
            change("metadata.team", json!("a"), json!("b")),
            FieldChange {
                kind: ChangeKind::Added,
                ..drifted(change("metadata.wellspring", json!(null), json!(null)))
            },
        ],
        ..withheld(
            "stock",
            ActionKind::Replace,
            WithheldReason::Metadata,
            metadata,
            "write `metadata = \"replace\"` under [policy]",
        )
    }];
    let orphan = |workspace: &str, scope: &str, sources| Orphan {
        workspace: WorkspaceRef {
            workspace: WorkspaceId::parse(workspace).unwrap(),
            scope: Scope::parse(scope).unwrap(),
        },
        sources,
    };
    let problems = Problems {
        rejected: vec!["workspaces/a.toml".into(), "workspaces/b|`c`.toml".into()],
        orphaned: vec![orphan("ws_old", "user", 1), orphan("ws_older", "organization", 1_200)],
        unknown_ownership: true,
    };
    (plan_of(vec![crm, sales]), problems)
}

/// Every action, every withheld reason, drift, errors, suspension.
pub(crate) fn everything() -> Plan {
    plan_of(vec![crm(), sales(), risk(), support(), legacy()])
}

fn crm() -> WorkspacePlan {
    let mut crm = workspace("crm", "ws_1c04de", "user", vec![source("customer_db", 6), source("leads", 19)]);
    let mut replaced = action(replace(0, "source_123"), "customer_db", "connection_config changed", 6);
    replaced.changes = vec![
        change("connection_config.host", json!("db1.example.com"), json!("db2.example.com")),
        secret("connection_config.password", Some("${CUSTOMER_DB_PASSWORD}")),
    ];
    crm.actions = vec![replaced];
    crm.unchanged = vec![name("leads")];
    crm.unreadable =
        vec!["customer_db: connection_config.password".into(), "leads: connection_config.password".into()];
    crm
}

fn sales() -> WorkspacePlan {
    let mut api = source("sales_api", 21);
    api.sync = Some(every(6 * 3600));
    let mut orders = source("orders_db", 30);
    orders.sync = Some(cron("15 2 * * MON-SAT", "Europe/Rome"));
    let mut sales = workspace(
        "sales",
        "ws_7f3a91",
        "user",
        vec![api, orders, source("returns", 44), source("stock", 60)],
    );
    let vanished = Action {
        corrects_drift: true,
        ..action(Step::Connect { index: 2 }, "returns", "gone from the platform", 44)
    };
    let mut drift = action(replace(3, "source_7"), "stock", "connection_config changed on the platform", 60);
    drift.name = name("Stock levels (EU)");
    drift.corrects_drift = true;
    drift.changes = vec![
        drifted(change("connection_config.port", json!(5433), json!(5432))),
        drifted(change("type", json!("mysql"), json!("postgresql"))),
    ];
    let lacking = Action {
        missing_secrets: Some("SALES_TOKEN is not set here".into()),
        ..action(Step::Connect { index: 0 }, "sales_api", "new", 21)
    };
    let schedule = Step::Schedule { index: 1, before: Some(every(6 * 3600)) };
    sales.actions = vec![vanished, lacking, drift, action(schedule, "orders_db", "schedule changed", 30)];
    sales.unchecked = vec![Unchecked {
        source: key("sales_api"),
        name: name("sales_api"),
        reason: "SALES_TOKEN is not set here".into(),
        location: at("workspaces/sales.toml", 21),
    }];
    sales.unchanged = vec![name("orders_db")];
    sales
}

fn risk() -> WorkspacePlan {
    let mut risk = workspace("risk", "ws_02bd44", "organization", vec![source("tickets", 3)]);
    risk.actions = vec![
        action(cleanup("source_31", Removal::Removed), "old_ledger", "[removed] RISK-88", 50),
        action(cleanup("source_4", Removal::Superseded), "tickets", "superseded by a newer one of ours", 3),
        action(Step::Forget, "scratch", "no longer declared, and not on the platform any more", 9),
    ];
    let protected = "declare it again without `protect`, then remove it: see ledger";
    risk.withheld = vec![
        withheld(
            "ledger",
            ActionKind::Cleanup,
            WithheldReason::Protected,
            "no longer declared, but protected",
            protected,
        ),
        withheld(
            "limits",
            ActionKind::Replace,
            WithheldReason::Settling,
            "the response to the last write was lost; the platform is given time to settle",
            "",
        ),
        withheld(
            "quotes_eu",
            ActionKind::Cleanup,
            WithheldReason::MaxCleanup,
            "4 to clean up, but at most 2 of 8 may go in an hour",
            "run `wellspring apply --max-cleanup 4`, or raise `max_cleanup` under [policy]",
        ),
        withheld(
            "quotes_us",
            ActionKind::Cleanup,
            WithheldReason::MaxCleanup,
            "4 to clean up, but at most 2 of 8 may go in an hour",
            "run `wellspring apply --max-cleanup 4`, or raise `max_cleanup` under [policy]",
        ),
    ];
    risk.unmanaged = [unmanaged("analyst_upload"), unmanaged("Q3 plan.csv")].into_iter().collect();
    risk
}

fn support() -> WorkspacePlan {
    let mut paused = source("chat_export", 12);
    paused.suspend =
        Some(Suspend { reason: "OPS-12, vendor migrates".into(), until: "2026-12-01".parse().ok() });
    let mut support = workspace(
        "support",
        "ws_9a0c11",
        "user",
        vec![source("tickets", 3), paused, source("faq", 30), source("mail", 40)],
    );
    let mut mixed = action(
        replace(2, "source_40"),
        "faq",
        "connection_config changed, metadata changed on the platform",
        30,
    );
    mixed.corrects_drift = true;
    mixed.changes = vec![
        change("connection_config.path", json!(null), json!("faq/")),
        change("connection_config.type", json!("old"), json!(null)),
        drifted(change("metadata.owner", json!("someone"), json!("support"))),
        secret("connection_config.api_key", None),
    ];
    support.actions = vec![
        action(Step::Adopt { index: 0, entry: owned() }, "tickets", "in sync, but not managed so far", 3),
        mixed,
    ];
    support.unchecked = vec![Unchecked {
        source: key("mail"),
        name: name("mail"),
        reason: "MAIL_PASSWORD is not set here".into(),
        location: at("workspaces/support.toml", 40),
    }];
    support.unchanged = vec![name("mail")];
    support.suspended = vec![Suspended {
        name: name("chat_export"),
        reason: "OPS-12, vendor migrates".into(),
        drift: vec![drifted(change("connection_config.host", json!("a"), json!("b")))],
    }];
    support
}

fn legacy() -> WorkspacePlan {
    let legacy = workspace("ws_legacy", "ws_legacy", "user", Vec::new());
    let message = "could not list the sources of ws_legacy: 403 forbidden. The token has no access to this workspace; ask its owner for it, or take the workspace out of the files";
    WorkspacePlan::failed(legacy.desired, WorkspaceError::new(ErrorKind::Auth, message.into()))
}

/// A plan with every possible result.
pub(crate) fn applied() -> (Plan, Vec<ApplyOutcome>) {
    let plan = everything();
    let refused =
        ActionResult::Failed("the platform refused the definition: 422, port is out of range".into());
    let skipped = ActionResult::Skipped("SALES_TOKEN is not set here".into());
    let stopped = WorkspaceError::new(
        ErrorKind::List,
        "the listing after the write did not come: timed out after 30s".into(),
    );
    let outcomes = vec![
        ApplyOutcome { results: vec![refused], ..ApplyOutcome::default() },
        ApplyOutcome {
            results: vec![ActionResult::Done, skipped, ActionResult::Done, ActionResult::Done],
            ..ApplyOutcome::default()
        },
        ApplyOutcome { results: vec![ActionResult::Done; 3], ..ApplyOutcome::default() },
        ApplyOutcome {
            results: vec![ActionResult::Done, ActionResult::Open],
            error: Some(stopped),
            needs_second_pass: false,
            waits_for_sync: false,
        },
        ApplyOutcome::default(),
    ];
    (plan, outcomes)
}

/// An empty plan.
pub(crate) fn quiet() -> Plan {
    let mut crm = workspace("crm", "ws_1c04de", "user", vec![source("customer_db", 6), source("leads", 19)]);
    crm.unchanged = vec![name("customer_db"), name("leads")];
    crm.unreadable = vec!["customer_db: connection_config.password".into()];
    let mut paused = source("old", 3);
    paused.suspend = Some(Suspend { reason: "OPS-1".into(), until: None });
    let mut ops = workspace("ops", "ws_2", "user", vec![paused]);
    ops.suspended = vec![Suspended { name: name("old"), reason: "OPS-1".into(), drift: Vec::new() }];
    plan_of(vec![crm, ops])
}

/// Names and values that try to inject control codes or markup.
pub(crate) fn hostile() -> Plan {
    let mut plan = in_workspace(
        "\u{1b}[2J\u{202e}evil",
        "`|<img src=x onerror=alert(1)>@team\n::error::x\n```\n# title",
    );
    let mut names = workspace("<b>&@octocat", "ws_`", "a|b", Vec::new());
    names.unmanaged = ["$(rm -rf ~)", "it's", "-rf", "[click](https://example.com)", "東京の注文", "a\nb"]
        .map(unmanaged)
        .into_iter()
        .collect();
    plan.workspaces.push(names);
    plan
}

/// Puts `hostile` and `other` in every place that contains external text.
pub(crate) fn in_workspace(hostile: &str, other: &str) -> Plan {
    let text = if hostile.is_empty() { "x" } else { hostile };
    let id = if matches!(text, "." | "..") { "x" } else { text };
    let declared = DesiredSource { sync: Some(cron(other, hostile)), ..source(text, 1) };
    let mut workspace = workspace(other, id, text, vec![declared]);
    let mut replaced = action(replace(0, text), text, other, 1);
    replaced.location = Some(at(text, 1));
    replaced.name = name("the name");
    replaced.changes = vec![
        change("connection_config.plain", json!(hostile), json!(other)),
        change("connection_config.list", json!([hostile]), json!([other, hostile])),
        drifted(change("metadata.note", json!(null), json!(other))),
        secret("connection_config.password", Some(other)),
        FieldChange {
            path: FieldPath::root("metadata").key(text),
            ..change("type", json!(other), json!(null))
        },
    ];
    let lacking =
        Action { missing_secrets: Some(other.into()), ..action(Step::Connect { index: 0 }, text, "new", 1) };
    let schedule = Step::Schedule { index: 0, before: Some(cron(hostile, other)) };
    workspace.actions = vec![lacking, replaced, action(schedule, text, other, 1)];
    workspace.withheld = vec![withheld(text, ActionKind::Cleanup, WithheldReason::Protected, other, other)];
    workspace.unmanaged = [unmanaged(text)].into_iter().collect();
    workspace.unreadable = vec![format!("{text}: {other}")];
    let failed = WorkspacePlan::failed(
        workspace.desired.clone(),
        WorkspaceError::new(ErrorKind::List, format!("{other}{hostile}")),
    );
    plan_of(vec![workspace, failed])
}

/// SQL, JSON in a string, long values, missing last newlines, long comparisons.
pub(crate) fn multi_line() -> Plan {
    let mut crm = workspace("crm", "ws_1c04de", "user", vec![source("customer_db", 6)]);
    let sql = "select id,\n       total\n  from orders\n where day > '2026-01-01'\n   and region = 'EU'\n order by id\n";
    let numbers = |step: usize| (0..200).map(|n| format!("line {}\n", n * step)).collect::<String>();
    let long = |middle: &str| json!(format!("{}{middle}{}", "a".repeat(400), "z".repeat(400)));
    let mut replaced = action(replace(0, "source_123"), "customer_db", "connection_config changed", 6);
    replaced.changes = vec![
        change(
            "connection_config.query",
            json!(sql),
            json!(sql.replace("orders\n", "orders o\n").replace(" order by id\n", " order by o.id")),
        ),
        change("connection_config.spec", json!("{\n  \"a\": 1\n}"), json!("{\n\t\"a\": 2\n}")),
        change("connection_config.crlf", json!("a\r\nb\r\n"), json!("a\nb\n")),
        change("connection_config.tables", json!(["a", "b"]), json!(["a", "b", "c"])),
        change("connection_config.many", json!(numbers(2)), json!(numbers(3))),
        change("connection_config.endless", json!("x\n".repeat(5_000)), json!("y\n".repeat(5_001))),
        change("connection_config.long", long("old"), long("new")),
        change("connection_config.added", json!(null), json!("one\ntwo\n")),
        change(
            "connection_config.url",
            json!("https://api.example.com/v1/customers/export?format=json&page=1"),
            json!("https://api.example.com/v2/customers/export?format=json&page=1"),
        ),
    ];
    crm.actions = vec![replaced];
    plan_of(vec![crm])
}

/// Added, removed and changed schedules.
pub(crate) fn schedules() -> Plan {
    let declared = |text: &str, sync: Option<SyncSpec>| DesiredSource { sync, ..source(text, 1) };
    let stale = SyncSpec { stale_after: Some(Duration::from_secs(7200)), on_change: true, ..every(3600) };
    let sources = vec![
        declared("added", Some(cron("0 4 1 1 *", "UTC"))),
        declared("changed", Some(cron("30 9 * * MON", "America/New_York"))),
        declared("dropped", None),
        declared("same_rhythm", Some(stale)),
    ];
    let before = [None, Some(every(900)), Some(every(900)), Some(every(3600))];
    let mut crm = workspace("crm", "ws_1c04de", "user", sources.clone());
    crm.actions = sources
        .iter()
        .zip(before)
        .enumerate()
        .map(|(index, (source, before))| {
            action(Step::Schedule { index, before }, source.key.as_str(), "schedule changed", 1)
        })
        .collect();
    plan_of(vec![crm])
}

/// Zero, one and many of each.
pub(crate) fn counted() -> Vec<Plan> {
    let mut plans = vec![plan_of(Vec::new())];
    for n in [1, 2, 1_200] {
        let mut workspace = workspace("crm", "ws_1", "user", Vec::new());
        workspace.unchanged = (0..n).map(|n| name(&format!("s{n}"))).collect();
        plans.push(plan_of(vec![workspace.clone()]));
        workspace.unmanaged = (0..n).map(|n| unmanaged(&format!("u{n}"))).collect();
        plans.push(plan_of(vec![workspace.clone()]));
        workspace.unchanged.clear();
        workspace.withheld = (0..n)
            .map(|n| withheld(&format!("w{n}"), ActionKind::Cleanup, WithheldReason::PruneOff, "r", ""))
            .collect();
        plans.push(plan_of(vec![workspace.clone()]));
        workspace.actions = (0..n)
            .flat_map(|n| {
                let source = format!("a{n}");
                let schedule = Step::Schedule { index: 0, before: None };
                [schedule, cleanup("1", Removal::Undeclared)].map(|step| action(step, &source, "r", 1))
            })
            .collect();
        plans.push(plan_of(vec![workspace]));
        plans.push(plan_of(vec![legacy(); n.min(2)]));
    }
    plans
}

/// Long keys, wide characters, and too many unmanaged sources to list.
pub(crate) fn wide() -> Plan {
    let mut crm = workspace("crm", "ws_1c04de", "user", Vec::new());
    let keys = ["a_key_that_is_far_longer_than_any_column_ought_to_be", "short", "東京の注文", "città"];
    crm.actions = keys
        .iter()
        .enumerate()
        .map(|(index, text)| action(Step::Connect { index }, text, "new", 6))
        .collect();
    crm.unmanaged = (0..1_012).map(|n| unmanaged(&format!("upload_{n}"))).collect();
    plan_of(vec![crm])
}

/// Many workspaces with many sources to connect.
pub(crate) fn huge(workspaces: usize, sources: usize) -> Plan {
    let workspace = |n: usize| {
        let label = format!("workspace-{n}");
        let mut workspace = workspace(&label, &format!("ws_{n}"), "user", Vec::new());
        workspace.actions = (0..sources)
            .map(|index| action(Step::Connect { index }, &format!("source-{index}"), "new", 1))
            .collect();
        workspace
    };
    plan_of((0..workspaces).map(workspace).collect())
}

/// A change marked as sensitive that contains its values nevertheless.
pub(crate) fn sensitive(value: &str, drift: bool) -> Plan {
    let mut crm = workspace("crm", "ws_1c04de", "user", vec![source("customer_db", 6)]);
    let marked = FieldChange {
        before: Some(json!(value)),
        after: Some(json!([value])),
        drift,
        ..secret("connection_config.password", None)
    };
    let mut replaced = action(replace(0, "source_123"), "customer_db", "connection_config changed", 6);
    replaced.changes = vec![marked.clone()];
    crm.actions = vec![replaced];
    crm.suspended = vec![Suspended { name: name("other"), reason: "OPS-1".into(), drift: vec![marked] }];
    plan_of(vec![crm])
}

/// Every plan in this module.
pub(crate) fn all() -> Vec<Plan> {
    let mut plans = vec![typical(), everything(), quiet(), hostile(), multi_line(), schedules(), huge(3, 2)];
    plans.extend(counted());
    plans
}
