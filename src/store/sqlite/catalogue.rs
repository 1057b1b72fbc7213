//! SQL of the kept catalogue, and of what it proves to have been mapped wrongly.

use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::{
    columns::{decode, micros, signed, time},
    journal,
};
use crate::{
    domain::{catalogue::Snapshot, change::Change, mapping::Mapping},
    ports::Remap,
};

pub(super) async fn read(readers: &SqlitePool) -> sqlx::Result<Option<Snapshot>> {
    let kept = sqlx::query("SELECT read_since, cache_policies FROM catalogue")
        .fetch_optional(readers)
        .await?;
    let Some(kept) = kept else {
        return Ok(None);
    };
    let documents: Vec<String> = sqlx::query_scalar("SELECT document FROM distributions")
        .fetch_all(readers)
        .await?;
    let distributions = documents
        .iter()
        .map(|document| serde_json::from_str(document).map_err(decode))
        .collect::<sqlx::Result<_>>()?;
    let policies: String = kept.try_get("cache_policies")?;
    Ok(Some(Snapshot {
        read_since: time(kept.try_get("read_since")?)?,
        distributions,
        cache_policies: serde_json::from_str(&policies).map_err(decode)?,
    }))
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    snapshot: Snapshot,
    late: Vec<String>,
) -> sqlx::Result<()> {
    if !late.is_empty() {
        note_late(connection, late).await?;
    }
    let upsert = "INSERT INTO catalogue (only, read_since, cache_policies) VALUES (1, ?, ?) \
                  ON CONFLICT DO UPDATE SET read_since = excluded.read_since, \
                  cache_policies = excluded.cache_policies";
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

/// Changes enter the journal nearly in the order of their times: none is so late.
const DISORDER_MICROS: i64 = 10_000_000;

async fn note_late(connection: &mut SqliteConnection, late: Vec<String>) -> sqlx::Result<()> {
    let select = "SELECT read_since FROM catalogue";
    let Some(since): Option<i64> = sqlx::query_scalar(select)
        .fetch_optional(&mut *connection)
        .await?
    else {
        return Ok(());
    };
    // From the end backwards: it stops at the first that is older.
    let before = "SELECT seq FROM changes WHERE accepted_at < ? ORDER BY seq DESC LIMIT 1";
    let after: Option<i64> = sqlx::query_scalar(before)
        .bind(since - DISORDER_MICROS)
        .fetch_optional(&mut *connection)
        .await?;
    let last: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM changes")
        .fetch_one(&mut *connection)
        .await?;
    let Some(last) = last else {
        return Ok(());
    };
    for distribution_id in late {
        sqlx::query(
            "INSERT INTO remaps (distribution_id, since, after, through) VALUES (?, ?, ?, ?)",
        )
        .bind(distribution_id)
        .bind(since)
        .bind(after.unwrap_or(i64::MIN))
        .bind(last)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn remap(readers: &SqlitePool) -> sqlx::Result<Option<Remap>> {
    let select = "SELECT distribution_id, since, after, through FROM remaps ORDER BY seq LIMIT 1";
    let row = sqlx::query(select).fetch_optional(readers).await?;
    row.map(|row| {
        Ok(Remap {
            distribution_id: row.try_get("distribution_id")?,
            since: time(row.try_get("since")?)?,
            after: row.try_get("after")?,
            through: row.try_get("through")?,
        })
    })
    .transpose()
}

pub(super) async fn changes_of(
    readers: &SqlitePool,
    remap: &Remap,
    limit: usize,
) -> sqlx::Result<Vec<Change>> {
    let select = "SELECT seq, accepted_at, bucket, object_key, distribution_id, path \
                  FROM changes WHERE seq > ? AND seq <= ? AND state = 2 AND request IS NULL \
                  AND accepted_at >= ? \
                  ORDER BY seq LIMIT ?";
    let rows = sqlx::query(select)
        .bind(remap.after)
        .bind(remap.through)
        .bind(micros(remap.since))
        .bind(signed(limit));
    let rows = rows.fetch_all(readers).await?;
    rows.iter().map(journal::change).collect()
}

/// What the change needs already is left as it is, whatever became of it: it was covered after
/// the change was accepted.
pub(super) async fn record_remap(
    connection: &mut SqliteConnection,
    remap: Remap,
    mapped: Vec<(Change, Mapping)>,
) -> sqlx::Result<()> {
    let Some(last) = mapped.last().map(|(change, _)| change.seq) else {
        sqlx::query("DELETE FROM remaps WHERE seq = (SELECT min(seq) FROM remaps)")
            .execute(connection)
            .await?;
        return Ok(());
    };
    let mut new = Vec::new();
    for (change, mut mapping) in mapped {
        let known = known_of(connection, change.seq, &remap.distribution_id).await?;
        mapping.retain_new(&remap.distribution_id, &known);
        if mapping == Mapping::default() {
            continue;
        }
        // It was said to need nothing here, or nothing at all.
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

/// The items of a change at a distribution, and the whys of its dead letters there.
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
