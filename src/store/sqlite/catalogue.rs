//! SQL of the kept catalogue.

use sqlx::{SqliteConnection, SqlitePool};

use super::columns::{decode, micros, time};
use crate::domain::catalogue::Catalogue;

pub(super) async fn read(readers: &SqlitePool) -> sqlx::Result<Option<Catalogue>> {
    let read_since: Option<i64> = sqlx::query_scalar("SELECT read_since FROM catalogue")
        .fetch_optional(readers)
        .await?;
    let Some(read_since) = read_since else {
        return Ok(None);
    };
    let documents: Vec<String> = sqlx::query_scalar("SELECT document FROM distributions")
        .fetch_all(readers)
        .await?;
    let distributions = documents
        .iter()
        .map(|document| serde_json::from_str(document).map_err(decode))
        .collect::<sqlx::Result<_>>()?;
    Ok(Some(Catalogue::new(distributions, time(read_since)?)))
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    catalogue: Catalogue,
) -> sqlx::Result<()> {
    let upsert = "INSERT INTO catalogue (only, read_since) VALUES (1, ?) \
                  ON CONFLICT DO UPDATE SET read_since = excluded.read_since";
    sqlx::query(upsert)
        .bind(micros(catalogue.read_since()))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM distributions")
        .execute(&mut *connection)
        .await?;
    for distribution in catalogue.iter() {
        sqlx::query("INSERT INTO distributions (id, document) VALUES (?, ?)")
            .bind(&distribution.id)
            .bind(serde_json::to_string(distribution).map_err(decode)?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
