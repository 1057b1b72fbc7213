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

/// Whether a change has cleared what it is about, or is going to: it still waits, or has items, and none
/// that was not sent. What needed nothing then covers nothing, as the catalogue may know more by now.
macro_rules! covers {
    () => {
        "(changes.state < 2 OR EXISTS (SELECT 1 FROM targets WHERE targets.change = changes.seq)) \
         AND NOT EXISTS (SELECT 1 FROM targets JOIN batches ON batches.seq = targets.batch \
         WHERE targets.change = changes.seq AND batches.status IN ('failed', 'shadowed')) \
         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.change = changes.seq)"
    };
}

/// A connection with a temporary table of the keys, because the journal has no index by key. It is
/// filled in one pass, so no snapshot is held while S3 lists the bucket. SQLite keeps the table in a
/// file when it gets large.
pub(crate) struct Coverage {
    connection: SqliteConnection,
    since: Timestamp,
}

impl Coverage {
    pub(crate) async fn open(
        store: &Path,
        bucket: &str,
        since: Timestamp,
    ) -> Result<Self, LookError> {
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
    let insert = concat!(
        "INSERT INTO covered SELECT object_key, max(accepted_at) FROM changes \
         WHERE bucket = ? AND accepted_at >= ? AND (request IS NULL OR EXISTS \
         (SELECT 1 FROM requests WHERE requests.seq = changes.request \
         AND requests.distributions IS NULL)) AND ",
        covers!(),
        " GROUP BY object_key"
    );
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
        let select = concat!(
            "SELECT seq, distribution_id, path, accepted_at FROM changes \
             WHERE request IS NOT NULL AND path IS NOT NULL AND seq > ? AND accepted_at >= ? AND ",
            covers!(),
            " ORDER BY seq LIMIT ?"
        );
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

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::store::sqlite::migrations;

    /// Changes of keys, and one of a path, with what became of them.
    const HISTORY: &str = "
        INSERT INTO requests (seq, id, token, accepted_at) VALUES (1, 'r', 't', 0);
        INSERT INTO changes (seq, message, bucket, object_key, accepted_at, state) VALUES
            (1, 1, 'site', 'new', 1, 0), (2, 1, 'site', 'mapped', 2, 2), (3, 1, 'site', 'sent', 3, 2),
            (4, 1, 'site', 'shadowed', 4, 2), (5, 1, 'site', 'failed', 5, 2),
            (6, 1, 'site', 'partly', 6, 2), (7, 1, 'site', 'skipped', 7, 2),
            (8, 1, 'site', 'dead', 8, 2), (9, 1, 'site', 'again', 9, 2), (10, 1, 'site', 'again', 10, 2),
            (11, 1, 'other', 'elsewhere', 11, 2);
        INSERT INTO changes (seq, request, distribution_id, path, accepted_at, state) VALUES
            (12, 1, 'E1', '/sent', 12, 2), (13, 1, 'E1', '/shadowed', 13, 2), (14, 1, 'E1', '/new', 14, 0);
        INSERT INTO batches (seq, id, distribution_id, caller_reference, status, item_count,
            wildcard_count, change_count, created_at, due_at) VALUES
            (1, 'a', 'E1', 'a', 'completed', 1, 0, 1, 0, 0), (2, 'b', 'E1', 'b', 'shadowed', 1, 0, 1, 0, 0),
            (3, 'c', 'E1', 'c', 'failed', 1, 0, 1, 0, 0), (4, 'd', 'E1', 'd', 'pending', 1, 0, 1, 0, 0);
        INSERT INTO targets (change, distribution_id, item, because, manual, accepted_at, batch, position)
            VALUES (2, 'E1', '/i', '', 0, 0, NULL, NULL), (3, 'E1', '/i', '', 0, 0, 1, 0),
            (4, 'E1', '/i', '', 0, 0, 2, 0), (5, 'E1', '/i', '', 0, 0, 3, 0),
            (6, 'E1', '/i', '', 0, 0, 1, 0), (6, 'E2', '/i', '', 0, 0, 3, 0),
            (8, 'E1', '/i', '', 0, 0, 1, 0), (9, 'E1', '/i', '', 0, 0, 4, 0),
            (10, 'E1', '/i', '', 0, 0, 2, 0), (11, 'E1', '/i', '', 0, 0, 1, 0),
            (12, 'E1', '/i', '', 0, 0, 1, 0), (13, 'E1', '/i', '', 0, 0, 2, 0);
        INSERT INTO skips (change, why) VALUES (7, 'no distribution');
        INSERT INTO dead_letters (kind, why, change, created_at) VALUES ('item', '~', 8, 0);
    ";

    #[tokio::test]
    async fn only_what_was_sent_or_is_going_to_be_covers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(false);
        let mut connection = options.connect().await.unwrap();
        let migrated = migrations().run_direct(None, &mut connection, false).await;
        migrated.unwrap();
        sqlx::raw_sql(HISTORY)
            .execute(&mut connection)
            .await
            .unwrap();
        let mut coverage = Coverage::open(&path, "site", Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        let keys = [
            "new", "mapped", "sent", "shadowed", "failed", "partly", "skipped", "dead", "again",
        ];
        let found = coverage.last_accepted(&keys).await.unwrap();
        let mut found: Vec<_> = found
            .iter()
            .map(|(key, at)| (key.as_str(), at.as_microsecond()))
            .collect();
        found.sort_unstable();
        let expected = [("again", 9), ("mapped", 2), ("new", 1), ("sent", 3)];
        assert_eq!(found, expected);
        let found = coverage.requested(0).await.unwrap();
        let found: Vec<_> = found.iter().map(|one| one.item.as_str()).collect();
        assert_eq!(found, ["/sent", "/new"]);
    }
}
