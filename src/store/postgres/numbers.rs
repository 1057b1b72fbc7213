//! The numbers of changes in the journal.

use sqlx::{PgConnection, PgPool};

use super::columns::signed;

/// Waits for the turn to add to the journal, which intake's transactions begin with.
pub(super) async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT 1 FROM journal FOR UPDATE")
        .execute(connection)
        .await
        .map(drop)
}

/// Takes numbers for new changes, and returns the first. A number is never taken twice, even if its
/// change has been deleted: what was accepted after a change has a higher number. Holds the journal's row until the
/// transaction ends.
pub(super) async fn take_numbers(connection: &mut PgConnection, count: usize) -> sqlx::Result<i64> {
    sqlx::query_scalar("UPDATE journal SET last = last + $1 RETURNING last - $1 + 1")
        .bind(signed(count))
        .fetch_one(connection)
        .await
}

/// The number of the last change.
pub(super) async fn end(readers: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT last FROM journal")
        .fetch_one(readers)
        .await
}
