//! What the journeys share: the fake AWS, a signer of messages, and the service itself.

pub mod audit;
pub mod aws;
pub mod clock;
pub mod cloudfront;
pub mod counted;
pub mod distribution;
pub mod inside;
pub mod proxy;
pub mod quotas;
pub mod service;
pub mod signer;
pub mod simulated;
pub mod sns;

use std::time::{Duration, Instant};

/// Waits until something is there; fails the test when it does not come.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    let begin = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            begin.elapsed() < service::PATIENCE,
            "waited in vain: {what}"
        );
        pause().await;
    }
}

/// A moment between two looks.
pub async fn pause() {
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A whole number that whoever runs the tests has set.
pub fn number(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long to play is for whoever runs the test"
    )]
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a whole number"))
}
