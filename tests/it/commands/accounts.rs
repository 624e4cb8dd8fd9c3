//! The program against the account dialect of `serve`: a platform without workspaces, names and markers.

use super::super::platform::harness::{Served, TOKEN};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;
use wellspring_testkit::{Background, Finished, Tree, Wellspring, json as parsed};

/// Settings that prune without limit and without settle time.
const SETTINGS: &str = "\
[platform]
settle = \"0s\"

[workspaces]
crm = { account = \"acme/ana\" }

[policy]
prune = \"owned\"
max_cleanup = \"100%\"
";

const PASSWORD: &str = "canary-own-1";
const STRANGERS: &str = "canary-stranger-1";

/// A project, `serve`, and an API that has the tables `/orders` and `/items`.
struct Scene {
    tree: Tree,
    state: Tree,
    served: Served,
    api: Background,
    _place: TempDir,
    runtime: tokio::runtime::Runtime,
}

/// Serves records, except to `reader:wrong`.
async fn records(request: Request) -> Response {
    let login = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if login.is_none_or(|login| login.ends_with("cmVhZGVyOndyb25n")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    axum::Json(json!([{ "id": 1, "name": "one" }])).into_response()
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str| -> PathBuf {
            let folder = place.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let served = Served::start(&folder("data"), &folder("state"), options, &[]);
        let router = Router::new().fallback(records);
        let api = Background::serve(async move |listener| axum::serve(listener, router).await.unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tree = Tree::with(&[("wellspring.toml", SETTINGS)]);
        Self { tree, state: Tree::new(), served, api, _place: place, runtime }
    }

    fn host(&self) -> String {
        format!("http://{}", self.api.address)
    }

    /// Returns a source for each key and table.
    fn declare(&self, sources: &[(&str, &str)], more: &str) {
        let mut text = "[workspace]\nuse = \"crm\"\n".to_owned();
        if sources.is_empty() {
            text = format!("sources = {{}}\n{text}");
        }
        for (key, table) in sources {
            text.push_str(&format!(
                "\n[sources.{key}]\ntype = \"api\"\n\n[sources.{key}.connection_config]\nhost = \"{}\"\n\
                 tables = [\"{table}\"]\nusername = \"reader\"\npassword = \"${{ORDERS_PASSWORD}}\"\n{more}",
                self.host()
            ));
        }
        self.tree.write("crm.toml", &text);
    }

    fn command(&self, args: &[&str]) -> Wellspring {
        Wellspring::new()
            .args(args)
            .arg("-C")
            .arg(self.tree.path())
            .arg("--state-dir")
            .arg(self.state.path())
            .arg("--url")
            .arg(&self.served.base)
            .env("PMTX_TOKEN", TOKEN)
            .env("ORDERS_PASSWORD", PASSWORD)
    }

    /// Runs to the end; no password may be in its output.
    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> Finished {
        let run = self.command(args).run();
        assert_eq!(run.code, Some(code), "{args:?}: {run:#?}");
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(!all.contains("canary"), "{args:?}: {all}");
        run
    }

    /// Returns the actions of a plan, each with its source.
    #[track_caller]
    fn actions(&self) -> Vec<(String, String)> {
        let plan = self.command(&["plan", "--format", "json"]).run();
        let plan = parsed(&plan.stdout);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let actions = plan["workspaces"][0]["actions"].as_array().unwrap_or_else(|| panic!("{plan}"));
        actions.iter().map(|action| (text(&action["action"]), text(&action["source"]))).collect()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/jarvispy/acme/ana/api/v1/data/{path}", self.served.base);
        self.runtime.block_on(async {
            let call = reqwest::Client::new().post(url).bearer_auth(TOKEN).json(body);
            call.send().await.unwrap().json().await.unwrap()
        })
    }

    fn rows(&self) -> Vec<Value> {
        let url = format!("{}/jarvispy/acme/ana/api/v1/data/list", self.served.base);
        let listed: Value = self.runtime.block_on(async {
            reqwest::Client::new().get(url).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap()
        });
        listed["data"].as_array().unwrap().clone()
    }

    /// Returns table and bind of each row, sorted.
    fn binds(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut binds: Vec<_> =
            self.rows().iter().map(|row| (text(&row["table_name"]), text(&row["bind_annotation"]))).collect();
        binds.sort();
        binds
    }

    /// Connects a table as another client would.
    fn stranger(&self, table: &str, password: &str) {
        let database = json!({
            "databaseType": "api", "host": self.host(), "port": 0, "tables": [table],
            "username": "reader", "password": password,
        });
        let answer = self.post("connect", &json!({ "database": database }));
        assert_eq!(answer["data"]["connectionStatus"], true, "{answer}");
    }
}

fn pairs(actions: &[(&str, &str)]) -> Vec<(String, String)> {
    actions.iter().map(|(action, source)| ((*action).to_owned(), (*source).to_owned())).collect()
}

#[test]
fn a_plan_reads_an_account_and_shows_nothing_of_strangers() {
    let scene = Scene::new(&[]);
    scene.stranger("/theirs", STRANGERS);
    scene.stranger("/items", STRANGERS);
    scene.declare(&[("orders", "/orders"), ("items", "/items")], "");
    let before = scene.rows();
    assert_eq!(scene.actions(), pairs(&[("connect", "orders")]), "items is the row of a stranger");
    let plan = scene.run(&["plan", "-v"], 4);
    assert!(plan.stdout.contains("/theirs"), "{plan:#?}");
    assert_eq!(scene.rows(), before);
}

#[test]
fn an_account_is_declared_in_its_own_form() {
    let scene = Scene::new(&[]);
    for (text, message) in [
        (
            "type = \"database\"\n[sources.a.connection_config]\ntables = [\"t\"]",
            "is the form for workspaces",
        ),
        ("type = \"api\"\nname = \"b\"\n[sources.a.connection_config]\ntables = [\"t\"]", "no `name`"),
        ("type = \"api\"\n[sources.a.connection_config]\ntables = []", "exactly one table"),
        ("type = \"api\"\n[sources.a.connection_config]\ntables = [\"t\", \"u\"]", "exactly one table"),
        ("type = \"api\"\n[sources.a.connection_config]\nhost = \"h\"", "needs its table"),
        (
            "type = \"api\"\n[sources.a.connection_config]\ntables = [\"t\"]\nusrname = \"u\"",
            "did you mean `username`",
        ),
        (
            "type = \"api\"\n[sources.a.connection_config]\ntables = [\"t\"]\nhost = \"${HOST}\"",
            "part of the address",
        ),
        (
            "type = \"api\"\nsync = { every = \"1h\" }\n[sources.a.connection_config]\ntables = [\"t\"]",
            "copies no data",
        ),
        (
            "type = \"api\"\n[sources.a.connection_config]\ntables = [\"t\"]\n[sources.b]\ntype = \"API\"\n\
             [sources.b.connection_config]\ntables = [\"t\"]",
            "two sources have the address",
        ),
    ] {
        scene.tree.write("crm.toml", &format!("[workspace]\nuse = \"crm\"\n[sources.a]\n{text}\n"));
        let run = scene.run(&["validate"], 3);
        let all = run.stdout + &run.stderr;
        assert!(all.contains(message), "{text}: {all}");
    }
    scene.tree.write("wellspring.toml", "[workspaces]\na = { account = \"acme/ana\" }\nb = \"ws\"\n");
    assert!(scene.run(&["validate"], 3).stderr.contains("either workspaces or accounts"));
}

#[test]
fn applies_converge_whatever_a_taken_address_does() {
    for options in [&[][..], &["--on-conflict", "replace"], &["--on-conflict", "reject"]] {
        let scene = Scene::new(options);
        scene.stranger("/theirs", STRANGERS);
        scene.declare(&[("orders", "/orders"), ("items", "/items")], "");
        scene.run(&["apply", "--yes"], 0);
        assert_eq!(scene.binds().len(), 3, "{options:?}");
        assert_eq!(scene.actions(), pairs(&[]), "{options:?}");
        scene.run(&["apply", "--yes"], 0);
        assert_eq!(scene.binds().len(), 3, "{options:?}");

        scene.declare(&[("orders", "/orders"), ("items", "/items")], "options = { page = 2 }\n");
        assert_eq!(scene.actions(), pairs(&[("replace", "items"), ("replace", "orders")]), "{options:?}");
        scene.run(&["apply", "--yes"], 0);
        let binds = scene.binds();
        let paged = binds.iter().filter(|(_, bind)| bind.contains("page=2")).count();
        assert_eq!(paged, 2, "{options:?}: {binds:?}");
        assert_eq!(binds.len(), 3, "{options:?}: {binds:?}");
        assert_eq!(scene.actions(), pairs(&[]), "{options:?}");

        scene.declare(&[("orders", "/orders")], "options = { page = 2 }\n");
        scene.run(&["apply", "--yes"], 0);
        scene.declare(&[], "");
        scene.run(&["apply", "--yes"], 0);
        let left: Vec<String> = scene.binds().into_iter().map(|(table, _)| table).collect();
        assert_eq!(left, ["/theirs"], "{options:?}: the row of the stranger stays");
        assert_eq!(scene.actions(), pairs(&[]));
    }
}

#[test]
fn a_failed_connection_within_a_success_is_a_failure() {
    let scene = Scene::new(&[]);
    scene.declare(&[("orders", "/orders")], "");
    let apply = scene.command(&["apply", "--yes"]).env("ORDERS_PASSWORD", "wrong").run();
    assert_eq!(apply.code, Some(1), "{apply:#?}");
    assert_eq!(scene.rows().len(), 0);
    let text = scene
        .tree
        .read("crm.toml")
        .replace("type = \"api\"\n", "type = \"api\"\ntest = { before_connect = false }\n");
    scene.tree.write("crm.toml", &text);
    let apply = scene.command(&["apply", "--yes"]).env("ORDERS_PASSWORD", "wrong").run();
    assert_eq!(apply.code, Some(1), "{apply:#?}");
    assert!(apply.stdout.contains("could not be connected: the API refused"), "{apply:#?}");
    assert_eq!(scene.rows().len(), 0);
    assert_eq!(scene.actions(), pairs(&[("connect", "orders")]), "it is tried again");
}

#[test]
fn only_the_row_with_our_password_is_adopted() {
    let scene = Scene::new(&[]);
    scene.declare(&[("orders", "/orders")], "");
    scene.stranger("/orders", STRANGERS);
    let plan = scene.run(&["plan"], 4);
    assert!(plan.stdout.contains("password differs"), "{plan:#?}");
    assert_eq!(scene.actions(), pairs(&[]));
    let ids: Vec<Value> = scene.rows().iter().map(|row| row["id"].clone()).collect();
    scene.post("cleanup", &json!({ "source_ids": ids }));
    scene.stranger("/orders", PASSWORD);
    assert_eq!(scene.actions(), pairs(&[("adopt", "orders")]));
    scene.run(&["apply", "--yes"], 0);
    assert_eq!(scene.actions(), pairs(&[]));
    assert_eq!(scene.rows().len(), 1, "nothing was connected again");
}

#[test]
fn tests_and_schemas_come_from_the_connection_itself() {
    let scene = Scene::new(&[]);
    scene.declare(&[("orders", "/orders")], "");
    assert!(scene.run(&["test"], 0).stdout.contains("✓ crm/orders"));
    let schema = scene.run(&["schema", "crm/orders"], 0);
    assert!(schema.stdout.contains("name") && schema.stdout.contains("int"), "{schema:#?}");
    let failed = scene.command(&["test"]).env("ORDERS_PASSWORD", "wrong").run();
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    assert_eq!(scene.rows().len(), 0, "neither stores anything");
    let sync = scene.run(&["sync"], 64);
    assert!(sync.stderr.contains("copies no data"), "{sync:#?}");
}

#[test]
fn what_is_pulled_is_adopted() {
    let scene = Scene::new(&[]);
    scene.stranger("/orders", PASSWORD);
    scene.stranger("/items", PASSWORD);
    scene.run(&["pull", "crm"], 0);
    let file = scene.tree.join("workspaces/crm.toml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains("canary") && text.contains("use = \"crm\""), "{text}");
    let pulled = |args: &[&str]| {
        let command = scene.command(args);
        ["CRM_ITEMS_PASSWORD", "CRM_ORDERS_PASSWORD"]
            .iter()
            .fold(command, |c, name| c.env(name, PASSWORD))
            .run()
    };
    let apply = pulled(&["apply", "--yes"]);
    assert_eq!(apply.code, Some(0), "{text}\n{apply:#?}");
    assert_eq!(scene.rows().len(), 2, "nothing was connected again");
    let plan = pulled(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
}

#[test]
fn a_rotated_password_is_replaced_and_an_edit_is_undone() {
    let scene = Scene::new(&["--on-conflict", "replace"]);
    scene.declare(&[("orders", "/orders")], "");
    scene.run(&["apply", "--yes"], 0);
    let rotated = |args: &[&str]| scene.command(args).env("ORDERS_PASSWORD", "canary-own-2").run();
    let apply = rotated(&["apply", "--yes"]);
    assert_eq!(apply.code, Some(0), "{apply:#?}");
    assert!(scene.binds()[0].1.contains("canary-own-2"));
    let plan = rotated(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    // The same table with another password, in place of ours.
    scene.stranger("/orders", STRANGERS);
    let plan = rotated(&["plan", "--format", "json"]);
    assert!(
        plan.stdout.replace(": ", ":").contains("\"drift\":true") && !plan.stdout.contains("canary"),
        "{plan:#?}"
    );
}
