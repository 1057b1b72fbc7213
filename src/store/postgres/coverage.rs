//! What was accepted of a bucket since a time, for commands beside running services.

use std::{collections::HashMap, str::FromStr as _};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{
    ConnectOptions as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    columns::{Text, micros, read_all, text, texts, time},
    for_session,
    schema::{self, Schema},
};
use crate::{
    domain::store_location::ServerUrl,
    ports::{
        StoreError,
        coverage::{CoverageStore, RequestedItem},
    },
    store::{LookError, OpenError},
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

/// A connection with a temporary table of the keys, because the journal has no index by key. It is filled in one
/// pass, so no snapshot is held while S3 lists the bucket. A key can be longer than an index takes, so the table has
/// an index of their hashes.
pub(crate) struct Coverage {
    connection: PgConnection,
    since: Timestamp,
}

impl Coverage {
    pub(crate) async fn open(
        url: &ServerUrl,
        bucket: &str,
        since: Timestamp,
    ) -> Result<Self, LookError> {
        let failed = |error: sqlx::Error| OpenError::Failed {
            store: url.to_string(),
            source: error.into(),
        };
        let options = PgConnectOptions::from_str(url.expose()).map_err(failed)?;
        let mut connection = for_session(options).connect().await.map_err(failed)?;
        match schema::look(&mut connection).await.map_err(failed)? {
            Schema::Absent => return Err(LookError::Missing(url.to_string())),
            Schema::Other => return Err(OpenError::OtherVersion(url.to_string()).into()),
            Schema::Older | Schema::Current | Schema::Newer => {}
        }
        let filled = fill(&mut connection, bucket, since).await;
        filled.map_err(failed)?;
        Ok(Self { connection, since })
    }
}

async fn fill(connection: &mut PgConnection, bucket: &str, since: Timestamp) -> sqlx::Result<()> {
    let table = "SET statement_timeout = 0; \
                 CREATE TEMPORARY TABLE covered (object_key TEXT COLLATE \"C\", accepted_at BIGINT NOT NULL)";
    sqlx::raw_sql(table).execute(&mut *connection).await?;
    // What was asked for at some distributions only says nothing of the others.
    let insert = concat!(
        "INSERT INTO covered SELECT object_key, max(accepted_at) FROM changes \
         WHERE bucket = $1 AND accepted_at >= $2 AND (request IS NULL OR EXISTS \
         (SELECT 1 FROM requests WHERE requests.seq = changes.request \
         AND requests.distributions IS NULL)) AND ",
        covers!(),
        " GROUP BY object_key"
    );
    sqlx::query(insert)
        .bind(Text::new(bucket))
        .bind(micros(since))
        .execute(&mut *connection)
        .await?;
    let index = "CREATE INDEX ON covered USING hash (object_key); ANALYZE covered";
    sqlx::raw_sql(index).execute(connection).await?;
    Ok(())
}

#[async_trait]
impl CoverageStore for Coverage {
    async fn last_accepted(
        &mut self,
        keys: &[&str],
    ) -> Result<HashMap<String, Timestamp>, StoreError> {
        let select = "SELECT object_key, accepted_at FROM covered WHERE object_key = ANY($1)";
        let rows = sqlx::query(select)
            .bind(texts(keys.iter().copied()))
            .fetch_all(&mut self.connection)
            .await?;
        let read = |row: &PgRow| Ok((text(row, "object_key")?, time(row.try_get("accepted_at")?)?));
        let found = read_all("changes", "object_key", &rows, read)?;
        Ok(found.into_iter().collect())
    }

    async fn requested(&mut self, after: i64) -> Result<Vec<RequestedItem>, StoreError> {
        let select = concat!(
            "SELECT seq, distribution_id, path, accepted_at FROM changes \
             WHERE request IS NOT NULL AND path IS NOT NULL AND seq > $1 AND accepted_at >= $2 AND ",
            covers!(),
            " ORDER BY seq LIMIT $3"
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
                distribution_id: text(row, "distribution_id")?,
                item: text(row, "path")?,
                accepted_at: time(row.try_get("accepted_at")?)?,
            })
        })
    }
}
