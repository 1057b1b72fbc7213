//! SQL for the saved catalogue, and for changes to map again after it has changed.

use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{
    columns::{decode, micros, read_all, read_one, signed, time},
    journal,
};
use crate::{
    domain::{
        catalogue::{Revision, Snapshot},
        change::{Change, LateDistribution, Remap, RemappedChange},
        mapping::Mapping,
    },
    ports::{StoreError, catalogue::KeptCatalogue},
};

pub(super) async fn read(
    readers: &SqlitePool,
    known: Option<Revision>,
) -> Result<Option<KeptCatalogue>, StoreError> {
    // One snapshot, so that the distributions belong to the revision.
    let mut snapshot = readers.begin().await?;
    let kept = sqlx::query("SELECT revision, read_since, cache_policies FROM catalogue")
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
    connection: &mut SqliteConnection,
    snapshot: Snapshot,
    late: Vec<LateDistribution>,
) -> sqlx::Result<()> {
    for one in &late {
        note_late(connection, one).await?;
    }
    let upsert = "INSERT INTO catalogue (only, read_since, cache_policies) VALUES (1, ?, ?) \
                  ON CONFLICT DO UPDATE SET read_since = excluded.read_since, \
                  cache_policies = excluded.cache_policies, revision = revision + 1";
    sqlx::query(upsert)
        .bind(micros(snapshot.read_since))
        .bind(serde_json::to_string(&snapshot.cache_policies).map_err(decode)?)
        .execute(&mut *connection)
        .await?;
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

async fn note_late(connection: &mut SqliteConnection, late: &LateDistribution) -> sqlx::Result<()> {
    // Searches backwards from the end, and stops at the first older one.
    let before = "SELECT seq FROM changes WHERE accepted_at < ? ORDER BY seq DESC LIMIT 1";
    let after: Option<i64> = sqlx::query_scalar(before)
        .bind(micros(late.search_from()))
        .fetch_optional(&mut *connection)
        .await?;
    let insert = "INSERT INTO remaps (distribution_id, since, after, through) VALUES (?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(&late.distribution_id)
        .bind(micros(late.since))
        .bind(after.unwrap_or(i64::MIN))
        // Up to the journal's end: what is accepted from now on may be mapped before the new catalogue
        // is in use.
        .bind(i64::MAX)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn next_remap(readers: &SqlitePool) -> Result<Option<Remap>, StoreError> {
    let select = "SELECT seq, distribution_id, since, after, through, revision \
                  FROM remaps, catalogue ORDER BY seq LIMIT 1";
    let row = sqlx::query(select).fetch_optional(readers).await?;
    let read = |row: &SqliteRow| {
        Ok(Remap {
            distribution_id: row.try_get("distribution_id")?,
            since: time(row.try_get("since")?)?,
            after: row.try_get("after")?,
            through: row.try_get("through")?,
            revision: Revision(row.try_get("revision")?),
        })
    };
    row.map(|row| read_one("remaps", "seq", &row, read))
        .transpose()
}

pub(super) async fn changes_to_remap(
    readers: &SqlitePool,
    remap: &Remap,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut select = journal::select_changes();
    select
        .push("WHERE changes.seq > ")
        .push_bind(remap.after)
        .push(" AND changes.seq <= ")
        .push_bind(remap.through)
        .push(" AND state = 2 AND request IS NULL AND changes.accepted_at >= ")
        .push_bind(micros(remap.since))
        .push(" ORDER BY changes.seq LIMIT ")
        .push_bind(signed(limit));
    let rows = select.build().fetch_all(readers).await?;
    read_all("changes", "seq", &rows, journal::change)
}

/// Items that a change already has stay as they are, whatever their state: if they were covered, it
/// was after the change was accepted.
pub(super) async fn record_remap(
    connection: &mut SqliteConnection,
    remap: Remap,
    mapped: Vec<RemappedChange>,
) -> sqlx::Result<()> {
    let Some(last) = mapped.last().map(|one| one.change.seq) else {
        sqlx::query("DELETE FROM remaps WHERE seq = (SELECT min(seq) FROM remaps)")
            .execute(connection)
            .await?;
        return Ok(());
    };
    let mut new = Vec::new();
    for RemappedChange {
        change,
        mut mapping,
    } in mapped
    {
        let known = known_of(connection, change.seq, &remap.distribution_id).await?;
        mapping.retain_new(&remap.distribution_id, &known);
        if mapping == Mapping::default() {
            continue;
        }
        // The change was recorded as skipped, for this distribution or for all.
        let delete = "DELETE FROM skips WHERE change = ? \
                      AND (distribution_id IS NULL OR distribution_id = ?)";
        sqlx::query(delete)
            .bind(change.seq)
            .bind(&remap.distribution_id)
            .execute(&mut *connection)
            .await?;
        new.push((change, mapping));
    }
    journal::insert_mapped(connection, &new).await?;
    sqlx::query("UPDATE remaps SET after = ? WHERE seq = (SELECT min(seq) FROM remaps)")
        .bind(last)
        .execute(connection)
        .await?;
    Ok(())
}

/// A change's items at a distribution, and the reasons of its dead letters there.
async fn known_of(
    connection: &mut SqliteConnection,
    change: i64,
    distribution_id: &str,
) -> sqlx::Result<Vec<String>> {
    let select = "SELECT item FROM targets WHERE change = ?1 AND distribution_id = ?2 \
                  UNION ALL \
                  SELECT why FROM dead_letters WHERE change = ?1 AND distribution_id = ?2";
    sqlx::query_scalar(select)
        .bind(change)
        .bind(distribution_id)
        .fetch_all(connection)
        .await
}
