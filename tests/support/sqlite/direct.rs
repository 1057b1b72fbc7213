//! The store by itself, and a second connection to its file.

use std::sync::Arc;

use jiff::Timestamp;
use purgefront::{
    ports::{
        Clock as _,
        dispatch::{DispatchStore, Epoch, LeaderStore as _},
    },
    shutdown::Tasks,
    store::{self, SqliteStore},
    telemetry::Health,
};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{clock::VirtualClock, quick_directory};

pub struct DirectStore {
    pub store: SqliteStore,
    pub leader: Arc<dyn DispatchStore>,
    /// Writes what a long life would have left.
    pub operator: SqliteConnection,
    pub now: Timestamp,
    _home: tempfile::TempDir,
}

impl DirectStore {
    pub async fn open() -> Self {
        let home = quick_directory();
        let clock = Arc::new(VirtualClock::new());
        let now = clock.now();
        let path = home.path().join("purgefront.db");
        let (health, tasks) = (Health::default(), Tasks::default());
        let store = store::open_sqlite(&path, clock, health, tasks)
            .await
            .unwrap();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(false);
        Self {
            leader: store.lead(Epoch(1)),
            store,
            operator: SqliteConnection::connect_with(&options).await.unwrap(),
            now,
            _home: home,
        }
    }

    pub async fn run(&mut self, sql: String) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        sql.execute(&mut self.operator).await.unwrap();
    }

    pub async fn count(&mut self, what: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {what}");
        let count = sqlx::query_scalar(AssertSqlSafe(count));
        count.fetch_one(&mut self.operator).await.unwrap()
    }
}
