//! SQL for the ledger: the month's sums, and what others' invalidations add to them.

use jiff::civil::Date;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::columns::{micros, parsed, read_one, signed, time, unsigned};
use crate::{
    domain::{
        ledger::{Ledger, OthersInvalidation},
        operations::day_of,
    },
    ports::StoreError,
    store::ledger_days::LedgerDays,
};

/// The sums from the first to the last day of a month, and from a day to another; ?5 is the first of all.
pub(super) const LEDGER: &str = "SELECT \
    coalesce(sum(items) FILTER (WHERE day BETWEEN ?1 AND ?2), 0) AS own, \
    coalesce(sum(others) FILTER (WHERE day BETWEEN ?1 AND ?2), 0) AS others, \
    coalesce(sum(items + others) FILTER (WHERE day BETWEEN ?3 AND ?4), 0) AS recent, \
    (SELECT min(day) FROM day_spending WHERE day <= ?4) AS first \
    FROM day_spending WHERE day BETWEEN ?5 AND ?2";

pub(super) async fn read(readers: &SqlitePool, day: Date) -> Result<Ledger, StoreError> {
    let days = LedgerDays::of(day);
    let row = sqlx::query(LEDGER)
        .bind(days.first_of_month.to_string())
        .bind(days.last_of_month.to_string())
        .bind(days.first_recent.to_string())
        .bind(days.day.to_string())
        .bind(days.first().to_string())
        .fetch_one(readers)
        .await?;
    read_one("day_spending", "first", &row, |row| {
        let first: Option<String> = row.try_get("first")?;
        let first = first.map(|day| parsed(&day)).transpose()?;
        Ok(Ledger {
            own: unsigned(row.try_get("own")?),
            others: unsigned(row.try_get("others")?),
            recent: unsigned(row.try_get("recent")?),
            days: days.recent_since(first),
        })
    })
}

/// Counts an invalidation that is not ours, once.
pub(super) async fn record_others(
    connection: &mut SqliteConnection,
    one: OthersInvalidation,
) -> sqlx::Result<()> {
    let insert = "INSERT INTO others_invalidations (distribution_id, cloudfront_id, created_at, paths) \
                  SELECT ?1, ?2, ?3, ?4 \
                  WHERE NOT EXISTS (SELECT 1 FROM batches WHERE cloudfront_id = ?2) \
                  ON CONFLICT DO NOTHING";
    let inserted = sqlx::query(insert)
        .bind(one.distribution_id)
        .bind(one.cloudfront_id)
        .bind(micros(one.created_at))
        .bind(signed(one.paths))
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() > 0 {
        let upsert = "INSERT INTO day_spending (day, others) VALUES (?, ?) \
                      ON CONFLICT DO UPDATE SET others = others + excluded.others";
        sqlx::query(upsert)
            .bind(day_of(one.created_at).to_string())
            .bind(signed(one.paths))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// An invalidation turns out to be ours. It may have been taken for another's before: then, the answer to an
/// earlier attempt was lost.
pub(super) async fn forget_others(
    connection: &mut SqliteConnection,
    distribution_id: &str,
    cloudfront_id: &str,
) -> sqlx::Result<()> {
    let delete = "DELETE FROM others_invalidations WHERE distribution_id = ? AND cloudfront_id = ? \
                  RETURNING created_at, paths";
    let counted: Option<(i64, i64)> = sqlx::query_as(delete)
        .bind(distribution_id)
        .bind(cloudfront_id)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some((created_at, paths)) = counted {
        sqlx::query("UPDATE day_spending SET others = max(0, others - ?) WHERE day = ?")
            .bind(paths)
            .bind(day_of(time(created_at)?).to_string())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Deletes the sums from before a day, except for the newest of them: it tells that something was recorded
/// before.
pub(super) async fn drop_days(
    connection: &mut SqliteConnection,
    first_kept: Date,
) -> sqlx::Result<()> {
    let delete = "DELETE FROM day_spending WHERE day < \
                  (SELECT max(day) FROM day_spending WHERE day < ?)";
    sqlx::query(delete)
        .bind(first_kept.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
