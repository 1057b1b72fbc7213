//! What waits at each distribution, and whose turn it is.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{domain::batch::Backlog, ports::Unresolved, telemetry::Metrics};

/// All queues. The lock is held for a look or a note, never across anything that waits.
pub(super) struct Queues {
    lanes: Mutex<Lanes>,
    quiet: Duration,
    max_wait: Duration,
    metrics: Metrics,
}

#[derive(Default)]
struct Lanes {
    by_distribution: HashMap<String, Lane>,
    turns: u64,
}

/// One distribution's queue: independent of every other.
#[derive(Default)]
struct Lane {
    /// What waits to be planned.
    backlog: Option<Backlog>,
    /// A batch without a definite answer: it goes before anything new.
    open: Option<Unresolved>,
    /// A turn is under way.
    busy: bool,
    /// Not before this time, after something went wrong.
    not_before: Option<Timestamp>,
    /// What went wrong last, until something went right.
    trouble: Option<String>,
    /// The number of its last turn: who waited longest goes first.
    last_turn: u64,
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This distribution's, now.
    Ready(String),
    /// Somebody's, then.
    At(Timestamp),
    /// Nobody's: nothing waits.
    Idle,
}

/// What a distribution does in its turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// Sends an unresolved batch again, unchanged.
    Resend(Unresolved),
    /// Plans what waits. The queue forgets it: what stays waiting has to be added again.
    Plan {
        /// What is known to wait.
        backlog: Backlog,
        /// The last turn went wrong: a batch may have been frozen that nobody knows of.
        in_doubt: bool,
    },
}

impl Queues {
    pub(super) fn new(quiet: Duration, max_wait: Duration, metrics: Metrics) -> Self {
        Self {
            lanes: Mutex::default(),
            quiet,
            max_wait,
            metrics,
        }
    }

    /// Notes that more waits at a distribution.
    pub(super) fn add(&self, distribution_id: &str, backlog: Backlog) {
        self.with_lane(distribution_id, |lane| {
            lane.backlog = Some(lane.backlog.map_or(backlog, |waiting| waiting.and(backlog)));
        });
    }

    /// Notes a batch that was left without an answer when the service stopped.
    pub(super) fn reopen(&self, unresolved: Unresolved) {
        let id = unresolved.batch.distribution_id.clone();
        self.with_lane(&id, |lane| lane.open = Some(unresolved));
    }

    /// Whose turn it is at `now`: people's first, then whoever waited longest for one.
    pub(super) fn next(&self, now: Timestamp) -> Next {
        let lanes = self.lock();
        let mut ready: Option<(bool, u64, &String)> = None;
        let mut first_at: Option<Timestamp> = None;
        for (id, lane) in &lanes.by_distribution {
            let Some(due_at) = lane.due_at(now, self.quiet, self.max_wait) else {
                continue;
            };
            if due_at > now {
                first_at = Some(first_at.map_or(due_at, |first| first.min(due_at)));
                continue;
            }
            let manual = lane.backlog.is_some_and(|backlog| backlog.manual);
            let candidate = (!manual, lane.last_turn, id);
            ready = Some(ready.map_or(candidate, |best| best.min(candidate)));
        }
        match (ready, first_at) {
            (Some((_, _, id)), _) => Next::Ready(id.clone()),
            (None, Some(at)) => Next::At(at),
            (None, None) => Next::Idle,
        }
    }

    /// Begins a distribution's turn; until [`Queues::finish`] it gets no other.
    pub(super) fn begin(&self, distribution_id: &str) -> Option<Turn> {
        let turn = {
            let mut lanes = self.lock();
            lanes.turns += 1;
            let number = lanes.turns;
            let lane = lanes.by_distribution.get_mut(distribution_id)?;
            let turn = match (lane.open.take(), lane.backlog) {
                (Some(unresolved), _) => Turn::Resend(unresolved),
                (None, Some(backlog)) => {
                    lane.backlog = None;
                    Turn::Plan {
                        backlog,
                        in_doubt: lane.trouble.is_some(),
                    }
                }
                (None, None) => return None,
            };
            lane.busy = true;
            lane.last_turn = number;
            turn
        };
        Some(turn)
    }

    /// Ends a turn that succeeded.
    pub(super) fn finish(&self, distribution_id: &str) {
        self.with_lane(distribution_id, |lane| {
            lane.busy = false;
            lane.not_before = None;
            lane.trouble = None;
        });
    }

    /// Ends a turn that did not: a batch without an answer goes out again, not before
    /// `due_at`; without a batch, planning begins anew then.
    pub(super) fn fail(
        &self,
        distribution_id: &str,
        open: Option<Unresolved>,
        due_at: Timestamp,
        trouble: String,
    ) {
        self.with_lane(distribution_id, |lane| {
            lane.busy = false;
            lane.open = open;
            lane.not_before = Some(due_at);
            lane.trouble = Some(trouble);
        });
    }

    /// The distributions that something is wrong with, and what.
    pub(super) fn troubles(&self) -> Vec<String> {
        let lanes = self.lock();
        let mut troubles: Vec<_> = lanes
            .by_distribution
            .iter()
            .filter_map(|(id, lane)| Some(format!("{id}: {}", lane.trouble.as_ref()?)))
            .collect();
        troubles.sort_unstable();
        troubles
    }

    fn with_lane(&self, distribution_id: &str, change: impl FnOnce(&mut Lane)) {
        let waiting = {
            let mut lanes = self.lock();
            let lane = lanes
                .by_distribution
                .entry(distribution_id.to_owned())
                .or_default();
            change(lane);
            lane.backlog.map_or(0, |backlog| backlog.items)
        };
        self.metrics.waiting(distribution_id, waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// When it may have its next turn; `None` while it has one or nothing waits.
    fn due_at(&self, now: Timestamp, quiet: Duration, max_wait: Duration) -> Option<Timestamp> {
        if self.busy {
            return None;
        }
        let due_at = match (&self.open, self.backlog) {
            (Some(unresolved), _) => unresolved.due_at,
            (None, Some(backlog)) if backlog.manual => backlog.oldest,
            // Where our clock was set back, nothing waits longer for it than from now.
            (None, Some(backlog)) => (backlog.newest + quiet)
                .min(backlog.oldest + max_wait)
                .min(now + max_wait),
            (None, None) => return None,
        };
        Some(
            self.not_before
                .map_or(due_at, |not_before| due_at.max(not_before)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(1);
    const MAX_WAIT: Duration = Duration::from_secs(10);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    fn queues() -> Queues {
        Queues::new(QUIET, MAX_WAIT, Metrics::default())
    }

    fn event(millis: i64) -> Backlog {
        Backlog::of_one(at(millis), false)
    }

    #[test]
    fn a_distribution_is_due_when_it_was_quiet() {
        let queues = queues();
        assert_eq!(queues.next(at(0)), Next::Idle);
        queues.add("E1", event(0));
        assert_eq!(queues.next(at(0)), Next::At(at(1_000)));
        queues.add("E1", event(900));
        assert_eq!(queues.next(at(1_000)), Next::At(at(1_900)));
        assert_eq!(queues.next(at(1_900)), Next::Ready("E1".to_owned()));
    }

    #[test]
    fn a_distribution_that_is_never_quiet_is_due_after_the_longest_wait() {
        let queues = queues();
        for millis in (0..10_000).step_by(500) {
            queues.add("E1", event(millis));
            assert_ne!(queues.next(at(millis)), Next::Ready("E1".to_owned()));
        }
        assert_eq!(queues.next(at(10_000)), Next::Ready("E1".to_owned()));
    }

    #[test]
    fn people_are_due_at_once_and_go_first() {
        let queues = queues();
        queues.add("E1", event(0));
        queues.add("E2", Backlog::of_one(at(5_000), true));
        assert_eq!(queues.next(at(5_000)), Next::Ready("E2".to_owned()));
    }

    #[test]
    fn turns_go_round() {
        let queues = queues();
        let mut order = Vec::new();
        for id in ["E1", "E2", "E3"] {
            queues.add(id, event(0));
        }
        for _ in 0..6 {
            let Next::Ready(id) = queues.next(at(10_000)) else {
                panic!("somebody is ready");
            };
            assert!(matches!(queues.begin(&id), Some(Turn::Plan { .. })));
            queues.finish(&id);
            queues.add(&id, event(0));
            order.push(id);
        }
        assert_eq!(order[..3], order[3..]);
        order.sort_unstable();
        order.dedup();
        assert_eq!(order.len(), 3);
    }

    #[test]
    fn a_failed_distribution_waits_and_delays_no_other() {
        let queues = queues();
        queues.add("E1", event(0));
        let Some(Turn::Plan { backlog, .. }) = queues.begin("E1") else {
            panic!("something waits");
        };
        assert_eq!(queues.next(at(1_000)), Next::Idle);
        queues.fail("E1", None, at(60_000), "down".to_owned());
        queues.add("E1", backlog);
        queues.add("E2", event(0));
        assert_eq!(queues.next(at(1_000)), Next::Ready("E2".to_owned()));
        assert_eq!(queues.troubles(), ["E1: down"]);
        assert!(queues.begin("E2").is_some());
        assert_eq!(queues.next(at(1_000)), Next::At(at(60_000)));
        queues.finish("E1");
        assert_eq!(queues.troubles(), Vec::<String>::new());
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nothing_waiting() {
        let queues = queues();
        queues.add("E1", event(3_600_000));
        assert_eq!(queues.next(at(0)), Next::At(at(10_000)));
    }
}
