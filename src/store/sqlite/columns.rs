//! Conversions between columns and values.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use crate::ports::StoreError;
pub(super) use crate::store::object_hash::object_hash;

/// The most rows in one INSERT: SQLite permits 32,766 bound values.
pub(super) const ROWS: usize = 2_000;

/// Reads rows of `table`. The error for an unreadable row names it by its `key` column.
pub(super) fn read_all<T>(
    table: &'static str,
    key: &'static str,
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> sqlx::Result<T>,
) -> Result<Vec<T>, StoreError> {
    rows.iter()
        .map(|row| read_one(table, key, row, &read))
        .collect()
}

/// Reads a row of `table`. The error for an unreadable row names it by its `key` column.
pub(super) fn read_one<T>(
    table: &'static str,
    key: &'static str,
    row: &SqliteRow,
    read: impl Fn(&SqliteRow) -> sqlx::Result<T>,
) -> Result<T, StoreError> {
    read(row).map_err(|error| {
        let name = row
            .try_get::<i64, _>(key)
            .map(|number| number.to_string())
            .or_else(|_| row.try_get::<String, _>(key))
            .unwrap_or_else(|_| "unreadable".to_owned());
        StoreError::corrupt(table, format!("{key} = {name}"), error)
    })
}

/// A time as microseconds since 1970.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A column of microseconds as a time.
pub(super) fn time(micros: i64) -> sqlx::Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(decode)
}

pub(super) fn optional_time(micros: Option<i64>) -> sqlx::Result<Option<Timestamp>> {
    micros.map(time).transpose()
}

pub(super) fn uuid(text: &str) -> sqlx::Result<Uuid> {
    text.parse().map_err(decode)
}

pub(super) fn parsed<T>(text: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(decode)
}

/// A text column that must not be NULL, which sqlx would read as an empty string.
pub(super) fn text(row: &SqliteRow, column: &'static str) -> sqlx::Result<String> {
    row.try_get::<Option<String>, _>(column)?
        .ok_or_else(|| sqlx::Error::ColumnDecode {
            index: column.to_owned(),
            source: "it is NULL".into(),
        })
}

/// A count, which is never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

pub(super) fn count(row: &SqliteRow, column: &'static str) -> sqlx::Result<usize> {
    usize::try_from(row.try_get::<i64, _>(column)?).map_err(decode)
}

pub(super) fn signed(number: usize) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The error for a column with an unexpected value.
pub(super) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// A JSON list of numbers, each once and in order, for `json_each`.
pub(super) fn json(numbers: impl IntoIterator<Item = i64>) -> sqlx::Result<String> {
    let numbers: BTreeSet<_> = numbers.into_iter().collect();
    serde_json::to_string(&numbers).map_err(decode)
}
