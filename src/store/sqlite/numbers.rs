//! The numbers of changes in the journal.

use sqlx::{SqliteConnection, SqlitePool};

use super::columns::signed;

/// Takes numbers, as many as the bound value says, and returns the first.
pub(super) const TAKE: &str = "UPDATE journal \
    SET last = max(last, coalesce((SELECT max(seq) FROM changes), 0)) + ?1 \
    RETURNING last - ?1 + 1";

/// Takes numbers for new changes, and returns the first. A number is never taken twice, even if its
/// change has been deleted: what was accepted after a change has a higher number.
pub(super) async fn take_numbers(
    connection: &mut SqliteConnection,
    count: usize,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(TAKE)
        .bind(signed(count))
        .fetch_one(connection)
        .await
}

/// The number of the last change.
pub(super) async fn end(readers: &SqlitePool) -> sqlx::Result<i64> {
    let select = "SELECT max(last, coalesce((SELECT max(seq) FROM changes), 0)) FROM journal";
    sqlx::query_scalar(select).fetch_one(readers).await
}
