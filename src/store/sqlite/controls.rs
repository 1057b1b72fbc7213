//! SQL for pauses, backoffs, and the daily limit.

use jiff::{Timestamp, civil::Date};
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{
    columns::{micros, read_all, time, unsigned},
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

pub(super) async fn read(readers: &SqlitePool, day: Date) -> Result<Controls, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT distribution_id FROM paused")
        .fetch_all(readers)
        .await?;
    let mut pauses = Pauses::default();
    for id in ids {
        if id == ALL {
            pauses.all = true;
        } else {
            pauses.distributions.insert(id);
        }
    }
    let spending = sqlx::query("SELECT day, items, lifted FROM day_spending WHERE day = ?")
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
    connection: &mut SqliteConnection,
    distribution_id: Option<String>,
    paused: bool,
) -> sqlx::Result<()> {
    let set = if paused {
        "INSERT INTO paused (distribution_id) VALUES (?) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM paused WHERE distribution_id = ?"
    };
    sqlx::query(set)
        .bind(distribution_id.unwrap_or_else(|| ALL.to_owned()))
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts the items of a batch.
pub(super) async fn spend(
    connection: &mut SqliteConnection,
    day: Date,
    items: i64,
) -> sqlx::Result<()> {
    let upsert = "INSERT INTO day_spending (day, items) VALUES (?, ?) \
                  ON CONFLICT DO UPDATE SET items = items + excluded.items";
    sqlx::query(upsert)
        .bind(day.to_string())
        .bind(items)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes back what was counted for a batch from which CloudFront has created nothing.
pub(super) async fn take_back(connection: &mut SqliteConnection, batch: i64) -> sqlx::Result<()> {
    let subtract = "UPDATE day_spending SET items = max(0, items - batches.item_count) FROM batches \
                    WHERE batches.seq = ? AND day = batches.counted_on";
    sqlx::query(subtract)
        .bind(batch)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE batches SET counted_on = NULL WHERE seq = ?")
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn lift_limit(connection: &mut SqliteConnection, day: Date) -> sqlx::Result<()> {
    let lift = "INSERT INTO day_spending (day, lifted) VALUES (?, 1) \
                ON CONFLICT DO UPDATE SET lifted = 1";
    sqlx::query(lift)
        .bind(day.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn backoffs(readers: &SqlitePool) -> Result<Vec<Backoff>, StoreError> {
    let select = "SELECT distribution_id, failures, not_before, error, detail, ended FROM backoffs";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("backoffs", "distribution_id", &rows, |row: &SqliteRow| {
        let label: Option<String> = row.try_get("error")?;
        let text: Option<String> = row.try_get("detail")?;
        let error = label.zip(text);
        Ok(Backoff {
            distribution_id: row.try_get("distribution_id")?,
            failures: row.try_get("failures")?,
            not_before: time(row.try_get("not_before")?)?,
            error: error.and_then(|(label, text)| CdnError::labelled(&label, text)),
            ended: row.try_get("ended")?,
        })
    })
}

/// Sets a distribution's backoff after a failure.
pub(super) async fn back_off(
    connection: &mut SqliteConnection,
    distribution_id: &str,
    failure: &Failure,
) -> sqlx::Result<()> {
    let upsert = "INSERT OR REPLACE INTO backoffs \
                  (distribution_id, failures, not_before, error, detail, ended) \
                  VALUES (?, ?, ?, ?, ?, 0)";
    sqlx::query(upsert)
        .bind(distribution_id)
        .bind(failure.failures)
        .bind(micros(failure.not_before))
        .bind(failure.error.label())
        .bind(Backoff::kept_text(&failure.error))
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes a distribution's backoff: nothing is refused any more.
pub(super) async fn forget_backoff(
    connection: &mut SqliteConnection,
    distribution_id: &str,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM backoffs WHERE distribution_id = ?")
        .bind(distribution_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends the backoff of a distribution, or of all, and the waits of its batches.
pub(super) async fn end_backoffs(
    connection: &mut SqliteConnection,
    distribution_id: Option<String>,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE backoffs SET ended = 1 WHERE ?1 IS NULL OR distribution_id = ?1")
        .bind(&distribution_id)
        .execute(&mut *connection)
        .await?;
    // The second condition repeats that of the partial index.
    let end = "UPDATE batches SET due_at = ?2 WHERE status = 'pending' \
               AND status IN ('pending', 'in_progress') AND due_at > ?2 \
               AND (?1 IS NULL OR distribution_id = ?1)";
    sqlx::query(end)
        .bind(distribution_id)
        .bind(micros(now))
        .execute(connection)
        .await?;
    Ok(())
}
