//! Simulated network between the client and the model's platform, with faults.

use crate::world::{Answer, Arrived, World, refusal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use wellspring::client::{InProcess, InProcessFailure};

/// The network, the clock and the time of the process's death.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) world: Arc<Mutex<World>>,
    started: tokio::time::Instant,
    /// Number of points until the process dies.
    dies_in: Arc<Mutex<Option<usize>>>,
    pub(crate) died: Arc<Notify>,
}

/// Panic payload when the process dies at a point without an await.
pub(crate) struct Died;

/// Fate of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Deliver,
    NotSent,
    LostBefore,
    LostAfter,
    Late(u64),
    Twice,
    TwiceLate(u64),
    Refused(u16),
    ActsThen(u16),
    Garbled,
    OddList(usize),
    /// The list contains nothing that was written since the beginning.
    Lagging,
}

const SETTLE: u64 = 5_000;

impl Wire {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
            started: tokio::time::Instant::now(),
            dies_in: Arc::default(),
            died: Arc::default(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.wake(self.elapsed());
        world
    }

    /// Returns the milliseconds since the history began.
    pub(crate) fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap()
    }

    pub(crate) fn dies_in(&self, points: Option<usize>) {
        *self.dies_in.lock().unwrap_or_else(PoisonError::into_inner) = points;
    }

    /// Returns true if the process dies at this point.
    fn dies_now(&self) -> bool {
        let mut left = self.dies_in.lock().unwrap_or_else(PoisonError::into_inner);
        match left.as_mut() {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// A point without an await, where the process may die.
    pub(crate) fn point(&self) {
        if self.dies_now() {
            std::panic::resume_unwind(Box::new(Died));
        }
    }

    /// Returns the platform as an in-process backend.
    pub(crate) fn platform(&self) -> InProcess {
        let wire = self.clone();
        Arc::new(move |request| {
            let wire = wire.clone();
            Box::pin(async move { wire.carry(&request).await })
        })
    }

    async fn carry(&self, request: &reqwest::Request) -> Result<reqwest::Response, InProcessFailure> {
        let endpoint = request.url().path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let body = serde_json::from_slice(body).unwrap_or_default();
        let dies = self.dies_now();
        let result = {
            let mut world = self.world();
            let arrived = Arrived {
                endpoint,
                body,
                decided: world.listed.unwrap_or_default(),
                epoch: world.epoch,
                late: false,
            };
            world.inspect(&arrived);
            let fate = fate(&mut world, &arrived.endpoint, dies);
            world.note(format_args!("{} {} -> {fate:?}", arrived.endpoint, arrived.body));
            meets(&mut world, &arrived, fate)
        };
        if dies {
            self.died.notify_one();
            return std::future::pending().await;
        }
        result
    }
}

fn fate(world: &mut World, endpoint: &str, dies: bool) -> Fate {
    if let Some(at) = world.script.iter().position(|(of, _)| *of == endpoint) {
        return world.script.remove(at).1;
    }
    let very_late = world.semantics.very_late;
    let lateness = |world: &mut World| {
        let longest =
            if very_late { 60_000 } else { SETTLE.saturating_sub(world.semantics.lag + 100).max(1) };
        world.chance.below(longest as usize) as u64
    };
    if dies {
        let late = lateness(world);
        return world.chance.one_of(&[Fate::LostBefore, Fate::LostAfter, Fate::Late(late)]);
    }
    if !world.faulty || !world.chance.percent(25) {
        return Fate::Deliver;
    }
    let late = lateness(world);
    if endpoint == "list" {
        let odd = world.chance.below(10);
        return world.chance.one_of(&[
            Fate::LostBefore,
            Fate::NotSent,
            Fate::Refused(500),
            Fate::OddList(odd),
        ]);
    }
    world.chance.one_of(&[
        Fate::NotSent,
        Fate::LostBefore,
        Fate::LostBefore,
        Fate::LostAfter,
        Fate::LostAfter,
        Fate::LostAfter,
        Fate::Late(late),
        Fate::Late(late),
        Fate::Twice,
        Fate::TwiceLate(late),
        Fate::Refused(429),
        Fate::Refused(503),
        Fate::Refused(500),
        Fate::Refused(422),
        Fate::Refused(403),
        Fate::ActsThen(500),
        Fate::ActsThen(504),
        Fate::ActsThen(503),
        Fate::ActsThen(429),
        Fate::ActsThen(403),
        Fate::ActsThen(413),
        Fate::ActsThen(400),
        Fate::Garbled,
    ])
}

fn meets(world: &mut World, arrived: &Arrived, fate: Fate) -> Result<reqwest::Response, InProcessFailure> {
    let is_list = arrived.endpoint == "list";
    let late = |world: &mut World, after: u64| {
        let at = world.now + after;
        world.late.push((at, Arrived { late: true, ..arrived.clone() }));
    };
    if arrived.endpoint == "sync" && !matches!(fate, Fate::NotSent | Fate::Refused(429)) {
        world.spend(arrived);
    }
    if is_list {
        world.listed = None;
    }
    match fate {
        Fate::Deliver => Ok(answer(world.act(arrived))),
        Fate::NotSent => Err(InProcessFailure::NotSent),
        Fate::LostBefore => Err(InProcessFailure::Lost),
        Fate::LostAfter => {
            if !is_list {
                world.act(arrived);
            }
            Err(InProcessFailure::Lost)
        }
        Fate::Late(after) => {
            if !is_list {
                late(world, after);
            }
            Err(InProcessFailure::Lost)
        }
        Fate::Twice => {
            let first = world.act(arrived);
            let second = world.act(arrived);
            Ok(answer(if world.chance.percent(50) { first } else { second }))
        }
        Fate::TwiceLate(after) => {
            late(world, after);
            Ok(answer(world.act(arrived)))
        }
        Fate::Refused(status) => Ok(answer(refusal(status, "not now"))),
        Fate::ActsThen(status) => {
            world.act(arrived);
            let (_, body) = refusal(status, "something broke");
            // The platform itself does not do what it says it is too busy for.
            let body = if status == 429 { "too many requests".to_owned() } else { body.to_string() };
            Ok(axum::http::Response::builder().status(status).body(body.into_bytes()).unwrap().into())
        }
        Fate::Garbled => {
            world.act(arrived);
            Ok(respond(200, b"<html>".to_vec()))
        }
        Fate::Lagging => {
            world.listed = Some(0);
            Ok(answer((200, serde_json::json!({"status": "success", "message": "", "data": []}))))
        }
        Fate::OddList(kind) => {
            let (_, mut list) = world.act(arrived);
            if kind >= 6 {
                return Ok(unmarked(world, list, kind));
            }
            world.listed = None;
            match kind {
                0 => list["data"] = serde_json::Value::Null,
                1 => list["next_page"] = "2".into(),
                2 => list["errors"] = serde_json::json!(["a shard is down"]),
                3 => list["status"] = "error".into(),
                4 => list["data"] = serde_json::json!([{"type": "database"}]),
                _ => {
                    let text = list.to_string();
                    return Ok(respond(200, text.as_bytes()[..text.len() - 3].to_vec()));
                }
            }
            Ok(answer((200, list)))
        }
    }
}

/// Returns a wrong list without a sign of it: truncated, empty, or with other ids.
fn unmarked(world: &mut World, mut list: serde_json::Value, kind: usize) -> reqwest::Response {
    // Exemption: hidden rows could not be known.
    world.listed = Some(0);
    let rows = list["data"].as_array_mut().unwrap();
    match kind {
        6 => rows.truncate(rows.len() / 2),
        7 => rows.clear(),
        8 => drop(rows.drain(..rows.len() / 2)),
        _ => rows.iter_mut().filter(|row| row["id"].is_string()).for_each(|row| row["id"] = 10_000.into()),
    }
    answer((200, list))
}

fn answer((status, body): Answer) -> reqwest::Response {
    respond(status, body.to_string().into_bytes())
}

fn respond(status: u16, body: Vec<u8>) -> reqwest::Response {
    let mut response = axum::http::Response::builder().status(status);
    if status == 429 || status == 503 {
        response = response.header("retry-after", "7");
    }
    response.body(body).unwrap().into()
}
