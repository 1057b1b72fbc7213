//! Limits the rate of read calls (Get and List) across all workers.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{domain::limits::TokenBucket, ports::Clock};

pub(super) struct ReadLimiter {
    bucket: Mutex<TokenBucket>,
    clock: Arc<dyn Clock>,
}

impl ReadLimiter {
    /// A limiter that starts without tokens: it is not known what was spent just before.
    pub(super) fn empty(per_second: f64, burst: u32, clock: Arc<dyn Clock>) -> Self {
        let bucket = TokenBucket::empty(per_second, burst, clock.now());
        Self {
            bucket: Mutex::new(bucket),
            clock,
        }
    }

    /// A limiter that starts with the full burst, for a command that runs once.
    pub(super) fn full(per_second: f64, burst: u32, clock: Arc<dyn Clock>) -> Self {
        let bucket = TokenBucket::full(per_second, burst, clock.now());
        Self {
            bucket: Mutex::new(bucket),
            clock,
        }
    }

    /// Waits for a turn. Turns are given in the order of the calls.
    pub(super) async fn turn(&self) {
        let at = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.reserve(self.clock.now())
        };
        self.clock.sleep_until(at).await;
    }
}
