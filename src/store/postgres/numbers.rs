//! The numbers of changes in the journal.

use sqlx::PgConnection;

use super::columns::signed;

/// Takes `$1` numbers, and is the one before them. The transaction has locked the journal's row.
macro_rules! taken_numbers {
    () => {
        "setval('journal_numbers', nextval('journal_numbers') + $1 - 1) - $1"
    };
}
pub(super) use taken_numbers;

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
    lock(&mut *connection).await?;
    sqlx::query_scalar(concat!("SELECT 1 + ", taken_numbers!()))
        .bind(signed(count))
        .fetch_one(connection)
        .await
}

/// The last number that was taken. What is accepted from now on has a higher one.
pub(super) async fn end(connection: &mut PgConnection) -> sqlx::Result<i64> {
    // Who has taken some has committed, or never will.
    lock(&mut *connection).await?;
    sqlx::query_scalar("SELECT coalesce(pg_sequence_last_value('journal_numbers'), 0)")
        .fetch_one(connection)
        .await
}
