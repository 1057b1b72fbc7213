//! Waiting for the database, in real time: it does not go by a simulated clock.

use std::time::Duration;

/// What the work comes to; `None` if it takes longer than the limit, which breaks it off.
#[expect(
    clippy::disallowed_methods,
    reason = "the database answers in real time, even if the Clock port is simulated"
)]
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the database comes back in real time, even if the Clock port is simulated"
)]
pub(super) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
