//! SQL for what changes wait for.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::columns::{Text, decode, optional, read_all, text};
pub(super) use crate::store::wait_columns::{columns, of};
use crate::{
    domain::{
        change::MappedChange,
        wait::{OpenWait, Wait},
    },
    ports::StoreError,
};

pub(super) fn wait(row: &PgRow) -> sqlx::Result<Wait> {
    let (distribution_id, name) = (text(row, "distribution_id")?, text(row, "name")?);
    of(&text(row, "kind")?, distribution_id, name).map_err(decode)
}

/// There are few waits, however many changes have one.
pub(super) async fn open(readers: &PgPool) -> Result<Vec<OpenWait>, StoreError> {
    let select = "SELECT seq, kind, distribution_id, name, first FROM waits, LATERAL \
                  (SELECT min(change) AS first FROM change_waits WHERE wait = waits.seq) AS oldest \
                  WHERE first IS NOT NULL ORDER BY seq";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("waits", "seq", &rows, |row| {
        Ok(OpenWait {
            wait: wait(row)?,
            first: row.try_get("first")?,
        })
    })
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
) -> sqlx::Result<()> {
    let mut changes: BTreeMap<&Wait, BTreeSet<i64>> = BTreeMap::new();
    for one in mapped {
        for wait in &one.mapping.waits {
            changes.entry(wait).or_default().insert(one.change.seq);
        }
    }
    let (mut waits, mut waiting) = (Vec::new(), Vec::new());
    for (wait, changes) in changes {
        let wait = number(connection, wait).await?;
        waits.extend(changes.iter().map(|_| wait));
        waiting.extend(changes);
    }
    if waits.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO change_waits (wait, change) \
                  SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING";
    sqlx::query(insert)
        .bind(waits)
        .bind(waiting)
        .execute(connection)
        .await?;
    Ok(())
}

/// Finds the number of the wait $1, $2, $3.
macro_rules! find {
    () => {
        "SELECT seq FROM waits WHERE kind = $1 AND distribution_id = $2 \
         AND left(name, 256) = left($3, 256) AND name = $3"
    };
}
pub(super) use find;

/// The number of a wait, which is inserted if it is new. Nobody inserts the same meanwhile: one transaction at a
/// time writes here.
async fn number(connection: &mut PgConnection, wait: &Wait) -> sqlx::Result<i64> {
    let (kind, distribution_id, name) = columns(wait);
    let known: Option<i64> = sqlx::query_scalar(find!())
        .bind(kind)
        .bind(Text::new(distribution_id))
        .bind(Text::new(name))
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(known) = known {
        return Ok(known);
    }
    let insert =
        "INSERT INTO waits (kind, distribution_id, name) VALUES ($1, $2, $3) RETURNING seq";
    sqlx::query_scalar(insert)
        .bind(kind)
        .bind(Text::new(distribution_id))
        .bind(Text::new(name))
        .fetch_one(connection)
        .await
}

/// One change waits for this from now on.
pub(super) async fn add(
    connection: &mut PgConnection,
    wait: &Wait,
    change: i64,
) -> sqlx::Result<()> {
    let wait = number(connection, wait).await?;
    sqlx::query("INSERT INTO change_waits (wait, change) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(wait)
        .bind(change)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE changes SET state = 1 WHERE seq = $1")
        .bind(change)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes what these changes wait for, at one distribution or everywhere.
pub(super) async fn delete(
    connection: &mut PgConnection,
    changes: &[i64],
    only: Option<&str>,
) -> sqlx::Result<()> {
    let delete = "DELETE FROM change_waits WHERE change = ANY($1) \
                  AND ($2 IS NULL OR EXISTS (SELECT 1 FROM waits \
                  WHERE waits.seq = wait AND distribution_id = $2)) RETURNING wait";
    let deleted: BTreeSet<i64> = sqlx::query_scalar(delete)
        .bind(changes)
        .bind(optional(only))
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
    if deleted.is_empty() {
        return Ok(());
    }
    let delete = "DELETE FROM waits WHERE seq = ANY($1) \
                  AND NOT EXISTS (SELECT 1 FROM change_waits WHERE wait = waits.seq)";
    sqlx::query(delete)
        .bind(deleted.into_iter().collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
