//! A webhook that receives notifications.

use super::{Background, until};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// A webhook that records notifications.
///
/// Responds with the given statuses first, then 200.
pub struct Receiver {
    background: Background,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    bodies: Vec<String>,
    answers: VecDeque<u16>,
}

impl Receiver {
    pub fn start(answers: &[u16]) -> Self {
        let kept =
            Arc::new(Mutex::new(Kept { answers: answers.iter().copied().collect(), ..Kept::default() }));
        let shared = Arc::clone(&kept);
        let background = Background::serve(async move |listener| {
            let router = Router::new().fallback(receive).with_state(shared);
            axum::serve(listener, router).await.unwrap();
        });
        Self { background, kept }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks/s3cret-path", self.background.address)
    }

    /// Returns the accepted bodies.
    pub fn texts(&self) -> Vec<String> {
        self.kept.lock().unwrap().bodies.clone()
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.texts().iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    pub fn events(&self) -> Vec<String> {
        let event = |body: Value| {
            format!("{} {}", body["event"].as_str().unwrap(), body["message"].as_str().unwrap())
        };
        self.bodies().into_iter().map(event).collect()
    }

    pub fn until(&self, event: &str, part: &str) {
        until(&format!("{event}: {part}"), || {
            self.events().iter().any(|told| told.starts_with(event) && told.contains(part))
        });
    }
}

async fn receive(State(kept): State<Arc<Mutex<Kept>>>, body: String) -> StatusCode {
    let mut kept = kept.lock().unwrap();
    let status = kept.answers.pop_front().unwrap_or(200);
    if status == 200 {
        kept.bodies.push(body);
    }
    StatusCode::from_u16(status).unwrap()
}
