//! SQL for mapping: reading changes from the journal, and recording what they need and what they wait
//! for.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::{
    backlogs,
    columns::{
        Text, decode, micros, optional, optional_from_json, optional_text, optional_time, read_all,
        signed, text, time, unsigned,
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
    store::counts::Counts,
};

/// Selects changes with the ids of their messages and requests. Each of those is found by its number, whatever the
/// planner knows of the tables.
macro_rules! select_changes {
    ($conditions:expr) => {
        concat!(
            "SELECT seq, accepted_at, bucket, object_key, event, distribution_id, path, \
             (SELECT message_id FROM messages WHERE seq = changes.message) AS message_id, \
             requests.id AS request_id, requests.distributions FROM (SELECT * FROM changes ",
            $conditions,
            ") AS changes LEFT JOIN LATERAL (SELECT id, distributions FROM requests \
             WHERE seq = changes.request) AS requests ON true ORDER BY "
        )
    };
    ($conditions:expr, $order:literal) => {
        concat!(
            $crate::store::postgres::mapping::select_changes!($conditions),
            $order
        )
    };
}
pub(super) use select_changes;

/// The changes that nobody has looked at. As the index of unmapped changes has it: those of requests first.
const UNSEEN: &str = select_changes!(
    "WHERE state = 0 ORDER BY CASE WHEN request IS NULL THEN 1 ELSE 0 END, seq LIMIT $1",
    "request IS NULL, seq"
);

pub(super) async fn unseen(readers: &PgPool, limit: usize) -> Result<Vec<Change>, StoreError> {
    let rows = sqlx::query(UNSEEN)
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    read_all("changes", "seq", &rows, change)
}

const WAITING: &str = select_changes!(
    concat!(
        "WHERE seq IN (SELECT change FROM change_waits WHERE wait = (",
        waits::find!(),
        ") AND change <= $4 ORDER BY change LIMIT $5)"
    ),
    "seq"
);

pub(super) async fn waiting(
    readers: &PgPool,
    wait: &Wait,
    through: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let (kind, distribution_id, name) = waits::columns(wait);
    let rows = sqlx::query(WAITING)
        .bind(kind)
        .bind(Text::new(distribution_id))
        .bind(Text::new(name))
        .bind(through)
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    read_all("changes", "seq", &rows, change)
}

/// The first unmapped change of each kind: within a kind, numbers grow with time.
const OLDEST: &str = "SELECT min(accepted_at) FROM \
    (VALUES (0::smallint, 0), (0, 1), (1, 0), (1, 1)) AS kinds (of_state, automatic), \
    LATERAL (SELECT accepted_at FROM changes WHERE state = of_state AND state < 2 \
    AND CASE WHEN request IS NULL THEN 1 ELSE 0 END = automatic ORDER BY seq LIMIT 1) AS first";

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

/// Reads the columns of `select_changes!`.
pub(super) fn change(row: &PgRow) -> sqlx::Result<Change> {
    let subject = match optional_text(row, "path")? {
        Some(path) => Subject::Item {
            distribution_id: text(row, "distribution_id")?,
            item: Item::read(&path).map_err(decode)?,
        },
        None => Subject::Object {
            bucket: text(row, "bucket")?,
            key: text(row, "object_key")?,
            // Whoever gives a key does not say what became of its object.
            effect: match optional_text(row, "event")? {
                Some(event) => Effect::of(&event),
                None => Effect::Appears,
            },
        },
    };
    let source = match row.try_get("request_id")? {
        Some(id) => Source::Request(id),
        None => Source::Message(row.try_get("message_id")?),
    };
    Ok(Change {
        seq: row.try_get("seq")?,
        accepted_at: time(row.try_get("accepted_at")?)?,
        subject,
        source,
        only_at: optional_from_json(row, "distributions")?,
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

fn numbers<'a>(mapped: impl IntoIterator<Item = &'a MappedChange>) -> Vec<i64> {
    mapped.into_iter().map(|one| one.change.seq).collect()
}

/// Those changes that have been mapped before.
async fn seen(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
) -> sqlx::Result<HashSet<i64>> {
    let select = "SELECT seq FROM changes WHERE seq = ANY($1) AND state > 0";
    let seen: Vec<i64> = sqlx::query_scalar(select)
        .bind(numbers(mapped))
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
                  WHERE change = ANY($1) \
                  UNION ALL SELECT change, coalesce(distribution_id, ''), why FROM dead_letters \
                  WHERE change = ANY($1)";
    let rows = sqlx::query(select)
        .bind(changes.iter().copied().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let mut known: HashMap<i64, Vec<(String, String)>> = HashMap::new();
    for row in &rows {
        let one = (text(row, "id")?, text(row, "text")?);
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
        // A reason without a distribution speaks of all. A failure at all of them is not mended at one.
        let delete = "DELETE FROM skips WHERE change = ANY($1) \
                      AND ($2 IS NULL OR distribution_id = $2 \
                      OR distribution_id IS NULL AND NOT failed)";
        sqlx::query(delete)
            .bind(&changes)
            .bind(optional(only))
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
        let update = "UPDATE changes SET state = CASE WHEN EXISTS \
                      (SELECT 1 FROM change_waits WHERE change = changes.seq) THEN 1 ELSE 2 END, \
                      mapped_revision = coalesce($1, mapped_revision) WHERE seq = ANY($2)";
        sqlx::query(update)
            .bind(by)
            .bind(numbers(changes))
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

/// A column of such entries.
fn column<'a, T, C>(
    entries: &[(&'a Change, &'a T)],
    of: impl Fn(&'a Change, &'a T) -> C,
) -> Vec<C> {
    entries
        .iter()
        .map(|(change, one)| of(change, one))
        .collect()
}

async fn insert_targets(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
) -> sqlx::Result<()> {
    let targets = all(mapped, |mapping| &mapping.targets);
    if targets.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO targets \
                  (change, distribution_id, item, wildcard, because, manual, accepted_at) \
                  SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], \
                  $5::text[], $6::boolean[], $7::bigint[])";
    sqlx::query(insert)
        .bind(column(&targets, |change, _| change.seq))
        .bind(column(&targets, |_, one| Text::new(&one.distribution_id)))
        .bind(column(&targets, |_, one| Text::new(one.item.as_str())))
        .bind(column(&targets, |_, one| one.item.is_wildcard()))
        .bind(column(&targets, |_, one| Text::new(&one.because)))
        .bind(column(&targets, |change, _| change.is_manual()))
        .bind(column(&targets, |change, _| micros(change.accepted_at)))
        .execute(&mut *connection)
        .await?;
    let mut counts = Counts::default();
    for (change, target) in &targets {
        let wildcard = target.item.is_wildcard();
        counts.count(&target.distribution_id, wildcard, change.is_manual());
    }
    backlogs::add(connection, &counts).await
}

async fn insert_skips(connection: &mut PgConnection, mapped: &[MappedChange]) -> sqlx::Result<()> {
    let skips = all(mapped, |mapping| &mapping.skipped);
    if skips.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO skips (change, distribution_id, why) \
                  SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])";
    sqlx::query(insert)
        .bind(column(&skips, |change, _| change.seq))
        .bind(column(&skips, |_, one| {
            optional(one.distribution_id.as_deref())
        }))
        .bind(column(&skips, |_, one| Text::new(&one.why)))
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_dead_letters(
    connection: &mut PgConnection,
    mapped: &[MappedChange],
    now: Timestamp,
) -> sqlx::Result<()> {
    let dead = all(mapped, |mapping| &mapping.dead);
    if dead.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO dead_letters (kind, change, distribution_id, why, created_at) \
                  SELECT 'item', * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) \
                  RETURNING seq";
    let letters: Vec<i64> = sqlx::query_scalar(insert)
        .bind(column(&dead, |change, _| change.seq))
        .bind(column(&dead, |_, one| {
            optional(one.distribution_id.as_deref())
        }))
        .bind(column(&dead, |_, one| Text::new(&one.why)))
        .bind(column(&dead, |change, _| micros(change.accepted_at)))
        .fetch_all(&mut *connection)
        .await?;
    notices::of_dead_letters(connection, &letters, now).await
}
