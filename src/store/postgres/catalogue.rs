//! SQL for the saved catalogue, and for changes to map again after it has changed.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _};

use super::{
    columns::{decode, micros, read_all, read_one, signed, time},
    journal::{self, Intake},
    mapping,
};
use crate::{
    domain::{
        catalogue::{Revision, Snapshot},
        change::{Change, MappedChange, NewRequest, Remap},
    },
    ports::{StoreError, catalogue::KeptCatalogue},
};

pub(super) async fn read(
    readers: &PgPool,
    known: Option<Revision>,
) -> Result<Option<KeptCatalogue>, StoreError> {
    // One snapshot, so that the distributions belong to the revision.
    let mut snapshot = readers.begin().await?;
    let kept = sqlx::query("SELECT * FROM catalogue")
        .fetch_optional(&mut *snapshot)
        .await?;
    let Some(kept) = kept else {
        return Ok(None);
    };
    let revision = Revision(kept.try_get("revision")?);
    if known == Some(revision) {
        return Ok(None);
    }
    let documents = sqlx::query("SELECT id, document FROM distributions")
        .fetch_all(&mut *snapshot)
        .await?;
    let distributions = read_all("distributions", "id", &documents, |row| {
        serde_json::from_str(row.try_get("document")?).map_err(decode)
    })?;
    let snapshot = read_one("catalogue", "revision", &kept, |kept| {
        Ok(Snapshot {
            read_since: time(kept.try_get("read_since")?)?,
            journal_end: kept.try_get("journal_end")?,
            distributions: Vec::new(),
            cache_policies: serde_json::from_str(kept.try_get("cache_policies")?)
                .map_err(decode)?,
        })
    })?;
    Ok(Some(KeptCatalogue {
        revision,
        snapshot: Snapshot {
            distributions,
            ..snapshot
        },
    }))
}

pub(super) async fn keep(
    connection: &mut PgConnection,
    snapshot: Snapshot,
    late: Vec<String>,
    requests: Vec<NewRequest>,
) -> sqlx::Result<()> {
    let requests: Vec<_> = requests.into_iter().map(Intake::Request).collect();
    journal::accept(connection, &requests).await?;
    let before: Option<i64> = sqlx::query_scalar("SELECT journal_end FROM catalogue")
        .fetch_optional(&mut *connection)
        .await?;
    let upsert = "INSERT INTO catalogue (only, read_since, journal_end, cache_policies) \
                  VALUES (1, ?, ?, ?) \
                  ON CONFLICT DO UPDATE SET read_since = excluded.read_since, \
                  journal_end = excluded.journal_end, cache_policies = excluded.cache_policies, \
                  revision = revision + 1 RETURNING revision";
    let revision: i64 = sqlx::query_scalar(upsert)
        .bind(micros(snapshot.read_since))
        .bind(snapshot.journal_end)
        .bind(serde_json::to_string(&snapshot.cache_policies).map_err(decode)?)
        .fetch_one(&mut *connection)
        .await?;
    for distribution_id in late {
        // What was accepted before the earlier reading began, before anything at the distribution was
        // new, needs nothing there.
        let insert = "INSERT INTO late_distributions (distribution_id, after, revision) \
                      VALUES (?, ?, ?)";
        sqlx::query(insert)
            .bind(distribution_id)
            .bind(before.unwrap_or(0))
            .bind(revision)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("DELETE FROM distributions")
        .execute(&mut *connection)
        .await?;
    for distribution in &snapshot.distributions {
        sqlx::query("INSERT INTO distributions (id, document) VALUES (?, ?)")
            .bind(&distribution.id)
            .bind(serde_json::to_string(distribution).map_err(decode)?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn changes_to_remap(
    readers: &PgPool,
    remap: &Remap,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut select = mapping::select_changes();
    select
        .push("WHERE changes.seq > ")
        .push_bind(remap.after)
        .push(" AND mapped_revision < ")
        .push_bind(remap.revision.0)
        .push(" AND state > 0 AND path IS NULL ORDER BY changes.seq LIMIT ")
        .push_bind(signed(limit));
    let rows = select.build().fetch_all(readers).await?;
    read_all("changes", "seq", &rows, mapping::change)
}

pub(super) async fn record_remap(
    connection: &mut PgConnection,
    remap: Remap,
    through: Option<i64>,
    mapped: Vec<MappedChange>,
    now: Timestamp,
) -> sqlx::Result<()> {
    mapping::record(connection, remap.revision, mapped, now).await?;
    let statement = match through {
        Some(_) => "UPDATE late_distributions SET after = ?3 WHERE revision = ?1 AND after = ?2",
        None => "DELETE FROM late_distributions WHERE revision = ?1 AND after = ?2",
    };
    sqlx::query(statement)
        .bind(remap.revision.0)
        .bind(remap.after)
        .bind(through)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn next_remap(readers: &PgPool) -> Result<Option<Remap>, StoreError> {
    let _ = readers;
    Err(StoreError::unavailable("not written yet"))
}
