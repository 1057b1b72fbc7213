//! A lease that several processes of a test share, on its clock.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use purgefront::{
    ports::{
        Clock, StoreError, Wakeup, Wakeups as _,
        dispatch::Epoch,
        leadership::{Acquisition, HeldLease, LEASE, Leases},
    },
    store::LocalWakeups,
};

use super::clock::VirtualClock;

/// As a store keeps it.
pub struct SharedLease {
    clock: Arc<VirtualClock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    epoch: i64,
    holder: String,
    since: Timestamp,
    /// By the store's clock.
    until: Duration,
    trouble: Trouble,
    /// What was done with success, such as `a takes 1`.
    log: Vec<String>,
    processes: Vec<Arc<LocalWakeups>>,
}

/// What happens to those who use it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trouble {
    #[default]
    None,
    /// Every call fails.
    Away,
    /// No call is answered.
    Silent,
}

impl SharedLease {
    pub fn new(clock: &Arc<VirtualClock>) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            state: Mutex::default(),
        })
    }

    /// Whoever joins is woken when the lease is released.
    pub fn join(&self, process: &Arc<LocalWakeups>) {
        self.state().processes.push(Arc::clone(process));
    }

    pub fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// Whether the lease is held by this epoch.
    pub fn is_held(&self, epoch: i64) -> bool {
        let state = self.state();
        state.epoch == epoch && state.until > self.clock.monotonic()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn trouble(&self) -> Result<(), StoreError> {
        let trouble = self.state().trouble;
        match trouble {
            Trouble::None => Ok(()),
            Trouble::Away => Err(StoreError::unavailable("the store is away")),
            Trouble::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Leases for SharedLease {
    async fn acquire(&self, holder: &str) -> Result<Acquisition, StoreError> {
        self.trouble().await?;
        let now = self.clock.monotonic();
        let mut state = self.state();
        if state.until > now {
            return Ok(Acquisition::Held(HeldLease {
                holder: state.holder.clone(),
                since: state.since,
                left: state.until.saturating_sub(now),
            }));
        }
        let ended = std::mem::take(&mut state.until);
        let vacant = if ended.is_zero() {
            ended
        } else {
            now.saturating_sub(ended)
        };
        state.epoch += 1;
        holder.clone_into(&mut state.holder);
        state.since = self.clock.now();
        state.until = now + LEASE;
        let line = format!("{holder} takes {}", state.epoch);
        state.log.push(line);
        Ok(Acquisition::Taken {
            epoch: Epoch(state.epoch),
            vacant,
        })
    }

    async fn renew(&self, epoch: Epoch) -> Result<bool, StoreError> {
        self.trouble().await?;
        let now = self.clock.monotonic();
        let mut state = self.state();
        let held = state.epoch == epoch.0 && state.until > now;
        if held {
            state.until = now + LEASE;
        }
        Ok(held)
    }

    async fn release(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.trouble().await?;
        let mut state = self.state();
        if state.epoch == epoch.0 {
            state.until = Duration::ZERO;
            let line = format!("{} releases {}", state.holder, epoch.0);
            state.log.push(line);
            for process in &state.processes {
                process.wake(Wakeup::LeaseReleased);
            }
        }
        Ok(())
    }
}
