//! A platform on a free port with its own directories, and a client with its token.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use wellspring::platform::{
    AddressConflict, NameConflict, PlatformConfig, Running, Storage, start, stored_rows, stored_table_rows,
};

pub(crate) const TOKEN: &str = "a-token-of-the-tests";

pub(crate) struct House {
    pub(crate) running: Option<Running>,
    pub(crate) base: String,
    place: TempDir,
    client: reqwest::Client,
}

/// Options of an incremental sync.
pub(crate) fn incremental() -> Value {
    json!({ "incremental": true })
}

/// Options of an incremental sync by a cursor.
pub(crate) fn by(cursor: &str) -> Value {
    json!({ "incremental": true, "cursor": cursor })
}

/// Status code and envelope.
pub(crate) type Reply = (u16, Value);

impl House {
    pub(crate) async fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap()).await
    }

    /// Creates a platform in memory if possible, because many syncs wait for the disk.
    pub(crate) async fn quick() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self::at(place.unwrap()).await
    }

    async fn at(place: TempDir) -> Self {
        std::fs::create_dir(place.path().join("data")).unwrap();
        let client = reqwest::Client::new();
        let mut house = Self { running: None, base: String::new(), place, client };
        house.start().await;
        house
    }

    pub(crate) async fn start(&mut self) {
        let running = start(self.config()).await.unwrap();
        self.base = running.base_url();
        self.running = Some(running);
    }

    pub(crate) fn config(&self) -> PlatformConfig {
        PlatformConfig { storage: Storage::Directory(self.storage()), ..in_memory(&self.data()) }
    }

    pub(crate) async fn restart(&mut self) {
        self.running.take().unwrap().stop().await;
        self.start().await;
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.place.path().join("storage")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    pub(crate) fn outside(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.data().join(name), content).unwrap();
    }

    pub(crate) fn append(&self, name: &str, content: &str) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).open(self.data().join(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    pub(crate) fn sqlite(&self, name: &str, sql: &str) {
        rusqlite::Connection::open(self.data().join(name)).unwrap().execute_batch(sql).unwrap();
    }

    pub(crate) async fn post(&self, endpoint: &str, body: &Value) -> Reply {
        self.post_to(&format!("/api/v1/data/ws/{endpoint}"), body).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: &Value) -> Reply {
        let call = self.client.post(format!("{}{path}", self.base)).bearer_auth(TOKEN);
        reply(call.json(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.client.get(format!("{}{path}", self.base)).bearer_auth(TOKEN)).await
    }

    /// Connects one source and returns its id.
    pub(crate) async fn connect(&self, name: &str, kind: &str, config: Value) -> String {
        let body = json!({ "sources": [{ "type": kind, "name": name, "connection_config": config }] });
        let (code, answer) = self.post("connect", &body).await;
        assert_eq!(code, 200, "{answer}");
        answer["data"]["connected_sources"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Syncs one source and returns the number of processed records.
    pub(crate) async fn sync(&self, id: &str, options: Value) -> u64 {
        let (code, answer) = self.post("sync", &json!({ "source_ids": [id], "sync_options": options })).await;
        assert_eq!((code, answer["status"].as_str()), (200, Some("success")), "{answer}");
        answer["data"]["records_processed"].as_u64().unwrap()
    }

    /// Returns the error message of a failing sync of one source.
    pub(crate) async fn sync_failure(&self, id: &str) -> String {
        let (code, answer) = self.post("sync", &json!({ "source_ids": [id] })).await;
        assert_eq!((code, answer["status"].as_str()), (200, Some("error")), "{answer}");
        answer["data"]["errors"][0]["message"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn list(&self) -> Vec<Value> {
        let (code, answer) = self.get("/api/v1/data/ws/list").await;
        assert_eq!(code, 200, "{answer}");
        answer["data"].as_array().unwrap().clone()
    }

    pub(crate) async fn test(&self, kind: &str, config: Value) -> Reply {
        let body = json!({ "source_config": { "type": kind, "connection_config": config } });
        self.post("test-connection", &body).await
    }

    pub(crate) fn rows(&self, name: &str) -> Vec<Value> {
        stored_rows(&self.storage(), "ws", "user", name).unwrap()
    }

    /// Returns the stored rows of a source, sorted as text.
    pub(crate) fn sorted_rows(&self, name: &str) -> Vec<String> {
        let mut rows: Vec<_> = self.rows(name).iter().map(Value::to_string).collect();
        rows.sort();
        rows
    }

    /// Stops the platform as soon as it stores rows of a source; returns the error of the sync.
    pub(crate) async fn stop_during_sync(&mut self, id: &str) -> String {
        let running = self.running.take().unwrap();
        let started = self.storage().join(format!("rows/{id}.db"));
        let stopped = async {
            while !started.exists() {
                tokio::task::yield_now().await;
            }
            running.stop().await;
        };
        tokio::join!(self.sync_failure(id), stopped).0
    }

    pub(crate) fn table_rows(&self, name: &str) -> Vec<(String, Value)> {
        stored_table_rows(&self.storage(), "ws", "user", name).unwrap()
    }
}

/// `wellspring serve` in its own process, on the data directory of a house.
pub(crate) struct Served {
    process: std::process::Child,
    pub(crate) base: String,
}

impl Served {
    pub(crate) fn start(data: &Path, state: &Path, options: &[&str], variables: &[(&str, &str)]) -> Self {
        use std::io::BufRead as _;
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_wellspring"))
            .arg("serve")
            .args(if options.contains(&"--listen") { [].as_slice() } else { &["--listen", "127.0.0.1:0"] })
            .arg("--data-dir")
            .arg(data)
            .arg("--state-dir")
            .arg(state)
            .args(options)
            .env("PMTX_TOKEN", TOKEN)
            .envs(variables.iter().copied())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("export WELLSPRING_URL=").map(str::to_owned));
        Self { process, base: url.expect("it says where it answers") }
    }

    pub(crate) async fn post(&self, endpoint: &str, body: &Value) -> Reply {
        let url = format!("{}/api/v1/data/ws/{endpoint}", self.base);
        reply(reqwest::Client::new().post(url).bearer_auth(TOKEN).json(body)).await
    }

    /// Returns the peak memory use in KiB.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn reply(call: reqwest::RequestBuilder) -> Reply {
    let response = call.send().await.unwrap();
    let code = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    assert!(answer["status"].is_string() && answer["message"].is_string(), "no envelope: {answer}");
    assert!(answer.as_object().unwrap().contains_key("data"), "no data: {answer}");
    (code, answer)
}

/// Returns the configuration of a platform that keeps its rows in memory.
pub(crate) fn in_memory(data: &Path) -> PlatformConfig {
    PlatformConfig {
        storage: Storage::Memory,
        data_dir: data.to_path_buf(),
        listen: "127.0.0.1:0".parse().unwrap(),
        token: TOKEN.into(),
        on_conflict: NameConflict::Replace,
        on_address_conflict: AddressConflict::default(),
        host_overrides: Vec::new(),
    }
}
