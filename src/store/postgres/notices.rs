//! SQL for the outbox of notices. Those who complete or fail a batch, or write dead letters, add to it in
//! their own transactions.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    columns::{
        decode, micros, number, optional_time, read_all, signed, text, time, unsigned, uuid,
    },
    dead_letters, history,
};
use crate::{
    domain::notice::{
        self, KEPT, LONGEST_PUT_OFF, MOST_WAITING, Notice, NoticeKind, NoticeTarget, Undelivered,
        WaitingNotices,
    },
    ports::StoreError,
};

/// How many rows one statement inserts.
const ROWS: usize = 500;

/// A notice that is not in the outbox yet.
struct NewNotice<'a> {
    target: &'a str,
    body: String,
}

pub(super) async fn set_targets(
    connection: &mut PgConnection,
    targets: Vec<NoticeTarget>,
) -> sqlx::Result<u64> {
    sqlx::query("DELETE FROM notice_targets")
        .execute(&mut *connection)
        .await?;
    for target in targets {
        let kinds: Vec<_> = target.kinds.iter().map(|kind| kind.as_str()).collect();
        let only = target.distributions.map(|ids| serde_json::to_string(&ids));
        sqlx::query("INSERT INTO notice_targets (key, kinds, distributions) VALUES (?, ?, ?)")
            .bind(target.key)
            .bind(serde_json::to_string(&kinds).map_err(decode)?)
            .bind(only.transpose().map_err(decode)?)
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
        let kinds: Vec<String> = serde_json::from_str(row.try_get("kinds")?).map_err(decode)?;
        let kinds = kinds.iter().map(|kind| kind.parse().map_err(decode));
        let only: Option<String> = row.try_get("distributions")?;
        let only = only.map(|only| serde_json::from_str(&only).map_err(decode));
        Ok(NoticeTarget {
            key: text(row, "key")?,
            // Of no interest here.
            origin: String::new(),
            kinds: kinds.collect::<sqlx::Result<_>>()?,
            distributions: only.transpose()?,
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
    let mut new = Vec::new();
    add(&mut new, &targets, kind, id, &summary, now)?;
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
            add(&mut new, &targets, NoticeKind::DeadLetter, id, &letter, now)?;
        }
        insert(connection, &new, now).await?;
    }
    Ok(())
}

fn add<'a>(
    new: &mut Vec<NewNotice<'a>>,
    targets: &'a [NoticeTarget],
    kind: NoticeKind,
    distribution_id: Option<&str>,
    data: &impl Serialize,
    now: Timestamp,
) -> sqlx::Result<()> {
    for target in targets {
        if target.wants(kind, distribution_id) {
            new.push(NewNotice {
                target: &target.key,
                body: notice::body(kind, now, data).map_err(decode)?,
            });
        }
    }
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    new: &[NewNotice<'_>],
    now: Timestamp,
) -> sqlx::Result<()> {
    for chunk in new.chunks(ROWS) {
        let mut insert = QueryBuilder::<Postgres>::new(
            "INSERT INTO notices (id, target, body, created_at, due_at) ",
        );
        insert.push_values(chunk, |mut row, notice| {
            row.push_bind(Uuid::now_v7().to_string())
                .push_bind(notice.target)
                .push_bind(notice.body.as_str())
                .push_bind(micros(now))
                .push_bind(micros(now));
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// The last condition is for a clock that was set back.
pub(super) const DUE: &str = "SELECT seq, id, target, body, failures, due_at FROM notices \
                              WHERE target = ?1 AND (due_at <= ?2 OR due_at > ?3) \
                              ORDER BY due_at, seq LIMIT ?4";

pub(super) async fn due(
    readers: &PgPool,
    target: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Notice>, StoreError> {
    let rows = sqlx::query(DUE)
        .bind(target)
        .bind(micros(now))
        .bind(micros(furthest(now)))
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    read_all("notices", "seq", &rows, |row| {
        Ok(Notice {
            seq: row.try_get("seq")?,
            id: uuid(&text(row, "id")?)?,
            target: text(row, "target")?,
            body: text(row, "body")?,
            failures: number(row, "failures")?,
            due_at: time(row.try_get("due_at")?)?,
        })
    })
}

fn furthest(now: Timestamp) -> Timestamp {
    let longest = SignedDuration::try_from(LONGEST_PUT_OFF).unwrap_or(SignedDuration::MAX);
    now.checked_add(longest).unwrap_or(Timestamp::MAX)
}

pub(super) const NEXT: &str = "SELECT min(due_at) FROM notices WHERE target = ? AND due_at > ?";

pub(super) async fn next(
    readers: &PgPool,
    target: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let next = sqlx::query_scalar(NEXT).bind(target).bind(micros(now));
    Ok(optional_time(next.fetch_one(readers).await?)?)
}

pub(super) async fn delivered(connection: &mut PgConnection, seq: i64) -> sqlx::Result<()> {
    let delete = sqlx::query("DELETE FROM notices WHERE seq = ?").bind(seq);
    delete.execute(connection).await.map(drop)
}

pub(super) async fn failed(
    connection: &mut PgConnection,
    seq: i64,
    due_at: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE notices SET failures = failures + 1, due_at = ? WHERE seq = ?")
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

pub(super) const SURPLUS: &str = "DELETE FROM notices WHERE seq IN \
                                  (SELECT seq FROM notices WHERE target = ? \
                                  ORDER BY seq DESC LIMIT -1 OFFSET ?)";

pub(super) async fn drop_undelivered(
    connection: &mut PgConnection,
    now: Timestamp,
) -> sqlx::Result<Undelivered> {
    // Where the difference is no timestamp, nothing is older.
    let too_old = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let given_up = sqlx::query("DELETE FROM notices WHERE created_at < ?")
        .bind(micros(too_old))
        .execute(&mut *connection)
        .await?;
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM notice_targets")
        .fetch_all(&mut *connection)
        .await?;
    let mut surplus = 0;
    for key in keys {
        let deleted = sqlx::query(SURPLUS)
            .bind(key)
            .bind(signed(MOST_WAITING))
            .execute(&mut *connection)
            .await?;
        surplus += deleted.rows_affected();
    }
    Ok(Undelivered {
        given_up: given_up.rows_affected(),
        surplus,
    })
}
