//! SQL for pauses, backoffs, and the daily limit.

use jiff::{Timestamp, civil::Date};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::{
    columns::{Text, micros, number, optional, optional_text, read_all, text, time, unsigned},
    holds, ledger,
};
use crate::{
    domain::{
        cdn::CdnError,
        operations::{Backoff, Controls, DaySpending, Pauses},
        resolution::Failure,
    },
    ports::StoreError,
};

/// Stands for all distributions in the table `paused`.
const ALL: &str = "";

pub(super) async fn read(readers: &PgPool, day: Date) -> Result<Controls, StoreError> {
    let rows = sqlx::query("SELECT distribution_id FROM paused")
        .fetch_all(readers)
        .await?;
    let mut pauses = Pauses::default();
    for row in &rows {
        let id = text(row, "distribution_id")?;
        if id == ALL {
            pauses.all = true;
        } else {
            pauses.distributions.insert(id);
        }
    }
    let spending = sqlx::query("SELECT day, items, lifted FROM day_spending WHERE day = $1")
        .bind(day.to_string())
        .fetch_all(readers)
        .await?;
    let spending = read_all("day_spending", "day", &spending, |row| {
        Ok(DaySpending {
            items: unsigned(row.try_get("items")?),
            lifted: row.try_get("lifted")?,
        })
    })?;
    Ok(Controls {
        pauses,
        holds: holds::read(readers).await?,
        spending: spending.first().copied().unwrap_or_default(),
        ledger: ledger::read(readers, day).await?,
    })
}

pub(super) async fn set_paused(
    connection: &mut PgConnection,
    distribution_id: Option<String>,
    paused: bool,
) -> sqlx::Result<()> {
    let set = if paused {
        "INSERT INTO paused (distribution_id) VALUES ($1) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM paused WHERE distribution_id = $1"
    };
    sqlx::query(set)
        .bind(Text::new(distribution_id.as_deref().unwrap_or(ALL)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts the items of a batch.
pub(super) async fn spend(
    connection: &mut PgConnection,
    day: Date,
    items: i64,
) -> sqlx::Result<()> {
    let upsert = "INSERT INTO day_spending AS known (day, items) VALUES ($1, $2) \
                  ON CONFLICT (day) DO UPDATE SET items = known.items + excluded.items";
    sqlx::query(upsert)
        .bind(day.to_string())
        .bind(items)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes back what was counted for a batch from which CloudFront has created nothing.
pub(super) async fn take_back(connection: &mut PgConnection, batch: i64) -> sqlx::Result<()> {
    let subtract = "UPDATE day_spending SET items = greatest(0, items - batches.item_count) \
                    FROM batches WHERE batches.seq = $1 AND day = batches.counted_on";
    sqlx::query(subtract)
        .bind(batch)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE batches SET counted_on = NULL WHERE seq = $1")
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn lift_limit(connection: &mut PgConnection, day: Date) -> sqlx::Result<()> {
    let lift = "INSERT INTO day_spending (day, lifted) VALUES ($1, true) \
                ON CONFLICT (day) DO UPDATE SET lifted = true";
    sqlx::query(lift)
        .bind(day.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn backoffs(readers: &PgPool) -> Result<Vec<Backoff>, StoreError> {
    let select = "SELECT distribution_id, failures, not_before, error, detail, ended FROM backoffs";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("backoffs", "distribution_id", &rows, |row: &PgRow| {
        let error = optional_text(row, "error")?.zip(optional_text(row, "detail")?);
        Ok(Backoff {
            distribution_id: text(row, "distribution_id")?,
            failures: number(row, "failures")?,
            not_before: time(row.try_get("not_before")?)?,
            error: error.and_then(|(label, text)| CdnError::labelled(&label, text)),
            ended: row.try_get("ended")?,
        })
    })
}

/// Sets a distribution's backoff after a failure.
pub(super) async fn back_off(
    connection: &mut PgConnection,
    distribution_id: &str,
    failure: &Failure,
) -> sqlx::Result<()> {
    let upsert = "INSERT INTO backoffs (distribution_id, failures, not_before, error, detail) \
                  VALUES ($1, $2, $3, $4, $5) ON CONFLICT (distribution_id) DO UPDATE \
                  SET failures = excluded.failures, not_before = excluded.not_before, \
                  error = excluded.error, detail = excluded.detail, ended = false";
    sqlx::query(upsert)
        .bind(Text::new(distribution_id))
        .bind(i64::from(failure.failures))
        .bind(micros(failure.not_before))
        .bind(failure.error.label())
        .bind(Text::new(Backoff::kept_text(&failure.error)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes a distribution's backoff: nothing is refused any more.
pub(super) async fn forget_backoff(
    connection: &mut PgConnection,
    distribution_id: &str,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM backoffs WHERE distribution_id = $1")
        .bind(Text::new(distribution_id))
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends the backoff of a distribution, or of all, and the waits of its batches.
pub(super) async fn end_backoffs(
    connection: &mut PgConnection,
    distribution_id: Option<String>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let end = "UPDATE backoffs SET ended = true WHERE $1 IS NULL OR distribution_id = $1";
    sqlx::query(end)
        .bind(optional(distribution_id.as_deref()))
        .execute(&mut *connection)
        .await?;
    let end = "UPDATE batches SET due_at = $2 WHERE status = 'pending' AND due_at > $2 \
               AND ($1 IS NULL OR distribution_id = $1)";
    sqlx::query(end)
        .bind(optional(distribution_id.as_deref()))
        .bind(micros(now))
        .execute(connection)
        .await?;
    Ok(())
}
