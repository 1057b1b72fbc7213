//! Wake-ups between processes, by the database's notifications.
//!
//! They are sent outside the transactions, whose commits they would hold up, and by a process that follows: its work
//! is done by the leader. The leader wakes itself, and tells the others only of what they do themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{PgExecutor, PgPool, postgres::PgListener};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::patience::{pause, within};
use crate::{
    ports::{Wakeup, Wakeups, leadership::Leading},
    shutdown::Tasks,
    store::LocalWakeups,
};

const CHANNEL: &str = "purgefront";
/// Wake-ups that come so soon after others are sent together.
const SEND_EVERY: Duration = Duration::from_millis(10);
/// How often something is sent even if there is nothing, and when a connection on which not even that was heard is
/// given up: it may have been cut without a word.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_mins(1);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What this process wakes, here and elsewhere.
pub struct PostgresWakeups {
    local: LocalWakeups,
    /// Tells this process's own notifications.
    sender: String,
    /// A bit for each kind that is to be sent.
    outbox: AtomicU32,
    filled: Notify,
    leading: Leading,
}

impl PostgresWakeups {
    /// Starts sending and listening in `tasks`, by connections of this pool.
    pub(super) fn start(pool: PgPool, leading: Leading, tasks: &Tasks) -> Arc<Self> {
        let wakeups = Arc::new(Self {
            local: LocalWakeups::default(),
            sender: Uuid::new_v4().simple().to_string(),
            outbox: AtomicU32::new(0),
            filled: Notify::new(),
            leading,
        });
        let stop = tasks.stop().clone();
        let sending = Arc::clone(&wakeups).send_all(pool.clone());
        tasks.spawn("store wake-ups", until_stopped(stop.clone(), sending));
        let hearing = Arc::clone(&wakeups).hear_all(pool);
        tasks.spawn("store wake-ups of others", until_stopped(stop, hearing));
        wakeups
    }

    async fn send_all(self: Arc<Self>, pool: PgPool) {
        loop {
            let _ = within(SIGN_OF_LIFE, self.filled.notified()).await;
            let kinds = self.outbox.swap(0, Ordering::Relaxed);
            match within(SIGN_OF_LIFE, self.send(&pool, kinds)).await {
                Some(Ok(())) => pause(SEND_EVERY).await,
                Some(Err(error)) => {
                    tracing::debug!(%error, "wake-ups were not sent");
                    self.keep(kinds).await;
                }
                None => self.keep(kinds).await,
            }
        }
    }

    async fn send(&self, pool: &PgPool, kinds: u32) -> sqlx::Result<()> {
        let kinds = Wakeup::ALL.into_iter().filter(|one| kinds & bit(*one) != 0);
        notify(pool, &self.sender, kinds).await
    }

    /// Puts back what was not sent.
    async fn keep(&self, kinds: u32) {
        self.outbox.fetch_or(kinds, Ordering::Relaxed);
        self.filled.notify_one();
        pause(PAUSE).await;
    }

    async fn hear_all(self: Arc<Self>, pool: PgPool) {
        loop {
            if let Err(error) = self.hear(&pool).await {
                tracing::debug!(%error, "no wake-ups of other processes are heard");
            }
            pause(PAUSE).await;
        }
    }

    /// Returns when the connection fails, or nothing has been heard for long.
    async fn hear(&self, pool: &PgPool) -> sqlx::Result<()> {
        let listening = within(SILENCE, listen(pool)).await;
        let mut listener = listening.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        // What was sent meanwhile.
        self.wake_all();
        while let Some(heard) = within(SILENCE, listener.try_recv()).await {
            match heard? {
                Some(notification) => self.heard(notification.payload()),
                // The connection was lost, and is there again.
                None => self.wake_all(),
            }
        }
        Ok(())
    }

    fn heard(&self, payload: &str) {
        let mut words = payload.split(' ');
        if words.next() == Some(&self.sender) {
            return;
        }
        for word in words {
            // Another version may have kinds that this one has not.
            if let Some(kind) = Wakeup::ALL.into_iter().find(|one| name(*one) == word) {
                self.local.wake(kind);
            }
        }
    }

    fn wake_all(&self) {
        for kind in Wakeup::ALL {
            self.local.wake(kind);
        }
    }
}

#[async_trait]
impl Wakeups for PostgresWakeups {
    fn wake(&self, wakeup: Wakeup) {
        self.local.wake(wakeup);
        if wakeup == Wakeup::CatalogueKept || !self.leading.get() {
            self.outbox.fetch_or(bit(wakeup), Ordering::Relaxed);
            self.filled.notify_one();
        }
    }

    async fn woken(&self, wakeup: Wakeup) {
        self.local.woken(wakeup).await;
    }
}

/// Sends wake-ups to all processes but the sender.
pub(super) async fn notify(
    connection: impl PgExecutor<'_>,
    sender: &str,
    kinds: impl IntoIterator<Item = Wakeup>,
) -> sqlx::Result<()> {
    let mut payload = sender.to_owned();
    for kind in kinds {
        payload.push(' ');
        payload.push_str(name(kind));
    }
    sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(payload)
        .execute(connection)
        .await
        .map(drop)
}

async fn listen(pool: &PgPool) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

async fn until_stopped(stop: CancellationToken, work: impl Future<Output = ()>) {
    let _ = stop.run_until_cancelled(work).await;
}

fn bit(wakeup: Wakeup) -> u32 {
    1 << (wakeup as u32)
}

/// What a kind is called in notifications, in every version.
fn name(wakeup: Wakeup) -> &'static str {
    match wakeup {
        Wakeup::ChangesAccepted => "changes_accepted",
        Wakeup::SubscriptionAccepted => "subscription_accepted",
        Wakeup::ItemsWaiting => "items_waiting",
        Wakeup::InvalidationCreated => "invalidation_created",
        Wakeup::OperatorActed => "operator_acted",
        Wakeup::CatalogueWanted => "catalogue_wanted",
        Wakeup::CatalogueKept => "catalogue_kept",
        Wakeup::NoticesWaiting => "notices_waiting",
        Wakeup::LeaseReleased => "lease_released",
    }
}
