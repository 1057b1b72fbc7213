//! SQL for retention: deletes old history in small steps, but never unfinished work.
//!
//! What may go is found through the readers. The writer gets the numbers of the rows and checks them
//! again, so a step is short however much there is, and rows that stay hold up no others.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _};

use super::{
    columns::{decode, micros},
    dead_letters,
    writer::Leading,
};
use crate::{
    domain::story::REJECTED,
    ports::{StoreError, dispatch::Sweep},
};

/// About how many rows are deleted in one step: a step must not delay intake.
const STEP: usize = 1_000;
/// How many pages of rows a step reads at most while it finds none that may go.
const PAGES: usize = 10;
/// How many places are probed to find out whether there are old rows in a range, and how many rows
/// at each: a few rows with a wrong time must not hide the others.
const PLACES: i64 = 9;
const ROWS: i64 = 5;

/// A table with history.
struct Table {
    /// The range of its numbers.
    range: &'static str,
    /// The earliest of the times of a few rows, starting at a number.
    earliest: &'static str,
    /// Rows in a range, and which of them may go.
    page: &'static str,
    /// Which rows of a list may still go.
    still: &'static str,
    delete: &'static str,
}

macro_rules! table {
    ($name:literal, $time:literal, $may_go:literal) => {
        Table {
            range: concat!(
                "SELECT coalesce((SELECT min(seq) FROM ",
                $name,
                "), 0), \
                 coalesce((SELECT max(seq) FROM ",
                $name,
                "), 0)"
            ),
            earliest: concat!(
                "SELECT min(time) FROM (SELECT ",
                $time,
                " AS time FROM ",
                $name,
                " WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3)"
            ),
            page: concat!(
                "SELECT seq, (",
                $time,
                " < ?1 AND ",
                $may_go,
                ") AS may_go FROM ",
                $name,
                " WHERE seq > ?2 AND seq < ?3 ORDER BY seq LIMIT ?4"
            ),
            still: concat!(
                "SELECT seq FROM ",
                $name,
                " WHERE seq IN (SELECT value FROM json_each(?1)) AND ",
                $time,
                " < ?2 AND ",
                $may_go,
                " ORDER BY seq"
            ),
            delete: concat!(
                "DELETE FROM ",
                $name,
                " WHERE seq IN (SELECT value FROM json_each(?))"
            ),
        }
    };
}

/// The most dead letters that are kept, whatever their age.
const MOST_LETTERS: i64 = 100_000;

/// Rows are deleted before those that they refer to.
const TABLES: [Table; 5] = [
    table!("dead_letters", "created_at", "1"),
    table!(
        "batches",
        "created_at",
        "status NOT IN ('pending', 'in_progress') \
         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.batch = batches.seq)"
    ),
    table!(
        "changes",
        "accepted_at",
        "state = 2 \
         AND NOT EXISTS (SELECT 1 FROM targets WHERE targets.change = changes.seq) \
         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.change = changes.seq) \
         AND NOT EXISTS (SELECT 1 FROM late_distributions AS late WHERE changes.seq > late.after \
         AND changes.mapped_revision < late.revision)"
    ),
    table!(
        "messages",
        "accepted_at",
        // The newest one tells for how long SNS has been silent.
        "seq < (SELECT max(seq) FROM messages) \
         AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.message = messages.seq) \
         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.message = messages.seq)"
    ),
    table!(
        "requests",
        // An idempotency key is good for a day (IDEMPOTENCY_KEPT), however short history is.
        "accepted_at + (idempotency_key IS NOT NULL) * 86400000000",
        "NOT EXISTS (SELECT 1 FROM changes WHERE changes.request = requests.seq)"
    ),
];
const LETTERS: usize = 0;
const BATCHES: usize = 1;
const CHANGES: usize = 2;

/// Deletes the next old rows of a sweep, and returns where it continues.
pub(super) async fn prune(
    readers: &PgPool,
    leading: &Leading,
    cutoff: Timestamp,
    sweep: Sweep,
) -> Result<Option<Sweep>, StoreError> {
    let Some(table) = TABLES.get(sweep.table) else {
        return Ok(None);
    };
    if sweep == Sweep::default() && drop_surplus(readers, leading).await? {
        return Ok(Some(sweep));
    }
    let before = match sweep.before {
        Some(before) => before,
        None => first_new(readers, table, cutoff).await?,
    };
    let found = find(readers, table, cutoff, sweep.after, before).await?;
    let mut next = if found.at_end {
        Sweep {
            table: sweep.table + 1,
            ..Sweep::default()
        }
    } else {
        Sweep {
            after: found.through,
            before: Some(before),
            ..sweep
        }
    };
    if !found.rows.is_empty() {
        let (cutoff, rows, number) = (micros(cutoff), found.rows, sweep.table);
        if number == LETTERS {
            tracing::warn!(
                count = rows.len(),
                "dead letters are deleted: they are older than store.keep"
            );
        }
        let delete = leading.transact(move |connection| {
            Box::pin(async move { delete(connection, number, cutoff, &rows).await })
        });
        if let Some(through) = delete.await? {
            next = Sweep {
                after: through,
                before: Some(before),
                ..sweep
            };
        }
    }
    Ok(Some(next).filter(|next| next.table < TABLES.len()))
}

/// Deletes some of the oldest dead letters if there are too many, and returns whether it did.
async fn drop_surplus(readers: &PgPool, leading: &Leading) -> Result<bool, StoreError> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM dead_letters ORDER BY seq DESC LIMIT 1 OFFSET ?")
            .bind(MOST_LETTERS)
            .fetch_optional(readers)
            .await?;
    let Some(last) = last else {
        return Ok(false);
    };
    let deleted = leading.transact(move |connection| {
        Box::pin(async move {
            let oldest = "SELECT seq FROM dead_letters WHERE seq <= ? ORDER BY seq LIMIT ?";
            let oldest: Vec<i64> = sqlx::query_scalar(oldest)
                .bind(last)
                .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
                .fetch_all(&mut *connection)
                .await?;
            dead_letters::drop_all(connection, &oldest).await
        })
    });
    let count = deleted.await?;
    tracing::warn!(
        count,
        most = MOST_LETTERS,
        "the oldest dead letters are deleted: there are too many"
    );
    Ok(count > 0)
}

/// The number of about the first row that is new enough to stay, by binary search: numbers grow with
/// time, except for a few rows.
async fn first_new(readers: &PgPool, table: &Table, cutoff: Timestamp) -> sqlx::Result<i64> {
    let (mut low, last): (i64, i64) = sqlx::query_as(table.range).fetch_one(readers).await?;
    let mut high = last.saturating_add(1);
    let step = i64::try_from(STEP).unwrap_or(i64::MAX);
    while high - low > step {
        let middle = low + (high - low) / 2;
        match old_place(readers, table, cutoff, middle, high).await? {
            Some(place) => low = place,
            None => high = middle,
        }
    }
    Ok(high)
}

/// A place in a range, as far to the left as possible, with an old row.
async fn old_place(
    readers: &PgPool,
    table: &Table,
    cutoff: Timestamp,
    from: i64,
    to: i64,
) -> sqlx::Result<Option<i64>> {
    for nth in 0..PLACES {
        let place = from + (to - from) / PLACES * nth;
        let earliest: Option<i64> = sqlx::query_scalar(table.earliest)
            .bind(place)
            .bind(to)
            .bind(ROWS)
            .fetch_one(readers)
            .await?;
        if earliest.is_some_and(|earliest| earliest < micros(cutoff)) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Rows that may go.
#[derive(Default)]
struct Found {
    rows: Vec<i64>,
    /// The last row that was looked at.
    through: i64,
    at_end: bool,
}

async fn find(
    readers: &PgPool,
    table: &Table,
    cutoff: Timestamp,
    after: i64,
    before: i64,
) -> sqlx::Result<Found> {
    let mut found = Found {
        through: after,
        ..Found::default()
    };
    for _ in 0..PAGES {
        let page = sqlx::query(table.page)
            .bind(micros(cutoff))
            .bind(found.through)
            .bind(before)
            .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
            .fetch_all(readers)
            .await?;
        found.at_end = page.len() < STEP;
        for row in &page {
            let seq = row.try_get("seq")?;
            if found.rows.len() == STEP {
                found.at_end = false;
                return Ok(found);
            }
            if row.try_get("may_go")? {
                found.rows.push(seq);
            }
            found.through = seq;
        }
        if found.at_end || found.rows.len() == STEP {
            break;
        }
    }
    Ok(found)
}

/// Deletes rows with what belongs to them, unless something has begun to need them. Returns the last
/// batch that is finished with, if not all are.
async fn delete(
    connection: &mut PgConnection,
    table: usize,
    cutoff: i64,
    rows: &[i64],
) -> sqlx::Result<Option<i64>> {
    let rows: Vec<i64> = sqlx::query_scalar(TABLES[table].still)
        .bind(serde_json::to_string(rows).map_err(decode)?)
        .bind(cutoff)
        .fetch_all(&mut *connection)
        .await?;
    match table {
        BATCHES => return delete_batches(connection, &rows).await,
        LETTERS => {
            dead_letters::drop_all(connection, &rows).await?;
            return Ok(None);
        }
        _ => {}
    }
    let rows = serde_json::to_string(&rows).map_err(decode)?;
    if table == CHANGES {
        sqlx::query("DELETE FROM skips WHERE change IN (SELECT value FROM json_each(?))")
            .bind(&rows)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(TABLES[table].delete)
        .bind(&rows)
        .execute(connection)
        .await?;
    Ok(None)
}

/// Deletes batches with all that belongs to them. Returns the last one that is finished with, if not
/// all are: one batch can have more rows than a step.
async fn delete_batches(
    connection: &mut PgConnection,
    batches: &[i64],
) -> sqlx::Result<Option<i64>> {
    let mut left = STEP;
    for batch in batches {
        let before = Some(batch - 1);
        if left == 0 {
            return Ok(before);
        }
        let limit = i64::try_from(left).unwrap_or(i64::MAX);
        // Other parts of the changes may stay for longer.
        let failures = "INSERT INTO skips (change, distribution_id, why, failed) \
                        SELECT change, distribution_id, ?3, 1 FROM targets WHERE seq IN \
                        (SELECT seq FROM targets WHERE batch = ?1 LIMIT ?2) \
                        AND (SELECT status FROM batches WHERE seq = ?1) = 'failed'";
        sqlx::query(failures)
            .bind(batch)
            .bind(limit)
            .bind(REJECTED)
            .execute(&mut *connection)
            .await?;
        let targets = "DELETE FROM targets WHERE seq IN \
                       (SELECT seq FROM targets WHERE batch = ? LIMIT ?)";
        let deleted = sqlx::query(targets)
            .bind(batch)
            .bind(limit)
            .execute(&mut *connection)
            .await?;
        left = left.saturating_sub(usize::try_from(deleted.rows_affected()).unwrap_or(STEP));
        if left == 0 {
            return Ok(before);
        }
        for delete in [
            "DELETE FROM batch_items WHERE batch = ?",
            "DELETE FROM attempts WHERE batch = ?",
            "UPDATE batches SET parent = NULL WHERE parent = ?",
            "DELETE FROM batches WHERE seq = ?",
        ] {
            let changed = sqlx::query(delete)
                .bind(batch)
                .execute(&mut *connection)
                .await?;
            left = left.saturating_sub(usize::try_from(changed.rows_affected()).unwrap_or(STEP));
        }
    }
    Ok(None)
}
