//! Time as a port: whatever waits for hours takes it from here, so that tests play those hours.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// The time since some moment of the past. Unlike [`Clock::now`], nobody sets it, and it passes
    /// also while the process is stopped.
    fn monotonic(&self) -> Duration;

    /// Returns once it is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
}
