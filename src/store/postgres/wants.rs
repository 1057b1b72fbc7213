//! SQL for what the request path lacks of the catalogue: who reads the account may be another process.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::columns::{text, texts};
use crate::{domain::preview::Missing, ports::catalogue::Wanted};

pub(super) async fn want(connection: &mut PgConnection, missing: Missing) -> sqlx::Result<()> {
    let insert = "INSERT INTO wanted (kind, id) SELECT 'details', * FROM unnest($1) \
                  UNION ALL SELECT 'policy', * FROM unnest($2) ON CONFLICT DO NOTHING";
    sqlx::query(insert)
        .bind(texts(&missing.details))
        .bind(texts(&missing.policies))
        .execute(connection)
        .await?;
    Ok(())
}

/// What is wanted, which is then wanted no more.
pub(super) async fn take(connection: &mut PgConnection) -> sqlx::Result<Wanted> {
    let taken = sqlx::query("DELETE FROM wanted RETURNING kind, id")
        .fetch_all(connection)
        .await?;
    let mut wanted = Wanted {
        details: BTreeSet::new(),
        policies: BTreeSet::new(),
    };
    for row in &taken {
        let ids = match text(row, "kind")?.as_str() {
            "details" => &mut wanted.details,
            _ => &mut wanted.policies,
        };
        ids.insert(text(row, "id")?);
    }
    Ok(wanted)
}
