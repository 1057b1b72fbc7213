//! SQL for the signing certificates that are kept across restarts.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use super::columns::{Text, micros, text};
use crate::store::MOST_CERTIFICATES;

pub(super) async fn read(readers: &PgPool, url: &str) -> sqlx::Result<Option<String>> {
    let row = sqlx::query("SELECT pem FROM certificates WHERE url = $1")
        .bind(Text::new(url))
        .fetch_optional(readers)
        .await?;
    row.map(|row| text(&row, "pem")).transpose()
}

/// Saves a certificate, and deletes the oldest ones beyond the limit.
pub(super) async fn keep(
    connection: &mut PgConnection,
    url: String,
    pem: String,
    now: Timestamp,
) -> sqlx::Result<()> {
    let insert = "INSERT INTO certificates (url, pem, kept_at) VALUES ($1, $2, $3) \
                  ON CONFLICT (url) DO UPDATE SET pem = excluded.pem, kept_at = excluded.kept_at";
    sqlx::query(insert)
        .bind(Text::from(url))
        .bind(Text::from(pem))
        .bind(micros(now))
        .execute(&mut *connection)
        .await?;
    let delete = "DELETE FROM certificates WHERE url NOT IN \
                  (SELECT url FROM certificates ORDER BY kept_at DESC LIMIT $1)";
    sqlx::query(delete)
        .bind(MOST_CERTIFICATES)
        .execute(connection)
        .await?;
    Ok(())
}
