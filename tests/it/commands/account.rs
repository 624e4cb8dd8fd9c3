//! A platform that speaks the account dialect is named as such, and receives no secret.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex};
use wellspring_testkit::{Background, Scene, json};

/// Requests other than lists, as method and path.
type Others = Arc<Mutex<Vec<String>>>;

/// Lists one account with another's password in plain text, and knows no workspaces.
async fn answer(State(others): State<Others>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET && path.ends_with("/api/v1/data/list") {
        let row = r#"{"id":3,"bind_annotation":"@bind('x','postgres','password=canary-stranger')"}"#;
        return format!(r#"{{"status":"success","message":"","data":[{row}]}}"#).into_response();
    }
    if !path.ends_with("/list") {
        others.lock().unwrap().push(format!("{} {path}", request.method()));
    }
    (StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#).into_response()
}

#[test]
fn an_account_platform_is_named_and_receives_no_secret() {
    let others = Others::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&others));
    let server = Background::serve(async move |listener| axum::serve(listener, router).await.unwrap());
    let url = format!("http://{}/jarvispy/org/user", server.address);
    let scene = Scene::new();
    scene.declare("ws", &[("orders", "db.example.com")]);
    for args in
        [&["plan"][..], &["apply", "-y"], &["test"], &["plan", "--test"], &["pull", "ws"], &["doctor"]]
    {
        let run = scene.command(args).args(["--url", &url]).run();
        assert_eq!(run.code, Some(1), "{args:?}: {run:#?}");
        let all = run.stdout + &run.stderr;
        assert!(all.contains("speaks the account dialect"), "{args:?}: {all}");
        assert!(!all.contains("canary-stranger"), "{args:?}: {all}");
    }
    let plan = scene.command(&["plan", "--format", "json"]).args(["--url", &url]).run();
    assert_eq!(json(&plan.stdout)["workspaces"][0]["error"]["kind"], "dialect", "{plan:#?}");
    assert_eq!(*others.lock().unwrap(), [""; 0], "nothing but lists");
}
