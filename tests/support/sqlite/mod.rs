//! SQLite only: what tests share that reads the store's file, or writes to it, with SQL of its own.
//!
//! The audit and the crash tests check the service's promises against rows, not through the ports,
//! because the code behind the ports is part of what they check, and because they also read the
//! store of a process that has just been killed. The tests of retention and of dead letters write
//! what only years of use would leave. The schema and the file are SQLite's. Another store needs its
//! own version of this folder, and of the few tests that spoil or count rows by themselves; the stories
//! in `store_contract` need none.

use std::path::Path;

use purgefront::ports::dispatch::Window;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// More than any of these stores has.
pub const WINDOW: Window = Window {
    items: 1_000_000,
    bytes: usize::MAX,
};

pub mod audit;
pub mod direct;
pub mod stored;

/// Runs statements on a store.
pub async fn execute(store: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(store);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Puts off everything that waits after a failure by ten minutes, in the store of a service that is not
/// running. Returns the most failures in a row.
pub async fn put_off(path: &Path) -> u32 {
    let options = SqliteConnectOptions::new().filename(path);
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    let later = "UPDATE backoffs SET not_before = not_before + 600000000; \
                 UPDATE batches SET due_at = due_at + 600000000 WHERE status = 'pending'";
    sqlx::raw_sql(later).execute(&mut store).await.unwrap();
    let failures = sqlx::query_scalar("SELECT max(failures) FROM backoffs");
    let failures = failures.fetch_one(&mut store).await.unwrap();
    store.close().await.unwrap();
    failures
}
