//! Tests of the page and `/status.json`: problems first, and no secrets.

use wellspring_testkit::{Fault, Gate, Running, Scene, Site, TestManner, until, workspace_file};

const SECRET: &str = "correct-horse-battery";

const TROUBLED: &str = r#"
[workspace]
id = "ws_bad"

[sources.dead]
type = "database"
connection_config = { host = "dead.example.com" }

[sources.late]
type = "database"
sync = { cron = "0 0 1 1 *", stale_after = "1s", on_connect = false }
connection_config = { host = "late.example.com", password = "${LATE_PASSWORD}" }

[sources.paused]
type = "database"
suspend = { reason = "moving house", until = 2020-01-01 }
connection_config = { host = "paused.example.com" }
"#;

fn troubled() -> (Scene, Running, Site) {
    let scene = Scene::new();
    scene.platform.semantics(|semantics| {
        semantics.test_connection = TestManner::FailsFor(vec!["dead.example.com".into()]);
    });
    scene.tree.write("workspaces/bad.toml", TROUBLED);
    scene.declare("ws_good", &[("alpha", "a.example.com"), ("beta", "b.example.com")]);
    scene.tree.write(".git/HEAD", "0123456789abcdef0123456789abcdef01234567\n");
    // An unmanaged source has that name, so it is not adopted.
    scene.someone_adds("ws_good", "beta");
    let daemon = scene
        .command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"])
        .env("LATE_PASSWORD", SECRET)
        .spawn();
    let site = Site::of(&daemon);
    until("everything is seen", || {
        let json = site.json();
        let has = |list: &str| json[list]["listed"].as_array().is_some_and(|rows| !rows.is_empty());
        ["failing", "stale", "withheld", "suspended"].into_iter().all(has)
    });
    (scene, daemon, site)
}

#[test]
fn what_is_wrong_comes_first_and_rejected_files_above_everything() {
    let (scene, _daemon, site) = troubled();
    scene.tree.write("workspaces/zz.toml", "oops = [\n");
    until("the file is rejected", || site.json()["files"]["errors"] == 1);
    let page = site.get("/");
    assert_eq!(page.status, 200);
    let headings = [
        "<h2>Files rejected",
        "<h2>Failing",
        "<h2>Stale",
        "<h2>Withheld",
        "<h2>Suspended",
        "<h2>All sources",
        "<h2>Next syncs",
        "<h2>Recent changes",
        "<h2>Passes of the last day",
    ];
    let places: Vec<_> = headings.iter().map(|heading| page.body.find(heading)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(page.body.contains("workspaces/zz.toml:1:"));
    assert!(
        page.body
            .contains("<h1>1 error in the files, 1 source failing, 1 source stale, 1 change withheld</h1>"),
        "{}",
        page.body
    );
    for tile in ["<b>1</b>sources failing", "<b>1</b>sources stale", "<b>1</b>changes withheld"] {
        assert!(page.body.contains(tile), "heading and tiles agree: {tile}");
    }
    assert!(page.body.contains("cannot connect") && page.body.contains("moving house"));
    assert!(page.body.contains("that date has passed: remove `suspend`"), "{}", page.body);
    assert!(page.body.contains("http-equiv=\"refresh\""), "it refreshes itself");
    // The change appears with its file and commit.
    assert!(
        page.body.contains("workspaces/ws_good.toml:4") && page.body.contains("@012345678<"),
        "{}",
        page.body
    );
}

#[test]
fn config_conn_and_data_are_kept_apart_in_json() {
    let (_scene, _daemon, site) = troubled();
    let json = site.json();
    assert_eq!((&json["format_version"], &json["totals"]["sources"]), (&1.into(), &5.into()));
    let rows = json["workspaces"]["listed"][0]["sources"]["listed"].as_array().unwrap();
    let level = |row: usize, part: &str| rows[row][part]["level"].as_str().unwrap().to_owned();
    let levels = |row| ["config", "conn", "data"].map(|part| level(row, part));
    assert_eq!(levels(0), ["bad", "none", "none"], "dead: {rows:#?}");
    assert_eq!(levels(1), ["good", "none", "warn"], "late: {rows:#?}");
    assert_eq!(levels(2), ["warn", "none", "none"], "its suspension has expired: {rows:#?}");
    assert_eq!(json["withheld"]["listed"][0]["action"], "adopt");
    for of in [&rows[0], &json["workspaces"]["listed"][0], &json["changes"][0], &json["failing"]["listed"][0]]
    {
        assert!(of["workspace"] == of["workspace_id"] && of["scope"] == "user", "{of}");
    }
    assert_eq!(json["failing"]["listed"][0]["config"]["why"], "its connection test failed: cannot connect");
}

#[test]
fn what_is_unmanaged_or_withheld_is_listed_where_it_is() {
    let scene = Scene::new();
    scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n");
    scene.declare("ws_one", &[("alpha", "a.example.com"), ("beta", "b.example.com")]);
    scene.someone_adds("ws_one", "stranger");
    let daemon = scene.command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("both are connected", || scene.platform.names("ws_one", "user").len() == 3);
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    until("the removal is withheld", || site.json()["totals"]["withheld"] == 1);
    assert_eq!(site.json()["unmanaged"]["listed"][0]["name"], "stranger");
    for path in ["/", "/workspaces/ws_one/user"] {
        let page = site.get(path).body;
        assert!(page.contains("stranger</bdi>") && page.contains("prune is off"), "{path}: {page}");
    }
    // A collapsed workspace stays collapsed: the URL contains it, and the page reloads that URL.
    let unfolded = site.get("/").body;
    let (_, link) = unfolded.split_once("class=\"turn\" href=\"").unwrap();
    let folded = site.get(link.split('"').next().unwrap()).body;
    let listed = |page: &str| page.contains("<table class=\"rows sources\">");
    assert!(listed(&unfolded) && !listed(&folded), "{link}");
}

#[test]
fn no_secret_is_on_any_page() {
    let (scene, daemon, site) = troubled();
    let token = scene.platform.token();
    let paths = [
        "/",
        "/status.json",
        "/metrics",
        "/readyz",
        "/workspaces/ws_bad/user",
        "/workspaces/ws_bad/user/late",
        "/workspaces/ws_bad/user/dead",
    ];
    for path in paths {
        let page = site.get(path);
        assert!(page.status == 200 || path == "/readyz", "{path}");
        assert!(!page.body.contains(SECRET) && !page.body.contains(&token), "{path}");
    }
    assert!(!daemon.stderr().contains(SECRET));
}

#[test]
fn a_source_has_a_page_with_its_history() {
    let scene = Scene::new();
    let file = workspace_file("ws_one", &[("alpha", "a.example.com")]);
    scene.tree.write("workspaces/one.toml", &file.replace("type =", "sync = { every = \"1h\" }\ntype ="));
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    daemon.wait_for_line("synced");
    let site = Site::of(&daemon);
    let shown = || site.get("/workspaces/ws_one/user/alpha").body;
    until("the sync is shown", || shown().contains("done") && shown().contains("in sync"));
    let page = site.get("/workspaces/ws_one/user/alpha").body;
    for wanted in [
        "<h2>CONFIG</h2><b>in sync",
        "<h2>CONN</h2><b>not tested",
        "every 1h",
        "connect",
        "workspaces/one.toml:4",
        "<figcaption><b>Records</b>",
        "<figcaption><b>Duration</b>",
        "class=\"good\"><title>",
    ] {
        assert!(page.contains(wanted), "no {wanted:?} in {page}");
    }
}

#[test]
fn before_a_pass_has_looked_all_is_unknown_also_what_was_synced_before() {
    let scene = Scene::new();
    let file = workspace_file("ws_one", &[("alpha", "a.example.com")]);
    scene.tree.write("workspaces/one.toml", &file.replace("type =", "sync = { every = \"1h\" }\ntype ="));
    scene.apply();
    assert_eq!(scene.wellspring(&["sync"]).code, Some(0));
    scene.platform.script_always("list", Fault::HoldBeforeActing(Gate::closed()));
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("the files are read", || site.json()["totals"]["sources"] == 1);
    let json = site.json();
    assert_eq!((&json["totals"]["unknown"], &json["totals"]["pending"]), (&1.into(), &0.into()), "{json:#}");
    let row = &json["workspaces"]["listed"][0]["sources"]["listed"][0];
    assert_eq!((&row["config"]["text"], &row["data"]["text"]), (&"unknown".into(), &"unknown".into()));
    let page = site.get("/").body;
    for wanted in ["<h1>1 source not checked yet</h1>", "<b>1</b>unknown", "Unknown until the first check."] {
        assert!(page.contains(wanted), "no {wanted:?} in {page}");
    }
}

#[test]
fn warnings_about_the_files_are_on_the_page() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let settings = scene.tree.read("wellspring.toml");
    let patterns = "files = [\"workspaces/*.toml\", \"workspace/*.toml\"]\n\n";
    scene.tree.write("wellspring.toml", &format!("{patterns}{settings}"));
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("it is connected", || site.json()["totals"]["in_sync"] == 1);
    let json = site.json();
    assert_eq!(json["files"]["warnings"]["listed"][0]["code"], "W025", "{json:#}");
    assert_eq!((&json["files"]["accepted"], &json["ready"]), (&true.into(), &true.into()));
    let page = site.get("/").body;
    assert!(page.contains("<h1>1 warning in the files</h1>") && page.contains("W025"), "{page}");
}

#[test]
fn in_a_dry_run_it_shows_what_would_be_done() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let daemon = scene.command(&["run", "--dry-run", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("it is planned", || site.json()["totals"]["pending"] == 1 && site.get("/readyz").status == 200);
    let page = site.get("/").body;
    assert!(page.contains("dry run: nothing is written"), "{page}");
    assert!(page.contains("<h1>Dry run: 1 source would change</h1>"), "{page}");
    assert!(scene.platform.writes().is_empty());
}

#[test]
fn the_commit_of_the_files_is_marked_dirty_unless_it_holds_all_of_them() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    scene.declare("ws_two", &[("beta", "b.example.com")]);
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let mut git = std::process::Command::new("git");
        git.args(identity).args(args).current_dir(scene.tree.path()).env("HOME", scene.tree.path());
        let output = git.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let commit = || {
        git(&["add", "-A"]);
        git(&["commit", "-qm", "x"]);
        git(&["rev-parse", "HEAD"])
    };
    git(&["init", "-q"]);
    let first = commit();
    let daemon = scene
        .command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"])
        .env("PATH", std::env::var_os("PATH").unwrap())
        .spawn();
    let site = Site::of(&daemon);
    let shown = |wanted: &str| {
        until(&format!("files.commit is {wanted}"), || site.json()["files"]["commit"] == wanted);
        let digits = format!("{}{}", &wanted[..9], if wanted.ends_with("-dirty") { "-dirty" } else { "" });
        let footer = || site.get("/").body.split_once("<footer>").unwrap().1.to_owned();
        // The commit is unknown again while Git compares the files after an update of HEAD.
        until(&format!("the footer has {digits}"), || footer().contains(&format!(">{digits}</code>")));
    };
    shown(&first);
    scene.declare("ws_one", &[("alpha", "c.example.com")]);
    shown(&format!("{first}-dirty"));
    let second = commit();
    shown(&second);
    scene.tree.remove("workspaces/ws_two.toml");
    shown(&format!("{second}-dirty"));
    let third = commit();
    shown(&third);
}

#[test]
fn warnings_about_the_host_are_on_the_page() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let daemon = scene.command(&["run", "--listen=0.0.0.0:0"]).spawn();
    let mut site = Site::of(&daemon);
    site.0.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    let warning = "other hosts can reach the status page; it has no password and no encryption";
    assert!(site.get("/").body.contains(warning));
    assert_eq!(site.json()["host_warnings"][0], warning);
    daemon.wait_for_line(warning);
}

#[test]
fn nothing_is_called_in_sync_while_the_platform_cannot_be_asked() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com"), ("beta", "b.example.com")]);
    let daemon = scene.command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    let totals = |name: &str| site.json()["totals"][name].as_u64().unwrap();
    until("all is in sync", || totals("in_sync") == 2);
    scene.platform.script_always("list", Fault::status(503, "maintenance"));
    until("nothing is in sync", || totals("in_sync") == 0 && totals("unknown") == 2);
    assert!(site.get("/").body.contains("in sync when last checked"));
    scene.platform.heal();
    until("all is in sync again", || totals("in_sync") == 2 && totals("unknown") == 0);
}

#[test]
fn failing_sources_with_the_same_reason_share_one_card() {
    let scene = Scene::new();
    scene.platform.semantics(|semantics| {
        semantics.test_connection = TestManner::FailsFor(vec!["dead.example.com".into()]);
    });
    let dead = ["a", "b", "c"].map(|key| (key, "dead.example.com"));
    scene.declare("ws_one", &[&dead[..], &[("alive", "alive.example.com")]].concat());
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("three fail", || site.json()["totals"]["failing"] == 3);
    let page = site.get("/").body;
    let failing = page.split_once("<h2>Failing").unwrap().1.split_once("</section>").unwrap().0;
    assert_eq!(failing.matches("cannot connect").count(), 1, "{failing}");
    assert_eq!(failing.matches("<a href=").count(), 3, "{failing}");
}
