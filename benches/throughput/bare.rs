//! Yardstick: *bare*, a client without state, without checks, and without a second look.
//!
//! Reads the files, lists each workspace, and connects or cleans up what differs. It believes every answer, and
//! understands the files of the benchmark only.

use super::measure::{self, Used};
use super::platform::TOKEN;
use super::workload::{PASSWORD, VARIABLE};
use super::yardstick::{CONNECTIONS, receive};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

/// Runs *bare* in a separate process, as Wellspring is run.
pub(crate) fn bare(url: &str, root: &Path) -> Used {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["bare", url]).arg(root);
    measure::run(&command)
}

/// Entry point of the process that [`bare`] starts.
pub(crate) fn be_bare(arguments: &[String]) {
    let [url, root] = arguments else { panic!("{arguments:?}") };
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.filter(|path| !path.ends_with("wellspring.toml")).collect();
    let (host, base) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (host, base): (Arc<str>, Arc<str>) = (host.into(), base.into());
    let (files, next) = (Arc::new(files), Arc::new(AtomicUsize::new(0)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS.min(files.len()) {
            let (host, base) = (Arc::clone(&host), Arc::clone(&base));
            let (files, next) = (Arc::clone(&files), Arc::clone(&next));
            tasks.spawn(async move {
                let stream = TcpStream::connect(&*host).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut calls = Calls { stream, host, base };
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    converge(&mut calls, &std::fs::read_to_string(file).unwrap()).await;
                }
            });
        }
        tasks.join_all().await;
    });
}

async fn converge(calls: &mut Calls, text: &str) {
    let Declared { workspace, mut sources, .. } = Declared::of(text);
    let answer = calls.call("GET", &workspace, "list?scope=user", "").await;
    let List { data } = serde_json::from_slice(body_of(&answer)).unwrap();
    let rows: HashMap<&str, &Row<'_>> = data.iter().map(|row| (row.name, row)).collect();
    let declared: HashMap<&str, &SourceText> =
        sources.iter().map(|source| (source.name.as_str(), source)).collect();
    let gone: Vec<&str> =
        data.iter().filter(|row| !declared.contains_key(row.name)).map(|row| row.id).collect();
    if !gone.is_empty() {
        let body = serde_json::json!({"scope": "user", "source_ids": gone}).to_string();
        calls.call("POST", &workspace, "cleanup", &body).await;
    }
    sources.retain(|source| rows.get(source.name.as_str()).is_none_or(|row| !source.is_shown_by(row)));
    for batch in sources.chunks(100) {
        let rows: Vec<String> = batch.iter().map(SourceText::json).collect();
        let body = format!("{{\"scope\":\"user\",\"sources\":[{}]}}", rows.join(","));
        calls.call("POST", &workspace, "connect", &body).await;
    }
}

struct Calls {
    stream: TcpStream,
    host: Arc<str>,
    base: Arc<str>,
}

impl Calls {
    async fn call(&mut self, method: &str, workspace: &str, call: &str, body: &str) -> Vec<u8> {
        let (host, base, length) = (&self.host, &self.base, body.len());
        let request = format!(
            "{method} /{base}/api/v1/data/{workspace}/{call} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer \
             {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        receive(&mut self.stream, &mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        answer
    }
}

fn body_of(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    &answer[end + 4..]
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    data: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(borrow)]
    connection_config: &'a RawValue,
    metadata: &'a RawValue,
}

/// A source as JSON; `config` and `metadata` are objects.
#[derive(Default)]
struct SourceText {
    name: String,
    kind: String,
    config: String,
    metadata: String,
}

impl SourceText {
    fn json(&self) -> String {
        let Self { name, kind, config, metadata } = self;
        format!(
            "{{\"type\":{kind},\"name\":\"{name}\",\"connection_config\":{config},\"metadata\":{metadata}}}"
        )
    }

    fn is_shown_by(&self, row: &Row<'_>) -> bool {
        self.config == row.connection_config.get() && self.metadata == row.metadata.get()
    }
}

/// The content of a file, written from the parser's events.
struct Declared<'a> {
    text: Source<'a>,
    workspace: String,
    sources: Vec<SourceText>,
    is_header: bool,
    /// Parts of the current header.
    header: Vec<String>,
    key: String,
    is_inline: bool,
}

impl<'a> Declared<'a> {
    fn of(text: &'a str) -> Self {
        let mut declared = Self {
            text: Source::new(text),
            workspace: String::new(),
            sources: Vec::new(),
            is_header: false,
            header: Vec::new(),
            key: String::new(),
            is_inline: false,
        };
        let tokens = declared.text.lex().into_vec();
        parse_document(&tokens, &mut declared, &mut |error: ParseError| panic!("{error:?}"));
        for source in &mut declared.sources {
            source.config.push('}');
        }
        declared
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'a> {
        Raw::new_unchecked(&self.text.input()[span.start()..span.end()], encoding, span)
    }
}

impl EventReceiver for Declared<'_> {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.is_header = true;
        self.header.clear();
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.is_header = false;
        if let [_, name] = self.header.as_slice() {
            let config = "{".to_owned();
            self.sources.push(SourceText { name: name.clone(), config, ..SourceText::default() });
        }
    }

    fn inline_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) -> bool {
        self.is_inline = true;
        self.sources.last_mut().unwrap().metadata.push('{');
        true
    }

    fn inline_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.is_inline = false;
        self.sources.last_mut().unwrap().metadata.push('}');
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let mut key = String::new();
        self.raw(span, encoding).decode_key(&mut key, errors);
        if self.is_header { self.header.push(key) } else { self.key = key }
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let mut text = String::new();
        let is_text = self.raw(span, encoding).decode_scalar(&mut text, errors) == ScalarKind::String;
        let value = match text.strip_prefix("${").and_then(|text| text.strip_suffix('}')) {
            Some(name) if name == VARIABLE => format!("\"{PASSWORD}\""),
            _ if is_text => serde_json::to_string(&text).unwrap(),
            _ => text,
        };
        let Some(source) = self.sources.last_mut() else {
            return value.trim_matches('"').clone_into(&mut self.workspace);
        };
        let object = match self.header.len() {
            3 => &mut source.config,
            _ if self.is_inline => &mut source.metadata,
            _ => return source.kind = value,
        };
        let comma = if object.len() > 1 { "," } else { "" };
        object.extend([comma, "\"", &self.key, "\":", &value]);
    }
}
