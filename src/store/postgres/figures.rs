//! SQL for the figures of the status page: what was completed, and what a month has cost.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date};
use sqlx::{PgPool, Row as _};

use super::columns::{micros, read_all, signed, text, texts, time, unsigned};
use crate::{domain::propagation::Completion, ports::StoreError};

/// Reads so many of each distribution's newest completed batches.
const COMPLETIONS: &str = "SELECT newest.* FROM unnest($1::text[]) AS ids (id), LATERAL \
    (SELECT seq, distribution_id, submitted_at, completed_at FROM batches \
    WHERE distribution_id = ids.id AND status = 'completed' AND completed_at >= $2 \
    ORDER BY completed_at DESC LIMIT $3) AS newest WHERE submitted_at IS NOT NULL";

const LAST_COMPLETED: &str = "SELECT ids.id, newest.completed_at FROM unnest($1::text[]) AS ids (id), LATERAL \
    (SELECT max(completed_at) AS completed_at FROM batches \
    WHERE distribution_id = ids.id AND status = 'completed') AS newest \
    WHERE newest.completed_at IS NOT NULL";

const SPENT: &str =
    "SELECT coalesce(sum(items), 0)::bigint FROM day_spending WHERE day BETWEEN $1 AND $2";

pub(super) async fn completions(
    readers: &PgPool,
    distributions: &[String],
    since: Timestamp,
    most: usize,
) -> Result<Vec<Completion>, StoreError> {
    let rows = sqlx::query(COMPLETIONS)
        .bind(texts(distributions))
        .bind(micros(since))
        .bind(signed(most))
        .fetch_all(readers)
        .await?;
    read_all("batches", "seq", &rows, |row| {
        Ok(Completion {
            distribution_id: text(row, "distribution_id")?,
            submitted_at: time(row.try_get("submitted_at")?)?,
            completed_at: time(row.try_get("completed_at")?)?,
        })
    })
}

pub(super) async fn last_completed(
    readers: &PgPool,
    distributions: &[String],
) -> Result<HashMap<String, Timestamp>, StoreError> {
    let rows = sqlx::query(LAST_COMPLETED)
        .bind(texts(distributions))
        .fetch_all(readers)
        .await?;
    let known = read_all("batches", "id", &rows, |row| {
        Ok((text(row, "id")?, time(row.try_get("completed_at")?)?))
    })?;
    Ok(known.into_iter().collect())
}

pub(super) async fn spent(readers: &PgPool, first: Date, last: Date) -> sqlx::Result<u64> {
    let spent = sqlx::query_scalar(SPENT)
        .bind(first.to_string())
        .bind(last.to_string());
    Ok(unsigned(spent.fetch_one(readers).await?))
}
