//! Tests that a daemon with the manifests' host file serves probes and scrapes.

use super::packaged;
use std::fs;
use wellspring_testkit::{Scene, Site, Wellspring};

const SECRETS: &str = "/etc/wellspring/secrets";

/// Returns the block below `daemon.toml: |` in the manifest.
fn host_file(manifest: &str) -> String {
    let (_, block) = manifest.split_once("  daemon.toml: |\n").unwrap();
    block
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

/// Returns the values of every `key` in the manifest.
fn all<'a>(manifest: &'a str, key: &str) -> Vec<&'a str> {
    let values = manifest.split(key).skip(1);
    values.map(|rest| rest.split([',', '\n', '}']).next().unwrap().trim().trim_matches('"')).collect()
}

#[test]
fn probes_and_scrapes_by_the_pods_address_are_answered() {
    for (name, sources) in [("config-map.yaml", "/etc/wellspring/sources"), ("git-sync.yaml", "/git/current")]
    {
        let manifest = fs::read_to_string(packaged("kubernetes").join(name)).unwrap();
        let scene = Scene::new();
        scene.declare("ws_one", &[("alpha", "a.example.com")]);
        scene.state.write("secrets/pmtx-token", &scene.platform.token());
        let host = host_file(&manifest)
            .replace(sources, scene.tree.path().to_str().unwrap())
            .replace(SECRETS, scene.state.path().join("secrets").to_str().unwrap())
            // A free port, reachable only from this host.
            .replace("0.0.0.0:9780", "127.0.0.1:0");
        scene.state.write("daemon.toml", &host);
        let config = scene.state.path().join("daemon.toml");
        let daemon = Wellspring::new()
            .args(["run", "--config", config.to_str().unwrap(), "--log-format", "json"])
            .env("WELLSPRING_URL", scene.platform.url())
            .env("WELLSPRING_STATE_DIR", scene.state.path().join("state"))
            .spawn();
        assert!(
            manifest.contains("args: [run, --config, /etc/wellspring/host/daemon.toml, --log-format, json]")
        );

        let site = Site::of(&daemon);
        site.until_ready(200);
        let ours = all(&manifest, "port: http");
        assert!(ours.len() >= 2 && manifest.contains("{ name: http, containerPort: 9780 }"), "{name}");
        let probes: Vec<&str> = manifest
            .lines()
            .filter(|line| line.contains("httpGet") && line.contains("port: http"))
            .flat_map(|line| all(line, "path: "))
            .collect();
        assert_eq!(probes, ["/healthz", "/readyz"], "{name}");
        assert_eq!(all(&manifest, "prometheus.io/port: "), ["9780"], "{name}");
        for path in probes.into_iter().chain(all(&manifest, "prometheus.io/path: ")) {
            for pod in ["10.1.2.3:9780", "[fd00::1:2]:9780"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: {pod}\r\nConnection: close\r\n\r\n");
                assert_eq!(site.send(&request).status, 200, "{name}: {path} of {pod}");
            }
        }
    }
}
