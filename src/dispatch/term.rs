//! A term of this process as the leader, and how long it may trust that it leads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::ports::{Clock, StoreError, dispatch::Epoch, leadership::LEASE};

/// How long the holder trusts a lease: less than it lasts, because its clock and the store's may run
/// differently, and what it has begun has to end.
const TRUST: Duration = LEASE.saturating_sub(MARGIN);
const MARGIN: Duration = Duration::from_secs(1);

/// Longer than the store waits for its database with a write. A read may wait for ever where a connection was cut
/// silently.
const PATIENCE: Duration = Duration::from_mins(1);

/// Clones share it.
#[derive(Clone)]
pub struct Term {
    epoch: Epoch,
    /// `None` if no other process can lead.
    lease: Option<Arc<Lease>>,
    /// For how long nobody had led when it began, as far as that is known.
    vacancy: Duration,
    over: CancellationToken,
}

struct Lease {
    clock: Arc<dyn Clock>,
    /// By the monotonic clock.
    trusted_until: Mutex<Duration>,
}

/// A term without an end.
impl From<Epoch> for Term {
    fn from(epoch: Epoch) -> Self {
        Self {
            epoch,
            lease: None,
            vacancy: Duration::ZERO,
            over: CancellationToken::new(),
        }
    }
}

impl Term {
    /// A term with a lease, the taking of which began at `begun`. The former one had ended by itself so long before.
    pub(super) fn leased(
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        begun: Duration,
        vacant: Duration,
    ) -> Self {
        let vacancy = if vacant.is_zero() {
            Duration::ZERO
        } else {
            // The former leader did not trust the end of its lease.
            (vacant + MARGIN).min(LEASE)
        };
        let lease = Lease {
            clock,
            trusted_until: Mutex::new(begun + TRUST),
        };
        Self {
            lease: Some(Arc::new(lease)),
            vacancy,
            ..Self::from(epoch)
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How long before it nobody made calls to CloudFront, at most as long as a lease lasts.
    pub(super) fn vacancy(&self) -> Duration {
        self.vacancy
    }

    /// Whether it can end before the process does.
    pub(super) fn is_leased(&self) -> bool {
        self.lease.is_some()
    }

    /// The lease was renewed; that began at `begun`. Returns false if the term was over before that.
    pub(super) fn renewed(&self, begun: Duration) -> bool {
        if let Some(lease) = &self.lease {
            *lease.trusted_until() = begun + TRUST;
        }
        self.left().is_some()
    }

    /// How much longer this process may trust that it leads without a renewal; `None` if it does not
    /// lead any more. Asked before every use, since the process may have been stopped for long.
    pub(super) fn left(&self) -> Option<Duration> {
        if self.over.is_cancelled() {
            return None;
        }
        let Some(lease) = &self.lease else {
            return Some(Duration::MAX);
        };
        let left = lease.trusted_until().checked_sub(lease.clock.monotonic());
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            self.end();
        }
        left
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.left() {
            Some(_) => Ok(()),
            None => Err(StoreError::LeadsNoMore),
        }
    }

    /// Ends it for good.
    pub(super) fn end(&self) {
        self.over.cancel();
    }

    /// Returns when the store has not answered for longer than it may take.
    pub(super) async fn out_of_patience(&self) {
        match &self.lease {
            Some(lease) => {
                let clock = &lease.clock;
                clock.sleep_until(clock.now() + PATIENCE).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Cancelled when it is over.
    pub(super) fn over(&self) -> &CancellationToken {
        &self.over
    }
}

impl Lease {
    fn trusted_until(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.trusted_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
