//! Tests that no output contains a secret, for each kind of secret in each place.

use serde_json::{Value, json};
use wellspring_testkit::{EchoManner, Fault, Finished, Receiver, Scene, Semantics, Site, files_below, until};

/// Part of every secret, and of nothing else; also as base64.
const CANARIES: [&str; 2] = ["c4nary", "YzRuYXJ5"];

/// Returns every kind of secret, as a platform without masking returns it.
fn kinds() -> Vec<(&'static str, Value)> {
    let long = "c4nary0123456789abcdefABCDEF";
    vec![
        ("password", json!({ "password": "c4naryA1" })),
        ("pass", json!({ "pass": "c4naryA2" })),
        ("creds", json!({ "creds": "c4naryA3" })),
        ("auth", json!({ "auth": "Basic YzRuYXJ5QmFzaWM=" })),
        ("auth_plain", json!({ "auth": "c4naryAuth1" })),
        ("bearer", json!({ "bearer": "c4naryB1" })),
        ("cookie", json!({ "headers": { "Cookie": "session=c4naryCookie" } })),
        ("jwt", json!({ "jwt": "c4nary.1.2" })),
        ("pin", json!({ "deep": { "client": { "passcode": "c4nary12" } } })),
        ("account_key", json!({ "account_key": "c4nary/abcdefghijkl==" })),
        ("storage_key", json!({ "storage_key": "c4naryK1" })),
        ("shared_key", json!({ "sharedKey": "c4naryK2" })),
        ("subscription_key", json!({ "subscription-key": "c4naryK3" })),
        ("encryption_key", json!({ "encryption_key": "c4naryK4" })),
        ("signing_key", json!({ "signing_key": "c4naryK5" })),
        ("consumer_key", json!({ "consumer_key": "c4naryK6" })),
        ("ssh_key", json!({ "ssh_key": "c4naryK7" })),
        ("plain_key", json!({ "key": long })),
        ("env", json!({ "env": { "DB_PASS": "c4naryEnv" } })),
        ("env_list", json!({ "env": [{ "name": "DB_PASSWORD", "value": "c4naryEnv2" }] })),
        ("header", json!({ "headers": [{ "name": "Authorization", "value": "Bearer c4naryH1" }] })),
        ("header_list", json!({ "headers": ["X-Api-Key: c4naryH2"] })),
        ("header_pair", json!({ "headers": [["X-Api-Key", long]] })),
        ("args", json!({ "args": ["--password", "c4naryArg"] })),
        ("args_user", json!({ "args": ["-u", "me:c4naryArg2"] })),
        ("args_pair", json!({ "args": ["--token=c4naryArg3"] })),
        ("command", json!({ "command": "dump -h h --password c4naryCmd db" })),
        ("azure", json!({ "connection_string": "Protocol=https;AccountName=s;AccountKey=c4nary/abc==;E=x" })),
        (
            "bus",
            json!({ "connection_string": "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=c4nary+a=" }),
        ),
        ("jaas", json!({ "sasl_jaas_config": "X required username=\"u\" password=\"c4naryJaas\";" })),
        ("odbc", json!({ "odbc": "Driver={X};Server=h;Uid=u;Pwd=c4naryOdbc" })),
        ("oracle", json!({ "jdbc": "jdbc:oracle:thin:scott/c4naryOra@h:1521/x" })),
        ("mongo", json!({ "uri": "mongodb://u:c4naryMongo@h1,h2/db?authSource=admin" })),
        ("redis", json!({ "uri": "redis://:c4naryRedis@h/0" })),
        ("sas", json!({ "container": "https://shop.blob.example.com/in?sv=2026&sig=c4narySas%2Babc%3D" })),
        ("query_key", json!({ "address": "https://maps.example.com/x?key=c4naryQ1x" })),
        ("query_token", json!({ "address": "https://x.example.com/?access_token=c4naryQ2" })),
        ("slack", json!({ "webhook": "https://hooks.slack.com/services/T0/B0/c4narySlack" })),
        ("discord", json!({ "target": "https://discord.com/api/webhooks/1/c4naryDiscord" })),
        ("gitlab", json!({ "note": format!("glpat-{long}") })),
        ("google", json!({ "note": format!("AIza{long}") })),
        ("npm", json!({ "note": format!("npm_{long}") })),
        ("databricks", json!({ "note": "dapic4nary0123456789abcdef01234567" })),
        ("json_text", json!({ "options": "{\"user\": \"u\", \"password\": \"c4naryJson\"}" })),
        ("pem", json!({ "cert": "-----BEGIN PRIVATE KEY-----\nc4naryPem\n-----END PRIVATE KEY-----\n" })),
    ]
}

#[track_caller]
fn nowhere(what: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{what}:\n{text}");
    }
}

#[track_caller]
fn silent(what: &str, run: &Finished) {
    nowhere(what, &format!("{}\n{}", run.stdout, run.stderr));
}

#[track_caller]
fn not_kept(what: &str, scene: &Scene) {
    for root in [scene.state.path(), scene.tree.path()] {
        for (path, bytes) in files_below(root) {
            nowhere(&format!("{what} in {path}"), &String::from_utf8_lossy(&bytes));
        }
    }
}

/// Formats a value as TOML on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let entries: Vec<_> =
                fields.iter().map(|(key, value)| format!("\"{key}\" = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[test]
fn pull_writes_no_secret_of_any_kind() {
    let scene = Scene::with(Semantics { echo: EchoManner::Everything, ..Semantics::default() });
    for (name, config) in kinds() {
        scene.platform.add("ws_one", "user", name, "x", config.clone());
        // Repeated in a place without any sign that it is a secret.
        let repeated = json!({ "host": "h", "password": "c4naryTwice9", "label": "as c4naryTwice9" });
        scene.platform.add("ws_one", "user", &format!("{name}_too"), "x", repeated);
    }
    scene.platform.modify("ws_one", "user", "password", |row| {
        row.metadata = json!({ "remark": "the password is c4naryA1", "owner": "me" });
    });
    let pulled = scene.wellspring(&["pull", "ws_one", "-vvv"]);
    assert_eq!(pulled.code, Some(0), "{pulled:#?}");
    silent("pull", &pulled);
    not_kept("pull", &scene);
    let validated = scene.wellspring(&["validate"]);
    assert_eq!(validated.code, Some(0), "{validated:#?}");
}

#[test]
fn a_file_with_a_secret_of_any_kind_is_refused_and_shown_without_it() {
    let scene = Scene::new();
    for (name, config) in kinds() {
        let file = |place: &str, config: &str| {
            format!("[workspace]\nid = \"ws_one\"\n\n[sources.a]\ntype = \"x\"\n{place} = {config}\n")
        };
        scene.tree.write("workspaces/a.toml", &file("connection_config", &toml(&config)));
        for args in [
            &["validate"][..],
            &["validate", "--format", "json"],
            &["validate", "--format", "github"],
            &["plan", "-vvv"],
        ] {
            let refused = scene.wellspring(args);
            assert_eq!(refused.code, Some(3), "{name}: {refused:#?}");
            assert!(format!("{}{}", refused.stdout, refused.stderr).contains("W030"), "{name}: {refused:#?}");
            silent(name, &refused);
        }
        let metadata = format!("connection_config = {{}}\nmetadata = {}", toml(&config));
        scene
            .tree
            .write("workspaces/a.toml", &file("sync_options", "{}").replace("sync_options = {}", &metadata));
        let refused = scene.wellspring(&["validate"]);
        assert!(refused.code == Some(3) && refused.stderr.contains("W030"), "{name}: {refused:#?}");
        silent(name, &refused);
    }
    not_kept_in_state(&scene);
}

#[track_caller]
fn not_kept_in_state(scene: &Scene) {
    for (path, bytes) in files_below(scene.state.path()) {
        nowhere(&path, &String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn what_someone_else_put_on_the_platform_is_shown_in_no_plan_page_or_log() {
    let scene = Scene::with(Semantics { echo: EchoManner::Everything, ..Semantics::default() });
    let mut file = "[workspace]\nid = \"ws_one\"\n".to_owned();
    for (name, config) in kinds() {
        // The same keys are declared, with harmless values.
        let harmless = toml(&harmless("", &config));
        file += &format!("\n[sources.{name}]\ntype = \"x\"\nconnection_config = {harmless}\n");
    }
    scene.tree.write("workspaces/a.toml", &file);
    let validated = scene.wellspring(&["validate"]);
    assert_eq!(validated.code, Some(0), "{validated:#?}");
    let run_of = |args: &[&str]| scene.command(args).env("PLAIN", "plain-value");
    let first = run_of(&["apply", "-y"]).run();
    assert_eq!(first.code, Some(0), "{first:#?}");
    for (name, config) in kinds() {
        scene.platform.modify("ws_one", "user", name, |row| row.connection_config = config.clone());
    }
    let saved = scene.state.join("../plan-of-canaries.json");
    let saved = saved.to_string_lossy().into_owned();
    for args in [
        &["plan"][..],
        &["plan", "-vvv"],
        &["plan", "--format", "json"],
        &["plan", "--format", "markdown"],
        &["plan", "--format", "github"],
        &["plan", "--out", &saved],
        &["status", "--format", "json"],
        &["doctor"],
    ] {
        silent(&args.join(" "), &run_of(args).run());
    }
    let plan = std::fs::read_to_string(&saved).unwrap_or_default();
    let _ = std::fs::remove_file(&saved);
    nowhere("the saved plan", &plan);
    let daemon = run_of(&["run", "-vvv", "--interval", "1h", "--dry-run", "--listen=127.0.0.1:0"]).spawn();
    daemon.wait_for_line("planned");
    let site = Site::of(&daemon);
    for page in ["/", "/status.json", "/metrics", "/readyz", "/workspaces/ws_one/user"] {
        nowhere(page, &site.get(page).body);
    }
    for (name, _) in kinds() {
        nowhere(name, &site.get(&format!("/workspaces/ws_one/user/{name}")).body);
    }
    daemon.signal("TERM");
    silent("run", &daemon.finish());
    let applied = run_of(&["apply", "-y", "-vvv"]).run();
    silent("apply", &applied);
    silent("history", &scene.wellspring(&["history", "--changes", "--format", "json"]));
    not_kept_in_state(&scene);
}

/// Returns a platform's refusal that repeats all that it was given.
fn complaint(config: &Value) -> Fault {
    Fault::status(400, &format!("cannot read it with {config}"))
}

#[test]
fn no_message_of_the_platform_gives_a_secret_away() {
    let scene = Scene::new();
    let receiver = Receiver::start(&[]);
    for (name, config) in kinds() {
        let workspace = format!("ws_{name}");
        let source = "[sources.a]\ntype = \"x\"\ntest = { every = \"1h\" }\nsync = { every = \"1h\" }";
        let text = format!(
            "[workspace]\nid = \"{workspace}\"\n\n{source}\nconnection_config = {{ host = \"h\" }}\n"
        );
        scene.tree.write(&format!("workspaces/{name}.toml"), &text);
        scene.platform.script_for(&workspace, "sync", complaint(&config));
    }
    let hook = scene.state.join("../canaries-of-messages.toml");
    std::fs::write(&hook, "[[notify]]\nurl = { secret = \"env:HOOK\" }\n").unwrap();
    let run = ["run", "-vvv", "--interval", "1h", "--listen=127.0.0.1:0", "--config", hook.to_str().unwrap()];
    let logged = scene.command(&run).args(["--log-format", "json"]).env("WELLSPRING_LOG", "trace");
    let daemon = logged.env("HOOK", receiver.url()).spawn();
    let site = Site::of(&daemon);
    let all = kinds().len();
    until("every sync failed", || site.json()["totals"]["failing"] == all);
    until("every failure was told", || {
        receiver.texts().iter().filter(|told| told.contains("failed")).count() >= all
    });
    for told in receiver.texts() {
        nowhere("a notice", &told);
    }
    for page in ["/", "/status.json", "/metrics", "/readyz?strict"] {
        nowhere(page, &site.get(page).body);
    }
    for (name, _) in kinds() {
        let page = site.get(&format!("/workspaces/ws_{name}/user/a")).body;
        assert!(page.contains("sync failed"), "{name}: {page}");
        nowhere(name, &page);
    }
    daemon.signal("TERM");
    silent("run", &daemon.finish());
    let _ = std::fs::remove_file(&hook);

    for (name, config) in kinds() {
        let source = format!("ws_{name}/a");
        for (endpoint, verb) in [("sync", "sync"), ("test-connection", "test")] {
            scene.platform.script_for(&format!("ws_{name}"), endpoint, complaint(&config));
            let told = scene.command(&[verb, &source, "-vvv", "--format", "json"]).run();
            assert_ne!(told.code, Some(0), "{name}: {told:#?}");
            silent(&format!("{verb} of {name}"), &told);
        }
        scene.platform.script_for(&format!("ws_{name}"), "list", complaint(&config));
        silent(&format!("plan of {name}"), &scene.wellspring(&["plan", "-w", &format!("ws_{name}"), "-vvv"]));
    }
    for args in
        [&["status"][..], &["status", "--format", "json"], &["history"], &["history", "--format", "json"]]
    {
        silent(&args.join(" "), &scene.wellspring(args));
    }
    not_kept_in_state(&scene);
}

/// Returns the same structure with references and plain words for texts.
fn harmless(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), harmless(key, value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|item| harmless(key, item)).collect(),
        _ if wellspring::model::looks_secret(key) => json!("${PLAIN}"),
        _ => json!("none"),
    }
}
