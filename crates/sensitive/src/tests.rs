//! Tests of recognised secrets and of texts that are none.

use super::scan::work;
use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Returns the text with exposed ranges in brackets.
fn marked(text: &str) -> String {
    let mut out = String::new();
    let mut from = 0;
    for range in find_secrets(text) {
        out += &format!("{}[{}]", &text[from..range.start], &text[range.clone()]);
        from = range.end;
    }
    out + &text[from..]
}

#[test]
fn keys_of_secrets_are_recognised_in_every_spelling() {
    let keys = Words(
        "password db_password passwd PWD Pass-Phrase_ API-Key apiKey access_key privateKey secret-key
        client_secret auth_token Authorization gcp.credential credentials pass DB_PASS dbPass smtp_pass
        creds password2 PASSWORD_OLD password_base64 secretValue account_key AccountKey storage_key
        shared_key subscription_key encryption_key signing_key consumer_key ssh_key bearer Cookie
        Set-Cookie jwt webhook_url passcode",
    );
    for key in keys.iter() {
        assert!(looks_secret(key), "{key}");
    }
    let keys = Words(
        "host username key_column token_url password_file_format port primary_key partition_key sort_key
        foreign_key public_key row_key routing_key project_key author authority bypass compass passport
        max_tokens auth_type pin_code_column key auth pin webhook monkey turkey cookie_name old 2 _
        pass_through api_key_header secret_name opinion spin tokenizer keyspace design hooks_dir",
    );
    for key in keys.iter().chain([""]) {
        assert!(!looks_secret(key), "{key}");
    }
}

#[test]
fn a_value_under_a_doubtful_key_is_judged_by_its_form() {
    for (key, text) in [
        ("auth", "c4naryAuth"),
        ("auth", "svc:hunter2x"),
        ("auth", "9f86d081884c7d659a2feaa0c55ad015"),
        ("key", "Zm9vYmFyMTIzNDU2Nzg5"),
        ("pin", "4711"),
        ("otp", "123456"),
        ("webhook", "https://h.example/x1y2z3"),
        ("signing_key", "c4nary/abcdefghijklmnop=="),
        ("pass", "true"),
        ("pass", "hunter"),
        ("creds", "sesame"),
        ("jwt", "c4naryJwt"),
        ("cookie", "session=c4nary"),
        ("bearer", "c4naryBearer"),
        ("ssh_key", "AAAAB3NzaC1yc2E"),
    ] {
        assert!(is_secret(key, text), "{key} = {text}");
    }
    for (key, text) in [
        ("auth", "scram"),
        ("auth", "SCRAM-SHA-256"),
        ("auth", "oauth2"),
        ("auth", "none"),
        ("auth", "ldap"),
        ("auth", "aws_iam"),
        ("auth", "x-api-key"),
        ("auth", "mysql_native_password"),
        ("auth", "md5"),
        ("auth", "https://login.example.com/v2"),
        ("authentication", "kerberos"),
        ("key", "id"),
        ("key", "customer_id"),
        ("key", "order_2024_total"),
        ("key", "orders/2024/01/01.csv"),
        ("pin", "v1.2.3"),
        ("pin", "sha256"),
        ("pin", "12"),
        ("webhook", "slack"),
        ("webhook", "true"),
        ("ssh_key", "/etc/ssh/id_rsa"),
        ("encryption_key", "alias/orders"),
        ("encryption_key", "arn:aws:kms:eu-west-1:111122223333:key/1234abcd"),
        ("signing_key", "default"),
        ("consumer_key", "customer_id"),
        ("cookie", "sticky"),
        ("jwt", "optional"),
        ("signature", "s3v4"),
        ("sas", "enabled"),
        ("bearer", "header"),
        ("password", ""),
        ("password", "***"),
        ("password", "${PW}"),
        ("public_key", "Zm9vYmFyMTIzNDU2Nzg5"),
    ] {
        assert!(!is_secret(key, text), "{key} = {text}");
    }
    assert!(is_secret_number("password", "12") && is_secret_number("pin", "4711"));
    assert!(!is_secret_number("pin", "7") && !is_secret_number("max_tokens", "100000"));
    assert!(!is_secret_number("cookie", "3600") && !is_secret_number("key", "123456"));
}

#[test]
fn what_is_written_out_is_found_where_it_stands() {
    let jwt = format!("{}.{}.{}", "eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", "dozjgNryP4J3jVmN");
    let token = |start: &str| format!("{start}c4nary0123456789abcdefghij");
    let shaped: Vec<String> = [
        "ghp_",
        "gho_",
        "glpat-",
        "xoxb-",
        "sk_live_",
        "npm_",
        "dapi",
        "AIza",
        "hvs.",
        "dckr_pat_",
        "hf_",
        "github_pat_",
    ]
    .map(token)
    .into();
    for text in &shaped {
        assert_eq!(marked(text), format!("[{text}]"));
        assert_eq!(marked(&format!("use {text}, please")), format!("use [{text}], please"));
    }
    for (text, found) in [
        ("https://x/y?api_key=abc123def&z=1", "https://x/y?api_key=[abc123def]&z=1"),
        ("https://x/y?sv=2026&sig=c4narySas%2Babc%3D", "https://x/y?sv=2026&sig=[c4narySas%2Babc%3D]"),
        ("https://x/y?key=c4naryQuery&a=b", "https://x/y?key=[c4naryQuery]&a=b"),
        ("https://x/api?code=c4naryFunction==", "https://x/api?code=[c4naryFunction==]"),
        (
            "https://s3/x?X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027",
            "https://s3/x?X-Amz-Signature=[fe5f80f77d5fa3beca038a248ff027]",
        ),
        ("Server=h;Pwd=hunter2", "Server=h;Pwd=[hunter2]"),
        ("Host=h;pass=hunter2;x=1", "Host=h;pass=[hunter2];x=1"),
        (
            "Protocol=https;AccountName=s;AccountKey=c4nary/abc==;E=x",
            "Protocol=https;AccountName=s;AccountKey=[c4nary/abc==];E=x",
        ),
        (
            "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=c4nary+abc=",
            "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=[c4nary+abc=]",
        ),
        ("host=h password='hun ter2' user=u", "host=h password='[hun ter2]' user=u"),
        ("host = h password = 'hunter2'", "host = h password = '[hunter2]'"),
        ("Pwd={a;b};Server=h", "Pwd={[a;b]};Server=h"),
        ("ssl.truststore.password=é", "ssl.truststore.password=[é]"),
        (
            "X required username=\"u\" password=\"c4nary\";",
            "X required username=\"u\" password=\"[c4nary]\";",
        ),
        ("{\"user\": \"u\", \"password\": \"c4nary\"}", "{\"user\": \"u\", \"password\": \"[c4nary]\"}"),
        ("{\\\"token\\\":\\\"c4nary\\\"}", "{\\\"token\\\":\\\"[c4nary]\\\"}"),
        ("postgres://u:hunter2@h/d", "postgres://u:[hunter2]@h/d"),
        ("redis://:hunter2@h/0", "redis://:[hunter2]@h/0"),
        ("https://0123456789abcdef0123@o1.example/1", "https://[0123456789abcdef0123]@o1.example/1"),
        ("jdbc:oracle:thin:scott/tiger@h:1521/x", "jdbc:oracle:thin:scott/[tiger]@h:1521/x"),
        ("https://hooks.slack.com/services/T0/B0/c4nary", "https://hooks.slack.com/[services/T0/B0/c4nary]"),
        ("https://discord.com/api/webhooks/1/c4nary", "https://discord.com/api/webhooks/[1/c4nary]"),
        ("https://h.example/webhook/c4nary0123456789abc", "https://h.example/webhook/[c4nary0123456789abc]"),
        ("Bearer c4naryHeader", "Bearer [c4naryHeader]"),
        ("Authorization: Basic YzRuYXJ5QmFzaWM=", "Authorization: Basic [YzRuYXJ5QmFzaWM=]"),
        ("X-Api-Key: c4nary", "X-Api-Key: [c4nary]"),
        ("mysql -h h --password c4nary db", "mysql -h h --password [c4nary] db"),
        ("mysql --password=c4nary db", "mysql --password=[c4nary] db"),
        ("curl -u me:c4nary https://h/", "curl -u me:[c4nary] https://h/"),
        ("curl --user=me:c4nary https://h/", "curl --user=me:[c4nary] https://h/"),
        ("curl -H \"X-Api-Key: c4nary\" https://h", "curl -H \"X-Api-Key: [c4nary]\" https://h"),
        ("mysqldump -u root -pc4nary db", "mysqldump -u root -p[c4nary] db"),
        ("sshpass -p c4nary ssh -p 22 h", "sshpass -p [c4nary] ssh -p 22 h"),
        ("/usr/bin/redis-cli -a c4nary ping", "/usr/bin/redis-cli -a [c4nary] ping"),
        ("sqlcmd -U u -P c4nary", "sqlcmd -U u -P [c4nary]"),
        ("tool /password:c4nary", "tool /password:[c4nary]"),
        ("u:c4nary@tcp(h:3306)/db", "u:[c4nary]@tcp(h:3306)/db"),
        ("elastic:c4nary@h:9200", "elastic:[c4nary]@h:9200"),
        ("scott/c4nary@h:1521/svc", "scott/[c4nary]@h:1521/svc"),
        ("scott/c4nary@//h/svc", "scott/[c4nary]@//h/svc"),
        ("user: u\npassword: c4nary\nhost: h", "user: u\npassword: [c4nary]\nhost: h"),
        ("- token: \"c4 nary\"", "- token: \"[c4 nary]\""),
        ("[db]\npassword = c4nary\n", "[db]\npassword = [c4nary]\n"),
        ("Accept: x\nX-Api-Key: c4nary\nFoo: y", "Accept: x\nX-Api-Key: [c4nary]\nFoo: y"),
        ("h:5432:db:u:c4nary", "h:5432:db:u:[c4nary]"),
        ("machine h login u password c4nary", "machine h login u password [c4nary]"),
        ("<a><password>c4nary</password></a>", "<a><password>[c4nary]</password></a>"),
        ("a AKIAIOSFODNN7EXAMPLE b", "a [AKIAIOSFODNN7EXAMPLE] b"),
        (&jwt, &format!("[{jwt}]")),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
            "[-----BEGIN RSA PRIVATE KEY-----\nMII\n]-----END RSA PRIVATE KEY-----",
        ),
    ] {
        assert_eq!(marked(text), found);
    }
}

#[test]
fn ordinary_texts_are_left_alone() {
    for text in [
        "https://x/y?api_key=${KEY}&page=1",
        "Server=h;Pwd=${PW}",
        "Server=h;Pwd=;User=u",
        "Server=h;Pwd=***",
        "https://x/y?max_tokens=100",
        "https://x/y?key=name&sort=id",
        "https://x/y?code=US",
        "https://x/docs/webhooks/getting-started",
        "jdbc:sqlserver://h:1433;databaseName=x;authentication=ActiveDirectoryPassword",
        "jdbc:oracle:thin:@h:1521/x",
        "http://h:80/a@b:c",
        "postgres://u@h/d",
        "use_password=true",
        "select * from a join b on a.token = b.token",
        "select key, auth from t where key = 'id' and auth='scram'",
        "a note on the password",
        "The bearer token is required; basic authentication is not",
        "Basic HTTP-authentication, see RFC7617",
        "AKIA is how they begin",
        "eyJ.a.b",
        "npm_config_registry",
        "data/2024-01-01/part-00000.parquet",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "550e8400-e29b-41d4-a716-446655440000",
        "2024-01-01T00:00:00Z: ok",
        "primary_key=id;partition_key=day;sort_key=ts2",
        "arn:aws:iam::123456789012:role/reader",
        "s3://bucket/key=2024/file.csv",
        "owner:data.team@example.com",
        "mailto:me@example.com",
        "nginx:1.25@sha256:9f86d081884c",
        "uses: actions/checkout@v4",
        "workshop.toml:17@8ea9ac08f",
        "git@github.com:org/repo.git",
        "ssh -p 2222 host",
        "docker run -p 8080:80 image",
        "gcc -pthread -pipe a.c",
        "password: see the vault",
        "fe80:0:0:0:1",
        "12:30:00 login user password",
        "the login and the password are kept elsewhere",
        "/token/abc",
        "where password = :p and x = 1",
        "<a href='x'>key</a>",
        "select count(*) from login where id = 5",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
    ] {
        assert!(find_secrets(text).is_empty(), "{}", marked(text));
    }
}

#[test]
fn what_stands_beside_a_value_makes_it_a_secret() {
    for value in [
        json!({ "headers": [{ "name": "Authorization", "value": "c4nary" }] }),
        json!({ "env": [{ "key": "DB_PASS", "value": "c4nary" }] }),
        json!({ "env": { "DB_PASS": "c4nary" } }),
        json!({ "args": ["--password", "c4nary"] }),
        json!({ "args": ["-u", "me:c4nary"] }),
        json!({ "args": ["--token=c4nary"] }),
        json!({ "header": ["X-Api-Key", "c4nary0123456789x"] }),
        json!({ "headers": ["X-Api-Key: c4nary"] }),
        json!({ "Cookie": "session=c4nary" }),
        json!({ "passwords": ["c4nary1"] }),
        json!({ "headers": [["Cookie", "sid=c4naryH3"]] }),
        json!({ "options": [["password", "c4naryN4"]] }),
        json!({ "params": [{ "Name": "Password", "Value": "c4nary" }] }),
        json!({ "params": [{ "id": "client_secret", "value": "c4nary" }] }),
        json!({ "args": ["-p", "c4naryP7"] }),
        json!({ "basic.auth.user.info": "u:c4nary" }),
        json!({ "login": "u:c4nary" }),
        json!({ "db_pw": "c4nary" }),
        json!({ "fs.azure.account.key.a.dfs.core.windows.net": "c4nary==" }),
    ] {
        assert!(exposes_secret(&value), "{value}");
        assert!(!masked(&value).to_string().contains("c4nary"), "{}", masked(&value));
    }
    for value in [
        json!({ "columns": ["id", "password", "token"] }),
        json!({ "columns": ["token", "email"] }),
        json!({ "args": ["--verbose", "--host", "h", "--key", "id"] }),
        json!({ "args": ["-p", "5432", "-P", "127.0.0.1:80"] }),
        json!({ "fields": ["password", "address2"], "login": "reader", "last_login": "2026-01-01T12:30:00Z" }),
        json!({ "keytab": "/etc/x.keytab", "pfx": "client.pfx", "preferred_login": "https://x/login" }),
        json!({ "fields": [{ "name": "customer_key", "value": "id" }, { "name": "key", "value": "day" }] }),
        json!({ "key": "id", "auth": "scram", "pin": "v2", "author": "me", "primary_key": ["a", "b"] }),
    ] {
        assert!(!exposes_secret(&value), "{value}");
        assert_eq!(masked(&value), value);
    }
}

#[test]
fn secrets_are_masked_at_any_depth_and_the_rest_is_kept() {
    let shown = masked(&json!({
        "host": "db", "password": "pa55", "Api-Key": 12, "port": 5432,
        "more": [{"client_secret": {"a": "x", "b": null}, "user": "u"}],
    }));
    let expected = json!({
        "host": "db", "password": "***", "Api-Key": "***", "port": 5432,
        "more": [{"client_secret": {"a": "***", "b": null}, "user": "u"}],
    });
    assert_eq!(shown, expected);
    for (text, shown) in [
        ("postgres://u:pw@host/db", "postgres://u:***@host/db"),
        ("postgres://u:p@w@host/db", "postgres://u:***@host/db"),
        ("postgres://u:p/w@host/db", "postgres://u:***@host/db"),
        ("see https://u:pw@h and https://h2/x", "see https://u:***@h and https://h2/x"),
        ("https://u@h/x", "https://u@h/x"),
        ("https://h/x?a=1&token=abc&b=2", "https://h/x?a=1&token=***&b=2"),
        ("host=h password=abc user=u", "host=h password=*** user=u"),
        ("postgres://u:p?w#@host/db", "postgres://u:***@host/db"),
        ("https://h:8080/x?mail=a@b", "https://h:8080/x?mail=a@b"),
        ("https://h/a@b", "https://h/a@b"),
        ("nothing: here", "nothing: here"),
        ("://", "://"),
    ] {
        assert_eq!(masked_text(text), shown);
    }
}

/// Beginnings of secrets and of what precedes one.
const TOKENS: [&str; 36] = [
    "://",
    "https://",
    "://a@",
    "://a:b@",
    "://a:1",
    "://hooks/",
    "://?",
    "://#@",
    "?://",
    "a://b ",
    "${",
    "@",
    "%41",
    "=",
    "a=",
    "token=",
    "token='",
    "token={",
    "password=\"",
    "\"",
    "k\": ",
    "a: ",
    ":thin:",
    "bearer ",
    "-u a:",
    "--token ",
    "sk-ant-",
    "sk-",
    "eyJ.",
    "eyJ-",
    "eyJabcd.",
    "ghp_",
    "xoxb-",
    "AKIA",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
];

#[test]
fn the_cost_of_a_search_is_a_multiple_of_the_length() {
    const LEN: usize = 1 << 14;
    // A form that is looked at once for each kind of character and of mark.
    const MOST: usize = 12;
    for token in TOKENS {
        for text in [token.repeat(LEN / token.len()), format!("{}1", token.repeat(LEN / token.len()))] {
            work::take();
            let _ = find_secrets(&text);
            let found = work::take();
            assert!(found <= MOST * LEN, "{token}: {found} bytes are examined of {LEN}");
            let _ = masked_text(&text);
            let masked = work::take();
            assert!(masked <= 2 * MOST * LEN, "{token}: {masked} bytes are examined to mask {LEN}");
        }
    }
}

proptest! {
    #[test]
    fn places_can_be_cut_out_of_any_text(
        text in "(pwd|=|;|&|\\$\\{|\\}|'|\"|://|:|: |@|é|AKIA|eyJ|\\.|-----BEGIN |PRIVATE KEY|-----|--password | -u |Bearer |/hooks/|[A-Z0-9]{16}){0,30}",
    ) {
        let mut past = 0;
        for range in find_secrets(&text) {
            prop_assert!(text.get(range.clone()).is_some() && range.start >= past);
            past = range.end;
        }
    }

    #[test]
    fn any_text_can_be_masked_and_any_key_ranked(text in ".{0,200}") {
        let shown = masked_text(&text);
        prop_assert!(!is_secret("password", &shown) || !text.trim().is_empty());
        prop_assert!(!looks_secret(&text) || rank(&text).is_some());
        prop_assert!(!is_secret(&text, &text) || rank(&text).is_some());
    }

    #[test]
    fn no_password_of_an_address_is_shown(password in "[a-z!$%][^\\s@]{3,19}", rest in "[a-z./]{0,20}") {
        let shown = masked_text(&format!("db://user:{password}@host/{rest}"));
        prop_assert!(!shown.contains(&format!(":{password}@")), "{}", shown);
    }
}
