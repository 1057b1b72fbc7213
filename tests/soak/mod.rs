//! Load for minutes, by `make soak` only: on a busy machine it would say nothing.
//!
//! Each test bounds what its own senders achieved as well. Where they could not keep their pace,
//! it fails and says so, and blames nothing on the service.

mod crowd;
mod load;
mod memory;

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// How often the pace is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How much later than it was meant to a sender may act, on average. Whoever is later has no
/// more processor time to send with.
const MOST_LATE: Duration = Duration::from_millis(50);

/// How well the senders of a test keep the pace that they are meant to have: whatever else runs
/// in this process, it is as late as they are.
struct Pace {
    late: Arc<AtomicU64>,
    ticks: Arc<AtomicU64>,
    watch: JoinHandle<()>,
}

impl Pace {
    #[expect(clippy::disallowed_methods, reason = "senders send in real time")]
    fn watch() -> Self {
        let (late, ticks) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (sum, count) = (Arc::clone(&late), Arc::clone(&ticks));
        let watch = tokio::spawn(async move {
            loop {
                let due = Instant::now() + TICK;
                sleep(TICK).await;
                let micros = due.elapsed().as_micros();
                sum.fetch_add(u64::try_from(micros).unwrap(), Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { late, ticks, watch }
    }

    /// How late they were, on average.
    fn late(&self) -> Duration {
        let ticks = self.ticks.load(Ordering::Relaxed).max(1);
        Duration::from_micros(self.late.load(Ordering::Relaxed) / ticks)
    }

    /// Fails the test because of the service, unless the senders were too late to show anything.
    fn assert(&self, condition: bool, what: impl Display) {
        if condition {
            return;
        }
        let late = self.late();
        assert!(
            late <= MOST_LATE,
            "NOT SHOWN: the senders of this test had too little processor time, they acted \
             {late:?} late; that says nothing of the service. Play it again on a quieter machine. \
             What they met: {what}"
        );
        panic!("{what} (the senders acted {late:?} late)");
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
