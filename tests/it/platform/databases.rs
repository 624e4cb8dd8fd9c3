//! A database for a single test, on a real server.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Url;
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use wellspring_testkit::servers::servers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    MariaDb,
}

pub(crate) const BOTH: [Engine; 2] = [Engine::Postgres, Engine::MariaDb];

pub(crate) struct Database {
    pub(crate) engine: Engine,
    url: Url,
}

impl Database {
    /// Creates an empty database.
    pub(crate) async fn new(engine: Engine) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = match engine {
            Engine::Postgres => &servers().postgres,
            Engine::MariaDb => &servers().mariadb,
        };
        let mut database = Self { engine, url: url.parse().unwrap() };
        database.sql(&format!("CREATE DATABASE {name}")).await;
        database.url.set_path(&name);
        database
    }

    /// Runs statements.
    pub(crate) async fn sql(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.engine {
            Engine::Postgres => {
                let mut connection = PgConnectOptions::from_url(&self.url).unwrap().connect().await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
            Engine::MariaDb => {
                let mut connection =
                    MySqlConnectOptions::from_url(&self.url).unwrap().connect().await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// Returns the type by the name of its engine.
    pub(crate) fn kind(&self) -> &'static str {
        match self.engine {
            Engine::Postgres => "postgresql",
            Engine::MariaDb => "mariadb",
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    pub(crate) fn password(&self) -> &str {
        self.url.password().unwrap()
    }

    /// Returns a valid configuration with these fields added.
    pub(crate) fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "host": self.url.host_str(), "port": self.url.port(), "database": self.name(),
            "username": self.url.username(), "password": self.password(),
        });
        let Value::Object(more) = more else { panic!("no fields: {more}") };
        config.as_object_mut().unwrap().extend(more);
        config
    }

    /// Returns the configuration as a URL.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }
}
