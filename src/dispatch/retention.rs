//! Deletes history after the retention period, in small steps.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::runner::Worker;
use crate::ports::{
    Clock, StoreError,
    dispatch::{Sweep, UpkeepStore},
};

/// The pause after a sweep.
const CHECK_EVERY: Duration = Duration::from_mins(10);
/// The shortest pause between two steps of a sweep: other writes go on in between.
const NEXT_STEP: SignedDuration = SignedDuration::from_millis(20);

pub(super) struct Retention {
    store: Arc<dyn UpkeepStore>,
    clock: Arc<dyn Clock>,
    keep: SignedDuration,
    next_at: Timestamp,
    /// The running sweep.
    sweep: Option<Sweep>,
}

impl Retention {
    pub(super) fn new(store: Arc<dyn UpkeepStore>, clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self {
            store,
            next_at: clock.now(),
            clock,
            keep: SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX),
            sweep: None,
        }
    }
}

#[async_trait]
impl Worker for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        // The second condition: if the clock is set back, the next check must not be hours away.
        if self.next_at <= now || self.next_at > now + CHECK_EVERY {
            let sweep = self.sweep.take().unwrap_or_default();
            // If `keep` reaches back before the earliest timestamp, nothing is old enough.
            if let Ok(cutoff) = now.checked_sub(self.keep) {
                self.sweep = self.store.prune(cutoff, sweep).await?;
            }
            let done_at = self.clock.now();
            self.next_at = if self.sweep.is_some() {
                // At most half of the time.
                done_at + NEXT_STEP.max(done_at.duration_since(now))
            } else {
                done_at + CHECK_EVERY
            };
        }
        Ok(Some(self.next_at))
    }

    async fn woken(&mut self) {
        std::future::pending::<()>().await;
    }
}
