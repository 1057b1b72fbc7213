//! SQL for deploy windows.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::columns::{decode, micros, optional_time, read_all, signed, text, time, uuid};
use crate::{
    domain::hold::{DeployHold, KEPT, MOST_OPEN, Place},
    ports::StoreError,
};

/// All holds, also those that ended a short while ago.
pub(super) async fn read(readers: &SqlitePool) -> Result<Vec<DeployHold>, StoreError> {
    let select = "SELECT seq, id, distribution_id, bucket, distributions, token, reason, created_at, \
                  expires_at, ended_at FROM holds ORDER BY seq";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("holds", "seq", &rows, |row| {
        let distribution_id: Option<String> = row.try_get("distribution_id")?;
        let place = if let Some(id) = distribution_id {
            Place::Distribution(id)
        } else {
            let only: Option<String> = row.try_get("distributions")?;
            let only = only.map(|only| serde_json::from_str(&only).map_err(decode));
            Place::Bucket {
                bucket: text(row, "bucket")?,
                only: only.transpose()?,
            }
        };
        Ok(DeployHold {
            id: uuid(&text(row, "id")?)?,
            place,
            token: text(row, "token")?,
            reason: row.try_get("reason")?,
            created_at: time(row.try_get("created_at")?)?,
            expires_at: time(row.try_get("expires_at")?)?,
            ended_at: optional_time(row.try_get("ended_at")?)?,
        })
    })
}

/// Adds a hold. Returns false if too many are open.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    hold: DeployHold,
) -> sqlx::Result<bool> {
    let now = micros(hold.created_at);
    forget(connection, hold.created_at).await?;
    let count = "SELECT count(*) FROM holds WHERE ended_at IS NULL AND expires_at > ?";
    let open: i64 = sqlx::query_scalar(count)
        .bind(now)
        .fetch_one(&mut *connection)
        .await?;
    if open >= signed(MOST_OPEN) {
        return Ok(false);
    }
    let (distribution_id, bucket, only) = match hold.place {
        Place::Distribution(id) => (Some(id), None, None),
        Place::Bucket { bucket, only } => (None, Some(bucket), only),
    };
    let only = only.map(|only| serde_json::to_string(&only).map_err(decode));
    let insert = "INSERT INTO holds (id, distribution_id, bucket, distributions, token, reason, \
                  created_at, expires_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(hold.id.to_string())
        .bind(distribution_id)
        .bind(bucket)
        .bind(only.transpose()?)
        .bind(hold.token)
        .bind(hold.reason)
        .bind(now)
        .bind(micros(hold.expires_at))
        .bind(hold.ended_at.map(micros))
        .execute(connection)
        .await?;
    Ok(true)
}

/// Deletes what ended long ago, and the oldest of what has ended if that is much.
async fn forget(connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<()> {
    // Where the difference is no timestamp, nothing is older.
    let long_ago = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    sqlx::query("DELETE FROM holds WHERE coalesce(ended_at, expires_at) < ?")
        .bind(micros(long_ago))
        .execute(&mut *connection)
        .await?;
    let surplus = "DELETE FROM holds WHERE seq IN (SELECT seq FROM holds \
                   WHERE ended_at IS NOT NULL OR expires_at <= ? ORDER BY seq DESC LIMIT -1 OFFSET ?)";
    sqlx::query(surplus)
        .bind(micros(now))
        .bind(signed(MOST_OPEN))
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends a hold now. Returns false if there is none or it has ended.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    id: Uuid,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let end = "UPDATE holds SET ended_at = ?2 \
               WHERE id = ?1 AND ended_at IS NULL AND expires_at > ?2";
    let ended = sqlx::query(end)
        .bind(id.to_string())
        .bind(micros(now))
        .execute(connection)
        .await?;
    Ok(ended.rows_affected() > 0)
}
