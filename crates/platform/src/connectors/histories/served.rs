//! Provides an API on loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::Value;

const PAGE_SIZE: usize = 3;

/// API with numbered pages, which runs as long as the tests.
pub(super) struct Api {
    address: SocketAddr,
    records: Arc<Mutex<Vec<Value>>>,
}

impl Api {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Self { address: listener.local_addr().unwrap(), records: Arc::default() };
        let records = Arc::clone(&api.records);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = BufReader::new(&stream).lines().map(Result::unwrap);
                // The client may open a connection without using it.
                let Some(asked) = head.next() else { continue };
                head.find(String::is_empty).unwrap();
                let page = asked.split_once("page=").unwrap().1.split(' ').next().unwrap();
                let start = (page.parse::<usize>().unwrap() - 1) * PAGE_SIZE;
                let page: Value =
                    records.lock().unwrap().iter().skip(start).take(PAGE_SIZE).cloned().collect();
                let body = page.to_string();
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        api
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn serve(&self, records: Vec<&Value>) {
        *self.records.lock().unwrap() = records.into_iter().cloned().collect();
    }
}
