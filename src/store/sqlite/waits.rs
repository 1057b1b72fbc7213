//! SQL for what changes wait for.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::columns::{ROWS, decode, json};
use crate::domain::{change::MappedChange, wait::Wait};
pub(super) use crate::store::wait_columns::{columns, of};

pub(super) fn wait(row: &SqliteRow) -> sqlx::Result<Wait> {
    let (distribution_id, name) = (row.try_get("distribution_id")?, row.try_get("name")?);
    of(row.try_get("kind")?, distribution_id, name).map_err(decode)
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    mapped: &[MappedChange],
) -> sqlx::Result<()> {
    let mut changes: BTreeMap<&Wait, BTreeSet<i64>> = BTreeMap::new();
    for one in mapped {
        for wait in &one.mapping.waits {
            changes.entry(wait).or_default().insert(one.change.seq);
        }
    }
    let mut rows = Vec::new();
    for (wait, changes) in changes {
        let wait = number(connection, wait).await?;
        rows.extend(changes.into_iter().map(|change| (wait, change)));
    }
    for chunk in rows.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO change_waits (wait, change) ");
        insert.push_values(chunk, |mut row, (wait, change)| {
            row.push_bind(*wait).push_bind(*change);
        });
        insert.push(" ON CONFLICT DO NOTHING");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// The number of a wait, which is inserted if it is new.
async fn number(connection: &mut SqliteConnection, wait: &Wait) -> sqlx::Result<i64> {
    let (kind, distribution_id, name) = columns(wait);
    // The update changes nothing, but makes it return the number.
    let insert = "INSERT INTO waits (kind, distribution_id, name) VALUES (?, ?, ?) \
                  ON CONFLICT DO UPDATE SET kind = excluded.kind RETURNING seq";
    sqlx::query_scalar(insert)
        .bind(kind)
        .bind(distribution_id)
        .bind(name)
        .fetch_one(connection)
        .await
}

/// One change waits for this from now on.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    wait: &Wait,
    change: i64,
) -> sqlx::Result<()> {
    let wait = number(connection, wait).await?;
    sqlx::query("INSERT INTO change_waits (wait, change) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(wait)
        .bind(change)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE changes SET state = 1 WHERE seq = ?")
        .bind(change)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes what these changes (a JSON list) wait for, at one distribution or everywhere.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    changes: &str,
    only: Option<&str>,
) -> sqlx::Result<()> {
    let delete = "DELETE FROM change_waits WHERE change IN (SELECT value FROM json_each(?1)) \
                  AND (?2 IS NULL OR EXISTS (SELECT 1 FROM waits \
                  WHERE waits.seq = wait AND distribution_id = ?2)) RETURNING wait";
    let deleted: Vec<i64> = sqlx::query_scalar(delete)
        .bind(changes)
        .bind(only)
        .fetch_all(&mut *connection)
        .await?;
    if deleted.is_empty() {
        return Ok(());
    }
    let delete = "DELETE FROM waits WHERE seq IN (SELECT value FROM json_each(?)) \
                  AND NOT EXISTS (SELECT 1 FROM change_waits WHERE wait = waits.seq)";
    sqlx::query(delete)
        .bind(json(deleted)?)
        .execute(connection)
        .await?;
    Ok(())
}
