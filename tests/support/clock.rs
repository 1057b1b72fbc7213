//! A clock that tests turn: hours pass in seconds.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use purgefront::ports::Clock;
use tokio::sync::oneshot;

/// Time that passes only when a test says so.
pub struct VirtualClock(Mutex<State>);

struct State {
    now: Timestamp,
    passed: Duration,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    count: u64,
}

impl VirtualClock {
    pub fn new() -> Self {
        Self(Mutex::new(State {
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            passed: Duration::ZERO,
            sleepers: BTreeMap::new(),
            count: 0,
        }))
    }

    /// Lets time pass, and wakes whoever slept that long, the first first.
    pub fn advance(&self, span: Duration) {
        let mut state = self.state();
        state.now += span;
        state.passed += span;
        let now = state.now;
        let later = state.sleepers.split_off(&(now, u64::MAX));
        for (_, wake) in std::mem::replace(&mut state.sleepers, later) {
            let _ = wake.send(());
        }
    }

    /// How much time has passed, whatever the clock was set to.
    pub fn passed(&self) -> Duration {
        self.state().passed
    }

    /// Sets the clock back. Nobody sleeps longer for it.
    pub fn set_back(&self, span: Duration) {
        let mut state = self.state();
        state.now -= span;
        let sleepers = std::mem::take(&mut state.sleepers);
        let earlier = sleepers.into_iter();
        let earlier = earlier.map(|((at, nth), wake)| ((at - span, nth), wake));
        state.sleepers = earlier.collect();
    }

    /// Lets time pass until the first sleeper wakes, but no further than `at`.
    pub fn advance_until(&self, at: Timestamp) {
        let first = self.first_sleeper();
        self.advance_to(first.map_or(at, |first| first.min(at)));
    }

    /// Lets time pass until the first sleeper wakes; false where nobody sleeps.
    pub fn advance_to_next(&self) -> bool {
        let first = self.first_sleeper();
        first.map(|at| self.advance_to(at)).is_some()
    }

    fn advance_to(&self, at: Timestamp) {
        self.advance(at.duration_since(self.now()).unsigned_abs());
    }

    /// When the first sleeper wakes. Whoever no longer waits wakes nobody.
    fn first_sleeper(&self) -> Option<Timestamp> {
        let mut state = self.state();
        state.sleepers.retain(|_, wake| !wake.is_closed());
        state.sleepers.keys().next().map(|(at, _)| *at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn monotonic(&self) -> Duration {
        self.passed()
    }

    fn now(&self) -> Timestamp {
        self.state().now
    }

    async fn sleep_until(&self, at: Timestamp) {
        let woken = {
            let mut state = self.state();
            if at <= state.now {
                return;
            }
            state.count += 1;
            let (wake, woken) = oneshot::channel();
            let key = (at, state.count);
            state.sleepers.insert(key, wake);
            woken
        };
        let _ = woken.await;
    }
}
