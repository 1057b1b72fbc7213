//! SQL for the saved catalogue, and for changes to map again after it has changed.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _};

use super::{
    columns::{Text, from_json, micros, read_all, read_one, signed, text, texts, time, to_json},
    journal::{self, Intake},
    mapping, numbers, snapshot,
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
    // The distributions belong to the revision.
    let mut snapshot = snapshot(readers).await?;
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
    let documents = sqlx::query("SELECT id, document FROM distributions ORDER BY id")
        .fetch_all(&mut *snapshot)
        .await?;
    let distributions = read_all("distributions", "id", &documents, |row| {
        from_json(row, "document")
    })?;
    let snapshot = read_one("catalogue", "revision", &kept, |kept| {
        Ok(Snapshot {
            read_since: time(kept.try_get("read_since")?)?,
            journal_end: kept.try_get("journal_end")?,
            distributions: Vec::new(),
            cache_policies: from_json(kept, "cache_policies")?,
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
    if !requests.is_empty() {
        let requests: Vec<_> = requests.into_iter().map(Intake::Request).collect();
        numbers::lock(connection).await?;
        journal::accept(connection, &requests).await?;
    }
    let before: Option<i64> = sqlx::query_scalar("SELECT journal_end FROM catalogue")
        .fetch_optional(&mut *connection)
        .await?;
    let upsert = "INSERT INTO catalogue AS kept (read_since, journal_end, cache_policies) \
                  VALUES ($1, $2, $3) ON CONFLICT (only_row) DO UPDATE SET \
                  read_since = excluded.read_since, journal_end = excluded.journal_end, \
                  cache_policies = excluded.cache_policies, revision = kept.revision + 1 \
                  RETURNING revision";
    let revision: i64 = sqlx::query_scalar(upsert)
        .bind(micros(snapshot.read_since))
        .bind(snapshot.journal_end)
        .bind(to_json(&snapshot.cache_policies)?)
        .fetch_one(&mut *connection)
        .await?;
    // What was accepted before the earlier reading began, before anything at the distribution was new, needs
    // nothing there.
    let insert = "INSERT INTO late_distributions (distribution_id, after, revision) \
                  SELECT id, $2, $3 FROM unnest($1::text[]) AS id";
    sqlx::query(insert)
        .bind(texts(&late))
        .bind(before.unwrap_or(0))
        .bind(revision)
        .execute(&mut *connection)
        .await?;
    replace_distributions(connection, &snapshot).await
}

async fn replace_distributions(
    connection: &mut PgConnection,
    snapshot: &Snapshot,
) -> sqlx::Result<()> {
    let distributions = &snapshot.distributions;
    let ids = distributions.iter().map(|one| Text::new(&one.id));
    let ids: Vec<_> = ids.collect();
    let documents = distributions.iter().map(|one| to_json(one));
    let documents = documents.collect::<sqlx::Result<Vec<_>>>()?;
    sqlx::query("DELETE FROM distributions WHERE id <> ALL($1)")
        .bind(&ids)
        .execute(&mut *connection)
        .await?;
    // Most are as they were.
    let upsert = "INSERT INTO distributions AS known (id, document) \
                  SELECT * FROM unnest($1::text[], $2::text[]) \
                  ON CONFLICT (id) DO UPDATE SET document = excluded.document \
                  WHERE known.document <> excluded.document";
    sqlx::query(upsert)
        .bind(&ids)
        .bind(documents)
        .execute(connection)
        .await?;
    Ok(())
}

/// Late distributions with the same changes are in one note, so that these are read once.
pub(super) async fn next_remap(readers: &PgPool) -> Result<Option<Remap>, StoreError> {
    let select = "SELECT seq, distribution_id, after, revision FROM late_distributions \
                  WHERE (revision, after) = (SELECT revision, after FROM late_distributions \
                  ORDER BY revision, after LIMIT 1) ORDER BY seq";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    let notes = read_all("late_distributions", "seq", &rows, |row| {
        Ok(Remap {
            distributions: vec![text(row, "distribution_id")?],
            after: row.try_get("after")?,
            revision: Revision(row.try_get("revision")?),
        })
    })?;
    Ok(notes.into_iter().reduce(|mut note, mut one| {
        note.distributions.append(&mut one.distributions);
        note
    }))
}

pub(super) async fn changes_to_remap(
    readers: &PgPool,
    remap: &Remap,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let select = mapping::select_changes!(
        "WHERE seq > $1 AND mapped_revision < $2 AND state > 0 AND path IS NULL \
         ORDER BY seq LIMIT $3",
        "seq"
    );
    let rows = sqlx::query(select)
        .bind(remap.after)
        .bind(remap.revision.0)
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
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
        Some(_) => "UPDATE late_distributions SET after = $3 WHERE revision = $1 AND after = $2",
        None => "DELETE FROM late_distributions WHERE revision = $1 AND after = $2 AND $3 IS NULL",
    };
    sqlx::query(statement)
        .bind(remap.revision.0)
        .bind(remap.after)
        .bind(through)
        .execute(connection)
        .await?;
    Ok(())
}
