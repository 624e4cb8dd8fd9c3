//! Tests that file changes are applied and unreadable files cause no removals.

use wellspring::client::BaseUrl;
use wellspring::model::{Scope, WorkspaceId, WorkspaceRef};
use wellspring::store::Store;
use wellspring_testkit::{Datagrams, Fault, Gate, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

/// Starts a daemon that has connected alpha and beta in `ws_one`.
///
/// The files are accepted in full.
fn settled() -> (Scene, wellspring_testkit::Running) {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    let daemon = scene.daemon();
    daemon.wait_for_line("connect done");
    until("both are connected", || scene.holds("ws_one", &[A, B]));
    until_looked(&scene, &daemon);
    (scene, daemon)
}

/// Requests a pass over everything, and waits for it.
fn until_looked(scene: &Scene, daemon: &wellspring_testkit::Running) {
    let lists = scene.platform.calls_to("list").len();
    daemon.signal("USR1");
    until("it looked", || scene.platform.calls_to("list").len() > lists);
}

/// Waits for the end of a load that the service manager is told about.
fn until_loaded(service_manager: &mut Datagrams) {
    service_manager.until("the end of a load", |heard| (heard == b"READY=1\n").then_some(()));
}

/// Checks that nothing was removed after two full passes.
fn nothing_is_removed(scene: &Scene, daemon: &wellspring_testkit::Running) {
    until_looked(scene, daemon);
    until_looked(scene, daemon);
    assert_eq!(scene.platform.calls_to("cleanup").len(), 0, "{}", daemon.stderr());
}

#[test]
fn a_source_is_connected_after_the_save_and_cleaned_up_after_its_block_is_deleted() {
    let (scene, daemon) = settled();
    let new = ("gamma", "c.example.com");
    scene.declare("ws_one", &[A, B, new]);
    until("the new one is connected", || scene.holds("ws_one", &[A, B, new]));
    scene.declare("ws_one", &[B, new]);
    until("the deleted one is cleaned up", || scene.holds("ws_one", &[B, new]));
    scene.declare("ws_one", &[]);
    until("none are declared, and none are there", || scene.holds("ws_one", &[]));
    drop(daemon);
}

#[test]
fn a_look_that_finds_nothing_moved_waits_for_nobody_who_writes_the_workspace() {
    let (scene, daemon) = settled();
    until_looked(&scene, &daemon);
    let url = BaseUrl::parse(&scene.platform.url()).unwrap();
    let state = Store::open(scene.state.path(), url.as_str()).unwrap();
    let workspace =
        WorkspaceRef { workspace: WorkspaceId::parse("ws_one").unwrap(), scope: Scope::default() };
    let locks = || std::fs::read_dir(scene.state.path().join("locks")).unwrap().count();
    let before = locks();
    let writing = state.lock(&workspace, "someone").unwrap();
    assert_eq!(locks(), before, "it is the very lock that the daemon takes");
    until_looked(&scene, &daemon);
    until_looked(&scene, &daemon);
    assert!(!daemon.stderr().contains("is writing this workspace"), "{}", daemon.stderr());
    drop(writing);
}

#[test]
fn a_save_that_changes_nothing_on_the_platform_is_told_once() {
    let (scene, daemon) = settled();
    let path = "workspaces/ws_one.toml";
    let text = scene.tree.read(path);
    scene.tree.write(path, &text.replacen("type = ", "protect = true\ntype = ", 1));
    daemon.wait_for_line("unchanged=2 changes=0");
    scene.tree.write(path, &text);
    daemon.wait_for_line("files reloaded, nothing to do");
    until_looked(&scene, &daemon);
    until_looked(&scene, &daemon);
    assert_eq!(daemon.stderr().matches("nothing to do").count(), 1, "{}", daemon.stderr());
}

#[test]
fn with_prune_off_a_deleted_block_is_reported_and_stays() {
    let scene = Scene::new();
    scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n");
    scene.declare("ws_one", &[A, B]);
    let daemon = scene.daemon();
    until("both are connected", || scene.holds("ws_one", &[A, B]));
    scene.declare("ws_one", &[A]);
    daemon.wait_for_line("withheld: no longer declared, but prune is off");
    nothing_is_removed(&scene, &daemon);
    assert!(scene.holds("ws_one", &[A, B]));
}

#[test]
fn a_broken_file_is_told_with_its_place_and_holds_back_its_own_workspace_only() {
    let (scene, daemon) = settled();
    scene.declare("ws_two", &[A]);
    until("the other workspace is served", || scene.holds("ws_two", &[A]));
    scene.tree.write("workspaces/ws_one.toml", "[workspace]\nid = \"ws_one\"\n\n[sources.alpha\n");
    daemon.wait_for_line("file=workspaces/ws_one.toml line=4");
    nothing_is_removed(&scene, &daemon);
    // The last valid configuration stays in force: drift is still corrected.
    scene.platform.remove("ws_one", "user", "beta");
    until_looked(&scene, &daemon);
    until("beta is put back", || scene.holds("ws_one", &[A, B]));
    scene.declare("ws_two", &[A, B]);
    until("the other workspace goes on", || scene.holds("ws_two", &[A, B]));
    scene.declare("ws_two", &[B]);
    until("removals there, too", || scene.holds("ws_two", &[B]));
    scene.declare("ws_one", &[B]);
    until("the mended file counts again", || scene.holds("ws_one", &[B]));
}

#[test]
fn a_file_that_is_renamed_and_broken_at_once_leaves_the_last_good_reading_in_force() {
    let (scene, daemon) = settled();
    scene.tree.write("workspaces/other.toml", "[workspace]\nid = \"ws_one\"\n\n[sources.alpha\n");
    scene.tree.remove("workspaces/ws_one.toml");
    daemon.wait_for_line("file=workspaces/other.toml line=4");
    scene.platform.remove("ws_one", "user", "beta");
    daemon.signal("USR1");
    until("beta is put back", || scene.holds("ws_one", &[A, B]));
    assert_eq!(scene.platform.calls_to("cleanup").len(), 0);
}

#[test]
fn broken_settings_change_nothing() {
    let (scene, daemon) = settled();
    let settings = scene.tree.read("wellspring.toml");
    scene.tree.write("wellspring.toml", "[policy]\nprune = \"everything\"\n");
    daemon.wait_for_line("file=wellspring.toml");
    nothing_is_removed(&scene, &daemon);
    scene.tree.write("wellspring.toml", &settings);
    daemon.wait_for_line("all files are valid again");
    scene.declare("ws_one", &[A]);
    until("it goes on", || scene.holds("ws_one", &[A]));
}

#[test]
fn an_emptied_directory_removes_nothing() {
    let (scene, daemon) = settled();
    let settings = scene.tree.read("wellspring.toml");
    scene.tree.remove("workspaces");
    scene.tree.remove("wellspring.toml");
    daemon.wait_for_line("no wellspring.toml and no other file any more");
    nothing_is_removed(&scene, &daemon);
    let plan = scene.wellspring(&["plan"]);
    assert_eq!(plan.code, Some(3), "{plan:#?}");
    assert!(plan.stderr.contains("no wellspring.toml and no other file any more"), "{plan:#?}");
    scene.declare("ws_one", &[A, B, ("gamma", "c.example.com")]);
    daemon.wait_for_line("wellspring.toml is missing");
    until("what comes back is served", || scene.platform.names("ws_one", "user").len() == 3);
    scene.tree.write("wellspring.toml", &settings);
    daemon.wait_for_line("wellspring.toml was found");
    assert_eq!(scene.platform.calls_to("cleanup").len(), 0);
}

#[test]
fn what_a_file_no_longer_holds_is_not_removed_before_its_writer_closes_it() {
    use std::io::{Seek as _, Write as _};
    let (scene, daemon) = settled();
    scene.declare("ws_two", &[A, B]);
    until("the other workspace is served", || scene.holds("ws_two", &[A, B]));
    let rest = scene.tree.read("workspaces/ws_one.toml");
    let (first, rest) = rest.split_at(rest.find("\n[sources.beta]").unwrap());
    let path = scene.tree.join("workspaces/ws_one.toml");
    let mut writer = std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    writer.write_all(first.as_bytes()).unwrap();
    // A later removal in another file is done meanwhile, so the quiet time has passed.
    scene.declare("ws_two", &[B]);
    until("the removal there is done", || scene.holds("ws_two", &[B]));
    until_looked(&scene, &daemon);
    assert!(scene.holds("ws_one", &[A, B]), "{}", daemon.stderr());
    writer.write_all(rest.as_bytes()).unwrap();
    drop(writer);
    until_looked(&scene, &daemon);
    assert!(scene.holds("ws_one", &[A, B]), "{}", daemon.stderr());

    // A writer that ends with less content has removed something, also if written before it closed.
    let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.set_len(0).unwrap();
    writer.rewind().unwrap();
    writer.write_all(first.as_bytes()).unwrap();
    scene.declare("ws_two", &[A]);
    until("the removal there is done", || scene.holds("ws_two", &[A]));
    assert!(scene.holds("ws_one", &[A, B]), "{}", daemon.stderr());
    drop(writer);
    until("beta is cleaned up", || scene.holds("ws_one", &[A]));
}

#[test]
fn a_removed_directory_removes_nothing_and_its_return_is_noticed() {
    let (scene, daemon) = settled();
    let away = scene.state.join("away");
    std::fs::rename(scene.tree.path(), &away).unwrap();
    daemon.wait_for_line("all sources stay unchanged");
    nothing_is_removed(&scene, &daemon);
    std::fs::rename(&away, scene.tree.path()).unwrap();
    scene.declare("ws_one", &[A]);
    until("it goes on", || scene.holds("ws_one", &[A]));
}

#[test]
fn a_deleted_workspace_file_removes_nothing() {
    let (scene, daemon) = settled();
    scene.declare("ws_two", &[A]);
    until("the other workspace is served", || scene.holds("ws_two", &[A]));
    scene.tree.remove("workspaces/ws_one.toml");
    daemon.wait_for_line("ws_one: no file declares this workspace any more");
    nothing_is_removed(&scene, &daemon);
    assert!(scene.holds("ws_one", &[A, B]));
}

#[test]
fn half_a_checkout_removes_nothing_until_it_is_whole() {
    let (scene, daemon) = settled();
    scene.tree.write(".git/index.lock", "");
    scene.declare("ws_one", &[A]);
    nothing_is_removed(&scene, &daemon);
    daemon.signal("HUP");
    nothing_is_removed(&scene, &daemon);
    scene.tree.remove(".git/index.lock");
    until("the checkout is whole", || scene.holds("ws_one", &[A]));
}

#[test]
fn a_removal_that_waits_for_the_files_to_rest_is_not_nothing_to_do() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    let host = scene.state.join("host.toml");
    std::fs::write(&host, "[daemon]\nsettle = \"1h\"\n").unwrap();
    scene.apply();
    let daemon = scene.command(&["run", "--interval", "1h", "--config", host.to_str().unwrap()]).spawn();
    daemon.wait_for_line("planned");
    until_looked(&scene, &daemon);
    scene.declare("ws_one", &[A]);
    daemon.wait_for_line(
        "files reloaded, cleanup of beta withheld: no longer declared; waiting until the files are stable",
    );
    nothing_is_removed(&scene, &daemon);
    assert!(!daemon.stderr().contains("nothing to do"), "{}", daemon.stderr());
}

#[test]
fn a_change_is_recorded_with_its_commit_though_git_says_it_after_it_has_written_the_files() {
    let scene = Scene::new();
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let said = |commit: &str| scene.tree.write(".git/refs/heads/main", commit);
    scene.tree.write(".git/HEAD", "ref: refs/heads/main\n");
    said(&old);
    for file in [".git/HEAD", ".git/refs/heads/main"] {
        let file = std::fs::File::options().write(true).open(scene.tree.join(file)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
    }
    scene.tree.write(".git/index", "of the new commit");
    scene.declare("ws_one", &[A]);
    let gate = Gate::closed();
    scene.platform.script("connect", Fault::HoldBeforeActing(gate.clone()));
    let daemon = scene.daemon();
    until("it connects", || !scene.platform.calls_to("connect").is_empty());
    said(&new);
    gate.open();
    daemon.wait_for_line("connect done");
    let history = scene.wellspring(&["history", "--changes", "--format", "json"]).stdout;
    assert!(history.contains(&new) && !history.contains(&old), "{history}");
}

#[test]
fn a_lock_that_stays_is_no_reason_to_forget_when_started_again() {
    let (scene, daemon) = settled();
    drop(daemon);
    let lists = scene.platform.calls_to("list").len();
    scene.tree.write(".git/index.lock", "");
    scene.declare("ws_one", &[A]);
    let host = scene.state.join("host.toml");
    std::fs::write(&host, "[daemon]\nsettle = \"0s\"\n").unwrap();
    let mut service_manager = Datagrams::at(&scene.state.join("notify.socket"));
    let daemon = scene
        .command(&["run", "--interval", "1h", "--config", host.to_str().unwrap()])
        .env("NOTIFY_SOCKET", service_manager.path().as_os_str())
        .spawn();
    until_loaded(&mut service_manager);
    // The second load finds what the first one found, and would count if not for the lock. The third one
    // begins after the second one was acted on.
    for _ in 0..2 {
        daemon.signal("HUP");
        until_loaded(&mut service_manager);
    }
    let counted = service_manager.heard().into_iter().find(|heard| heard.contains("in 1 workspace"));
    assert_eq!(counted, None, "{}", daemon.stderr());
    assert_eq!(scene.platform.calls_to("list").len(), lists, "{}", daemon.stderr());
    assert_eq!(scene.platform.calls_to("cleanup").len(), 0);
    scene.tree.remove(".git/index.lock");
    until("the checkout is whole", || scene.holds("ws_one", &[A]));
}

#[test]
fn a_burst_of_saves_ends_in_what_the_last_one_says() {
    let (scene, daemon) = settled();
    for n in 0..40 {
        scene.declare("ws_one", &[A, ("beta", &format!("b{n}.example.com"))]);
    }
    until("the last save counts", || scene.holds("ws_one", &[A, ("beta", "b39.example.com")]));
    drop(daemon);
}

#[test]
fn a_swapped_symlink_is_followed() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let versions = wellspring_testkit::Tree::new();
    let link = versions.join("current");
    std::os::unix::fs::symlink(scene.tree.path(), &link).unwrap();
    let daemon = wellspring_testkit::Wellspring::new()
        .args(["run", "--interval", "1h", "-C"])
        .arg(&link)
        .arg("--state-dir")
        .arg(scene.state.path())
        .platform(&scene.platform)
        .spawn();
    until("the first version is served", || scene.holds("ws_one", &[A]));
    let next = wellspring_testkit::Tree::with(&[
        ("wellspring.toml", &scene.tree.read("wellspring.toml")),
        ("workspaces/ws_one.toml", &wellspring_testkit::workspace_file("ws_one", &[B])),
    ]);
    std::os::unix::fs::symlink(next.path(), versions.join("new")).unwrap();
    std::fs::rename(versions.join("new"), &link).unwrap();
    until("the second version is served", || scene.holds("ws_one", &[B]));
    drop(daemon);
}

#[test]
fn a_mounted_config_map_is_followed_through_its_swaps() {
    let scene = Scene::new();
    let mount = wellspring_testkit::Tree::new();
    let settings = scene.tree.read("wellspring.toml");
    // Files are links into `..data`, a link that is replaced.
    let publish = |revision: &str, sources: &[(&str, &str)]| {
        mount.write(&format!("..{revision}/wellspring.toml"), &settings);
        mount.write(
            &format!("..{revision}/ws_one.toml"),
            &wellspring_testkit::workspace_file("ws_one", sources),
        );
        std::os::unix::fs::symlink(format!("..{revision}"), mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    publish("1", &[A]);
    for file in ["wellspring.toml", "ws_one.toml"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), mount.join(file)).unwrap();
    }
    let daemon = wellspring_testkit::Wellspring::new()
        .args(["run", "--interval", "1h", "-C"])
        .arg(mount.path())
        .arg("--state-dir")
        .arg(scene.state.path())
        .platform(&scene.platform)
        .spawn();
    until("the first is served", || scene.holds("ws_one", &[A]));
    publish("2", &[A, B]);
    mount.remove("..1");
    until("the second is served", || scene.holds("ws_one", &[A, B]));
    publish("3", &[B]);
    mount.remove("..2");
    until("the third is served", || scene.holds("ws_one", &[B]));
    drop(daemon);
}
