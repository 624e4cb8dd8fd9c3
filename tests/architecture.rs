//! Tests of the map in `lib.rs`: imports point down only, and the core is pure.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the program from top to bottom, then those of the core.
///
/// A module may use those below its floor; modules on one floor are independent.
const FLOORS: [&[&str]; 14] = [
    &["cli"],
    &["daemon"],
    &["load", "sync"],
    &["reconcile"],
    &["apply"],
    &["settings"],
    &["webhooks"],
    &["observe"],
    &["client", "secrets", "store", "telemetry", "time_zones", "tree", "watch"],
    &["report"],
    &["config", "listing", "plan", "schedule"],
    &["model"],
    &["mutex", "zones"],
    &["error"],
];

/// The modules that lie in `crates/core`.
const CORE: [&str; 8] = ["config", "listing", "model", "mutex", "plan", "report", "schedule", "zones"];

/// The crates of the workspace besides the program, each with those that it may use.
const CRATES: [(&str, &[&str]); 5] = [
    ("core", &["sensitive"]),
    // Uses nothing of the reconciler, because it is the other side of the wire.
    ("platform", &["http-serve", "sensitive"]),
    ("http-serve", &[]),
    ("sensitive", &[]),
    // Only the tests and benchmarks use it.
    ("testkit", &["sensitive"]),
];

/// Words that the style of the comments rules out (`docs/style.md`).
const BANNED_WORDS: [&str; 14] = [
    "anew", "beside", "mend", "mended", "mends", "said", "slip", "stand", "stands", "tells", "told",
    "whatever", "whoever", "whither",
];

/// Words that must not begin the first sentence of a comment.
const BANNED_FIRST_WORDS: [&str; 9] =
    ["As", "How", "It", "Of", "They", "What", "Whatever", "Where", "Whoever"];

/// Maximum number of comment lines with a banned word; lowered with each one that goes, never raised.
const MAX_BANNED_LINES: usize = 5;

/// Maximum share of types that share their name with another type, in percent.
const MAX_SHARED_NAMES_PERCENT: usize = 5;

/// Crates that only the local platform needs.
const OF_THE_LOCAL_PLATFORM: [&str; 5] = ["parquet", "sqlx", "sqlx-core", "sqlx-postgres", "zstd"];

#[test]
fn a_build_without_the_local_platform_brings_none_of_its_crates() {
    let crates = |features: &[&str]| -> BTreeSet<String> {
        let tree = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"])
            .args(features)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let (with, without) = (crates(&[]), crates(&["--no-default-features"]));
    for name in OF_THE_LOCAL_PLATFORM {
        assert!(with.contains(name) && !without.contains(name), "{name}");
    }
}

#[test]
fn every_room_stands_on_a_floor() {
    let standing: BTreeSet<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    let map = code(Path::new("src/lib.rs")) + &code(Path::new("crates/core/src/lib.rs"));
    let declared: BTreeSet<&str> =
        map.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(standing, declared);
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (floor, rooms) in FLOORS.iter().enumerate() {
        for room in *rooms {
            for file in files(room) {
                for used in rooms_used(&file) {
                    let below = FLOORS[floor + 1..].iter().any(|rooms| rooms.contains(&used.as_str()));
                    let wire = used == "platform" && *room == "cli";
                    if used != *room && !below && !wire {
                        wrong.push(format!("{}: {room} may not use {used}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_shows_how_things_stand_can_neither_ask_nor_decide() {
    for file in files("observe") {
        let used = rooms_used(&file);
        for room in ["plan", "client", "secrets", "tree"] {
            assert!(!used.contains(room), "{}: observe may not use {room}", file.display());
        }
    }
}

#[test]
fn a_crate_uses_only_those_below_it() {
    for (name, below) in CRATES {
        let manifest = fs::read_to_string(format!("crates/{name}/Cargo.toml")).unwrap();
        let used = manifest.lines().filter_map(|line| line.strip_prefix("wellspring-")?.split('.').next());
        for used in used {
            assert!(below.contains(&used), "crates/{name} may not use {used}");
        }
    }
    let crates =
        fs::read_dir("crates").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(crates.collect::<BTreeSet<_>>(), CRATES.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// Crates that perform I/O, read a clock or draw random numbers.
const OF_THE_WORLD: [&str; 10] =
    ["tokio", "reqwest", "rusqlite", "notify", "rustix", "getrandom", "rand", "tracing", "hyper", "nix"];

#[test]
fn the_core_depends_on_no_crate_that_performs_io() {
    let manifest = fs::read_to_string("crates/core/Cargo.toml").unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
    for line in dependencies.lines() {
        let name = line.split(['.', ' ']).next().unwrap_or_default();
        assert!(!OF_THE_WORLD.contains(&name), "{name}");
    }
}

/// A file and the files below it are one module, so their imports of each other do not count.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for directory in
        CRATES.map(|(name, _)| format!("crates/{name}/src")).iter().chain(["src".to_owned()].iter())
    {
        let mut imports = file_imports(directory);
        loop {
            let before = imports.len();
            let (from, to): (BTreeSet<_>, BTreeSet<_>) = imports.iter().cloned().unzip();
            imports.retain(|(file, used)| to.contains(file) && from.contains(used));
            if imports.len() == before {
                break;
            }
        }
        circles.extend(imports.iter().map(|(file, used)| format!("{directory}: {file} uses {used}")));
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn comments_use_plain_words() {
    let mut found = Vec::new();
    for file in source_files() {
        let text = fs::read_to_string(&file).unwrap();
        let mut begins = true;
        for (number, line) in text.lines().enumerate() {
            let Some(comment) = comment_of(line) else {
                begins = true;
                continue;
            };
            let mut words = comment.split(|c: char| !c.is_alphanumeric() && c != '\'');
            let first = comment.split_whitespace().next().unwrap_or_default();
            let banned = words.any(|word| BANNED_WORDS.contains(&word.to_lowercase().as_str()));
            if banned || begins && BANNED_FIRST_WORDS.contains(&first) {
                found.push(format!("{}:{}: {comment}", file.display(), number + 1));
            }
            begins = comment.is_empty();
        }
    }
    assert!(found.len() <= MAX_BANNED_LINES, "{} lines:\n{}", found.len(), found.join("\n"));
}

#[test]
fn few_types_share_a_name() {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for file in source_files() {
        for line in code(&file).lines() {
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            if let (Some("struct" | "enum" | "trait"), Some(name)) = (words.next(), words.next()) {
                let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                *names.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    let all: usize = names.values().sum();
    let shared: usize = names.values().filter(|uses| **uses > 1).sum();
    names.retain(|_, uses| *uses > 1);
    assert!(shared * 100 <= all * MAX_SHARED_NAMES_PERCENT, "{shared} of {all}: {names:?}");
}

#[test]
fn the_scan_sees_through_comments_groups_and_paths() {
    let text = "//! crate::cli\nuse crate::{plan, store::Store};\nuse crate::model::WorkspaceRef; // crate::daemon\n\
                fn f() -> crate::sync::SyncCall {}\n#[cfg(test)]\nmod tests { use crate::watch; }\n";
    let used: Vec<String> = named(&stripped(text)).into_iter().collect();
    assert_eq!(used, ["model", "plan", "store", "sync"]);
}

/// Returns the files of a module except tests: `foo.rs` and all below `foo/`.
fn files(room: &str) -> Vec<PathBuf> {
    let root = if CORE.contains(&room) { "crates/core/src" } else { "src" };
    let own = PathBuf::from(format!("{root}/{room}.rs"));
    [own].into_iter().chain(files_below(&format!("{root}/{room}"))).collect()
}

/// Returns the files below a directory except tests.
fn files_below(directory: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(directory)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if !path.ends_with("tests.rs") => files.push(path),
                false => {}
            }
        }
    }
    files
}

/// Returns the modules of a directory, each with those that it imports from, except its own parents and
/// children.
fn file_imports(directory: &str) -> BTreeSet<(String, String)> {
    let module = |file: &Path| {
        let path =
            file.strip_prefix(directory).unwrap().with_extension("").to_string_lossy().replace('/', "::");
        if path == "lib" || path == "main" { String::new() } else { path }
    };
    let modules: BTreeMap<String, String> =
        files_below(directory).iter().map(|file| (module(file), code(file))).collect();
    let mut exported: BTreeMap<(&str, String), String> = BTreeMap::new();
    for (module, code) in &modules {
        for start in ["pub use ", "pub(crate) use ", "pub(super) use "] {
            for (at, _) in code.match_indices(start) {
                for path in paths_at(&code[at + start.len()..]) {
                    let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                    exported.insert((module, name), path);
                }
            }
        }
    }
    let mut imports = BTreeSet::new();
    for (module, code) in &modules {
        let starts = ["crate::", "super::"].into_iter().flat_map(|start| code.match_indices(start));
        for (at, _) in starts.filter(|(at, _)| !code[..*at].ends_with([':', '_'])) {
            for path in paths_at(&code[at..]) {
                let used = resolve(module, &path, &modules, &exported);
                let is_related = used.is_empty()
                    || format!("{used}::").starts_with(&format!("{module}::"))
                    || module.starts_with(&format!("{used}::"));
                if !is_related {
                    imports.insert((module.clone(), used));
                }
            }
        }
    }
    imports
}

/// Returns the module that a path in `module` leads to, through re-exports.
fn resolve(
    module: &str,
    path: &str,
    modules: &BTreeMap<String, String>,
    exported: &BTreeMap<(&str, String), String>,
) -> String {
    let mut at: Vec<&str> = module.split("::").filter(|name| !name.is_empty()).collect();
    let mut names = path.split("::").peekable();
    while let Some(name) = names.next_if(|name| ["crate", "self", "super"].contains(name)) {
        match name {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            _ => {}
        }
    }
    while let Some(name) =
        names.next_if(|name| modules.contains_key(&[&at[..], &[*name]].concat().join("::")))
    {
        at.push(name);
    }
    let found = at.join("::");
    let target = names.next().and_then(|name| exported.get_key_value(&(found.as_str(), name.to_owned())));
    match target {
        Some(((exporter, _), target)) if target != path => resolve(exporter, target, modules, exported),
        _ => found,
    }
}

/// Returns the paths that begin at the start of the text, one for each element of a group.
fn paths_at(text: &str) -> Vec<String> {
    fn expand(prefix: &str, text: &str, paths: &mut Vec<String>) -> usize {
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
        let length = text.find(is_end).unwrap_or(text.len());
        let path = format!("{prefix}{}", &text[..length]);
        if !text[length..].starts_with('{') {
            paths.push(path);
            return length.max(1);
        }
        let mut at = length + 1;
        loop {
            at += text[at..].find(|c: char| !c.is_whitespace() && c != ',').unwrap_or(text.len() - at);
            if at == text.len() || text[at..].starts_with('}') {
                return at + 1;
            }
            at += expand(&path, &text[at..], paths);
        }
    }
    let mut paths = Vec::new();
    expand("", text, &mut paths);
    paths
}

/// Returns all files of the program and its crates except tests.
fn source_files() -> Vec<PathBuf> {
    let crates = CRATES.iter().flat_map(|(name, _)| files_below(&format!("crates/{name}/src")));
    files_below("src").into_iter().chain(crates).collect()
}

/// Returns the text of a line that is only a comment.
fn comment_of(line: &str) -> Option<&str> {
    let comment = line.trim_start().strip_prefix("//")?;
    Some(comment.strip_prefix(['/', '!']).unwrap_or(comment).trim())
}

fn code(file: &Path) -> String {
    stripped(&fs::read_to_string(file).unwrap())
}

/// Returns the text without comments and without the tests at its end.
fn stripped(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn rooms_used(file: &Path) -> BTreeSet<String> {
    let code = code(file);
    let mut used = named(&code);
    // In a module's own file, `super` is the crate root.
    if file.parent().is_some_and(|parent| parent.ends_with("src")) {
        assert!(!code.contains("super::"), "{}: name a room by `crate::`", file.display());
    }
    used.remove("crate");
    used
}

/// Returns the modules named in paths and groups that begin with `crate::`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut used = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let Some(group) = path.strip_prefix('{') else {
            used.insert(word(path));
            continue;
        };
        let mut depth = 1;
        let mut first = true;
        for (at, character) in group.char_indices() {
            if std::mem::take(&mut first) {
                used.insert(word(&group[at..]));
            }
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    used.insert(word(&group[at + 1..]));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used.remove("");
    used
}
