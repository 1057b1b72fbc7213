//! A sweep through old history, in every kind of store: it finds what may go, but never unfinished work, and has
//! it deleted in small steps.
//!
//! What may go is found by reading. The writer gets the numbers of the rows and checks them again, so a step is
//! short however much there is, and rows that stay hold up no others.

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};

use super::ledger_days;
use crate::ports::{StoreError, dispatch::Sweep};

/// About how many rows are deleted in one step: a step must not delay intake.
pub(in crate::store) const STEP: usize = 1_000;
/// How many pages of rows a step reads at most while it finds none that may go.
const PAGES: usize = 10;
/// How many places are probed to find out whether there are old rows in a range, and how many rows
/// at each: a few rows with a wrong time must not hide the others.
const PLACES: i64 = 9;
pub(in crate::store) const PROBED: i64 = 5;
/// The most dead letters that are kept, whatever their age.
pub(in crate::store) const MOST_LETTERS: i64 = 100_000;

/// A table with history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Table {
    DeadLetters,
    Batches,
    Changes,
    Messages,
    Requests,
    Others,
}

/// Rows are deleted before those that they refer to.
const ORDER: [Table; 6] = [
    Table::DeadLetters,
    Table::Batches,
    Table::Changes,
    Table::Messages,
    Table::Requests,
    Table::Others,
];

/// What a kind of store does for a sweep. Times are microseconds since 1970.
#[async_trait]
pub(in crate::store) trait History: Sync {
    /// The first and the last number in a table; 0 if it is empty.
    async fn range(&self, table: Table) -> Result<(i64, i64), StoreError>;

    /// The earliest of the times of the first [`PROBED`] rows in a range.
    async fn earliest(&self, table: Table, from: i64, to: i64) -> Result<Option<i64>, StoreError>;

    /// The first [`STEP`] rows between two numbers, and which of them may go.
    async fn page(
        &self,
        table: Table,
        cutoff: i64,
        after: i64,
        before: i64,
    ) -> Result<Vec<(i64, bool)>, StoreError>;

    /// Deletes rows with what belongs to them, unless something has begun to need them. Returns the last row
    /// that is finished with, if not all are.
    async fn delete(
        &self,
        table: Table,
        cutoff: i64,
        rows: Vec<i64>,
    ) -> Result<Option<i64>, StoreError>;

    /// Deletes some of the oldest dead letters if there are more than [`MOST_LETTERS`], and returns how many.
    async fn drop_surplus(&self) -> Result<u64, StoreError>;

    /// Deletes what the ledger has of the days before this one.
    async fn drop_days(&self, first_kept: Date) -> Result<(), StoreError>;
}

/// Deletes the next old rows of a sweep, and returns where it continues.
pub(in crate::store) async fn prune(
    history: &impl History,
    cutoff: Timestamp,
    sweep: Sweep,
) -> Result<Option<Sweep>, StoreError> {
    let Some(&table) = ORDER.get(sweep.table) else {
        return Ok(None);
    };
    if sweep == Sweep::default() && drop_surplus(history).await? {
        return Ok(Some(sweep));
    }
    if table == Table::Others
        && sweep.before.is_none()
        && let Some(day) = ledger_days::first_kept(cutoff)
    {
        history.drop_days(day).await?;
    }
    let cutoff = cutoff.as_microsecond();
    let before = match sweep.before {
        Some(before) => before,
        None => first_new(history, table, cutoff).await?,
    };
    let found = find(history, table, cutoff, sweep.after, before).await?;
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
        if table == Table::DeadLetters {
            tracing::warn!(
                count = found.rows.len(),
                "dead letters are deleted: they are older than store.keep"
            );
        }
        if let Some(through) = history.delete(table, cutoff, found.rows).await? {
            next = Sweep {
                after: through,
                before: Some(before),
                ..sweep
            };
        }
    }
    Ok(Some(next).filter(|next| next.table < ORDER.len()))
}

/// Deletes some of the oldest dead letters if there are too many, and returns whether it did.
async fn drop_surplus(history: &impl History) -> Result<bool, StoreError> {
    let count = history.drop_surplus().await?;
    if count > 0 {
        tracing::warn!(
            count,
            most = MOST_LETTERS,
            "the oldest dead letters are deleted: there are too many"
        );
    }
    Ok(count > 0)
}

/// The number of about the first row that is new enough to stay, by binary search: numbers grow with
/// time, except for a few rows.
async fn first_new(history: &impl History, table: Table, cutoff: i64) -> Result<i64, StoreError> {
    let (mut low, last) = history.range(table).await?;
    let mut high = last.saturating_add(1);
    let step = i64::try_from(STEP).unwrap_or(i64::MAX);
    while high - low > step {
        let middle = low + (high - low) / 2;
        match old_place(history, table, cutoff, middle, high).await? {
            Some(place) => low = place,
            None => high = middle,
        }
    }
    Ok(high)
}

/// A place in a range, as far to the left as possible, with an old row.
async fn old_place(
    history: &impl History,
    table: Table,
    cutoff: i64,
    from: i64,
    to: i64,
) -> Result<Option<i64>, StoreError> {
    for nth in 0..PLACES {
        let place = from + (to - from) / PLACES * nth;
        let earliest = history.earliest(table, place, to).await?;
        if earliest.is_some_and(|earliest| earliest < cutoff) {
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
    history: &impl History,
    table: Table,
    cutoff: i64,
    after: i64,
    before: i64,
) -> Result<Found, StoreError> {
    let mut found = Found {
        through: after,
        ..Found::default()
    };
    for _ in 0..PAGES {
        let page = history.page(table, cutoff, found.through, before).await?;
        found.at_end = page.len() < STEP;
        for (seq, may_go) in page {
            if found.rows.len() == STEP {
                found.at_end = false;
                return Ok(found);
            }
            if may_go {
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
