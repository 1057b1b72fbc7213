//! SQL for deploy windows.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::columns::{decode, micros, optional_time, read_all, signed, text, time, uuid};
use crate::{
    domain::{
        change::Idempotency,
        hold::{DeployHold, HoldAcceptance, KEPT, MOST_ENDED, MOST_OPEN, Place},
    },
    ports::StoreError,
};

/// All holds, also those that ended a short while ago.
pub(super) async fn read(readers: &SqlitePool) -> Result<Vec<DeployHold>, StoreError> {
    let select = "SELECT * FROM holds ORDER BY seq";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("holds", "seq", &rows, hold)
}

fn hold(row: &SqliteRow) -> sqlx::Result<DeployHold> {
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
}

/// Adds a hold, unless the call is a repeat, or the token has too many.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    hold: DeployHold,
    idempotency: Option<Idempotency>,
) -> sqlx::Result<HoldAcceptance> {
    let now = micros(hold.created_at);
    forget(connection, hold.created_at).await?;
    if let Some(idempotency) = &idempotency
        && let Some(known) = earlier(connection, &hold.token, idempotency).await?
    {
        return Ok(known);
    }
    let count =
        "SELECT count(*) FROM holds WHERE token = ? AND ended_at IS NULL AND expires_at > ?";
    let open: i64 = sqlx::query_scalar(count)
        .bind(&hold.token)
        .bind(now)
        .fetch_one(&mut *connection)
        .await?;
    if open >= signed(MOST_OPEN) {
        return Ok(HoldAcceptance::TooMany);
    }
    let (distribution_id, bucket, only) = match hold.place {
        Place::Distribution(id) => (Some(id), None, None),
        Place::Bucket { bucket, only } => (None, Some(bucket), only),
    };
    let only = only.map(|only| serde_json::to_string(&only).map_err(decode));
    let insert = "INSERT INTO holds (id, distribution_id, bucket, distributions, token, reason, \
                  created_at, expires_at, ended_at, idempotency_key, body) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
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
        .bind(idempotency.as_ref().map(|one| one.key.as_str()))
        .bind(idempotency.as_ref().map(|one| one.body.as_slice()))
        .execute(connection)
        .await?;
    Ok(HoldAcceptance::New)
}

/// What an earlier call with the same key began, if that is still kept.
async fn earlier(
    connection: &mut SqliteConnection,
    token: &str,
    idempotency: &Idempotency,
) -> sqlx::Result<Option<HoldAcceptance>> {
    let select =
        "SELECT * FROM holds WHERE token = ? AND idempotency_key = ? ORDER BY seq DESC LIMIT 1";
    let row = sqlx::query(select)
        .bind(token)
        .bind(&idempotency.key)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let body: &[u8] = row.try_get("body")?;
    Ok(Some(if body == idempotency.body {
        HoldAcceptance::Repeated(hold(&row)?)
    } else {
        HoldAcceptance::OtherBody
    }))
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
        .bind(signed(MOST_ENDED))
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
