//! Deletes history after the retention period, in small steps.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::runner::Worker;
use crate::ports::{Clock, StoreError, dispatch::UpkeepStore};

/// The pause after a step that found nothing more to delete, and after one that did.
const CHECK_EVERY: Duration = Duration::from_mins(10);
const NEXT_STEP: Duration = Duration::from_secs(1);

pub(super) struct Retention {
    store: Arc<dyn UpkeepStore>,
    clock: Arc<dyn Clock>,
    keep: SignedDuration,
    next_at: Timestamp,
}

impl Retention {
    pub(super) fn new(store: Arc<dyn UpkeepStore>, clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self {
            store,
            next_at: clock.now(),
            clock,
            keep: SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX),
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
            self.next_at = now + CHECK_EVERY;
            // If `keep` reaches back before the earliest timestamp, nothing is old enough.
            if let Ok(cutoff) = now.checked_sub(self.keep)
                && self.store.prune(cutoff).await?
            {
                self.next_at = now + NEXT_STEP;
            }
        }
        Ok(Some(self.next_at))
    }

    async fn woken(&mut self) {
        std::future::pending::<()>().await;
    }
}
