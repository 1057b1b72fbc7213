//! One distribution's queue: when it is due, and what it has room for.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

use crate::{
    domain::{
        batch::{Backlog, Usage},
        consolidate::Room,
    },
    ports::Unresolved,
};

/// When a distribution is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// When it has been quiet for so long,
    pub(super) quiet: Duration,
    /// or when its first waiting change has waited so long.
    pub(super) max_wait: Duration,
}

/// What may be in progress at a distribution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pools {
    /// At most so much,
    pub(super) limit: Usage,
    /// and of that so much for people alone.
    pub(super) reserve: Usage,
}

/// What the account's limits let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gates {
    /// From when on exact paths may go.
    pub(super) paths_at: Timestamp,
    /// From when on wildcards may go.
    pub(super) wildcards_at: Timestamp,
    /// Items that may still go today without anybody asking.
    pub(super) automatic: usize,
}

/// One distribution's queue: independent of every other.
#[derive(Default)]
pub(super) struct Lane {
    /// What waits to be planned.
    pub(super) backlog: Option<Backlog>,
    /// Batches without a definite answer: they go before anything new.
    pub(super) open: VecDeque<Unresolved>,
    /// A turn is under way.
    pub(super) busy: bool,
    /// Somebody paused it.
    pub(super) paused: bool,
    /// Not before this time, after something went wrong.
    pub(super) not_before: Option<Timestamp>,
    /// Turns in a row that did not succeed.
    pub(super) failures: u32,
    /// What went wrong last, until something went right.
    pub(super) trouble: Option<String>,
    /// The number of its last turn: who waited longest goes first.
    pub(super) last_turn: u64,
    /// Ours, without an answer or not completed.
    pub(super) in_progress: Usage,
    /// Others', as far as it is known, and until when that counts.
    pub(super) foreign: (Usage, Timestamp),
}

impl Lane {
    pub(super) fn add(&mut self, backlog: Backlog) {
        self.backlog = Some(self.backlog.map_or(backlog, |waiting| waiting.and(backlog)));
    }

    pub(super) fn has_manual(&self) -> bool {
        self.backlog.is_some_and(|backlog| backlog.has_manual())
    }

    /// Takes a pool as full, until then.
    pub(super) fn crowd(&mut self, limit: Usage, wildcards: bool, until: Timestamp) {
        let (mut foreign, _) = self.foreign;
        if wildcards {
            foreign.wildcards = limit.wildcards.saturating_sub(self.in_progress.wildcards);
        } else {
            foreign.paths = limit.paths.saturating_sub(self.in_progress.paths);
        }
        self.foreign = (foreign, until);
    }

    /// When it may have its next turn; `None` where nothing waits, or what waits may not go
    /// until something else happens.
    pub(super) fn due_at(
        &self,
        now: Timestamp,
        windows: &Windows,
        pools: &Pools,
        gates: &Gates,
    ) -> Option<Timestamp> {
        if self.busy || self.paused {
            return None;
        }
        let (due_at, gate_at) = match (self.open.front(), self.backlog) {
            (Some(unresolved), _) => {
                let usage = unresolved.batch.usage();
                let paths_at = (usage.paths > 0).then_some(gates.paths_at);
                let wildcards_at = (usage.wildcards > 0).then_some(gates.wildcards_at);
                (unresolved.due_at, paths_at.max(wildcards_at)?)
            }
            (None, Some(backlog)) => {
                let due_at = windows.due_at(&backlog, now);
                let gate_at = self.gate_at(&backlog, pools, gates, now);
                (due_at, gate_at.or_else(|| self.foreign_until(now))?)
            }
            (None, None) => return None,
        };
        let due_at = due_at.max(gate_at);
        Some(
            self.not_before
                .map_or(due_at, |not_before| due_at.max(not_before)),
        )
    }

    /// From when on anything of what waits may go, by the limits.
    fn gate_at(
        &self,
        backlog: &Backlog,
        pools: &Pools,
        gates: &Gates,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (manual, automatic) = self.room(pools, gates, now);
        let paths = backlog.items - backlog.wildcards;
        let may_go = |waiting: usize, asked: usize, manual: usize, automatic: usize| {
            (asked > 0 && manual > 0) || (waiting > asked && automatic > 0)
        };
        let paths_may = may_go(paths, backlog.manual_paths, manual.paths, automatic.paths);
        let wildcards_may = may_go(
            backlog.wildcards,
            backlog.manual_wildcards,
            manual.wildcards,
            automatic.wildcards,
        );
        let paths_at = paths_may.then_some(gates.paths_at);
        let wildcards_at = wildcards_may.then_some(gates.wildcards_at);
        match (paths_at, wildcards_at) {
            (Some(paths_at), Some(wildcards_at)) => Some(paths_at.min(wildcards_at)),
            (at, None) | (None, at) => at,
        }
    }

    /// What people's items, and all others, have room for in the pools and in the day.
    pub(super) fn room(&self, pools: &Pools, gates: &Gates, now: Timestamp) -> (Room, Room) {
        let taken = self.in_progress.plus(self.foreign_at(now));
        let free = pools.limit.minus(taken);
        let unreserved = free.minus(pools.reserve);
        let manual = Room {
            paths: free.paths,
            wildcards: free.wildcards,
        };
        let automatic = Room {
            paths: unreserved.paths.min(gates.automatic),
            wildcards: unreserved.wildcards.min(gates.automatic),
        };
        (manual, automatic)
    }

    /// Whether it waits for invalidations to complete.
    pub(super) fn is_full(&self, pools: &Pools, now: Timestamp) -> bool {
        let open = Gates {
            paths_at: now,
            wildcards_at: now,
            automatic: usize::MAX,
        };
        let backlog = self.backlog.as_ref();
        backlog.is_some_and(|backlog| self.gate_at(backlog, pools, &open, now).is_none())
    }

    /// When what is taken for others' is no longer believed to be in progress.
    fn foreign_until(&self, now: Timestamp) -> Option<Timestamp> {
        let (_, until) = self.foreign;
        (now < until && until < Timestamp::MAX).then_some(until)
    }

    fn foreign_at(&self, now: Timestamp) -> Usage {
        let (foreign, until) = self.foreign;
        if now < until {
            foreign
        } else {
            Usage::default()
        }
    }
}

impl Windows {
    fn due_at(&self, backlog: &Backlog, now: Timestamp) -> Timestamp {
        if backlog.has_manual() {
            return backlog.oldest;
        }
        // Where our clock was set back, nothing waits longer for it than from now.
        (backlog.newest + self.quiet)
            .min(backlog.oldest + self.max_wait)
            .min(now + self.max_wait)
    }
}
