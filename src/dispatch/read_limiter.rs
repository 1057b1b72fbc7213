//! The rate of read calls (Get and List), shared by all who read.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{domain::limits::TokenBucket, ports::Clock};

/// Lets read calls through one after the other, no faster than the account may make them.
pub(super) struct ReadLimiter {
    bucket: Mutex<TokenBucket>,
    clock: Arc<dyn Clock>,
}

impl ReadLimiter {
    /// A limiter that has to earn its first call: nobody knows what was spent just before.
    pub(super) fn empty(per_second: f64, burst: u32, clock: Arc<dyn Clock>) -> Self {
        let bucket = TokenBucket::empty(per_second, burst, clock.now());
        Self {
            bucket: Mutex::new(bucket),
            clock,
        }
    }

    /// A limiter that starts with its whole burst: for a command that runs once.
    pub(super) fn full(per_second: f64, burst: u32, clock: Arc<dyn Clock>) -> Self {
        let bucket = TokenBucket::full(per_second, burst, clock.now());
        Self {
            bucket: Mutex::new(bucket),
            clock,
        }
    }

    /// Waits for a turn; turns come in the order in which they are asked for.
    pub(super) async fn turn(&self) {
        let at = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.reserve(self.clock.now())
        };
        self.clock.sleep_until(at).await;
    }
}
