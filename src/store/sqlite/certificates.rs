//! SQL for the signing certificates that are kept across restarts.

use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use super::columns::micros;
use crate::store::MOST_CERTIFICATES;

pub(super) async fn read(readers: &SqlitePool, url: &str) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT pem FROM certificates WHERE url = ?")
        .bind(url)
        .fetch_optional(readers)
        .await
}

/// Saves a certificate, and deletes the oldest ones beyond the limit.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    url: String,
    pem: String,
    now: Timestamp,
) -> sqlx::Result<()> {
    let insert = "INSERT INTO certificates (url, pem, kept_at) VALUES (?, ?, ?) \
                  ON CONFLICT DO UPDATE SET pem = excluded.pem, kept_at = excluded.kept_at";
    sqlx::query(insert)
        .bind(url)
        .bind(pem)
        .bind(micros(now))
        .execute(&mut *connection)
        .await?;
    let delete = "DELETE FROM certificates WHERE url NOT IN \
                  (SELECT url FROM certificates ORDER BY kept_at DESC LIMIT ?)";
    sqlx::query(delete)
        .bind(MOST_CERTIFICATES)
        .execute(connection)
        .await?;
    Ok(())
}
