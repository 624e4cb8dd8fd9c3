//! Tests the page in a real browser: text from the files is never interpreted.

use std::process::{Command, Stdio};
use wellspring_testkit::{Scene, Site, until};

/// Loads a page in Chromium and returns the document after all scripts have run.
fn document(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=2000", "--dump-dom", url])
        .env("HOME", profile.path())
        .stdin(Stdio::null())
        .output()
        .expect("chromium; `tests/tools.sh install` gets it");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_hostile_source_name_is_text_in_the_document() {
    let scene = Scene::new();
    let name = "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>";
    let attribute = "\\\" autofocus onfocus=document.title='taken' x=\\\"";
    scene.tree.write(
        "workspaces/one.toml",
        &format!(
            "[workspace]\nid = \"ws<script>\"\n\n[sources.\"{name}\"]\ntype = \"<b>bold</b>\"\nsuspend = {{ reason = \"</p><script>x</script>\" }}\nconnection_config = {{ host = \"a\" }}\n\n[sources.\"{attribute}\"]\ntype = \"database\"\nconnection_config = {{ host = \"b\" }}\n"
        ),
    );
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("it is shown", || site.json()["totals"]["sources"] == 2 && site.get("/readyz").status == 200);
    let quoted: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let pages = [
        "/".to_owned(),
        "/workspaces/ws%3Cscript%3E/user".to_owned(),
        format!("/workspaces/ws%3Cscript%3E/user/{quoted}"),
    ];
    for path in pages {
        let document = document(&format!("http://{}{path}", site.0));
        assert!(
            document.contains("&lt;script&gt;document.title='taken'&lt;/script&gt;&lt;img src=x"),
            "{path}: {document}"
        );
        for never in ["<script", "<img", "<b>bold", "taken</title>", " onfocus=\"", " autofocus=\""] {
            assert!(!document.contains(never), "{path}: {never} in {document}");
        }
    }
}
