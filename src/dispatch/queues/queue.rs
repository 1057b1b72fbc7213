//! One distribution's queue: what waits, what is unresolved, and how many items it has room for.

use std::collections::VecDeque;

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    conditions::{PoolLimits, RateGates},
    order::Lane,
    turn::Work,
};
use crate::{
    dispatch::{listings::LONGEST_LISTING, plan::Planned},
    domain::{
        batch::{Backlog, Usage},
        cdn::{CdnError, Pool},
        consolidate::{Allowance, Headroom},
        due::due_at,
        hold::Held,
        operations::Backoff,
        resolution::{Failure, LONGEST_RETRY, NextStep, Resolution, Unresolved},
        status::{DistributionStatus, Hold, Refused, UnresolvedBatches},
    },
};

/// What others are known or assumed to have in progress, and until when that counts.
#[derive(Debug, Clone, Copy, Default)]
struct Others {
    usage: Usage,
    until: Timestamp,
}

/// An open question about the store.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// Whether items have been released since the store was last read.
    released: bool,
}

/// What CloudFront has refused since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// Items: other ones may be accepted.
    Items,
    /// The distribution. It may have been by chance, which the next call shows.
    Distribution,
}

/// Whether the buckets behind the waiting items are listed, to know what wildcards would evict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Listing {
    #[default]
    None,
    /// Automatic items wait for it, but not for longer than this.
    Runs { until: Timestamp },
    /// The next plan uses what is known.
    Ended,
}

#[derive(Default)]
pub(super) struct DistributionQueue {
    /// The waiting items, as last read from the store.
    pub(super) backlog: Backlog,
    /// Batches without a definite answer, in sending order. They are sent before anything new.
    pub(super) unresolved: VecDeque<Unresolved>,
    /// Parts of batches that CloudFront rejected. New items do not wait for them.
    pub(super) suspects: VecDeque<Unresolved>,
    /// A plan that waits until its call may be made.
    pub(super) plan: Option<Planned>,
    pub(super) listing: Listing,
    /// Since when each plan has left items that wait for a wildcard that replaces them.
    pub(super) mergeable_since: Option<Timestamp>,
    /// Whether it has a turn now.
    pub(super) busy: bool,
    /// When the running plan began.
    pub(super) planning_since: Option<Timestamp>,
    pub(super) paused: bool,
    /// By deploy windows.
    pub(super) held: Held,
    /// Nothing is done before this time, after a failure.
    pub(super) not_before: Option<Timestamp>,
    /// Whether an operator has ended the wait for that time.
    backoff_ended: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The last failure, until a success.
    pub(super) refused: Option<Refused>,
    pub(super) trouble: Trouble,
    /// A write had an unknown outcome: the store may have other batches than the queue. They are read
    /// again before anything is sent.
    doubt: Option<Doubt>,
    /// The number of each lane's last turn; the lowest has the next turn.
    main_turn: u64,
    suspects_turn: u64,
    /// Our items that have no definite answer or are not completed.
    pub(super) in_progress: Usage,
    others: Others,
}

impl DistributionQueue {
    /// Adds a batch without a definite answer that the store has.
    pub(super) fn reopen(&mut self, unresolved: Unresolved) {
        if unresolved.is_part && !unresolved.in_doubt {
            self.suspects.push_back(unresolved);
        } else {
            self.unresolved.push_back(unresolved);
        }
    }

    /// Takes up the lane's next batch, or the plan. `failures` are those of all distributions that are
    /// answered alike.
    pub(super) fn next_batch(&mut self, lane: Lane, failures: Option<u32>) -> Option<Work> {
        let batches = match lane {
            Lane::Main => &mut self.unresolved,
            Lane::Suspects => &mut self.suspects,
        };
        let Some(next) = batches.front_mut() else {
            return self.plan.take().map(Work::Send);
        };
        next.failures = next.failures.max(failures.unwrap_or_default());
        Some(Work::Resend(next.clone()))
    }

    /// The number of a lane's last turn.
    pub(super) fn last_turn(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Main => self.main_turn,
            Lane::Suspects => self.suspects_turn,
        }
    }

    pub(super) fn had_turn(&mut self, lane: Lane, number: u64) {
        match lane {
            Lane::Main => self.main_turn = number,
            Lane::Suspects => self.suspects_turn = number,
        }
    }

    /// How much may be planned now, of manual and automatic items.
    pub(super) fn allowance(
        &self,
        pools: &PoolLimits,
        gates: &RateGates,
        now: Timestamp,
    ) -> Allowance {
        let headroom = self.headroom(pools, gates, now);
        Allowance {
            automatic: match self.listing_until(now) {
                Some(_) => Headroom::NONE,
                None => headroom.automatic,
            },
            ..headroom
        }
    }

    /// The headroom in the pools and in the daily limit, for manual and automatic items.
    fn headroom(&self, pools: &PoolLimits, gates: &RateGates, now: Timestamp) -> Allowance {
        let taken = self.in_progress.plus(self.others_at(now));
        let free = pools.limit.minus(taken);
        let unreserved = free.minus(pools.reserve);
        Allowance {
            manual: Headroom {
                paths: free.paths,
                wildcards: free.wildcards,
            },
            automatic: Headroom {
                paths: unreserved.paths.min(gates.automatic),
                wildcards: unreserved.wildcards.min(gates.automatic),
            },
        }
    }

    /// Whether the waiting items have to wait until invalidations complete.
    pub(super) fn is_full(&self, pools: &PoolLimits, now: Timestamp) -> bool {
        let open = RateGates {
            paths_at: now,
            wildcards_at: now,
            automatic: usize::MAX,
        };
        let allowance = self.headroom(pools, &open, now);
        let mut groups = self.backlog.groups();
        !self.backlog.is_empty() && groups.all(|(kind, _)| allowance.of(kind) == 0)
    }

    /// Until when automatic items wait for a listing at the longest.
    pub(super) fn listing_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.listing {
            Listing::Runs { until } => {
                let until = due_at(until, LONGEST_LISTING, now);
                (now < until).then_some(until)
            }
            Listing::None | Listing::Ended => None,
        }
    }

    /// Notes that a listing has ended, or that nobody waits for it any longer.
    pub(super) fn end_listing(&mut self) {
        if matches!(self.listing, Listing::Runs { .. }) {
            self.listing = Listing::Ended;
        }
    }

    pub(super) fn have_planned(&mut self, plan: Planned) {
        self.plan = Some(plan);
        if self.listing == Listing::Ended {
            self.listing = Listing::None;
        }
    }

    /// Ends a backoff that other distributions had as well: its reason has gone for all of them.
    pub(super) fn end_backoff(&mut self, now: Timestamp) {
        self.not_before = None;
        self.trouble = Trouble::None;
        for unresolved in &mut self.unresolved {
            unresolved.due_at = now;
        }
    }

    /// Restores a backoff at a start, and what it was for.
    pub(super) fn set_backoff(&mut self, backoff: &Backoff) {
        let &Backoff {
            failures,
            not_before,
            ended,
            ..
        } = backoff;
        self.failures = failures;
        self.not_before = (!ended).then_some(not_before);
        self.backoff_ended = ended;
        if failures == 0 {
            return;
        }
        let error = backoff.error.as_ref();
        self.trouble = error.map_or(Trouble::Distribution, Trouble::from);
        self.refused = Some(match error {
            Some(error) => Refused::by_cloudfront(error, failures, not_before),
            None => Refused::for_a_forgotten_reason(failures, not_before),
        });
    }

    /// Ends the backoff because an operator wants an attempt now. Returns whether that is news. What
    /// was refused is told until a success.
    pub(super) fn end_by_operator(&mut self, now: Timestamp) -> bool {
        let is_news = !self.backoff_ended && self.failures > 0;
        if is_news {
            self.backoff_ended = true;
            self.not_before = None;
            for unresolved in &mut self.unresolved {
                unresolved.due_at = unresolved.due_at.min(now);
            }
        }
        is_news
    }

    /// Treats a pool as full until a time: what is not ours in it must be others'.
    pub(super) fn mark_pool_full(&mut self, limit: Usage, pool: Pool, until: Timestamp) {
        match pool {
            Pool::Paths => {
                self.others.usage.paths = limit.paths.saturating_sub(self.in_progress.paths);
            }
            Pool::Wildcards => {
                self.others.usage.wildcards =
                    limit.wildcards.saturating_sub(self.in_progress.wildcards);
            }
        }
        self.others.until = until;
    }

    /// Sets what others have in progress, until it is checked again or this time has come.
    pub(super) fn set_others(&mut self, usage: Usage, until: Timestamp) {
        self.others = Others { usage, until };
    }

    /// When the assumption that others fill a pool expires.
    pub(super) fn others_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = due_at(self.others.until, LONGEST_RETRY, now);
        (now < until).then_some(until)
    }

    fn others_at(&self, now: Timestamp) -> Usage {
        if self.others_until(now).is_some() {
            self.others.usage
        } else {
            Usage::default()
        }
    }

    /// Applies the answer to a batch.
    pub(super) fn apply(&mut self, batch: Uuid, resolution: Resolution, limit: Usage) {
        let Some(answered) = self.take(batch) else {
            return;
        };
        let usage = answered.batch.usage();
        match resolution {
            Resolution::Created { invalidation, .. } => {
                self.succeed();
                if invalidation.completed {
                    self.in_progress = self.in_progress.minus(usage);
                }
            }
            Resolution::Failed(failure) => self.apply_failure(failure, usage, limit),
        }
    }

    fn take(&mut self, batch: Uuid) -> Option<Unresolved> {
        let is_it = |one: &Unresolved| one.batch.id == batch;
        for lane in [&mut self.unresolved, &mut self.suspects] {
            if let Some(at) = lane.iter().position(is_it) {
                return lane.remove(at);
            }
        }
        None
    }

    /// Notes that a batch may have been sent, and that its answer is lost.
    pub(super) fn lose_answer(&mut self, batch: Uuid) {
        if let Some(lost) = self.take(batch) {
            self.unresolved.push_front(Unresolved {
                in_doubt: true,
                ..lost
            });
        }
    }

    fn apply_failure(&mut self, failure: Failure, usage: Usage, limit: Usage) {
        let Failure {
            error,
            next,
            failures,
            not_before,
        } = failure;
        self.failures = failures;
        self.not_before = Some(not_before);
        self.trouble = Trouble::from(&error);
        self.backoff_ended = false;
        self.refused = Some(Refused::by_cloudfront(&error, failures, not_before));
        match next {
            NextStep::Retry(again) | NextStep::NewReference(again) => {
                self.unresolved.push_front(*again);
            }
            NextStep::Bisect(parts) => {
                let [first, second] = *parts;
                self.suspects.push_front(second);
                self.suspects.push_front(first);
            }
            NextStep::Requeue => self.in_progress = self.in_progress.minus(usage),
            NextStep::DeadLetter => {
                self.in_progress = self.in_progress.minus(usage);
                self.succeed();
            }
        }
        if let CdnError::TooManyInProgress { pool, .. } = error {
            self.mark_pool_full(limit, pool, not_before);
        }
    }

    /// Clears the last failure.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.not_before = None;
        self.backoff_ended = false;
        self.refused = None;
        self.trouble = Trouble::None;
    }

    /// Removes items in progress.
    pub(super) fn release(&mut self, usage: Usage) {
        self.in_progress = self.in_progress.minus(usage);
        if let Some(doubt) = &mut self.doubt {
            doubt.released = true;
        }
    }

    /// Notes that a write had an unknown outcome.
    pub(super) fn doubt(&mut self) {
        self.doubt = Some(Doubt { released: false });
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    pub(super) fn begin_plan(&mut self, now: Timestamp) {
        if self.listing_until(now).is_none() {
            self.end_listing();
        }
        self.plan = None;
        self.planning_since = Some(now);
        if let Some(doubt) = &mut self.doubt {
            doubt.released = false;
        }
    }

    /// Replaces the batches and what is in progress by what the store has.
    pub(super) fn recover(&mut self, unresolved: Vec<Unresolved>, in_progress: Usage) {
        if self.doubt.is_some_and(|doubt| doubt.released) {
            // It may or may not be accounted for in what was read.
            return;
        }
        self.doubt = None;
        self.in_progress = in_progress;
        self.unresolved.clear();
        self.suspects.clear();
        for one in unresolved {
            self.reopen(one);
        }
    }

    pub(super) fn status(
        &self,
        all_paused: bool,
        pools: &PoolLimits,
        gates: &RateGates,
        now: Timestamp,
    ) -> DistributionStatus {
        let mut holds = Vec::new();
        if self.paused || all_paused {
            holds.push(Hold::Paused);
        }
        holds.extend(self.held.until.map(|until| Hold::Held { until }));
        holds.extend(self.refused.clone().map(Hold::Refused));
        if gates.automatic == 0 && self.backlog.automatic() > 0 {
            holds.push(Hold::DayLimit);
        }
        // CloudFront's word counts for more than what is known of others.
        let said_full = self.refused.as_ref().is_some_and(Refused::is_full_pool);
        if said_full || self.is_full(pools, now) {
            holds.push(Hold::PoolFull);
        }
        let unresolved = self.unresolved.iter().chain(&self.suspects);
        DistributionStatus {
            waiting: self.backlog,
            unresolved: UnresolvedBatches {
                batches: unresolved.clone().count(),
                usage: unresolved
                    .clone()
                    .fold(Usage::default(), |sum, one| sum.plus(one.batch.usage())),
                since: unresolved.map(|one| one.frozen_at).min(),
            },
            in_progress: self.in_progress,
            holds,
        }
    }
}

impl Trouble {
    fn from(error: &CdnError) -> Self {
        match error {
            CdnError::Invalid(_) | CdnError::TooLarge(_) => Self::Items,
            _ => Self::Distribution,
        }
    }
}
