//! Who leads, where several processes share a store: a lease in the store, which one of them holds.
//!
//! Times in the store are by the store's clock alone. The holder trusts itself for less time than the
//! lease lasts, by its own monotonic clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{StoreError, dispatch::Epoch};

/// How long a lease lasts from when it was taken or renewed.
pub const LEASE: Duration = Duration::from_secs(3);

#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease, with a new epoch that is higher than all before, unless somebody holds it.
    /// Waits for a running transaction of the former leader, after which none of them succeeds.
    async fn acquire(&self, holder: &str) -> Result<Acquisition, StoreError>;

    /// Lets the lease last for [`LEASE`] from now. Returns false if it has expired, was released, or
    /// another epoch has begun: then it is never renewed again.
    async fn renew(&self, epoch: Epoch) -> Result<bool, StoreError>;

    /// Ends the lease of this epoch now, so that others can take it at once, and wakes them
    /// ([`Wakeup::LeaseReleased`](super::Wakeup::LeaseReleased)). Does nothing if another epoch has begun.
    async fn release(&self, epoch: Epoch) -> Result<(), StoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquisition {
    /// The caller holds it now.
    Taken {
        epoch: Epoch,
        /// How long ago the lease of the former leader ended by itself. Zero if it was released, or if there was
        /// no former leader.
        vacant: Duration,
    },
    Held(HeldLease),
}

/// A lease that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Who.
    pub holder: String,
    /// When the holder took it.
    pub since: Timestamp,
    /// How much longer it lasts if it is not renewed.
    pub left: Duration,
}

/// Whether this process leads, for parts of it that only send or save something. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Leading(Arc<AtomicBool>);

impl Leading {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, leads: bool) {
        self.0.store(leads, Ordering::Relaxed);
    }
}
