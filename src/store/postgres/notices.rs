//! SQL for the outbox of notices. Those who complete or fail a batch, or write dead letters, add to it in
//! their own transactions.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    columns::{
        Text, decode, from_json, micros, number, optional_from_json, optional_time, read_all,
        signed, text, texts, time, to_json, unsigned,
    },
    dead_letters, history, numbers,
};
use crate::{
    domain::notice::{MOST_WAITING, Notice, NoticeKind, NoticeTarget, Undelivered, WaitingNotices},
    ports::StoreError,
    store::outbox::{self, NewNotice, ROWS},
};

pub(super) async fn set_targets(
    connection: &mut PgConnection,
    targets: Vec<NoticeTarget>,
) -> sqlx::Result<u64> {
    // Intake tells of what cannot be read: it must not tell a target that is gone by then.
    numbers::lock(connection).await?;
    sqlx::query("DELETE FROM notice_targets")
        .execute(&mut *connection)
        .await?;
    for target in targets {
        let kinds: Vec<_> = target.kinds.iter().map(|kind| kind.as_str()).collect();
        sqlx::query("INSERT INTO notice_targets (key, kinds, distributions) VALUES ($1, $2, $3)")
            .bind(Text::from(target.key))
            .bind(to_json(&kinds)?)
            .bind(target.distributions.as_ref().map(to_json).transpose()?)
            .execute(&mut *connection)
            .await?;
    }
    let delete = "DELETE FROM notices WHERE target NOT IN (SELECT key FROM notice_targets)";
    let deleted = sqlx::query(delete).execute(connection).await?;
    Ok(deleted.rows_affected())
}

async fn targets(connection: &mut PgConnection) -> sqlx::Result<Vec<NoticeTarget>> {
    let rows = sqlx::query("SELECT key, kinds, distributions FROM notice_targets ORDER BY key")
        .fetch_all(connection)
        .await?;
    let read = |row: &PgRow| {
        let kinds: Vec<String> = from_json(row, "kinds")?;
        let kinds = kinds.iter().map(|kind| kind.parse().map_err(decode));
        Ok(NoticeTarget {
            key: text(row, "key")?,
            // Of no interest here.
            origin: String::new(),
            kinds: kinds.collect::<sqlx::Result<_>>()?,
            distributions: optional_from_json(row, "distributions")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Tells that a batch has completed or failed.
pub(super) async fn of_batch(
    connection: &mut PgConnection,
    batch: i64,
    kind: NoticeKind,
    now: Timestamp,
) -> sqlx::Result<()> {
    let targets = targets(connection).await?;
    if targets.is_empty() {
        return Ok(());
    }
    let summary = history::batch(connection, batch).await?;
    let id = Some(summary.distribution_id.as_str());
    let new = outbox::notices(&targets, kind, id, &summary, now).map_err(decode)?;
    insert(connection, &new, now).await
}

/// Tells of dead letters.
pub(super) async fn of_dead_letters(
    connection: &mut PgConnection,
    letters: &[i64],
    now: Timestamp,
) -> sqlx::Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let targets = targets(connection).await?;
    if targets.is_empty() {
        return Ok(());
    }
    for chunk in letters.chunks(ROWS) {
        let mut new = Vec::new();
        for letter in dead_letters::with_numbers(connection, chunk).await? {
            let id = letter.distribution_id.as_deref();
            let told = outbox::notices(&targets, NoticeKind::DeadLetter, id, &letter, now);
            new.extend(told.map_err(decode)?);
        }
        insert(connection, &new, now).await?;
    }
    Ok(())
}

/// Their numbers are in their order.
const INSERT: &str = "INSERT INTO notices (id, target, body, created_at, due_at) \
    SELECT id, target, body, $4, $4 FROM unnest($1::uuid[], $2::text[], $3::text[]) \
    WITH ORDINALITY AS new (id, target, body, nth) ORDER BY nth";

async fn insert(
    connection: &mut PgConnection,
    new: &[NewNotice<'_>],
    now: Timestamp,
) -> sqlx::Result<()> {
    for chunk in new.chunks(ROWS) {
        let ids: Vec<_> = chunk.iter().map(|_| Uuid::now_v7()).collect();
        sqlx::query(INSERT)
            .bind(ids)
            .bind(texts(chunk.iter().map(|notice| notice.target)))
            .bind(texts(chunk.iter().map(|notice| &notice.body)))
            .bind(micros(now))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The second part is for a clock that was set back. Each reads no more of the index than it returns.
const DUE: &str = "(SELECT seq, id, target, body, failures, due_at FROM notices \
    WHERE target = $1 AND due_at <= $2 ORDER BY due_at, seq LIMIT $4) \
    UNION ALL (SELECT seq, id, target, body, failures, due_at FROM notices \
    WHERE target = $1 AND due_at > $3 ORDER BY due_at, seq LIMIT $4) \
    ORDER BY due_at, seq LIMIT $4";

pub(super) async fn due(
    readers: &PgPool,
    target: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Notice>, StoreError> {
    let rows = sqlx::query(DUE)
        .bind(Text::new(target))
        .bind(micros(now))
        .bind(micros(outbox::furthest(now)))
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    read_all("notices", "seq", &rows, |row| {
        Ok(Notice {
            seq: row.try_get("seq")?,
            id: row.try_get("id")?,
            target: text(row, "target")?,
            body: text(row, "body")?,
            failures: number(row, "failures")?,
            due_at: time(row.try_get("due_at")?)?,
        })
    })
}

const NEXT: &str = "SELECT min(due_at) FROM notices WHERE target = $1 AND due_at > $2";

pub(super) async fn next(
    readers: &PgPool,
    target: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let next = sqlx::query_scalar(NEXT)
        .bind(Text::new(target))
        .bind(micros(now));
    Ok(optional_time(next.fetch_one(readers).await?)?)
}

pub(super) async fn delivered(connection: &mut PgConnection, seq: i64) -> sqlx::Result<()> {
    let delete = sqlx::query("DELETE FROM notices WHERE seq = $1").bind(seq);
    delete.execute(connection).await.map(drop)
}

pub(super) async fn failed(
    connection: &mut PgConnection,
    seq: i64,
    due_at: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE notices SET failures = failures + 1, due_at = $1 WHERE seq = $2")
        .bind(micros(due_at))
        .bind(seq)
        .execute(connection)
        .await
        .map(drop)
}

pub(super) async fn waiting(readers: &PgPool) -> Result<WaitingNotices, StoreError> {
    let select = "SELECT (SELECT count(*) FROM notices), (SELECT min(created_at) FROM notices)";
    let (notices, since) = sqlx::query_as(select).fetch_one(readers).await?;
    Ok(WaitingNotices {
        notices: unsigned(notices),
        since: optional_time(since)?,
    })
}

/// Finds the newest of those that are too many, once for each target.
const SURPLUS: &str = "WITH surplus AS MATERIALIZED (SELECT key, (SELECT seq FROM notices \
    WHERE target = key ORDER BY seq DESC LIMIT 1 OFFSET $1) AS newest FROM notice_targets) \
    DELETE FROM notices USING surplus WHERE target = key AND seq <= newest";

pub(super) async fn drop_undelivered(
    connection: &mut PgConnection,
    now: Timestamp,
) -> sqlx::Result<Undelivered> {
    let given_up = sqlx::query("DELETE FROM notices WHERE created_at < $1")
        .bind(micros(outbox::too_old(now)))
        .execute(&mut *connection)
        .await?;
    let surplus = sqlx::query(SURPLUS)
        .bind(signed(MOST_WAITING))
        .execute(connection)
        .await?;
    Ok(Undelivered {
        given_up: given_up.rows_affected(),
        surplus: surplus.rows_affected(),
    })
}
