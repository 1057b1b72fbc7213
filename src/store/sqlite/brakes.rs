//! SQL of what keeps things from being sent: waits, pauses, and the day's limit.

use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::columns::{time, unsigned};
use crate::ports::{Brake, Brakes};

pub(super) async fn read(readers: &SqlitePool) -> sqlx::Result<Brakes> {
    let all_paused: Option<bool> = sqlx::query_scalar("SELECT paused FROM pauses")
        .fetch_optional(readers)
        .await?;
    let rows = sqlx::query("SELECT * FROM brakes")
        .fetch_all(readers)
        .await?;
    let brake = |row: &SqliteRow| {
        Ok(Brake {
            distribution_id: row.try_get("distribution_id")?,
            paused: row.try_get("paused")?,
            failures: row.try_get("failures")?,
            not_before: time(row.try_get("not_before")?)?,
        })
    };
    Ok(Brakes {
        all_paused: all_paused.unwrap_or(false),
        distributions: rows.iter().map(brake).collect::<sqlx::Result<_>>()?,
    })
}

pub(super) async fn set_paused(
    connection: &mut SqliteConnection,
    distribution_id: Option<String>,
    paused: bool,
) -> sqlx::Result<()> {
    let set = if distribution_id.is_some() {
        "INSERT INTO brakes (distribution_id, paused) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET paused = excluded.paused"
    } else {
        "INSERT INTO pauses (only, paused) VALUES (1, ?2) \
         ON CONFLICT DO UPDATE SET paused = excluded.paused"
    };
    sqlx::query(set)
        .bind(distribution_id)
        .bind(paused)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn sent_on(readers: &SqlitePool, day: i64) -> sqlx::Result<(u64, bool)> {
    let row = sqlx::query("SELECT items, lifted FROM days WHERE day = ?")
        .bind(day)
        .fetch_optional(readers)
        .await?;
    match row {
        Some(row) => Ok((unsigned(row.try_get("items")?), row.try_get("lifted")?)),
        None => Ok((0, false)),
    }
}

pub(super) async fn lift_limit(connection: &mut SqliteConnection, day: i64) -> sqlx::Result<()> {
    let lift = "INSERT INTO days (day, lifted) VALUES (?, 1) \
                ON CONFLICT DO UPDATE SET lifted = 1";
    sqlx::query(lift).bind(day).execute(connection).await?;
    Ok(())
}
