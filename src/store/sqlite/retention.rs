//! SQL for retention: what a sweep through old history reads and deletes.

use async_trait::async_trait;
use jiff::civil::Date;
use sqlx::SqliteConnection;

use super::{
    Database,
    columns::{decode, signed},
    dead_letters, ledger,
};
use crate::{
    domain::story::REJECTED,
    ports::StoreError,
    store::sweep::{History, MOST_LETTERS, PROBED, STEP, Table},
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

macro_rules! statements {
    ($name:literal, $time:literal, $may_go:literal) => {
        Statements {
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

const DEAD_LETTERS: Statements = statements!("dead_letters", "created_at", "1");
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
    "seq < (SELECT max(seq) FROM messages) \
     AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.message = messages.seq) \
     AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.message = messages.seq)"
);
const REQUESTS: Statements = statements!(
    "requests",
    // An idempotency key is good for a day (IDEMPOTENCY_KEPT), however short history is.
    "accepted_at + (idempotency_key IS NOT NULL) * 86400000000",
    "NOT EXISTS (SELECT 1 FROM changes WHERE changes.request = requests.seq)"
);

/// The ledger knows them for longer.
const OTHERS: Statements = statements!(
    "others_invalidations",
    // As long as the sums of their days (KEPT_LONGER).
    "created_at + 5356800000000",
    "1"
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

#[async_trait]
impl History for Database {
    async fn range(&self, table: Table) -> Result<(i64, i64), StoreError> {
        let range = sqlx::query_as(statements(table).range);
        Ok(range.fetch_one(&self.readers).await?)
    }

    async fn earliest(&self, table: Table, from: i64, to: i64) -> Result<Option<i64>, StoreError> {
        let earliest = sqlx::query_scalar(statements(table).earliest)
            .bind(from)
            .bind(to)
            .bind(PROBED);
        Ok(earliest.fetch_one(&self.readers).await?)
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
        Ok(page.fetch_all(&self.readers).await?)
    }

    async fn delete(
        &self,
        table: Table,
        cutoff: i64,
        rows: Vec<i64>,
    ) -> Result<Option<i64>, StoreError> {
        let delete = self.writer.transact(move |connection| {
            Box::pin(async move { delete(connection, table, cutoff, &rows).await })
        });
        delete.await
    }

    async fn drop_surplus(&self) -> Result<u64, StoreError> {
        let last = "SELECT seq FROM dead_letters ORDER BY seq DESC LIMIT 1 OFFSET ?";
        let last: Option<i64> = sqlx::query_scalar(last)
            .bind(MOST_LETTERS)
            .fetch_optional(&self.readers)
            .await?;
        let Some(last) = last else {
            return Ok(0);
        };
        let dropped = self.writer.transact(move |connection| {
            Box::pin(async move {
                let oldest = "SELECT seq FROM dead_letters WHERE seq <= ? ORDER BY seq LIMIT ?";
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
            .writer
            .transact(move |connection| Box::pin(ledger::drop_days(connection, first_kept)));
        dropped.await
    }
}

/// Deletes rows with what belongs to them, unless something has begun to need them. Returns the last
/// batch that is finished with, if not all are.
async fn delete(
    connection: &mut SqliteConnection,
    table: Table,
    cutoff: i64,
    rows: &[i64],
) -> sqlx::Result<Option<i64>> {
    let rows: Vec<i64> = sqlx::query_scalar(statements(table).still)
        .bind(serde_json::to_string(rows).map_err(decode)?)
        .bind(cutoff)
        .fetch_all(&mut *connection)
        .await?;
    match table {
        Table::Batches => return delete_batches(connection, &rows).await,
        Table::DeadLetters => {
            dead_letters::drop_all(connection, &rows).await?;
            return Ok(None);
        }
        Table::Changes | Table::Messages | Table::Requests | Table::Others => {}
    }
    let rows = serde_json::to_string(&rows).map_err(decode)?;
    if table == Table::Changes {
        sqlx::query("DELETE FROM skips WHERE change IN (SELECT value FROM json_each(?))")
            .bind(&rows)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(statements(table).delete)
        .bind(&rows)
        .execute(connection)
        .await?;
    Ok(None)
}

/// Deletes batches with all that belongs to them. Returns the last one that is finished with, if not
/// all are: one batch can have more rows than a step.
async fn delete_batches(
    connection: &mut SqliteConnection,
    batches: &[i64],
) -> sqlx::Result<Option<i64>> {
    let mut left = STEP;
    for batch in batches {
        let before = Some(batch - 1);
        if left == 0 {
            return Ok(before);
        }
        let limit = signed(left);
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
            "DELETE FROM batch_merges WHERE batch = ?",
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
