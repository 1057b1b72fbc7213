//! What was accepted of a bucket since a time, for commands beside a running service.

use std::{collections::HashMap, path::Path};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    check::{failed, look, version},
    columns::{decode, micros, read_all, time},
};
use crate::{
    ports::{
        StoreError,
        coverage::{CoverageStore, RequestedItem},
    },
    store::LookError,
};

const PAGE: i64 = 10_000;

/// A connection with a temporary table of the keys, because the journal has no index by key. It is
/// filled in one pass, so no snapshot is held while S3 lists the bucket. SQLite keeps the table in a
/// file when it gets large.
pub struct Coverage {
    connection: SqliteConnection,
    since: Timestamp,
}

impl Coverage {
    pub async fn open(store: &Path, bucket: &str, since: Timestamp) -> Result<Self, LookError> {
        let mut connection = look(store).await?;
        let found = version(&mut connection, store).await;
        found.map_err(|error| failed(store, error))??;
        let filled = fill(&mut connection, bucket, since).await;
        filled.map_err(|error| failed(store, error))?;
        Ok(Self { connection, since })
    }
}

async fn fill(
    connection: &mut SqliteConnection,
    bucket: &str,
    since: Timestamp,
) -> sqlx::Result<()> {
    let table = "CREATE TEMP TABLE covered (object_key TEXT PRIMARY KEY, accepted_at INTEGER NOT NULL) \
                 WITHOUT ROWID";
    sqlx::query(table).execute(&mut *connection).await?;
    // What was asked for at some distributions only says nothing of the others.
    let insert = "INSERT INTO covered SELECT object_key, max(accepted_at) FROM changes \
                  WHERE bucket = ? AND accepted_at >= ? AND (request IS NULL OR EXISTS \
                  (SELECT 1 FROM requests WHERE requests.seq = changes.request \
                  AND requests.distributions IS NULL)) GROUP BY object_key";
    sqlx::query(insert)
        .bind(bucket)
        .bind(micros(since))
        .execute(connection)
        .await?;
    Ok(())
}

#[async_trait]
impl CoverageStore for Coverage {
    async fn last_accepted(
        &mut self,
        keys: &[&str],
    ) -> Result<HashMap<String, Timestamp>, StoreError> {
        let select = "SELECT object_key, accepted_at FROM covered \
                      WHERE object_key IN (SELECT value FROM json_each(?))";
        let rows = sqlx::query(select)
            .bind(serde_json::to_string(keys).map_err(decode)?)
            .fetch_all(&mut self.connection)
            .await?;
        let read = |row: &SqliteRow| {
            Ok((
                row.try_get("object_key")?,
                time(row.try_get("accepted_at")?)?,
            ))
        };
        let found = read_all("changes", "object_key", &rows, read)?;
        Ok(found.into_iter().collect())
    }

    async fn requested(&mut self, after: i64) -> Result<Vec<RequestedItem>, StoreError> {
        let select = "SELECT seq, distribution_id, path, accepted_at FROM changes \
                      WHERE request IS NOT NULL AND path IS NOT NULL AND seq > ? AND accepted_at >= ? \
                      ORDER BY seq LIMIT ?";
        let rows = sqlx::query(select)
            .bind(after)
            .bind(micros(self.since))
            .bind(PAGE)
            .fetch_all(&mut self.connection)
            .await?;
        read_all("changes", "seq", &rows, |row| {
            Ok(RequestedItem {
                seq: row.try_get("seq")?,
                distribution_id: row.try_get("distribution_id")?,
                item: row.try_get("path")?,
                accepted_at: time(row.try_get("accepted_at")?)?,
            })
        })
    }
}
