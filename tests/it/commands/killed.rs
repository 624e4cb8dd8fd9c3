//! Tests of kills at any moment: a restart converges, without duplicates or losses.
//!
//! The moments are the requests: each request of an apply is held, before or after the platform acts, and the
//! program is killed there. Between two requests it only uses its own state, whose tests interrupt it at
//! every write.

use wellspring_testkit::{Fault, Gate, Scene, Semantics, Taken, until};

const BEFORE: [(&str, &str); 3] =
    [("alpha", "a.example.com"), ("beta", "b.example.com"), ("gone", "g.example.com")];
const AFTER: [(&str, &str); 3] =
    [("alpha", "new.example.com"), ("beta", "b.example.com"), ("added", "d.example.com")];

/// Constructor of the fault that holds a request.
type Hold = fn(Gate) -> Fault;

/// Kills an apply at its `nth` request to `endpoint`.
///
/// False if it makes no such request.
fn killed(taken: Taken, endpoint: &str, nth: usize, hold: Hold) -> bool {
    let scene = Scene::with(Semantics { taken, ..Semantics::default() });
    scene.declare("ws_one", &BEFORE);
    scene.apply();
    let theirs = scene.someone_adds("ws_one", "upload");
    scene.declare("ws_one", &AFTER);
    scene.platform.forget_calls();
    let gate = Gate::closed();
    for _ in 0..nth {
        let open = Gate::closed();
        open.open();
        scene.platform.script(endpoint, Fault::HoldBeforeActing(open));
    }
    scene.platform.script(endpoint, hold(gate.clone()));
    let mut apply = scene.command(&["apply", "-y"]).spawn();
    let mut reached = false;
    until("it is held or done", || {
        reached = scene.platform.calls_to(endpoint).len() > nth;
        reached || apply.has_ended()
    });
    if !reached {
        assert_eq!(apply.finish().code, Some(0));
        return false;
    }
    apply.signal("KILL");
    assert_eq!(apply.finish().code, None);
    // The request in progress takes effect after all.
    gate.open();
    scene.platform.heal();
    let at = format!("{taken:?}, {endpoint} {nth}");
    let passes: Vec<_> = (0..2).map(|_| scene.wellspring(&["apply", "-y"])).collect();
    let mut wanted: Vec<(&str, &str)> = AFTER.to_vec();
    wanted.push(("upload", "theirs.example.com"));
    assert!(scene.holds("ws_one", &wanted), "{at}: {:#?}\n{passes:#?}", scene.hosts("ws_one"));
    assert!(scene.platform.rows("ws_one", "user").iter().any(|row| row.number == theirs), "{at}");
    scene.platform.forget_calls();
    let last = scene.wellspring(&["apply", "-y"]);
    assert_eq!(last.code, Some(0), "{at}: {last:#?}");
    assert!(scene.platform.writes().is_empty(), "{at}: {last:#?}");
    true
}

fn killed_everywhere(taken: Taken) {
    let mut points = 0;
    // For requests that change nothing, before and after are the same.
    let moments: [(&str, Hold); 5] = [
        ("list", Fault::HoldAfterActing),
        ("connect", Fault::HoldBeforeActing),
        ("connect", Fault::HoldAfterActing),
        ("cleanup", Fault::HoldBeforeActing),
        ("cleanup", Fault::HoldAfterActing),
    ];
    for (endpoint, hold) in moments {
        points += (0..6).take_while(|nth| killed(taken, endpoint, *nth, hold)).count();
    }
    assert!(points >= 6, "only {points} moments");
}

#[test]
fn killed_anywhere_where_a_taken_name_is_updated() {
    killed_everywhere(Taken::Upsert);
}

#[test]
fn killed_anywhere_where_a_taken_name_becomes_a_duplicate() {
    killed_everywhere(Taken::Duplicate);
}

#[test]
fn killed_anywhere_where_a_taken_name_is_refused() {
    killed_everywhere(Taken::Conflict);
}
