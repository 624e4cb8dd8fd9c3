//! Counts the instructions of the pure stages, independent of the machine's load.
//!
//! ```text
//! cargo bench -p wellspring-core --profile counted --bench counts               # prints them
//! cargo bench -p wellspring-core --profile counted --bench counts -- --check    # and fails if one left its band
//! ```
//!
//! Valgrind's callgrind counts this program with one stage run once and run three times; the difference
//! belongs to the stage alone. The compared value is the ratio to a yardstick counted in the same run:
//! parsing a list response into `serde_json::Value`. The ratio is stable across compilers and C libraries.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the benchmark runs valgrind and prints; only the measured code is pure"
)]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run is to stop")]

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use wellspring_core::config::{self, SourceFile};
use wellspring_core::listing;
use wellspring_core::model::{
    Answered, DesiredWorkspace, FingerprintKey, Intent, IntentKind, Inventory, LastApplied, ObservedSource,
};
use wellspring_core::plan::{
    Plan, PlanInput, Quarantine, SecretState, WorkspacePlan, approve, plan, recover,
};
use wellspring_core::report::{self, ReportInput, Style};

/// Instructions of each stage relative to the yardstick.
///
/// Parsing weighs each file and searches for many kinds of secrets; a listing is compared by value and in any
/// order; a plan contains the attributes of new sources. Recovery compares the definition of a row with the one that
/// was sent, because a name proves nothing.
const EXPECTED: [(&str, f64); 5] =
    [("parse", 3.75), ("decode", 0.79), ("reckon", 3.83), ("diff", 0.96), ("render", 8.83)];

/// Maximum relative deviation from the expected ratio.
const BAND: f64 = 0.10;

const SOURCES: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, stage, times] = arguments.as_slice()
        && word == "stage"
    {
        return Stages::new().run(stage, times.parse().unwrap());
    }
    let check = arguments.iter().any(|argument| argument == "--check");
    let yardstick = count("yardstick");
    println!("{:12}{:>22}{:>12}{:>12}", "", "instructions / source", "ratio", "expected");
    println!("{:12}{:>22}{:>12.3}", "yardstick", yardstick / SOURCES as u64, 1.0);
    let mut left = Vec::new();
    for (stage, expected) in EXPECTED {
        let counted = count(stage);
        let ratio = counted as f64 / yardstick as f64;
        println!("{stage:12}{:>22}{ratio:>12.3}{expected:>12.3}", counted / SOURCES as u64);
        if (ratio / expected - 1.0).abs() > BAND {
            left.push(stage);
        }
    }
    if check && !left.is_empty() {
        println!(
            "{} left the band of {:.0} %: make it as it was, or write the new ratio into crates/core/benches/counts.rs and \
             say why",
            left.join(", "),
            BAND * 100.0
        );
        std::process::exit(1);
    }
}

/// Returns the instructions of running a stage once.
fn count(stage: &str) -> u64 {
    let counted = |times: &str| -> u64 {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(std::env::current_exe().unwrap()).args(["stage", stage, times]);
        // Selects the same routines of the C library on every x86-64.
        command.env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-ERMS,-FSRM");
        let output = command.output().expect("valgrind is needed: apt-get install valgrind");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let line = text.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind's sum");
        line.1.trim().parse().unwrap()
    };
    (counted("3") - counted("1")) / 2
}

struct Stages {
    file: String,
    list: String,
    desired: Arc<DesiredWorkspace>,
    listing: Vec<ObservedSource>,
    key: FingerprintKey,
    /// Inventory with an intent to connect every source.
    intents: Inventory,
    /// Inventory in which every source is managed.
    inventory: Inventory,
    /// Plan that connects every source.
    cold: Plan,
    now: Timestamp,
}

impl Stages {
    fn new() -> Self {
        let (file, list) = (file(), list());
        let (desired, listing) = (parsed(&file), listing::parse(list.as_bytes(), None).unwrap());
        let (key, now) = (FingerprintKey::new([7; 32]), Timestamp::UNIX_EPOCH);
        let intents = intents(&desired, &key, now);
        let inventory = settled(&intents, &listing, &key, now);
        let cold = planned(&desired, &[], &Inventory::default(), &key);
        assert_eq!(cold.actions.len(), SOURCES);
        let cold = approve(
            Plan { workspaces: vec![cold], ..Plan::default() },
            &Default::default(),
            &BTreeMap::new(),
        )
        .plan()
        .clone();
        assert_eq!(planned(&desired, &listing, &inventory, &key).unchanged.len(), SOURCES);
        Self { file, list, desired, listing, key, intents, inventory, cold, now }
    }

    fn run(&self, stage: &str, times: usize) {
        for _ in 0..times {
            match stage {
                "yardstick" => {
                    black_box(serde_json::from_str::<serde_json::Value>(black_box(&self.list)).unwrap());
                }
                "parse" => drop(black_box(parsed(black_box(&self.file)))),
                "decode" => drop(black_box(listing::parse(black_box(self.list.as_bytes()), None).unwrap())),
                "reckon" => drop(black_box(settled(&self.intents, &self.listing, &self.key, self.now))),
                "diff" => drop(black_box(planned(&self.desired, &self.listing, &self.inventory, &self.key))),
                "render" => drop(black_box(self.render())),
                other => panic!("no stage `{other}`"),
            }
        }
    }

    fn render(&self) -> String {
        let id = report::plan_id(&self.cold);
        let view = ReportInput {
            plan: &self.cold,
            outcomes: None,
            now: self.now,
            local: None,
            plan_id: &id,
            problems: &Default::default(),
        };
        report::text(&view, &Style { color: false, verbose: false, width: 100 })
    }
}

fn parsed(text: &str) -> Arc<DesiredWorkspace> {
    let files = [SourceFile { path: "ws.toml".into(), text: Ok(text) }];
    let reading = config::read(&files, &|_| None);
    assert!(!reading.has_errors(), "{:?}", reading.diagnostics);
    reading.desired.workspaces[0].open()
}

fn planned(
    desired: &Arc<DesiredWorkspace>,
    listing: &[ObservedSource],
    inventory: &Inventory,
    key: &FingerprintKey,
) -> WorkspacePlan {
    plan(&PlanInput {
        desired,
        listing,
        inventory,
        pending: &Default::default(),
        secrets: &BTreeMap::<_, SecretState>::new(),
        key,
        owner: Some("bench"),
        root: "/tree",
        removals_blocked: None,
        quarantine: &Quarantine::default(),
        upserts: true,
    })
}

fn intents(desired: &DesiredWorkspace, key: &FingerprintKey, now: Timestamp) -> Inventory {
    let intent = |(number, source): (i64, &wellspring_core::model::DesiredSource)| {
        let applied = LastApplied {
            definition: Arc::clone(&source.definition).into(),
            secrets: BTreeMap::new(),
            echo: Default::default(),
            stamp: None,
            key_id: key.id().to_owned(),
            sync: source.sync.clone(),
            sync_since: None,
        };
        let declared = wellspring_core::model::DeclarationHash {
            root: "/tree".to_owned(),
            file: source.at.file.to_string(),
            line: source.at.line,
            protect: source.protect,
        };
        let intent = Intent {
            number,
            name: source.name.clone(),
            key: source.key.clone(),
            kind: IntentKind::Connect(Arc::new(applied)),
            before: Vec::new(),
            list_lacked_ours: false,
            declared: Some(declared),
            recorded_at: now,
            answer: Some(Answered { id: None }),
        };
        (number, intent)
    };
    Inventory { intents: (1..).zip(&desired.sources).map(intent).collect(), ..Inventory::default() }
}

/// Returns the inventory after the listing has confirmed every source.
fn settled(
    intents: &Inventory,
    listing: &[ObservedSource],
    key: &FingerprintKey,
    now: Timestamp,
) -> Inventory {
    recover(intents.clone(), listing, key, (now, SignedDuration::ZERO)).inventory
}

fn file() -> String {
    let mut text = "[workspace]\nid = \"ws\"\n".to_owned();
    for n in 0..SOURCES {
        write!(
            text,
            "\n[sources.orders_{n}]\ntype = \"database\"\nmetadata = {{ description = \"Orders replica {n}\", \
             owner = \"sales-data\" }}\nsync = {{ every = \"6h\" }}\n\n[sources.orders_{n}.connection_config]\n\
             host = \"orders-{n}.db.example.com\"\nport = 5432\ndatabase = \"orders\"\nusername = \"reader\"\n"
        )
        .unwrap();
    }
    text
}

fn list() -> String {
    let row = |n: usize| {
        format!(
            "{{\"id\":\"src_{n}\",\"type\":\"database\",\"name\":\"orders_{n}\",\"connection_config\":{{\
             \"host\":\"orders-{n}.db.example.com\",\"port\":5432,\"database\":\"orders\",\
             \"username\":\"reader\"}},\"metadata\":{{\"description\":\"Orders replica {n}\",\
             \"owner\":\"sales-data\"}}}}"
        )
    };
    let rows: Vec<String> = (0..SOURCES).map(row).collect();
    format!("{{\"status\":\"success\",\"message\":\"\",\"data\":[{}]}}", rows.join(","))
}
