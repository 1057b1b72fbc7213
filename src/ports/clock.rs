//! Time as a port: whatever waits for hours takes it from here, so that tests play those hours.

use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Returns once it is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
}
