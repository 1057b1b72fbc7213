//! SQL for the API's reads: requests, invalidations, and the reasons for their items.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    columns::{
        decode, optional_time, parsed, read_all, read_one, signed, text, time, unsigned, uuid,
    },
    merges, waits,
};
use crate::{
    domain::batch::BatchStatus,
    domain::history::{
        DROPPED, InvalidationDetail, InvalidationQuery, InvalidationSummary, ItemDetail,
        MAX_ERRORS, MAX_EXAMPLES, MAX_WHYS, OpenWork, RequestError, RequestInvalidation,
        RequestState, RequestView, Skipped, Why,
    },
    ports::StoreError,
};

pub(super) const NEWEST_MESSAGE: &str =
    "SELECT accepted_at FROM messages WHERE seq = (SELECT max(seq) FROM messages)";

/// Of the last 10,000 messages, as for whether a topic is subscribed to.
pub(super) async fn last_notifications(
    readers: &SqlitePool,
) -> sqlx::Result<Vec<(String, Timestamp)>> {
    let select = "SELECT topic, max(accepted_at) FROM (SELECT topic, kind, accepted_at \
                  FROM messages ORDER BY seq DESC LIMIT 10000) \
                  WHERE kind = 'notification' GROUP BY topic ORDER BY topic";
    let rows: Vec<(String, i64)> = sqlx::query_as(select).fetch_all(readers).await?;
    let rows = rows.into_iter();
    rows.map(|(topic, at)| Ok((topic, time(at)?))).collect()
}

pub(super) async fn silent_since(readers: &SqlitePool) -> sqlx::Result<Timestamp> {
    let newest = sqlx::query_scalar(NEWEST_MESSAGE);
    if let Some(accepted_at) = newest.fetch_optional(readers).await? {
        return time(accepted_at);
    }
    let made = "SELECT unixepoch(installed_on) * 1000000 FROM _sqlx_migrations WHERE version = 1";
    time(sqlx::query_scalar(made).fetch_one(readers).await?)
}

pub(super) async fn request(
    readers: &SqlitePool,
    id: Uuid,
) -> Result<Option<RequestView>, StoreError> {
    // One snapshot, because a batch may be requeued between two statements.
    let mut snapshot = readers.begin().await?;
    let Some(row) =
        sqlx::query("SELECT seq, accepted_at, distributions FROM requests WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&mut *snapshot)
            .await?
    else {
        return Ok(None);
    };
    let seq: i64 = row.try_get("seq")?;
    let distributions = concerned(&mut snapshot, seq, row.try_get("distributions")?).await?;
    let invalidations = invalidations_of_request(&mut snapshot, seq).await?;
    let skipped = skips_of_request(&mut snapshot, seq).await?;
    let errors = errors_of_request(&mut snapshot, seq).await?;
    let mut open = open_work(&mut snapshot, seq).await?;
    let waiting = open != OpenWork::default();
    let pending = invalidations.iter();
    let pending = pending.filter(|one| one.status == BatchStatus::Pending);
    open.distributions
        .extend(pending.map(|one| one.distribution_id.clone()));
    Ok(Some(RequestView {
        id,
        state: RequestState::of(waiting, &invalidations, !errors.is_empty()),
        distributions,
        created_at: time(row.try_get("accepted_at")?)?,
        invalidations,
        skipped,
        errors,
        held_by: Some(Vec::new()),
        open,
    }))
}

/// A request is settled if none of its changes is open: unmapped, waiting, or in an open batch.
pub(super) const IS_SETTLED: &str = "SELECT NOT EXISTS (SELECT 1 FROM requests \
    JOIN changes ON changes.request = requests.seq \
    LEFT JOIN targets ON targets.change = changes.seq \
    LEFT JOIN batches ON batches.seq = targets.batch \
    WHERE requests.id = ? AND (changes.state < 2 OR (targets.seq IS NOT NULL \
    AND (targets.batch IS NULL OR batches.status IN ('pending', 'in_progress')))))";

pub(super) async fn is_settled(readers: &SqlitePool, id: Uuid) -> sqlx::Result<bool> {
    let settled = sqlx::query_scalar(IS_SETTLED).bind(id.to_string());
    settled.fetch_one(readers).await
}

/// The work of a request that is not in a batch.
async fn open_work(snapshot: &mut SqliteConnection, request: i64) -> Result<OpenWork, StoreError> {
    let unseen = "SELECT EXISTS (SELECT 1 FROM changes WHERE request = ? AND state = 0)";
    let unseen = sqlx::query_scalar(unseen)
        .bind(request)
        .fetch_one(&mut *snapshot)
        .await?;
    let waits = "SELECT DISTINCT waits.* FROM changes \
                 JOIN change_waits ON change_waits.change = changes.seq \
                 JOIN waits ON waits.seq = change_waits.wait \
                 WHERE changes.request = ? AND changes.state = 1 ORDER BY waits.seq";
    let waits = sqlx::query(waits)
        .bind(request)
        .fetch_all(&mut *snapshot)
        .await?;
    let distributions = "SELECT DISTINCT targets.distribution_id FROM changes \
                         JOIN targets ON targets.change = changes.seq \
                         WHERE changes.request = ? AND targets.batch IS NULL";
    let distributions: Vec<String> = sqlx::query_scalar(distributions)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    Ok(OpenWork {
        unseen,
        waits: read_all("waits", "seq", &waits, waits::wait)?,
        distributions: distributions.into_iter().collect(),
    })
}

/// The distributions that a request may reach; `None` means all.
async fn concerned(
    snapshot: &mut SqliteConnection,
    request: i64,
    only_at: Option<String>,
) -> sqlx::Result<Option<Vec<String>>> {
    if let Some(only_at) = only_at {
        return serde_json::from_str(&only_at).map_err(decode);
    }
    let select = "SELECT DISTINCT distribution_id FROM changes WHERE request = ?";
    let ids: Vec<Option<String>> = sqlx::query_scalar(select)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    // A key has none, and a request may outlive its changes.
    let known = Some(ids).filter(|ids| !ids.is_empty());
    Ok(known.and_then(|ids| ids.into_iter().collect()))
}

async fn invalidations_of_request(
    snapshot: &mut SqliteConnection,
    request: i64,
) -> Result<Vec<RequestInvalidation>, StoreError> {
    let select = "SELECT DISTINCT batches.seq, batches.id, batches.distribution_id, \
                  batches.cloudfront_id, batches.status \
                  FROM changes JOIN targets ON targets.change = changes.seq \
                  JOIN batches ON batches.seq = targets.batch \
                  WHERE changes.request = ? ORDER BY batches.seq";
    let rows = sqlx::query(select)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    read_all("batches", "seq", &rows, |row| {
        Ok(RequestInvalidation {
            id: uuid(row.try_get("id")?)?,
            distribution_id: row.try_get("distribution_id")?,
            cloudfront_id: row.try_get("cloudfront_id")?,
            status: parsed(row.try_get("status")?)?,
        })
    })
}

async fn skips_of_request(
    snapshot: &mut SqliteConnection,
    request: i64,
) -> sqlx::Result<Vec<Skipped>> {
    let select = "SELECT DISTINCT skips.distribution_id, skips.why \
                  FROM changes JOIN skips ON skips.change = changes.seq WHERE changes.request = ? \
                  AND failed = 0";
    let rows = sqlx::query(select)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    let skipped = |row: &SqliteRow| {
        Ok(Skipped {
            distribution_id: row.try_get("distribution_id")?,
            why: row.try_get("why")?,
        })
    };
    rows.iter().map(skipped).collect()
}

/// Why parts of a request can never be done, according to mapping or CloudFront.
async fn errors_of_request(
    snapshot: &mut SqliteConnection,
    request: i64,
) -> sqlx::Result<Vec<String>> {
    let select = "SELECT why, count(*) AS items, \
                  json_group_array(item) FILTER (WHERE nth <= ?3) AS examples \
                  FROM (SELECT seq, why, item, \
                  row_number() OVER (PARTITION BY why ORDER BY seq) AS nth FROM ( \
                  SELECT dead_letters.seq, why, coalesce(content, path, object_key) AS item \
                  FROM changes JOIN dead_letters ON dead_letters.change = changes.seq \
                  WHERE changes.request = ?1 \
                  UNION SELECT dead_letters.seq, why, content FROM changes \
                  JOIN targets ON targets.change = changes.seq \
                  JOIN batch_items ON batch_items.batch = targets.batch \
                  AND batch_items.position = targets.position \
                  JOIN dead_letters ON dead_letters.batch = targets.batch \
                  AND dead_letters.content = batch_items.item WHERE changes.request = ?1 \
                  UNION SELECT skips.seq, why || ?4, coalesce(path, object_key) FROM changes \
                  JOIN skips ON skips.change = changes.seq \
                  WHERE changes.request = ?1 AND failed)) \
                  GROUP BY why ORDER BY min(seq) LIMIT ?2";
    let rows = sqlx::query(select)
        .bind(request)
        .bind(signed(MAX_ERRORS + 1))
        .bind(signed(MAX_EXAMPLES))
        .bind(DROPPED)
        .fetch_all(snapshot)
        .await?;
    let error = |row: &SqliteRow| {
        let examples: Vec<String> =
            serde_json::from_str(row.try_get("examples")?).map_err(decode)?;
        Ok(RequestError {
            why: row.try_get("why")?,
            items: unsigned(row.try_get("items")?),
            examples,
        })
    };
    let errors = rows.iter().map(error).collect::<sqlx::Result<Vec<_>>>()?;
    Ok(RequestError::list(&errors))
}

pub(super) async fn invalidations(
    readers: &SqlitePool,
    query: &InvalidationQuery,
) -> Result<Vec<InvalidationSummary>, StoreError> {
    let rows = select_invalidations(query)
        .build()
        .fetch_all(readers)
        .await?;
    read_all("batches", "seq", &rows, summary)
}

/// Batches, each with those that took its place.
const SELECT_BATCHES: &str = "SELECT *, iif(status = 'replaced', \
    (SELECT json_group_array(children.id) FROM batches AS children \
    WHERE children.parent = batches.seq), '[]') AS replaced_by FROM batches WHERE true";

/// Has only the conditions that apply, so that SQLite can use the right index.
pub(super) fn select_invalidations(query: &InvalidationQuery) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::<Sqlite>::new(SELECT_BATCHES);
    if let Some(distributions) = &query.distributions {
        // With a status, the rows are found by it: the plus rules out the other index.
        let plus = if query.status.is_some() { "+" } else { "" };
        let condition = format_args!(" AND {plus}distribution_id IN (");
        let mut list = select.push(condition).separated(", ");
        for id in distributions {
            list.push_bind(id);
        }
        select.push(")");
    }
    if let Some(status) = query.status {
        select.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(before) = query.before {
        select.push(" AND seq < ").push_bind(before);
    }
    select
        .push(" ORDER BY seq DESC LIMIT ")
        .push_bind(signed(query.limit));
    select
}

pub(super) async fn invalidation(
    readers: &SqlitePool,
    id: &str,
) -> Result<Option<InvalidationDetail>, StoreError> {
    let mut snapshot = readers.begin().await?;
    let mut select = QueryBuilder::<Sqlite>::new(SELECT_BATCHES);
    select
        .push(" AND (id = ")
        .push_bind(id.to_owned())
        .push(" OR cloudfront_id = ")
        .push_bind(id.to_owned())
        .push(") LIMIT 1");
    let Some(row) = select.build().fetch_optional(&mut *snapshot).await? else {
        return Ok(None);
    };
    let summary = read_one("batches", "seq", &row, summary)?;
    let items = "SELECT position, item, (SELECT count(*) FROM targets \
                 WHERE targets.batch = batch_items.batch \
                 AND targets.position = batch_items.position) AS total \
                 FROM batch_items WHERE batch = ? ORDER BY position";
    let items = sqlx::query(items)
        .bind(summary.seq)
        .fetch_all(&mut *snapshot)
        .await?;
    let mut whys = whys(&mut snapshot, summary.seq).await?;
    let items = items
        .iter()
        .map(|row| {
            Ok(ItemDetail {
                item: row.try_get("item")?,
                why: whys.remove(&row.try_get("position")?).unwrap_or_default(),
                why_total: unsigned(row.try_get("total")?),
                merged: None,
            })
        })
        .collect::<sqlx::Result<_>>()?;
    let merges = merges::of_batch(&mut snapshot, summary.seq).await?;
    let detail = InvalidationDetail {
        summary,
        items,
        prevented: Vec::new(),
    };
    Ok(Some(detail.with_merges(merges)))
}

/// A batch that is there, by its number.
pub(super) async fn batch(
    connection: &mut SqliteConnection,
    seq: i64,
) -> sqlx::Result<InvalidationSummary> {
    let mut select = QueryBuilder::<Sqlite>::new(SELECT_BATCHES);
    select.push(" AND seq = ").push_bind(seq);
    summary(&select.build().fetch_one(connection).await?)
}

fn summary(row: &SqliteRow) -> sqlx::Result<InvalidationSummary> {
    Ok(InvalidationSummary {
        seq: row.try_get("seq")?,
        id: uuid(row.try_get("id")?)?,
        distribution_id: row.try_get("distribution_id")?,
        cloudfront_id: row.try_get("cloudfront_id")?,
        status: parsed(row.try_get("status")?)?,
        item_count: unsigned(row.try_get("item_count")?),
        change_count: unsigned(row.try_get("change_count")?),
        created_at: time(row.try_get("created_at")?)?,
        submitted_at: optional_time(row.try_get("submitted_at")?)?,
        completed_at: optional_time(row.try_get("completed_at")?)?,
        replaced_by: serde_json::from_str(row.try_get("replaced_by")?).map_err(decode)?,
    })
}

/// The changes behind a batch, by the position of the item that covers each.
async fn whys(
    snapshot: &mut SqliteConnection,
    batch: i64,
) -> Result<HashMap<i64, Vec<Why>>, StoreError> {
    let select = "SELECT changes.seq, first.position, first.because, changes.bucket, changes.object_key, \
                  changes.event, changes.event_time, changes.accepted_at, changes.sequencer, \
                  nullif(first.item, batch_items.item) AS asked, \
                  messages.message_id, requests.id AS request_id, requests.token, requests.reason \
                  FROM (SELECT seq, batch, position, item, because, change, \
                        row_number() OVER (PARTITION BY position ORDER BY seq) AS nth \
                        FROM targets WHERE batch = ?) AS first \
                  JOIN changes ON changes.seq = first.change \
                  JOIN batch_items ON batch_items.batch = first.batch \
                  AND batch_items.position = first.position \
                  LEFT JOIN messages ON messages.seq = changes.message \
                  LEFT JOIN requests ON requests.seq = changes.request \
                  WHERE first.nth <= ? ORDER BY first.seq";
    let rows = sqlx::query(select)
        .bind(batch)
        .bind(signed(MAX_WHYS))
        .fetch_all(snapshot)
        .await?;
    let mut whys: HashMap<i64, Vec<Why>> = HashMap::new();
    for row in &rows {
        whys.entry(row.try_get("position")?)
            .or_default()
            .push(read_one("changes", "seq", row, why)?);
    }
    Ok(whys)
}

fn why(row: &SqliteRow) -> sqlx::Result<Why> {
    let accepted_at = time(row.try_get("accepted_at")?)?;
    let because = row.try_get("because")?;
    let asked = row.try_get("asked")?;
    Ok(match row.try_get::<Option<String>, _>("request_id")? {
        Some(request_id) => Why::Manual {
            request_id: uuid(&request_id)?,
            token: row.try_get("token")?,
            reason: row.try_get("reason")?,
            bucket: row.try_get("bucket")?,
            key: row.try_get("object_key")?,
            time: accepted_at,
            because,
            asked,
        },
        None => Why::Event {
            bucket: text(row, "bucket")?,
            key: text(row, "object_key")?,
            event: text(row, "event")?,
            message_id: Uuid::from_slice(row.try_get("message_id")?).map_err(decode)?,
            sequencer: row.try_get("sequencer")?,
            time: optional_time(row.try_get("event_time")?)?.unwrap_or(accepted_at),
            accepted_at,
            because,
            asked,
        },
    })
}
