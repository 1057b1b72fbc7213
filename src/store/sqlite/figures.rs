//! SQL for the figures of the status page: what was completed, and what a month has cost.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date};
use sqlx::{Row as _, SqlitePool};

use super::columns::{decode, micros, read_all, signed, time, unsigned};
use crate::{domain::propagation::Completion, ports::StoreError};

/// Reads so many of the newest completed batches, however long ago the others were.
pub(super) const COMPLETIONS: &str = "SELECT * FROM (SELECT seq, distribution_id, submitted_at, completed_at \
     FROM batches WHERE status = 'completed' ORDER BY seq DESC LIMIT ?1) \
     WHERE submitted_at IS NOT NULL AND completed_at >= ?2";

/// Looks at each distribution's newest 100 batches.
pub(super) const LAST_COMPLETED: &str = "SELECT ids.value AS id, (SELECT max(completed_at) FROM \
     (SELECT completed_at FROM batches WHERE distribution_id = ids.value ORDER BY seq DESC LIMIT 100)) \
     AS completed_at FROM json_each(?) AS ids";

pub(super) const SPENT: &str =
    "SELECT coalesce(sum(items), 0) FROM day_spending WHERE day BETWEEN ? AND ?";

pub(super) async fn completions(
    readers: &SqlitePool,
    since: Timestamp,
    most: usize,
) -> Result<Vec<Completion>, StoreError> {
    let rows = sqlx::query(COMPLETIONS)
        .bind(signed(most))
        .bind(micros(since))
        .fetch_all(readers)
        .await?;
    read_all("batches", "seq", &rows, |row| {
        Ok(Completion {
            distribution_id: row.try_get("distribution_id")?,
            submitted_at: time(row.try_get("submitted_at")?)?,
            completed_at: time(row.try_get("completed_at")?)?,
        })
    })
}

pub(super) async fn last_completed(
    readers: &SqlitePool,
    distributions: &[String],
) -> Result<HashMap<String, Timestamp>, StoreError> {
    let ids = serde_json::to_string(distributions).map_err(decode)?;
    let rows = sqlx::query(LAST_COMPLETED)
        .bind(ids)
        .fetch_all(readers)
        .await?;
    let known = read_all("batches", "id", &rows, |row| {
        let at: Option<i64> = row.try_get("completed_at")?;
        Ok((row.try_get("id")?, at.map(time).transpose()?))
    })?;
    let known = known.into_iter();
    Ok(known.filter_map(|(id, at)| Some((id, at?))).collect())
}

pub(super) async fn spent(readers: &SqlitePool, first: Date, last: Date) -> sqlx::Result<u64> {
    let spent = sqlx::query_scalar(SPENT)
        .bind(first.to_string())
        .bind(last.to_string());
    Ok(unsigned(spent.fetch_one(readers).await?))
}
