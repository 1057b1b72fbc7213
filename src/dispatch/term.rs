//! A term of this process as the leader, and how long it may trust that it leads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::ports::{Clock, StoreError, dispatch::Epoch, leadership::LEASE};

/// How long the holder trusts a lease: less than it lasts, because its clock and the store's may run
/// differently, and what it has begun has to end.
const TRUST: Duration = LEASE.saturating_sub(Duration::from_secs(1));

/// Clones share it.
#[derive(Clone)]
pub struct Term {
    epoch: Epoch,
    /// `None` if no other process can lead.
    lease: Option<Arc<Lease>>,
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
            over: CancellationToken::new(),
        }
    }
}

impl Term {
    /// A term with a lease, the taking of which began at `begun`.
    pub(super) fn leased(epoch: Epoch, clock: Arc<dyn Clock>, begun: Duration) -> Self {
        let lease = Lease {
            clock,
            trusted_until: Mutex::new(begun + TRUST),
        };
        Self {
            lease: Some(Arc::new(lease)),
            ..Self::from(epoch)
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
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
