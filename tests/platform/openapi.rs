//! The description of the endpoints, and whether they keep to it.

use std::process::Command;

use serde_json::Value;

use super::harness::{House, TOKEN};

#[tokio::test]
async fn the_description_is_shown_to_everyone_and_tells_of_all_six_endpoints() {
    let house = House::new().await;
    let url = format!("{}/openapi.json", house.base);
    let document: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    let endpoints = ["cleanup", "connect", "list", "schema", "sync", "test-connection"];
    assert_eq!(paths, endpoints.map(|name| format!("/data/{{workspace_id}}/{name}")).each_ref());
    assert!(!document.to_string().contains(TOKEN));
    let post = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(post.status(), 405);
}

/// A thousand calls made up from the description, right and wrong ones, by Schemathesis.
#[test]
fn the_endpoints_do_what_their_description_says() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.py");
    let done = Command::new("python3")
        .args([script, env!("CARGO_BIN_EXE_wellspring"), "--no-color"])
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(done.status.success(), "{}", said.concat());
    assert!(said[0].contains("Tested: 6"), "{}", said[0]);
}
