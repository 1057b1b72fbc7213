//! SQL for the outbox of notices. Those who complete or fail a batch, or write dead letters, add to it in
//! their own transactions.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    columns::{decode, micros, optional_time, read_all, signed, text, time, unsigned, uuid},
    dead_letters, history,
};
use crate::{
    domain::notice::{MOST_WAITING, Notice, NoticeKind, NoticeTarget, Undelivered, WaitingNotices},
    ports::StoreError,
    store::outbox::{self, NewNotice, ROWS},
};

pub(super) async fn set_targets(
    connection: &mut SqliteConnection,
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

async fn targets(connection: &mut SqliteConnection) -> sqlx::Result<Vec<NoticeTarget>> {
    let rows = sqlx::query("SELECT key, kinds, distributions FROM notice_targets ORDER BY key")
        .fetch_all(connection)
        .await?;
    let read = |row: &SqliteRow| {
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
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
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

async fn insert(
    connection: &mut SqliteConnection,
    new: &[NewNotice<'_>],
    now: Timestamp,
) -> sqlx::Result<()> {
    for chunk in new.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
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
    readers: &SqlitePool,
    target: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Notice>, StoreError> {
    let rows = sqlx::query(DUE)
        .bind(target)
        .bind(micros(now))
        .bind(micros(outbox::furthest(now)))
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    read_all("notices", "seq", &rows, |row| {
        Ok(Notice {
            seq: row.try_get("seq")?,
            id: uuid(&text(row, "id")?)?,
            target: text(row, "target")?,
            body: text(row, "body")?,
            failures: row.try_get("failures")?,
            due_at: time(row.try_get("due_at")?)?,
        })
    })
}

pub(super) const NEXT: &str = "SELECT min(due_at) FROM notices WHERE target = ? AND due_at > ?";

pub(super) async fn next(
    readers: &SqlitePool,
    target: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let next = sqlx::query_scalar(NEXT).bind(target).bind(micros(now));
    Ok(optional_time(next.fetch_one(readers).await?)?)
}

pub(super) async fn delivered(connection: &mut SqliteConnection, seq: i64) -> sqlx::Result<()> {
    let delete = sqlx::query("DELETE FROM notices WHERE seq = ?").bind(seq);
    delete.execute(connection).await.map(drop)
}

pub(super) async fn failed(
    connection: &mut SqliteConnection,
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

pub(super) async fn waiting(readers: &SqlitePool) -> Result<WaitingNotices, StoreError> {
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
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> sqlx::Result<Undelivered> {
    let given_up = sqlx::query("DELETE FROM notices WHERE created_at < ?")
        .bind(micros(outbox::too_old(now)))
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

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;
    use crate::store::sqlite::migrations;

    /// So many that they are not put in through the ports.
    #[tokio::test]
    async fn the_oldest_are_dropped_where_too_many_wait_for_a_target() {
        let mut store = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let schema = migrations();
        schema.run_direct(None, &mut store, false).await.unwrap();
        let target = |key: &str| NoticeTarget {
            key: key.to_owned(),
            origin: String::new(),
            kinds: NoticeKind::ALL.into(),
            distributions: None,
        };
        let targets = vec![target("full"), target("other")];
        set_targets(&mut store, targets).await.unwrap();
        let fill = "WITH RECURSIVE many (nth) AS (SELECT 1 UNION ALL SELECT nth + 1 FROM many \
                    WHERE nth < ?) INSERT INTO notices (seq, id, target, body, created_at, due_at) \
                    SELECT nth, '', iif(nth <= 10, 'other', 'full'), '', 0, 0 FROM many";
        sqlx::query(fill)
            .bind(signed(MOST_WAITING + 13))
            .execute(&mut store)
            .await
            .unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let dropped = drop_undelivered(&mut store, now).await.unwrap();
        let expected = Undelivered {
            given_up: 0,
            surplus: 3,
        };
        assert_eq!(dropped, expected);
        let first = "SELECT min(seq) FROM notices WHERE target = 'full'";
        let first: i64 = sqlx::query_scalar(first)
            .fetch_one(&mut store)
            .await
            .unwrap();
        assert_eq!(first, 14);
    }
}
