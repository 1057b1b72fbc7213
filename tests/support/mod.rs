//! What the journeys share: the fake AWS, a signer of messages, and the service itself.

/// Waits until a condition that has to be awaited holds; fails the test when it never does.
macro_rules! eventually {
    ($condition:expr) => {{
        let patience = $crate::support::Patience::new();
        while !$condition {
            patience.pause(stringify!($condition)).await;
        }
    }};
}

pub mod account;
pub mod aws;
pub mod buckets;
pub mod clock;
pub mod cloudfront;
pub mod connecting;
pub mod distribution;
pub mod inside;
pub mod leases;
pub mod model;
pub mod moto;
pub mod nature;
pub mod permissions;
pub mod postgres;
pub mod proxy;
pub mod random_messages;
pub mod replicas;
pub mod s3;
pub mod service;
pub mod shell;
pub mod signer;
pub mod simulated;
pub mod simulation;
pub mod sns;
pub mod sqlite;
pub mod story;
pub mod tapped;
pub mod terminator;
pub mod turns;
pub mod verdict;
pub mod wire;
pub mod world;

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

/// A directory for a store. Where memory is a disk, syncing costs nothing.
pub fn quick_directory() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// Waits until something is there; fails the test when it does not come.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::new();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        patience.pause(what).await;
    }
}

/// How long a test has waited, and may wait.
pub struct Patience(Instant);

impl Patience {
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
        Self(Instant::now())
    }

    pub fn lasted(&self) -> Duration {
        self.0.elapsed()
    }

    /// A moment between two looks, as long as there is hope.
    pub async fn pause(&self, what: &str) {
        assert!(self.lasted() < service::PATIENCE, "waited in vain: {what}");
        pause().await;
    }
}

/// A moment between two looks.
pub async fn pause() {
    #[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Says that something is not tested here, and why: past the test harness, which would swallow it.
/// A failure where everything has to be tested.
pub fn not_tested(why: &str) {
    assert!(text("TEST_EVERYTHING").is_none(), "not tested: {why}");
    let _ = writeln!(io::stderr(), "NOT TESTED: {why}");
}

/// The same where it cannot be had by installing something, which is no failure.
pub fn skipped(why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
}

/// A whole number that whoever runs the tests has set.
pub fn number(name: &str) -> Option<u64> {
    Some(text(name)?.parse().expect("a whole number"))
}

/// A text that whoever runs the tests has set.
pub fn text(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long to play, and what, is for whoever runs the test"
    )]
    std::env::var(name).ok()
}
