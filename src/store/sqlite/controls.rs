//! SQL for pauses, backoffs, and the daily limit.

use jiff::civil::Date;
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::columns::{read_all, time, unsigned};
use crate::{
    domain::operations::{Backoff, Controls, DaySpending, Pauses},
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
        spending: spending.first().copied().unwrap_or_default(),
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
    let rows = sqlx::query("SELECT distribution_id, failures, not_before FROM backoffs")
        .fetch_all(readers)
        .await?;
    read_all("backoffs", "distribution_id", &rows, |row: &SqliteRow| {
        Ok(Backoff {
            distribution_id: row.try_get("distribution_id")?,
            failures: row.try_get("failures")?,
            not_before: time(row.try_get("not_before")?)?,
        })
    })
}
