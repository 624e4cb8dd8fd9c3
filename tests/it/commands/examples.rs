//! Tests of the examples: each validates, plans and syncs with the server it names.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use wellspring::platform::{stored_rows, stored_table_rows};
use wellspring_testkit::Quickstart;
use wellspring_testkit::servers::servers;

/// Variables that the headers of the examples require.
const VARIABLES: [(&str, &str); 2] = [("HARBOUR_TOKEN", "spring-tide"), ("ORCHARD_PASSWORD", "windfall")];

/// Runs a command with these variables; returns its JSON output.
#[track_caller]
fn json_of(copy: &Quickstart, args: &[&str]) -> Value {
    let command = copy.command(args).args(["--format", "json"]);
    let done = VARIABLES.iter().fold(command, |command, (name, value)| command.env(name, value)).run();
    assert_eq!(done.code, Some(0), "{args:?} {done:#?}");
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn every_example_validates_and_plans_what_it_declares() {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir("examples").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let copy = Quickstart::of(&name);
        assert_eq!(json_of(&copy, &["validate"])["errors"], json!([]), "{name}");
        let declared = json_of(&copy, &["show"])["sources"].as_array().unwrap().len();
        let plan = json_of(&copy, &["plan"]);
        assert_eq!(
            (&plan["complete"], &plan["summary"]["connect"]),
            (&json!(true), &json!(declared)),
            "{name}"
        );
        assert!(declared > 1, "{name}");
        seen.push(name);
    }
    seen.sort();
    assert_eq!(seen, ["postgres", "quickstart", "rest-api"]);
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_rest_api_example_reads_every_page_of_its_server() {
    let copy = Quickstart::of("rest-api");
    let mut child = Command::new("python3")
        .arg(copy.tree.join("server.py"))
        .arg("0")
        .env("HARBOUR_TOKEN", VARIABLES[0].1)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let _server = Server(child);
    copy.edit("workspaces/harbour.toml", "http://127.0.0.1:8790/v1", url.trim());

    json_of(&copy, &["apply", "-y"]);
    json_of(&copy, &["sync"]);
    let rows = |name| stored_rows(&copy.storage(), "ws_harbour", "user", name).unwrap();
    let codes: Vec<_> = rows("gauges").iter().map(|row| row["code"].clone()).collect();
    assert_eq!(codes, ["NOR", "FER", "LCK", "RIV", "ISL"]);
    let readings = rows("readings");
    assert!(readings.len() >= 500 && readings.len() % 5 == 0, "{}", readings.len());
    assert!(readings.iter().all(|row| row["height_m"].is_number() && row["rising"].is_boolean()));
}

#[test]
fn the_postgres_example_reads_its_database_as_it_grows() {
    let copy = Quickstart::of("postgres");
    let url: reqwest::Url = servers().postgres.parse().unwrap();
    let (host, port) = (url.host_str().unwrap().to_owned(), url.port().unwrap().to_string());
    let psql = |database: &str, args: &[&str]| {
        let done = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                &host,
                "-p",
                &port,
                "-U",
                url.username(),
                "-d",
                database,
            ])
            .args(args)
            .env("PGPASSWORD", url.password().unwrap())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    psql("postgres", &["-c", "DROP DATABASE IF EXISTS orchard", "-c", "DROP ROLE IF EXISTS reader"]);
    psql("postgres", &["-f", copy.tree.join("orchard.sql").to_str().unwrap()]);
    copy.edit("wellspring.toml", "port = 5433", &format!("port = {port}"));

    json_of(&copy, &["apply", "-y"]);
    let synced = |source: &str| json_of(&copy, &["sync", source]);
    for source in ["orchard/trees", "orchard/harvest", "orchard/yield"] {
        synced(source);
    }
    let rows = |name| stored_rows(&copy.storage(), "ws_orchard", "user", name).unwrap();
    assert_eq!(rows("harvest").len(), 600);
    assert!(!rows("yield").is_empty());
    let trees = stored_table_rows(&copy.storage(), "ws_orchard", "user", "trees").unwrap();
    let of = |table: &str| trees.iter().filter(|(name, _)| name == table).count();
    assert_eq!((of("varieties"), of("trees")), (3, 96));

    psql("orchard", &["-c", "INSERT INTO baskets (tree, kilograms) VALUES (7, 9.125), (8, 10)"]);
    synced("orchard/harvest");
    assert_eq!(rows("harvest").len(), 602);
}
