//! A session with a database server inside one snapshot.

use futures_util::TryStreamExt as _;

use super::super::ReadError;
use super::super::link::{Link, Protocol};
use super::super::server::Server;
use super::Engine;

/// An open connection with a started snapshot.
pub(in super::super) struct Session<'s, E: Engine> {
    pub(in super::super) server: &'s Server,
    connection: E::Connection,
    link: Link,
}

impl<'s, E: Engine> Session<'s, E> {
    pub(super) async fn open(server: &'s Server) -> Result<Self, ReadError> {
        let mut link = Link::open(server, E::PROTOCOL).await?;
        let mut login = E::login(server, &link).await;
        if E::PROTOCOL == Protocol::MySql
            && login.as_ref().is_err_and(|error| server.is_unchecked_version_1(error))
        {
            link = Link::open(server, Protocol::SecureMySql).await?;
            login = E::login(server, &link).await;
        }
        match login {
            Ok(connection) => Ok(Self { server, connection, link }),
            Err(error) => Err(failed(server, &link, None, &error)),
        }
    }

    /// Calls `take` for every row of a statement; `about` names its table for errors.
    pub(in super::super) async fn each(
        &mut self,
        about: Option<&str>,
        sql: String,
        take: &mut dyn FnMut(&E::Row) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Self { server, connection, link } = self;
        let mut rows = E::rows(connection, sql);
        while let Some(row) = rows.try_next().await.map_err(|error| failed(server, link, about, &error))? {
            take(&row)?;
            drop(row);
            link.reset_row_bytes();
        }
        Ok(())
    }

    /// Returns the rows of a statement as texts; null becomes empty.
    pub(in super::super) async fn texts<const N: usize>(
        &mut self,
        sql: String,
    ) -> Result<Vec<[String; N]>, ReadError> {
        let server = self.server;
        let mut found = Vec::new();
        self.each(None, sql, &mut |row| {
            let mut line = [const { String::new() }; N];
            for (index, text) in line.iter_mut().enumerate() {
                let raw = E::value(row, index).map_err(|error| server.query_error(None, &error))?;
                *text = String::from_utf8_lossy(raw.unwrap_or_default()).into_owned();
            }
            found.push(line);
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// Describes an error of the link or of the driver.
fn failed(server: &Server, link: &Link, about: Option<&str>, error: &sqlx::Error) -> ReadError {
    match link.failure() {
        Some(reason) => server.table_error(about, reason),
        None => server.query_error(about, error),
    }
}
