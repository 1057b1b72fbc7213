//! SQL for the figures of the status page: what was completed, and what a month has cost.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date};
use sqlx::{PgPool, Row as _};

use super::columns::{decode, micros, read_all, signed, time, unsigned};
use crate::{domain::propagation::Completion, ports::StoreError};

/// Reads so many of each distribution's newest completed batches.
pub(super) const COMPLETIONS: &str = "SELECT batches.seq, batches.distribution_id, submitted_at, completed_at \
     FROM json_each(?1) AS ids JOIN batches ON batches.seq IN (SELECT seq FROM batches AS newest \
     WHERE newest.distribution_id = ids.value AND newest.status = 'completed' \
     AND newest.completed_at >= ?2 ORDER BY newest.completed_at DESC LIMIT ?3) \
     WHERE submitted_at IS NOT NULL";

pub(super) const LAST_COMPLETED: &str = "SELECT ids.value AS id, \
     (SELECT max(completed_at) FROM batches WHERE distribution_id = ids.value AND status = 'completed') \
     AS completed_at FROM json_each(?) AS ids";

pub(super) const SPENT: &str =
    "SELECT coalesce(sum(items), 0) FROM day_spending WHERE day BETWEEN ? AND ?";

pub(super) async fn completions(
    readers: &PgPool,
    distributions: &[String],
    since: Timestamp,
    most: usize,
) -> Result<Vec<Completion>, StoreError> {
    let ids = serde_json::to_string(distributions).map_err(decode)?;
    let rows = sqlx::query(COMPLETIONS)
        .bind(ids)
        .bind(micros(since))
        .bind(signed(most))
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
    readers: &PgPool,
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

pub(super) async fn spent(readers: &PgPool, first: Date, last: Date) -> sqlx::Result<u64> {
    let spent = sqlx::query_scalar(SPENT)
        .bind(first.to_string())
        .bind(last.to_string());
    Ok(unsigned(spent.fetch_one(readers).await?))
}
