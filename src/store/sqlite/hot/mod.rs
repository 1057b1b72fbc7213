//! What every message passes through, by a second, synchronous library for SQLite: `rusqlite`.
//!
//! sqlx hands each statement to a thread of its connection, and each row of a result back from it. That
//! costs several times as much as the statement does. Here, a group of writes or a whole read goes to
//! another thread once, and its statements are prepared once for the life of the connection. Everything
//! that is not done for every message stays with sqlx.
//!
//! Both libraries are linked to the same copy of SQLite, so their connections see each other's locks. Only
//! the writer's task writes, by one of its two connections at a time.

mod intake;
mod mapping;
mod notes;
mod readers;
mod waiting;

use std::{panic, path::Path};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior, types::Type};

pub(super) use self::{
    intake::is_plain,
    mapping::{Mapped, unseen},
    notes::{next_remap, open_waits},
    readers::HotReaders,
    waiting::waiting,
};
use super::BUSY_TIMEOUT;
use crate::{
    domain::change::{Acceptance, NewMessage},
    ports::StoreError,
};

/// More than there are statements here.
const STATEMENTS: usize = 32;

/// Opens a connection that commits as durably as the writer's other one. The file exists already.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Not the library's default flags, by which a name that begins with "file:" is a URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// What is committed together. Syncing the disk takes longer than the statements of a message.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) messages: Vec<NewMessage>,
    pub(super) mapped: Vec<Mapped>,
}

/// What became of each of [`Writes`].
pub(super) struct Written {
    pub(super) accepted: Vec<Acceptance>,
    /// Whether the results of mapping were recorded. If not, some changes had been looked at before.
    pub(super) recorded: Vec<bool>,
}

/// Writes all in one transaction.
pub(super) fn write(connection: &mut Connection, writes: &Writes) -> rusqlite::Result<Written> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let accepted = intake::accept(&transaction, &writes.messages)?;
    let mut recorded = Vec::with_capacity(writes.mapped.len());
    for mapped in &writes.mapped {
        // Rolled back unless it is committed.
        let savepoint = transaction.savepoint()?;
        let is_recorded = mapping::record(&savepoint, mapped)?;
        if is_recorded {
            savepoint.commit()?;
        }
        recorded.push(is_recorded);
    }
    transaction.commit()?;
    Ok(Written { accepted, recorded })
}

/// Runs what may block on a thread for that. If it panics, so does the caller.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => panic::resume_unwind(payload),
            // The runtime is being shut down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Reads a row of `table`, whose first column is its number. The error for an unreadable row names it.
fn read_one<T>(
    table: &'static str,
    row: &Row<'_>,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    read(row).map_err(|error| {
        let seq = row.get(0).map(|seq: i64| seq.to_string());
        let seq = seq.unwrap_or_else(|_| "unreadable".to_owned());
        StoreError::corrupt(table, format!("seq = {seq}"), error)
    })
}

/// A column of microseconds as a time.
fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let micros = row.get(column)?;
    Timestamp::from_microsecond(micros).map_err(|error| decode(column, error))
}

/// The error for a column with an unexpected value.
fn decode(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let work = blocking(|| panic!("a bug"));
        let ended: std::thread::Result<()> = panic::AssertUnwindSafe(work).catch_unwind().await;
        assert_eq!(ended.unwrap_err().downcast_ref(), Some(&"a bug"));
    }

    #[test]
    fn it_commits_as_durably_as_sqlx() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.db");
        std::fs::write(&file, "").unwrap();
        let connection = open(&file).unwrap();
        let text = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
        let mode: String = text("journal_mode").unwrap();
        assert_eq!(mode, "wal");
        // FULL.
        assert_eq!(number("synchronous"), Ok(2_i64));
        assert_eq!(number("busy_timeout"), Ok(60_000_i64));
    }
}
