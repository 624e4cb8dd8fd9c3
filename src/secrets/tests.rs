use super::*;
use crate::model::{ConfigValue, FieldPath, FingerprintKey, Segment, SortedMap, SourceName, Template, wipe};
use secrecy::zeroize::Zeroize;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;

const CANARY: &str = "c4nary-${HOME}-\"quoted\"";

fn secrets(dir: Option<&Path>) -> Secrets {
    let variables: AllowedVariables = Arc::new(|name| match name {
        "PASSWORD" => Some(CANARY.to_owned()),
        "USER" => Some("reader".to_owned()),
        "EMPTY" => Some(String::new()),
        "LONG" => Some("x".repeat(MAX_VALUE_BYTES + 1)),
        "PMTX_TOKEN" => Some("platform-token".to_owned()),
        _ => None,
    });
    Secrets {
        secrets_dir: dir.map(Path::to_owned),
        credentials_dir: dir.map(|dir| dir.join("credentials")),
        forbidden: [SecretRef::Env("PMTX_TOKEN".into()), SecretRef::Credential("pmtx-token".into())].into(),
        ..Secrets::of_variables(variables)
    }
}

fn definition(entries: impl IntoIterator<Item = (&'static str, ConfigValue)>) -> Arc<Definition> {
    Arc::new(Definition {
        kind: "database".into(),
        connection_config: entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        metadata: SortedMap::default(),
    })
}

fn env(name: &str) -> ConfigValue {
    ConfigValue::Secret(SecretRef::Env(name.into()))
}

/// Returns the reason why `reference` does not resolve.
fn refusal(secrets: &Secrets, reference: ConfigValue) -> String {
    match secrets.resolve(&definition([("it", reference)]), &[]) {
        Ok(_) => "resolved".into(),
        Err(unresolved) => unresolved.to_string(),
    }
}

fn sent(resolution: Resolution) -> Value {
    let source = resolution.into_source(SourceName::parse("s").unwrap());
    serde_json::to_value(source.expose_connection_config()).unwrap()
}

fn value(secrets: &Secrets, reference: SecretRef) -> Value {
    let resolved = secrets.resolve(&definition([("it", ConfigValue::Secret(reference))]), &[]).ok().unwrap();
    sent(resolved)["it"].clone()
}

#[test]
fn every_kind_of_value_reaches_its_place_and_is_expanded_once() {
    let url = Template(vec![
        Segment::Literal("db://".into()),
        Segment::Env("USER".into()),
        Segment::Literal(":${".into()),
        Segment::Env("PASSWORD".into()),
    ]);
    let nested = ConfigValue::Table([("keys".to_owned(), ConfigValue::Array(vec![env("PASSWORD")]))].into());
    let definition = definition([
        ("url", ConfigValue::Template(url)),
        ("port", ConfigValue::Integer(5432)),
        ("options", nested),
        ("empty", ConfigValue::Table(SortedMap::default())),
    ]);
    let resolved = secrets(None).resolve(&definition, &[]).ok().unwrap();
    assert_eq!(
        sent(resolved),
        json!({
            "url": format!("db://reader:${{{CANARY}"),
            "port": 5432,
            "options": { "keys": [CANARY] },
            "empty": {},
        })
    );
}

#[test]
fn fingerprints_cover_exactly_the_leaves_that_hold_secrets() {
    let key = FingerprintKey::new([7; 32]);
    let definition = definition([
        ("host", ConfigValue::String("db".into())),
        ("password", env("PASSWORD")),
        ("dotted.key", ConfigValue::Array(vec![ConfigValue::Integer(1), env("USER")])),
    ]);
    let prints = secrets(None).resolve(&definition, &[]).ok().unwrap().fingerprints(&key);
    let secret_leaves: Vec<_> = definition
        .leaves()
        .into_iter()
        .filter(|(_, leaf)| matches!(leaf, crate::model::LeafValue::Secret(_)))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(prints.keys().cloned().collect::<Vec<_>>(), secret_leaves);
    assert_eq!(
        prints[&FieldPath::root("connection_config").key("password")],
        key.fingerprint(&json!(CANARY))
    );
}

#[test]
fn all_that_is_missing_is_named_at_once_and_no_value_is_told() {
    let template = Template(vec![Segment::Env("PASSWORD".into()), Segment::Env("NOWHERE".into())]);
    let unresolved = secrets(None)
        .resolve(
            &definition([
                ("a", env("DB_PASSWORD")),
                ("b", env("EMPTY")),
                ("c", ConfigValue::Template(template)),
                ("d", env("PASSWORD")),
                ("e", env("DB_PASSWORD")),
            ]),
            &[],
        )
        .err()
        .unwrap();
    assert_eq!(
        unresolved.to_string(),
        "DB_PASSWORD is not set here; EMPTY is empty; NOWHERE is not set here"
    );
    assert_eq!(unresolved.missing.len(), 4);
    assert_eq!(unresolved.missing[2].reference, "${NOWHERE}");
    assert_eq!(unresolved.missing[2].path.as_str(), "connection_config.c");
    assert!(!format!("{unresolved:?}").contains("c4nary"));
}

#[test]
fn variables_are_refused_with_the_reason() {
    let secrets = secrets(None);
    assert_eq!(refusal(&secrets, env("LONG")), "LONG is longer than 64 KiB");
    let token = "env:PMTX_TOKEN is wellspring's own, and no source may be given it";
    assert_eq!(refusal(&secrets, env("PMTX_TOKEN")), token);
    let template = Template(vec![Segment::Env("PMTX_TOKEN".into())]);
    assert_eq!(refusal(&secrets, ConfigValue::Template(template)), token);
    assert_eq!(
        refusal(&secrets, ConfigValue::Secret(SecretRef::File("a".into()))),
        "file:a: no directory of secrets is set (secrets.dir)"
    );
    assert_eq!(
        refusal(&secrets, ConfigValue::Secret(SecretRef::Credential("a".into()))),
        "credential:a: $CREDENTIALS_DIRECTORY is not set here"
    );
}

#[test]
fn exactly_one_trailing_newline_is_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = secrets(Some(dir.path()));
    for (content, expected) in
        [("plain", "plain"), ("one\n", "one"), ("two\n\n", "two\n"), ("crlf\r\n", "crlf"), (" s \n", " s ")]
    {
        fs::write(dir.path().join("it"), content).unwrap();
        assert_eq!(value(&secrets, SecretRef::File("it".into())), *expected, "{content:?}");
    }
    fs::write(dir.path().join("it"), vec![b'x'; MAX_VALUE_BYTES]).unwrap();
    assert_eq!(value(&secrets, SecretRef::File("it".into())).as_str().unwrap().len(), MAX_VALUE_BYTES);
}

#[test]
fn files_that_are_no_secret_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = secrets(Some(dir.path()));
    let check = |name: &str, why: &str| {
        let got = refusal(&secrets, ConfigValue::Secret(SecretRef::File(name.into())));
        assert_eq!(got, format!("file:{name}: {why}"));
    };
    fs::write(dir.path().join("empty"), "\n").unwrap();
    fs::write(dir.path().join("long"), vec![b'x'; MAX_VALUE_BYTES + 1]).unwrap();
    fs::write(dir.path().join("binary"), [b'a', 0xff]).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    check("empty", "is empty");
    check("long", "is longer than 64 KiB");
    check("binary", "is not UTF-8");
    check("folder", "is not a regular file");
    check("nowhere", "the file does not exist");
}

#[test]
fn a_socket_or_fifo_is_refused_without_waiting_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let got = refusal(&secrets(Some(dir.path())), ConfigValue::Secret(SecretRef::File("socket".into())));
    assert_eq!(got, "file:socket: is not a regular file");
}

#[test]
fn no_name_leads_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("secrets");
    fs::create_dir_all(below.join("sub")).unwrap();
    fs::write(dir.path().join("outside"), "outside").unwrap();
    fs::write(below.join("sub/inside"), "inside").unwrap();
    symlink("../outside", below.join("link")).unwrap();
    symlink("..", below.join("up")).unwrap();
    symlink("loop", below.join("loop")).unwrap();
    let secrets = secrets(Some(&below));
    let absolute = dir.path().join("outside").to_str().unwrap().to_owned();
    let names = [
        "",
        ".",
        "..",
        "../outside",
        "sub/../../outside",
        "sub/../sub/inside",
        "./sub/inside",
        "sub//inside",
    ];
    for name in names.into_iter().map(str::to_owned).chain([absolute, "sub/inside/".into()]) {
        let got = refusal(&secrets, ConfigValue::Secret(SecretRef::File(name.clone())));
        assert_eq!(got, format!("file:{name}: is not a plain name below the directory of secrets"));
    }
    for name in ["link", "up/outside"] {
        let got = refusal(&secrets, ConfigValue::Secret(SecretRef::File(name.into())));
        assert_eq!(got, format!("file:{name}: leads out of the directory of secrets"));
    }
    assert!(
        refusal(&secrets, ConfigValue::Secret(SecretRef::File("loop".into()))).contains("cannot be read")
    );
    assert!(
        refusal(&secrets, ConfigValue::Secret(SecretRef::File("a\0b".into()))).contains("cannot be read")
    );
    assert_eq!(value(&secrets, SecretRef::File("sub/inside".into())), "inside");
}

#[test]
fn a_mounted_secret_is_read_through_its_links() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("..2026_11_23")).unwrap();
    fs::write(dir.path().join("..2026_11_23/orders"), "mounted\n").unwrap();
    symlink("..2026_11_23", dir.path().join("..data")).unwrap();
    symlink("..data/orders", dir.path().join("orders")).unwrap();
    assert_eq!(value(&secrets(Some(dir.path())), SecretRef::File("orders".into())), "mounted");
}

#[test]
fn another_name_for_the_token_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = dir.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("pmtx-token"), "token").unwrap();
    symlink("pmtx-token", credentials.join("innocent")).unwrap();
    let secrets = secrets(Some(dir.path()));
    for reference in [
        SecretRef::Credential("pmtx-token".into()),
        SecretRef::Credential("innocent".into()),
        SecretRef::File("credentials/pmtx-token".into()),
    ] {
        assert_eq!(
            refusal(&secrets, ConfigValue::Secret(reference.clone())),
            format!("{reference} is wellspring's own, and no source may be given it")
        );
    }
}

#[test]
fn a_resolution_wipes_its_texts() {
    let mut config = json!({ "a": ["secret", { "b": "secret" }] });
    wipe(&mut config);
    assert_eq!(config, json!({ "a": ["", { "b": "" }] }));
    let mut text = Zeroizing::new("secret".to_owned());
    text.zeroize();
    assert!(text.is_empty());
}

#[test]
fn the_source_knows_what_each_reference_resolved_to_whatever_its_key_is_called() {
    let greeting = Template(vec![Segment::Literal("hello ".into()), Segment::Env("PASSWORD".into())]);
    let definition = definition([
        ("greeting", ConfigValue::Template(greeting)),
        ("colour", env("USER")),
        ("plain", ConfigValue::Integer(1)),
    ]);
    let resolved = secrets(None).resolve(&definition, &[]).ok().unwrap();
    let source = resolved.into_source(SourceName::parse("s").unwrap());
    let mut known: Vec<&str> = source.secrets().map(secrecy::ExposeSecret::expose_secret).collect();
    known.sort_unstable();
    assert_eq!(known, [CANARY, "reader"]);
}

#[test]
fn a_reference_is_looked_up_once_for_all_sources_of_a_workspace() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let secrets = Secrets {
        variables: Arc::new(move |name| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            if name != "NOWHERE" { Some(format!("{name} {n}")) } else { None }
        }),
        ..secrets(None)
    };
    let mut resolver = Resolver::new(Arc::new(secrets.clone()), &["ws"]);
    let text = Template(vec![Segment::Literal("a ".into()), Segment::Env("PASSWORD".into())]);
    let definition = definition([("it", env("PASSWORD")), ("text", ConfigValue::Template(text))]);
    let both = [resolver.resolve(&definition), resolver.resolve(&definition)];
    let [one, other] = both.map(|resolution| sent(resolution.ok().unwrap()));
    assert_eq!((&one, asked.load(Ordering::Relaxed)), (&other, 1));
    assert_eq!(one, json!({ "it": "PASSWORD 0", "text": "a PASSWORD 0" }));
    for _ in 0..2 {
        assert!(resolver.resolve(&self::definition([("it", env("NOWHERE"))])).is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
    // The next pass resolves the reference again.
    let mut next = Resolver::new(Arc::new(secrets), &["ws"]);
    assert_eq!(sent(next.resolve(&definition).ok().unwrap())["it"], "PASSWORD 2");
}

#[test]
fn workspaces_hold_a_value_that_they_share_once_and_another_value_is_held_beside_it() {
    let value = Arc::new(Mutex::new("one".to_owned()));
    let now = Arc::clone(&value);
    let variables: AllowedVariables = Arc::new(move |_| Some(now.lock().unwrap().clone()));
    let secrets = Arc::new(Secrets { variables, ..secrets(None) });
    let definition = definition([("it", env("PASSWORD"))]);
    let holds = |resolver: &mut Resolver| {
        let source = resolver.resolve(&definition).ok().unwrap().into_source(SourceName::parse("s").unwrap());
        let value = source.secrets().map(secrecy::ExposeSecret::expose_secret).next().unwrap();
        (value.to_owned(), value.as_ptr())
    };
    let new = |workspace| Resolver::new(Arc::clone(&secrets), &[workspace]);
    let [mut a, mut b] = [new("a"), new("b")];
    let held = holds(&mut a);
    assert_eq!(holds(&mut b), held);
    *value.lock().unwrap() = "two".to_owned();
    let mut anew = new("a");
    let other = holds(&mut anew);
    assert_eq!(other.0, "two");
    assert_eq!(
        holds(&mut Resolver::with_cached(Arc::clone(&secrets), &["b"], b.into_cache())),
        held,
        "it was sent"
    );
    assert_eq!((holds(&mut a), holds(&mut new("c"))), (held, other));
}

#[test]
fn what_several_sources_share_has_one_fingerprint_under_each_key() {
    let mut resolver = Resolver::new(Arc::new(secrets(None)), &["ws"]);
    let whole = ConfigValue::Template(Template(vec![Segment::Env("PASSWORD".into())]));
    let definition = definition([("a", env("PASSWORD")), ("b", whole)]);
    let resolution = resolver.resolve(&definition).ok().unwrap();
    for key in [FingerprintKey::new([7; 32]), FingerprintKey::new([8; 32]), FingerprintKey::new([7; 32])] {
        let print = key.fingerprint(&json!(CANARY));
        assert_eq!(resolution.fingerprints(&key).into_values().collect::<Vec<_>>(), [print, print]);
        assert_eq!(resolver.fingerprints(&key), Some(vec![(SecretRef::Env("PASSWORD".into()), print)]));
    }
    assert!(resolver.resolve(&self::definition([("it", env("NOWHERE"))])).is_err());
    assert_eq!(resolver.fingerprints(&FingerprintKey::new([7; 32])), None);
}

#[test]
fn what_was_found_for_one_source_is_not_given_to_another_that_may_not_have_it() {
    let glob = |text| globset::Glob::new(text).unwrap().compile_matcher();
    let hosts = Some(vec![glob("*.db.example.com")]);
    let secrets =
        Secrets { allow: vec![Allow { name: glob("env:*"), workspaces: None, hosts }], ..secrets(None) };
    let mut resolver = Resolver::new(Arc::new(secrets), &["ws"]);
    let to =
        |host: &str| definition([("host", ConfigValue::String(host.into())), ("password", env("PASSWORD"))]);
    assert!(resolver.resolve(&to("a.db.example.com")).is_ok());
    let refused = resolver.resolve(&to("elsewhere.example.com")).err().unwrap().to_string();
    assert_eq!(refused, "env:PASSWORD may not go to the host elsewhere.example.com ([[secrets.allow]])");
}
