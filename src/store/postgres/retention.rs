//! SQL for retention: what a sweep through old history reads and deletes.
//!
//! Other processes accept messages and requests meanwhile. They add nothing to what is old: a message or a request
//! comes with its changes in one transaction, and all else is written in turn with this.

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use sqlx::{PgConnection, PgPool};

use super::{columns::signed, dead_letters, ledger, writer::Leading};
use crate::{
    domain::story::REJECTED,
    ports::{StoreError, dispatch::Sweep},
    store::sweep::{self, History, MOST_LETTERS, PROBED, STEP, Table},
};

/// The statements for a table with history.
struct Statements {
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

/// Conditions are joins of a whole page with the other tables. For a condition of each row alone, the planner may
/// choose to read a table up to the first match, although there is none.
macro_rules! statements {
    ($name:literal, $time:literal, $may_go:literal) => {
        Statements {
            range: concat!(
                "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM ",
                $name
            ),
            earliest: concat!(
                "SELECT min(time) FROM (SELECT ",
                $time,
                " AS time FROM ",
                $name,
                " WHERE seq >= $1 AND seq < $2 ORDER BY seq LIMIT $3) AS few"
            ),
            page: concat!(
                "WITH page AS (SELECT * FROM ",
                $name,
                " WHERE seq > $2 AND seq < $3 ORDER BY seq LIMIT $4), old AS (SELECT seq FROM page AS ",
                $name,
                " WHERE ",
                $time,
                " < $1 AND ",
                $may_go,
                ") SELECT seq, old.seq IS NOT NULL AS may_go FROM page LEFT JOIN old USING (seq) \
                 ORDER BY seq"
            ),
            still: concat!(
                "SELECT seq FROM ",
                $name,
                " WHERE seq = ANY($1) AND ",
                $time,
                " < $2 AND ",
                $may_go,
                " ORDER BY seq"
            ),
            delete: concat!("DELETE FROM ", $name, " WHERE seq = ANY($1)"),
        }
    };
}

const DEAD_LETTERS: Statements = statements!("dead_letters", "created_at", "true");
const BATCHES: Statements = statements!(
    "batches",
    "created_at",
    "status NOT IN ('pending', 'in_progress') \
     AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.batch = batches.seq)"
);
const CHANGES: Statements = statements!(
    "changes",
    "accepted_at",
    "state = 2 \
     AND NOT EXISTS (SELECT 1 FROM targets WHERE targets.change = changes.seq) \
     AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.change = changes.seq) \
     AND NOT EXISTS (SELECT 1 FROM late_distributions AS late WHERE changes.seq > late.after \
     AND changes.mapped_revision < late.revision)"
);
const MESSAGES: Statements = statements!(
    "messages",
    "accepted_at",
    // The newest one tells for how long SNS has been silent.
    "seq < (SELECT max(newest.seq) FROM messages AS newest) \
     AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.message = messages.seq) \
     AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.message = messages.seq)"
);
const REQUESTS: Statements = statements!(
    "requests",
    // An idempotency key is good for a day (IDEMPOTENCY_KEPT), however short history is.
    "accepted_at + CASE WHEN idempotency_key IS NULL THEN 0 ELSE 86400000000 END",
    "NOT EXISTS (SELECT 1 FROM changes WHERE changes.request = requests.seq)"
);

/// The ledger knows them for longer.
const OTHERS: Statements = statements!(
    "others_invalidations",
    // As long as the sums of their days (KEPT_LONGER).
    "created_at + 5356800000000",
    "true"
);

fn statements(table: Table) -> &'static Statements {
    match table {
        Table::DeadLetters => &DEAD_LETTERS,
        Table::Batches => &BATCHES,
        Table::Changes => &CHANGES,
        Table::Messages => &MESSAGES,
        Table::Requests => &REQUESTS,
        Table::Others => &OTHERS,
    }
}

/// Deletes the next old rows of a sweep, and returns where it continues.
pub(super) async fn prune(
    readers: &PgPool,
    leading: &Leading,
    cutoff: Timestamp,
    sweep: Sweep,
) -> Result<Option<Sweep>, StoreError> {
    sweep::prune(&Swept { readers, leading }, cutoff, sweep).await
}

struct Swept<'a> {
    readers: &'a PgPool,
    leading: &'a Leading,
}

#[async_trait]
impl History for Swept<'_> {
    async fn range(&self, table: Table) -> Result<(i64, i64), StoreError> {
        let range = sqlx::query_as(statements(table).range);
        Ok(range.fetch_one(self.readers).await?)
    }

    async fn earliest(&self, table: Table, from: i64, to: i64) -> Result<Option<i64>, StoreError> {
        let earliest = sqlx::query_scalar(statements(table).earliest)
            .bind(from)
            .bind(to)
            .bind(PROBED);
        Ok(earliest.fetch_one(self.readers).await?)
    }

    async fn page(
        &self,
        table: Table,
        cutoff: i64,
        after: i64,
        before: i64,
    ) -> Result<Vec<(i64, bool)>, StoreError> {
        let page = sqlx::query_as(statements(table).page)
            .bind(cutoff)
            .bind(after)
            .bind(before)
            .bind(signed(STEP));
        Ok(page.fetch_all(self.readers).await?)
    }

    async fn delete(
        &self,
        table: Table,
        cutoff: i64,
        rows: Vec<i64>,
    ) -> Result<Option<i64>, StoreError> {
        let delete = self.leading.transact(move |connection| {
            Box::pin(async move { delete(connection, table, cutoff, &rows).await })
        });
        delete.await
    }

    async fn drop_surplus(&self) -> Result<u64, StoreError> {
        let last = "SELECT seq FROM dead_letters ORDER BY seq DESC LIMIT 1 OFFSET $1";
        let last: Option<i64> = sqlx::query_scalar(last)
            .bind(MOST_LETTERS)
            .fetch_optional(self.readers)
            .await?;
        let Some(last) = last else {
            return Ok(0);
        };
        let dropped = self.leading.transact(move |connection| {
            Box::pin(async move {
                let oldest = "SELECT seq FROM dead_letters WHERE seq <= $1 ORDER BY seq LIMIT $2";
                let oldest: Vec<i64> = sqlx::query_scalar(oldest)
                    .bind(last)
                    .bind(signed(STEP))
                    .fetch_all(&mut *connection)
                    .await?;
                dead_letters::drop_all(connection, &oldest).await
            })
        });
        dropped.await
    }

    async fn drop_days(&self, first_kept: Date) -> Result<(), StoreError> {
        let dropped = self
            .leading
            .transact(move |connection| Box::pin(ledger::drop_days(connection, first_kept)));
        dropped.await
    }
}

/// Deletes rows with what belongs to them, unless something has begun to need them. Returns the last
/// batch that is finished with, if not all are.
async fn delete(
    connection: &mut PgConnection,
    table: Table,
    cutoff: i64,
    rows: &[i64],
) -> sqlx::Result<Option<i64>> {
    let rows: Vec<i64> = sqlx::query_scalar(statements(table).still)
        .bind(rows)
        .bind(cutoff)
        .fetch_all(&mut *connection)
        .await?;
    match table {
        Table::Batches => return delete_batches(connection, &rows).await,
        Table::DeadLetters => {
            dead_letters::drop_all(connection, &rows).await?;
            return Ok(None);
        }
        Table::Changes => {
            sqlx::query("DELETE FROM skips WHERE change = ANY($1)")
                .bind(&rows)
                .execute(&mut *connection)
                .await?;
        }
        Table::Messages | Table::Requests | Table::Others => {}
    }
    sqlx::query(statements(table).delete)
        .bind(&rows)
        .execute(connection)
        .await?;
    Ok(None)
}

/// The first batches of a list that have a step's rows together, by what they counted: at least one.
const FIRST: &str = "SELECT seq FROM (SELECT seq, row_number() OVER list AS nth, \
    sum(1 + item_count + change_count) OVER list AS belonging FROM batches WHERE seq = ANY($1) \
    WINDOW list AS (ORDER BY seq)) AS counted WHERE nth = 1 OR belonging <= $2 ORDER BY seq";

/// Deletes so many rows of a table where they are found: no plan looks for them once more.
macro_rules! delete_some {
    ($name:literal) => {
        concat!(
            "DELETE FROM ",
            $name,
            " WHERE ctid = ANY(ARRAY(SELECT ctid FROM ",
            $name,
            " WHERE batch = ANY($1) LIMIT $2))"
        )
    };
}
const DELETE_ITEMS: &str = delete_some!("batch_items");
const DELETE_ATTEMPTS: &str = delete_some!("attempts");
/// That CloudFront rejected an item stays known with the change, other parts of which may stay for longer.
const DELETE_TARGETS: &str = concat!(
    "WITH deleted AS (",
    delete_some!("targets"),
    " RETURNING change, distribution_id, batch), kept AS \
     (INSERT INTO skips (change, distribution_id, why, failed) \
     SELECT change, deleted.distribution_id, $3, true FROM deleted \
     JOIN batches ON batches.seq = deleted.batch WHERE status = 'failed') \
     SELECT count(*) FROM deleted"
);

/// Deletes batches with all that belongs to them. Returns the last one that is finished with, if not
/// all are: one batch can have more rows than a step.
async fn delete_batches(
    connection: &mut PgConnection,
    batches: &[i64],
) -> sqlx::Result<Option<i64>> {
    let first: Vec<i64> = sqlx::query_scalar(FIRST)
        .bind(batches)
        .bind(signed(STEP))
        .fetch_all(&mut *connection)
        .await?;
    let (Some(begin), Some(end)) = (first.first(), first.last()) else {
        return Ok(None);
    };
    let unfinished = Some(begin - 1);
    let deleted: i64 = sqlx::query_scalar(DELETE_TARGETS)
        .bind(&first)
        .bind(signed(STEP))
        .bind(REJECTED)
        .fetch_one(&mut *connection)
        .await?;
    let mut left = signed(STEP) - deleted;
    for delete in [DELETE_ITEMS, DELETE_ATTEMPTS] {
        if left <= 0 {
            return Ok(unfinished);
        }
        let deleted = sqlx::query(delete)
            .bind(&first)
            .bind(left)
            .execute(&mut *connection)
            .await?;
        left -= i64::try_from(deleted.rows_affected()).unwrap_or(left);
    }
    if left <= 0 {
        return Ok(unfinished);
    }
    for write in [
        "DELETE FROM batch_merges WHERE batch = ANY($1)",
        "UPDATE batches SET parent = NULL WHERE parent = ANY($1)",
        BATCHES.delete,
    ] {
        sqlx::query(write)
            .bind(&first)
            .execute(&mut *connection)
            .await?;
    }
    Ok(Some(*end).filter(|_| first.len() < batches.len()))
}
