//! SQL for the API's reads: requests, invalidations, and the reasons for their items.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    columns::{
        Text, optional_from_json, optional_text, optional_time, parsed, read_all, read_one, signed,
        text, texts, time, unsigned,
    },
    merges, snapshot, waits,
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

/// Of the last 10,000 messages, as for whether a topic is subscribed to.
pub(super) async fn last_notifications(readers: &PgPool) -> sqlx::Result<Vec<(String, Timestamp)>> {
    let select = "SELECT topic, max(accepted_at) AS at FROM (SELECT topic, kind, accepted_at \
                  FROM messages ORDER BY seq DESC LIMIT 10000) AS newest \
                  WHERE kind = 'notification' GROUP BY topic ORDER BY topic";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    let notified = |row: &PgRow| Ok((text(row, "topic")?, time(row.try_get("at")?)?));
    rows.iter().map(notified).collect()
}

/// When the newest message came, or since when there could have been one.
pub(super) async fn silent_since(readers: &PgPool) -> sqlx::Result<Timestamp> {
    let select = "SELECT coalesce((SELECT accepted_at FROM messages ORDER BY seq DESC LIMIT 1), made_at) \
                  FROM journal";
    time(sqlx::query_scalar(select).fetch_one(readers).await?)
}

pub(super) async fn request(readers: &PgPool, id: Uuid) -> Result<Option<RequestView>, StoreError> {
    // One snapshot, because a batch may be requeued between two statements.
    let mut snapshot = snapshot(readers).await?;
    let Some(row) =
        sqlx::query("SELECT seq, accepted_at, distributions FROM requests WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *snapshot)
            .await?
    else {
        return Ok(None);
    };
    let seq: i64 = row.try_get("seq")?;
    let distributions = match optional_from_json(&row, "distributions")? {
        Some(only_at) => Some(only_at),
        None => concerned(&mut snapshot, seq).await?,
    };
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
const IS_SETTLED: &str = "SELECT NOT EXISTS (SELECT 1 FROM requests \
    JOIN changes ON changes.request = requests.seq \
    LEFT JOIN targets ON targets.change = changes.seq \
    LEFT JOIN batches ON batches.seq = targets.batch \
    WHERE requests.id = $1 AND (changes.state < 2 OR (targets.seq IS NOT NULL \
    AND (targets.batch IS NULL OR batches.status IN ('pending', 'in_progress')))))";

pub(super) async fn is_settled(readers: &PgPool, id: Uuid) -> sqlx::Result<bool> {
    let settled = sqlx::query_scalar(IS_SETTLED).bind(id);
    settled.fetch_one(readers).await
}

/// The work of a request that is not in a batch.
async fn open_work(snapshot: &mut PgConnection, request: i64) -> Result<OpenWork, StoreError> {
    let unseen = "SELECT EXISTS (SELECT 1 FROM changes WHERE request = $1 AND state = 0)";
    let unseen = sqlx::query_scalar(unseen)
        .bind(request)
        .fetch_one(&mut *snapshot)
        .await?;
    let waits = "SELECT DISTINCT waits.* FROM changes \
                 JOIN change_waits ON change_waits.change = changes.seq \
                 JOIN waits ON waits.seq = change_waits.wait \
                 WHERE changes.request = $1 AND changes.state = 1 ORDER BY waits.seq";
    let waits = sqlx::query(waits)
        .bind(request)
        .fetch_all(&mut *snapshot)
        .await?;
    let distributions = "SELECT DISTINCT targets.distribution_id FROM changes \
                         JOIN targets ON targets.change = changes.seq \
                         WHERE changes.request = $1 AND targets.batch IS NULL";
    let distributions = sqlx::query(distributions)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    let distributions = distributions.iter().map(|row| text(row, "distribution_id"));
    Ok(OpenWork {
        unseen,
        waits: read_all("waits", "seq", &waits, waits::wait)?,
        distributions: distributions.collect::<sqlx::Result<_>>()?,
    })
}

/// The distributions that a request for paths may reach; `None` means all.
async fn concerned(snapshot: &mut PgConnection, request: i64) -> sqlx::Result<Option<Vec<String>>> {
    let select = "SELECT DISTINCT distribution_id FROM changes WHERE request = $1 \
                  ORDER BY distribution_id";
    let rows = sqlx::query(select)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    let ids = rows.iter().map(|row| optional_text(row, "distribution_id"));
    let ids = ids.collect::<sqlx::Result<Vec<_>>>()?;
    // A key has none, and a request may outlive its changes.
    let known = Some(ids).filter(|ids| !ids.is_empty());
    Ok(known.and_then(|ids| ids.into_iter().collect()))
}

async fn invalidations_of_request(
    snapshot: &mut PgConnection,
    request: i64,
) -> Result<Vec<RequestInvalidation>, StoreError> {
    let select = "SELECT DISTINCT batches.seq, batches.id, batches.distribution_id, \
                  batches.cloudfront_id, batches.status \
                  FROM changes JOIN targets ON targets.change = changes.seq \
                  JOIN batches ON batches.seq = targets.batch \
                  WHERE changes.request = $1 ORDER BY batches.seq";
    let rows = sqlx::query(select)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    read_all("batches", "seq", &rows, |row| {
        Ok(RequestInvalidation {
            id: row.try_get("id")?,
            distribution_id: text(row, "distribution_id")?,
            cloudfront_id: optional_text(row, "cloudfront_id")?,
            status: parsed(row.try_get("status")?)?,
        })
    })
}

async fn skips_of_request(snapshot: &mut PgConnection, request: i64) -> sqlx::Result<Vec<Skipped>> {
    let select = "SELECT DISTINCT skips.distribution_id, skips.why \
                  FROM changes JOIN skips ON skips.change = changes.seq WHERE changes.request = $1 \
                  AND NOT failed";
    let rows = sqlx::query(select)
        .bind(request)
        .fetch_all(snapshot)
        .await?;
    let skipped = |row: &PgRow| {
        Ok(Skipped {
            distribution_id: optional_text(row, "distribution_id")?,
            why: text(row, "why")?,
        })
    };
    rows.iter().map(skipped).collect()
}

/// The first examples of each error of the request $1, those of an error one after the other.
const ERRORS: &str = "SELECT why, item, items FROM (SELECT why, item, \
    count(*) OVER (PARTITION BY why) AS items, min(seq) OVER (PARTITION BY why) AS first, \
    row_number() OVER (PARTITION BY why ORDER BY seq) AS nth FROM ( \
    SELECT dead_letters.seq, why, coalesce(content, path, object_key) AS item \
    FROM changes JOIN dead_letters ON dead_letters.change = changes.seq \
    WHERE changes.request = $1 \
    UNION SELECT dead_letters.seq, why, content FROM changes \
    JOIN targets ON targets.change = changes.seq \
    JOIN batch_items ON batch_items.batch = targets.batch \
    AND batch_items.position = targets.position \
    JOIN dead_letters ON dead_letters.batch = targets.batch \
    AND left(dead_letters.content, 256) = left(batch_items.item, 256) \
    AND dead_letters.content = batch_items.item WHERE changes.request = $1 \
    UNION SELECT skips.seq, why || $4, coalesce(path, object_key) FROM changes \
    JOIN skips ON skips.change = changes.seq \
    WHERE changes.request = $1 AND failed) AS failures) AS numbered \
    WHERE nth <= $3 ORDER BY first, why, nth LIMIT $2 * $3";

/// Why parts of a request can never be done, according to mapping or CloudFront.
async fn errors_of_request(snapshot: &mut PgConnection, request: i64) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query(ERRORS)
        .bind(request)
        .bind(signed(MAX_ERRORS + 1))
        .bind(signed(MAX_EXAMPLES))
        .bind(DROPPED)
        .fetch_all(snapshot)
        .await?;
    let mut errors: Vec<RequestError> = Vec::new();
    for row in &rows {
        let (why, example) = (text(row, "why")?, text(row, "item")?);
        match errors.last_mut() {
            Some(last) if last.why == why => last.examples.push(example),
            _ => errors.push(RequestError {
                why,
                items: unsigned(row.try_get("items")?),
                examples: vec![example],
            }),
        }
    }
    Ok(RequestError::list(&errors))
}

pub(super) async fn invalidations(
    readers: &PgPool,
    query: &InvalidationQuery,
) -> Result<Vec<InvalidationSummary>, StoreError> {
    let rows = select_invalidations(query)
        .build()
        .fetch_all(readers)
        .await?;
    read_all("batches", "seq", &rows, summary)
}

/// Batches, each with those that took its place.
macro_rules! batches {
    () => {
        "SELECT batches.*, CASE WHEN status = 'replaced' THEN \
         ARRAY(SELECT children.id FROM batches AS children \
         WHERE children.parent = batches.seq ORDER BY children.seq) ELSE '{}' END AS replaced_by "
    };
}

/// Has only the conditions that apply, so that the right index is used.
fn select_invalidations(query: &InvalidationQuery) -> QueryBuilder<Postgres> {
    let mut select = QueryBuilder::new(concat!(batches!(), "FROM "));
    match (&query.distributions, query.status) {
        // The newest of each distribution are found by the index. They are a range of it, so that no plan reads
        // all batches backwards until it meets enough of a distribution that has few.
        (Some(distributions), None) => {
            select
                .push("(SELECT DISTINCT unnest(")
                .push_bind(texts(distributions))
                .push(
                    ") AS id) AS given CROSS JOIN LATERAL (SELECT * FROM batches \
                     WHERE distribution_id >= given.id AND (distribution_id, seq) < (given.id, ",
                )
                .push_bind(query.before.unwrap_or(i64::MAX))
                .push(") ORDER BY distribution_id DESC, seq DESC LIMIT ")
                .push_bind(signed(query.limit))
                .push(") AS batches WHERE true");
        }
        (Some(distributions), Some(_)) => {
            select
                .push("batches WHERE distribution_id = ANY(")
                .push_bind(texts(distributions))
                .push(")");
        }
        (None, _) => {
            select.push("batches WHERE true");
        }
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
    readers: &PgPool,
    id: &str,
) -> Result<Option<InvalidationDetail>, StoreError> {
    let mut snapshot = snapshot(readers).await?;
    let select = concat!(
        batches!(),
        "FROM batches WHERE id = $1 OR cloudfront_id = $2 LIMIT 1"
    );
    let Some(row) = sqlx::query(select)
        .bind(id.parse::<Uuid>().ok())
        .bind(Text::new(id))
        .fetch_optional(&mut *snapshot)
        .await?
    else {
        return Ok(None);
    };
    let summary = read_one("batches", "seq", &row, summary)?;
    let items = "SELECT position, item, (SELECT count(*) FROM targets \
                 WHERE targets.batch = batch_items.batch \
                 AND targets.position = batch_items.position) AS total \
                 FROM batch_items WHERE batch = $1 ORDER BY position";
    let items = sqlx::query(items)
        .bind(summary.seq)
        .fetch_all(&mut *snapshot)
        .await?;
    let mut whys = whys(&mut snapshot, summary.seq).await?;
    let items = items
        .iter()
        .map(|row| {
            Ok(ItemDetail {
                item: text(row, "item")?,
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
    connection: &mut PgConnection,
    seq: i64,
) -> sqlx::Result<InvalidationSummary> {
    let select = concat!(batches!(), "FROM batches WHERE seq = $1");
    let row = sqlx::query(select).bind(seq).fetch_one(connection).await?;
    summary(&row)
}

fn summary(row: &PgRow) -> sqlx::Result<InvalidationSummary> {
    Ok(InvalidationSummary {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        distribution_id: text(row, "distribution_id")?,
        cloudfront_id: optional_text(row, "cloudfront_id")?,
        status: parsed(row.try_get("status")?)?,
        item_count: unsigned(row.try_get("item_count")?),
        change_count: unsigned(row.try_get("change_count")?),
        created_at: time(row.try_get("created_at")?)?,
        submitted_at: optional_time(row.try_get("submitted_at")?)?,
        completed_at: optional_time(row.try_get("completed_at")?)?,
        replaced_by: row.try_get("replaced_by")?,
    })
}

/// The changes behind a batch, by the position of the item that covers each.
async fn whys(
    snapshot: &mut PgConnection,
    batch: i64,
) -> Result<HashMap<i64, Vec<Why>>, StoreError> {
    let select = "SELECT changes.seq, first.position, first.because, changes.bucket, changes.object_key, \
                  changes.event, changes.event_time, changes.accepted_at, changes.sequencer, \
                  nullif(first.item, batch_items.item) AS asked, \
                  messages.message_id, requests.id AS request_id, requests.token, requests.reason \
                  FROM (SELECT seq, batch, position, item, because, change, \
                        row_number() OVER (PARTITION BY position ORDER BY seq) AS nth \
                        FROM targets WHERE batch = $1) AS first \
                  JOIN changes ON changes.seq = first.change \
                  JOIN batch_items ON batch_items.batch = first.batch \
                  AND batch_items.position = first.position \
                  LEFT JOIN messages ON messages.seq = changes.message \
                  LEFT JOIN requests ON requests.seq = changes.request \
                  WHERE first.nth <= $2 ORDER BY first.seq";
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

fn why(row: &PgRow) -> sqlx::Result<Why> {
    let accepted_at = time(row.try_get("accepted_at")?)?;
    let because = text(row, "because")?;
    let asked = optional_text(row, "asked")?;
    Ok(match row.try_get("request_id")? {
        Some(request_id) => Why::Manual {
            request_id,
            token: text(row, "token")?,
            reason: optional_text(row, "reason")?,
            bucket: optional_text(row, "bucket")?,
            key: optional_text(row, "object_key")?,
            time: accepted_at,
            because,
            asked,
        },
        None => Why::Event {
            bucket: text(row, "bucket")?,
            key: text(row, "object_key")?,
            event: text(row, "event")?,
            message_id: row.try_get("message_id")?,
            sequencer: optional_text(row, "sequencer")?,
            time: optional_time(row.try_get("event_time")?)?.unwrap_or(accepted_at),
            accepted_at,
            because,
            asked,
        },
    })
}
