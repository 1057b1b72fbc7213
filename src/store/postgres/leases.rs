//! SQL for the lease: which process leads, and until when.

use std::time::Duration;

use sqlx::{PgConnection, Row as _};

use super::columns::{Text, text, time, unsigned};
use crate::ports::{dispatch::Epoch, leadership::HeldLease};

/// There is one lease.
const NAME: &str = "dispatch";

/// The database's clock, in microseconds. Not that of the transaction's beginning: a write may have waited.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}

/// Takes the lease for so long if nobody has it, with a new epoch. Waits for the running transaction of the
/// former leader.
pub(super) async fn acquire(
    connection: &mut PgConnection,
    holder: &str,
    length: Duration,
) -> sqlx::Result<Option<Epoch>> {
    let acquire = concat!(
        "INSERT INTO leases AS lease (name, epoch, holder, acquired_at, expires_at) VALUES ($1, 1, $2, ",
        now!(),
        ", ",
        now!(),
        " + $3) ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1, holder = excluded.holder, \
         acquired_at = excluded.acquired_at, expires_at = excluded.expires_at \
         WHERE lease.expires_at <= ",
        now!(),
        " RETURNING epoch"
    );
    let epoch: Option<i64> = sqlx::query_scalar(acquire)
        .bind(NAME)
        .bind(Text::new(holder))
        .bind(length_in_micros(length))
        .fetch_optional(connection)
        .await?;
    Ok(epoch.map(Epoch))
}

/// Prolongs the lease. Returns false if it is over or somebody else has it. Does not wait for the leader's own
/// transactions.
pub(super) async fn renew(
    connection: &mut PgConnection,
    epoch: Epoch,
    length: Duration,
) -> sqlx::Result<bool> {
    let renew = concat!(
        "UPDATE leases SET expires_at = ",
        now!(),
        " + $3 WHERE name = $1 AND epoch = $2 AND expires_at > ",
        now!()
    );
    let renewed = sqlx::query(renew)
        .bind(NAME)
        .bind(epoch.0)
        .bind(length_in_micros(length))
        .execute(connection)
        .await?;
    Ok(renewed.rows_affected() > 0)
}

/// Ends the lease at once. From then on writes of its epoch fail.
pub(super) async fn release(connection: &mut PgConnection, epoch: Epoch) -> sqlx::Result<()> {
    // The epoch is used up, so that nothing which was left behind can write.
    let release = "UPDATE leases SET epoch = epoch + 1, holder = NULL, expires_at = 0 \
                   WHERE name = $1 AND epoch = $2";
    sqlx::query(release)
        .bind(NAME)
        .bind(epoch.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Who leads now, by the database's clock.
pub(super) async fn leader(connection: &mut PgConnection) -> sqlx::Result<Option<HeldLease>> {
    let select = concat!(
        "SELECT * FROM (SELECT holder, acquired_at, expires_at - ",
        now!(),
        " AS left_over FROM leases WHERE name = $1 AND holder IS NOT NULL) AS lease \
         WHERE left_over > 0"
    );
    let row = sqlx::query(select)
        .bind(NAME)
        .fetch_optional(connection)
        .await?;
    let lease = row.map(|row| {
        Ok(HeldLease {
            holder: text(&row, "holder")?,
            since: time(row.try_get("acquired_at")?)?,
            left: Duration::from_micros(unsigned(row.try_get("left_over")?)),
        })
    });
    lease.transpose()
}

/// Whether this is the epoch of the leader, which it remains until the transaction's end.
pub(super) async fn guard(connection: &mut PgConnection, epoch: Epoch) -> sqlx::Result<bool> {
    let select = "SELECT 1 FROM leases WHERE name = $1 AND epoch = $2 FOR KEY SHARE";
    let found: Option<i32> = sqlx::query_scalar(select)
        .bind(NAME)
        .bind(epoch.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

fn length_in_micros(length: Duration) -> i64 {
    length.as_micros().try_into().unwrap_or(i64::MAX)
}
