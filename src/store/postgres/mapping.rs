//! SQL for mapping: reading changes from the journal, and recording what they need and what they wait
//! for.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    backlogs::{self, Counts},
    columns::{
        ROWS, decode, json, micros, optional_time, read_all, signed, text, time, unsigned, uuid,
    },
    notices, waits,
};
use crate::{
    domain::{
        catalogue::Revision,
        change::{Change, Effect, MappedChange, Source, Subject, Unmapped},
        mapping::Mapping,
        path::Item,
        wait::Wait,
    },
    ports::StoreError,
};

/// Selects changes with the ids of their messages and requests.
macro_rules! select_changes {
    ($conditions:literal) => {
        concat!(
            "SELECT changes.seq, changes.accepted_at, bucket, object_key, event, \
             distribution_id, path, \
             messages.message_id, requests.id AS request_id, requests.distributions FROM changes \
             LEFT JOIN messages ON messages.seq = changes.message \
             LEFT JOIN requests ON requests.seq = changes.request ",
            $conditions
        )
    };
}

/// Selects changes. Callers append the conditions.
pub(super) fn select_changes() -> QueryBuilder<Postgres> {
    QueryBuilder::new(select_changes!(""))
}

/// The changes that nobody has looked at. SQLite uses a partial index only if the query repeats the
/// index's condition.
pub(super) const UNSEEN: &str =
    select_changes!("WHERE state = 0 AND state < 2 ORDER BY request IS NULL, changes.seq LIMIT ?");

pub(super) async fn waiting(
    readers: &PgPool,
    wait: &Wait,
    through: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let rows = select_waiting(wait, through, limit)
        .build()
        .fetch_all(readers)
        .await?;
    read_all("changes", "seq", &rows, change)
}

pub(super) fn select_waiting(wait: &Wait, through: i64, limit: usize) -> QueryBuilder<Postgres> {
    let (kind, distribution_id, name) = waits::columns(wait);
    let mut select = select_changes();
    select
        .push(
            "WHERE changes.seq IN (SELECT change FROM change_waits \
             WHERE wait = (SELECT seq FROM waits WHERE kind = ",
        )
        .push_bind(kind)
        .push(" AND distribution_id = ")
        .push_bind(distribution_id.to_owned())
        .push(" AND name = ")
        .push_bind(name.to_owned())
        .push(") AND change <= ")
        .push_bind(through)
        .push(" ORDER BY change LIMIT ")
        .push_bind(signed(limit))
        .push(") ORDER BY changes.seq");
    select
}

/// The first unmapped change of each kind: within a kind, numbers grow with time.
pub(super) const OLDEST: &str = "SELECT min(accepted_at) FROM changes WHERE seq IN ( \
    (SELECT seq FROM changes WHERE state = 0 AND state < 2 AND request IS NULL = 0 \
     ORDER BY seq LIMIT 1), \
    (SELECT seq FROM changes WHERE state = 0 AND state < 2 AND request IS NULL = 1 \
     ORDER BY seq LIMIT 1), \
    (SELECT seq FROM changes WHERE state = 1 AND state < 2 AND request IS NULL = 0 \
     ORDER BY seq LIMIT 1), \
    (SELECT seq FROM changes WHERE state = 1 AND state < 2 AND request IS NULL = 1 \
     ORDER BY seq LIMIT 1))";

pub(super) async fn unmapped(readers: &PgPool) -> Result<Unmapped, StoreError> {
    // Reads only the index of unmapped changes.
    let count = "SELECT count(*) FROM changes WHERE state < 2";
    let count: i64 = sqlx::query_scalar(count).fetch_one(readers).await?;
    if count == 0 {
        return Ok(Unmapped::default());
    }
    let oldest = sqlx::query_scalar(OLDEST).fetch_one(readers).await?;
    Ok(Unmapped {
        changes: unsigned(count),
        oldest: optional_time(oldest)?,
    })
}

pub(super) fn change(row: &PgRow) -> sqlx::Result<Change> {
    let subject = match row.try_get::<Option<String>, _>("path")? {
        Some(path) => Subject::Item {
            distribution_id: text(row, "distribution_id")?,
            item: Item::read(&path).map_err(decode)?,
        },
        None => Subject::Object {
            bucket: text(row, "bucket")?,
            key: text(row, "object_key")?,
            // Whoever gives a key does not say what became of its object.
            effect: match row.try_get::<Option<String>, _>("event")? {
                Some(event) => Effect::of(&event),
                None => Effect::Appears,
            },
        },
    };
    let source = match row.try_get::<Option<String>, _>("request_id")? {
        Some(id) => Source::Request(uuid(&id)?),
        None => Source::Message(Uuid::from_slice(row.try_get("message_id")?).map_err(decode)?),
    };
    let only_at = row.try_get::<Option<String>, _>("distributions")?;
    let only_at = only_at.map(|ids| serde_json::from_str(&ids).map_err(decode));
    Ok(Change {
        seq: row.try_get("seq")?,
        accepted_at: time(row.try_get("accepted_at")?)?,
        subject,
        source,
        only_at: only_at.transpose()?,
    })
}

/// Records the results of mapping with the catalogue `by`.
///
/// Items that a change already has stay as they are, whatever their state: if they were covered, it
/// was after the change was accepted.
pub(super) async fn record(
    connection: &mut PgConnection,
    by: Revision,
    mut mapped: Vec<MappedChange>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let seen = seen(connection, &mapped).await?;
    // A replay may have made the change unseen meanwhile: then it is mapped to all distributions.
    mapped.retain(|one| one.only.is_none() || seen.contains(&one.change.seq));
    if mapped.is_empty() {
        return Ok(());
    }
    if !seen.is_empty() {
        let known = known(connection, &seen).await?;
        for one in &mut mapped {
            if let Some(known) = known.get(&one.change.seq) {
                one.mapping.retain_new(known);
            }
        }
        forget_outdated(connection, &mapped, &seen).await?;
    }
    waits::insert(connection, &mapped).await?;
    set_states(connection, by, &mapped).await?;
    insert_targets(connection, &mapped).await?;
    insert_skips(connection, &mapped).await?;
    insert_dead_letters(connection, &mapped, now).await
}

/// Those changes that have been mapped before.
async fn seen(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
) -> sqlx::Result<HashSet<i64>> {
    let select = "SELECT seq FROM changes \
                  WHERE seq IN (SELECT value FROM json_each(?)) AND state > 0";
    let seen: Vec<i64> = sqlx::query_scalar(select)
        .bind(json(mapped.iter().map(|one| one.change.seq))?)
        .fetch_all(connection)
        .await?;
    Ok(seen.into_iter().collect())
}

/// The items of changes, and the reasons of their dead letters, each after the distribution's id.
async fn known(
    connection: &mut PgConnection,
    changes: &HashSet<i64>,
) -> sqlx::Result<HashMap<i64, Vec<(String, String)>>> {
    let select = "SELECT change, distribution_id AS id, item AS text FROM targets \
                  WHERE change IN (SELECT value FROM json_each(?1)) \
                  UNION ALL SELECT change, coalesce(distribution_id, ''), why FROM dead_letters \
                  WHERE change IN (SELECT value FROM json_each(?1))";
    let rows = sqlx::query(select)
        .bind(json(changes.iter().copied())?)
        .fetch_all(connection)
        .await?;
    let mut known: HashMap<i64, Vec<(String, String)>> = HashMap::new();
    for row in &rows {
        let one = (row.try_get("id")?, row.try_get("text")?);
        known.entry(row.try_get("change")?).or_default().push(one);
    }
    Ok(known)
}

/// Deletes what mapping these changes again replaces: why they needed nothing, and what they waited
/// for.
async fn forget_outdated(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
    seen: &HashSet<i64>,
) -> sqlx::Result<()> {
    let mut scopes: BTreeMap<Option<&str>, Vec<i64>> = BTreeMap::new();
    for one in mapped.iter().filter(|one| seen.contains(&one.change.seq)) {
        let scope = scopes.entry(one.only.as_deref()).or_default();
        scope.push(one.change.seq);
    }
    for (only, changes) in scopes {
        let changes = json(changes)?;
        // A reason without a distribution speaks of all. A failure at all of them is not mended at one.
        let delete = "DELETE FROM skips WHERE change IN (SELECT value FROM json_each(?1)) \
                      AND (?2 IS NULL OR distribution_id = ?2 \
                      OR distribution_id IS NULL AND failed = 0)";
        sqlx::query(delete)
            .bind(&changes)
            .bind(only)
            .execute(&mut *connection)
            .await?;
        waits::delete(connection, &changes, only).await?;
    }
    Ok(())
}

async fn set_states(
    connection: &mut PgConnection,
    by: Revision,
    mapped: &[MappedChange],
) -> sqlx::Result<()> {
    let (whole, partly): (Vec<_>, Vec<_>) = mapped.iter().partition(|one| one.only.is_none());
    for (changes, by) in [(whole, Some(by.0)), (partly, None)] {
        if changes.is_empty() {
            continue;
        }
        let update = "UPDATE changes SET state = iif(EXISTS \
                      (SELECT 1 FROM change_waits WHERE change = changes.seq), 1, 2), \
                      mapped_revision = coalesce(?, mapped_revision) \
                      WHERE seq IN (SELECT value FROM json_each(?))";
        sqlx::query(update)
            .bind(by)
            .bind(json(changes.iter().map(|one| one.change.seq))?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The entries of mappings, each with its change.
fn all<'a, T>(
    mapped: &'a [MappedChange],
    entries: impl Fn(&'a Mapping) -> &'a Vec<T> + Copy,
) -> Vec<(&'a Change, &'a T)> {
    let all = mapped.iter();
    let all = all.flat_map(|one| {
        entries(&one.mapping)
            .iter()
            .map(|entry| (&one.change, entry))
    });
    all.collect()
}

/// Inserts rows of targets.
macro_rules! target_rows {
    ($rows:literal) => {
        concat!(
            "INSERT INTO targets \
             (change, distribution_id, item, wildcard, because, manual, accepted_at) ",
            $rows
        )
    };
}

/// Inserts rows of skips.
macro_rules! skip_rows {
    ($rows:literal) => {
        concat!("INSERT INTO skips (change, distribution_id, why) ", $rows)
    };
}

async fn insert_targets(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
) -> sqlx::Result<()> {
    let targets = all(mapped, |mapping| &mapping.targets);
    for chunk in targets.chunks(ROWS) {
        let mut insert = QueryBuilder::<Postgres>::new(target_rows!(""));
        insert.push_values(chunk, |mut row, (change, target)| {
            row.push_bind(change.seq)
                .push_bind(target.distribution_id.as_str())
                .push_bind(target.item.as_str())
                .push_bind(target.item.is_wildcard())
                .push_bind(target.because.as_str())
                .push_bind(change.is_manual())
                .push_bind(micros(change.accepted_at));
        });
        insert.build().execute(&mut *connection).await?;
    }
    let mut counts = Counts::default();
    for (change, target) in &targets {
        let wildcard = target.item.is_wildcard();
        counts.count(&target.distribution_id, wildcard, change.is_manual());
    }
    backlogs::add(connection, &counts).await
}

async fn insert_skips(connection: &mut PgConnection, mapped: &[MappedChange]) -> sqlx::Result<()> {
    for chunk in all(mapped, |mapping| &mapping.skipped).chunks(ROWS) {
        let mut insert = QueryBuilder::<Postgres>::new(skip_rows!(""));
        insert.push_values(chunk, |mut row, (change, skip)| {
            row.push_bind(change.seq)
                .push_bind(skip.distribution_id.as_deref())
                .push_bind(skip.why.as_str());
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_dead_letters(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
    now: Timestamp,
) -> sqlx::Result<()> {
    for chunk in all(mapped, |mapping| &mapping.dead).chunks(ROWS) {
        let mut insert = QueryBuilder::<Postgres>::new(
            "INSERT INTO dead_letters (kind, why, change, distribution_id, created_at) ",
        );
        insert.push_values(chunk, |mut row, (change, dead)| {
            row.push_bind("item")
                .push_bind(dead.why.as_str())
                .push_bind(change.seq)
                .push_bind(dead.distribution_id.as_deref())
                .push_bind(micros(change.accepted_at));
        });
        insert.push(" RETURNING seq");
        let letters: Vec<i64> = insert
            .build_query_scalar()
            .fetch_all(&mut *connection)
            .await?;
        notices::of_dead_letters(connection, &letters, now).await?;
    }
    Ok(())
}

pub(super) async fn unseen(readers: &PgPool, limit: usize) -> Result<Vec<Change>, StoreError> {
    let _ = (readers, limit);
    Err(StoreError::unavailable("not written yet"))
}
