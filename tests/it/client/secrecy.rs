//! Tests that secrets are sent only in the request that needs them.

use super::*;
use std::io::Write;
use std::sync::Mutex;
use tracing_subscriber::fmt::MakeWriter;
use wellspring_testkit::{Fault, FaultProxy, Platform, Recorded, Wire};

const TOKEN: &str = "canary-token-5f2e";
const PASSWORD: &str = "canary-password-77ab";
const ECHOED: &str = "canary-echoed-c0de";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Makes all calls with all kinds of responses.
///
/// Returns everything that was logged or reported.
async fn everything_said(platform: &Platform) -> String {
    let proxy = FaultProxy::before(&platform.url());
    let settings = settings(&proxy.url(), TOKEN);
    let mut said = format!("{settings:?}");
    let writer = ApiWriter::new(&ApiReader::new(settings).unwrap());
    let crm =
        source("crm", json!({"host": "h", "password": PASSWORD, "dsn": format!("db://u:{PASSWORD}@h")}));
    let repeated = format!("login with {PASSWORD} failed, token {TOKEN}");
    let faults = [400, 401, 403, 409, 422, 429, 500, 503].map(|status| Fault::status(status, &repeated));
    let spoken =
        json!({"status": "success", "message": repeated, "data": {"errors": [{"message": repeated}]}});
    let quoted = format!(r#"{{"status":"{PASSWORD}","message":"{TOKEN}","data":"{ECHOED}"}}"#);
    let odd_row = format!(r#"{{"status":"success","data":[{{"name":{{"x":"{ECHOED}"}}}}]}}"#);
    let faults = faults.into_iter().chain([
        Fault::json(200, &spoken),
        Fault::body(200, "application/json", quoted),
        Fault::body(200, "application/json", odd_row),
        Fault::body(200, "text/html", format!("<html>{PASSWORD} {TOKEN} {ECHOED}</html>")),
        Fault::status(302, "").header("location", &format!("https://x.example/?{TOKEN}")),
    ]);
    let row = json!({"name": "crm", "connection_config": {"password": ECHOED}});
    let usual = Fault::json(200, &json!({"status": "success", "message": "", "data": [row]}));
    for fault in faults.chain([usual]) {
        for endpoint in ["list", "schema", "test-connection", "connect", "cleanup", "sync"] {
            platform.script_always(endpoint, fault.clone());
        }
        proxy.script([Wire::SwallowAnswer]);
        let listed = writer.reader().list(&workspace_ref()).await;
        said += &format!("{listed:?}");
        let errors = [
            listed.err(),
            writer.reader().schema(&workspace_ref(), &id(json!(1))).await.err(),
            writer.cleanup(&workspace_ref(), &one(json!(1))).await.err(),
            writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.err(),
        ];
        for error in errors.into_iter().flatten() {
            said += &format!("{error} {error:?}");
        }
        said += &format!("{:?}", writer.connect(&workspace_ref(), &NonEmpty::one(&crm)).await);
        said += &format!("{:?}", writer.reader().test_connection(&workspace_id(), &crm).await);
    }
    said
}

#[tokio::test]
async fn no_secret_is_ever_said_or_logged_at_the_finest_level() {
    let platform = Platform::start();
    platform.set_token(TOKEN);
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // While only one subscriber exists, a log statement first reached by a test on another thread is disabled
    // permanently. A second subscriber prevents that.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(subscriber);
    let said = everything_said(&platform).await;
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("called the platform") && log.contains("test-connection"), "{log}");
    assert!(said.contains("message withheld"), "{said}");
    for secret in [TOKEN, PASSWORD, ECHOED] {
        let leak = [&log, &said].into_iter().flat_map(|text| text.lines()).find(|line| line.contains(secret));
        assert_eq!(leak, None);
    }
    // The canaries must have been sent with the requests.
    let sent = |canary: &str, call: &Recorded| {
        String::from_utf8_lossy(&call.body).contains(canary)
            || call.headers.get("authorization").is_some_and(|value| value.to_str().unwrap().contains(canary))
    };
    for canary in [TOKEN, PASSWORD] {
        assert!(platform.calls().iter().any(|call| sent(canary, call)));
    }
}

#[tokio::test]
async fn where_the_secrets_cannot_be_told_no_message_is_shown() {
    let platform = Platform::start();
    platform.script_always("list", Fault::status(422, "no login with hunter22"));
    let reader = writer(&platform).reader().clone();
    reader.register_secrets(&workspace_ref(), || panic!("it cannot be told"));
    let asking = reader.clone();
    assert!(tokio::spawn(async move { asking.list(&workspace_ref()).await }).await.is_err());
    let text = reader.list(&workspace_ref()).await.unwrap_err().to_string();
    assert!(text.contains("message withheld") && !text.contains("hunter22"), "{text}");
    reader.register_secrets(&workspace_ref(), Vec::new);
    let text = reader.list(&workspace_ref()).await.unwrap_err().to_string();
    assert!(text.contains("no login with hunter22"), "the next plan tells them anew: {text}");
}

#[tokio::test]
async fn a_platforms_text_cannot_steer_the_terminal() {
    let platform = Platform::start();
    let message = format!("a\u{1b}[2J\u{202e}\r\nb{}", "x".repeat(100_000));
    platform.script_always("list", Fault::status(422, &message));
    let text = writer(&platform).reader().list(&workspace_ref()).await.unwrap_err().to_string();
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r', '\n']), "{text}");
    assert!(text.len() < 1000, "{}", text.len());
}
