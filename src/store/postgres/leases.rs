//! SQL for the lease: which process leads, and until when.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::{
    columns::{Text, optional_text, time, unsigned},
    errors::WriteError,
    link,
    patience::within,
    wakeups,
};
use crate::ports::{
    StoreError, Wakeup,
    dispatch::Epoch,
    leadership::{Acquisition, HeldLease, LEASE, Leases},
};

/// There is one lease.
const NAME: &str = "dispatch";
/// The end of a lease that was released.
const RELEASED: i64 = 0;

/// The database's clock, in microseconds. Not that of the transaction's beginning: a write may have waited.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}

/// How long an exchange with the database may take: a renewal that takes longer has failed, and taking over may wait
/// for a transaction of the former leader.
const RENEWAL: Duration = Duration::from_secs(2);
const TAKE_OVER: Duration = Duration::from_secs(10);

/// The lease, by a connection of its own, which is opened when it is needed.
pub struct PostgresLeases {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl PostgresLeases {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            connection: Mutex::new(None),
        }
    }

    async fn with<T>(
        &self,
        limit: Duration,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Result<T, StoreError> {
        let mut place = self.connection.lock().await;
        // Not put back if it fails, or if nobody waits any more.
        let taken = place.take();
        let exchange = async {
            let mut connection = match taken {
                Some(connection) => connection,
                None => link::connect(&self.options).await?,
            };
            let done = work(&mut connection).await?;
            Ok((connection, done))
        };
        let done = within(limit, exchange).await;
        match done.unwrap_or(Err(WriteError::TimedOut(limit))) {
            Ok((connection, done)) => {
                *place = Some(connection);
                Ok(done)
            }
            // Whatever became of it: another attempt finds out.
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }
}

#[async_trait]
impl Leases for PostgresLeases {
    async fn acquire(&self, holder: &str) -> Result<Acquisition, StoreError> {
        let holder = holder.to_owned();
        self.with(TAKE_OVER, |connection| {
            Box::pin(async move {
                // Looked at first, because trying to take it waits for the leader's transaction, and then holds up
                // the next. It may have been released meanwhile.
                loop {
                    if let Some(lease) = held(connection).await? {
                        return Ok(Acquisition::Held(lease));
                    }
                    if let Some((epoch, vacant)) = acquire(connection, &holder, LEASE).await? {
                        return Ok(Acquisition::Taken { epoch, vacant });
                    }
                }
            })
        })
        .await
    }

    async fn renew(&self, epoch: Epoch) -> Result<bool, StoreError> {
        self.with(RENEWAL, |connection| {
            Box::pin(renew(connection, epoch, LEASE))
        })
        .await
    }

    async fn release(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.with(RENEWAL, |connection| {
            Box::pin(async move {
                if release(connection, epoch).await? {
                    // Not "all but this process": it does not hurt there.
                    wakeups::notify(connection, "", [Wakeup::LeaseReleased]).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Takes the lease for so long if nobody has it, with a new epoch. Waits for the running transaction of the
/// former leader. Also returns how long ago the former lease ended by itself.
async fn acquire(
    connection: &mut PgConnection,
    holder: &str,
    length: Duration,
) -> sqlx::Result<Option<(Epoch, Duration)>> {
    let ended: Option<i64> = sqlx::query_scalar("SELECT expires_at FROM leases WHERE name = $1")
        .bind(NAME)
        .fetch_optional(&mut *connection)
        .await?;
    // Of two that try, the second finds another end, and looks again.
    let acquire = concat!(
        "INSERT INTO leases AS lease (name, epoch, holder, acquired_at, expires_at) VALUES ($1, 1, $2, ",
        now!(),
        ", ",
        now!(),
        " + $3) ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1, holder = excluded.holder, \
         acquired_at = ",
        now!(),
        ", expires_at = ",
        now!(),
        " + $3 WHERE lease.expires_at NOT BETWEEN ",
        now!(),
        " + 1 AND ",
        now!(),
        " + $3 AND lease.expires_at = $4 RETURNING epoch, acquired_at - $4"
    );
    let taken: Option<(i64, Option<i64>)> = sqlx::query_as(acquire)
        .bind(NAME)
        .bind(Text::new(holder))
        .bind(micros(length))
        .bind(ended)
        .fetch_optional(connection)
        .await?;
    Ok(taken.map(|(epoch, vacant)| {
        let is_expired = ended.is_some_and(|ended| ended > RELEASED);
        let vacant = vacant.filter(|_| is_expired).map_or(0, unsigned);
        (Epoch(epoch), Duration::from_micros(vacant))
    }))
}

/// Prolongs the lease. Returns false if it is over or somebody else has it. Does not wait for the leader's own
/// transactions.
async fn renew(
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
        .bind(micros(length))
        .execute(connection)
        .await?;
    Ok(renewed.rows_affected() > 0)
}

/// Ends the lease at once, and returns whether it was this epoch's. The epoch is used up, so that nothing which was
/// left behind can write.
async fn release(connection: &mut PgConnection, epoch: Epoch) -> sqlx::Result<bool> {
    let release = "UPDATE leases SET epoch = epoch + 1, holder = NULL, expires_at = $3 \
                   WHERE name = $1 AND epoch = $2";
    let released = sqlx::query(release)
        .bind(NAME)
        .bind(epoch.0)
        .bind(RELEASED)
        .execute(connection)
        .await?;
    Ok(released.rows_affected() > 0)
}

/// Who holds the lease, if anybody does. One that would last for longer than a lease does is from before the database's
/// clock was set back: whoever leads has it renewed within a second, and nobody else waits for it.
pub(super) async fn held(connection: &mut PgConnection) -> sqlx::Result<Option<HeldLease>> {
    let select = concat!(
        "SELECT holder, acquired_at, expires_at - now AS microseconds FROM leases, (SELECT ",
        now!(),
        " AS now) AS clock WHERE name = $1 AND expires_at BETWEEN now + 1 AND now + $2"
    );
    let row = sqlx::query(select)
        .bind(NAME)
        .bind(micros(LEASE))
        .fetch_optional(connection)
        .await?;
    let lease = row.map(|row| {
        Ok(HeldLease {
            holder: optional_text(&row, "holder")?.unwrap_or_default(),
            since: time(row.try_get("acquired_at")?)?,
            left: Duration::from_micros(unsigned(row.try_get("microseconds")?)),
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

fn micros(length: Duration) -> i64 {
    length.as_micros().try_into().unwrap_or(i64::MAX)
}
