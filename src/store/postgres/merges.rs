//! SQL for what merging did to batches.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, postgres::PgRow};

use super::columns::{Text, micros, optional_from_json, read_all, to_json};
use crate::{
    domain::{
        batch::{Batch, Merges},
        path::Item,
    },
    ports::StoreError,
};

pub(super) async fn insert(
    connection: &mut PgConnection,
    seq: i64,
    batch: &Batch,
    now: Timestamp,
) -> sqlx::Result<()> {
    if batch.merges.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO batch_merges (batch, distribution_id, frozen_at, merges) \
                  VALUES ($1, $2, $3, $4)";
    sqlx::query(insert)
        .bind(seq)
        .bind(Text::new(&batch.distribution_id))
        .bind(micros(now))
        .bind(to_json(&batch.merges)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// What the column `merges` says: nothing was merged if it is NULL.
pub(super) fn merges(row: &PgRow) -> sqlx::Result<Merges> {
    Ok(optional_from_json(row, "merges")?.unwrap_or_default())
}

pub(super) async fn of_batch(
    connection: &mut PgConnection,
    batch: i64,
) -> Result<Merges, StoreError> {
    let rows = sqlx::query("SELECT batch, merges FROM batch_merges WHERE batch = $1")
        .bind(batch)
        .fetch_all(connection)
        .await?;
    let found = read_all("batch_merges", "batch", &rows, merges)?;
    Ok(found.into_iter().next().unwrap_or_default())
}

pub(super) async fn made_since(
    readers: &PgPool,
    distribution_id: &str,
    since: Timestamp,
) -> Result<Vec<Item>, StoreError> {
    let select = "SELECT batch, merges FROM batch_merges JOIN batches ON batches.seq = batch_merges.batch \
                  WHERE batch_merges.distribution_id = $1 AND frozen_at >= $2 AND status <> 'replaced'";
    let rows = sqlx::query(select)
        .bind(Text::new(distribution_id))
        .bind(micros(since))
        .fetch_all(readers)
        .await?;
    let all = read_all("batch_merges", "batch", &rows, merges)?;
    let made = all.into_iter().flat_map(|one| one.made);
    Ok(made.map(|one| one.item).collect())
}
