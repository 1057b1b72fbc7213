//! How values stand in columns.

use jiff::Timestamp;
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use crate::ports::StoreError;

/// Reads rows of `table`; one that cannot be read is named by its `key` column.
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

/// Reads a row of `table`, which is named by its `key` column where it cannot be read.
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

/// A column of microseconds as a time, where there may be none.
pub(super) fn optional_time(micros: Option<i64>) -> sqlx::Result<Option<Timestamp>> {
    micros.map(time).transpose()
}

/// A text column as a UUID.
pub(super) fn uuid(text: &str) -> sqlx::Result<Uuid> {
    text.parse().map_err(decode)
}

/// A text column as anything that is written as text.
pub(super) fn parsed<T>(text: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(decode)
}

/// A count or a number, which is never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// A column that counts something.
pub(super) fn count(row: &SqliteRow, column: &'static str) -> sqlx::Result<usize> {
    usize::try_from(row.try_get::<i64, _>(column)?).map_err(decode)
}

/// A limit or a position as `SQLite` takes it.
pub(super) fn signed(number: usize) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A column that does not hold what it should.
pub(super) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
