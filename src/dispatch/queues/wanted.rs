//! The calls that a distribution wants, and when each may be made.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    conditions::{AfterHold, Conditions},
    order::{Claim, Lane},
    queue::{DistributionQueue, Trouble},
};
use crate::domain::{due::due_at, resolution::LONGEST_RETRY};

/// A call that a distribution wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WantedCall {
    pub(super) lane: Lane,
    /// Whether its items have to be planned first.
    pub(super) needs_plan: bool,
    pub(super) claim: Claim,
    /// When it would be due if rates had no limits,
    pub(super) due_at: Timestamp,
    /// and when it may be made.
    pub(super) open_at: Timestamp,
}

/// A call for waiting items.
#[derive(Debug, Clone, Copy)]
struct WaitingCall {
    claim: Claim,
    due_at: Timestamp,
    open_at: Timestamp,
}

/// The least time until the holds are read again.
const A_MOMENT: Duration = Duration::from_millis(1);

impl DistributionQueue {
    /// The calls that it wants, at most one in each lane. `retry_at` is when it may be tried again, if
    /// that depends on other distributions.
    pub(super) fn wanted(
        &self,
        retry_at: Option<Timestamp>,
        on: &Conditions<'_>,
    ) -> impl Iterator<Item = WantedCall> {
        let idle = !self.busy && !self.paused;
        let (main, suspects) = if !idle {
            (None, None)
        } else if self.is_in_doubt() {
            (Some(WantedCall::to_recover(on.now)), None)
        } else {
            let is_put_off = retry_at.is_some();
            (self.main_call(is_put_off, on), self.suspects_call(on))
        };
        let own = self.not_before.map(|at| due_at(at, LONGEST_RETRY, on.now));
        let not_before = retry_at.or(own).unwrap_or(Timestamp::MIN);
        main.into_iter()
            .chain(suspects)
            .map(move |call| WantedCall {
                due_at: call.due_at.max(not_before),
                open_at: call.open_at.max(not_before),
                ..call
            })
    }

    fn main_call(&self, is_put_off: bool, on: &Conditions<'_>) -> Option<WantedCall> {
        let call = |needs_plan, claim: Claim, due_at: Timestamp, open_at: Timestamp| WantedCall {
            lane: Lane::Main,
            needs_plan,
            claim: Claim {
                probe: self.is_probe(claim.manual),
                ..claim
            },
            due_at,
            open_at: open_at.max(due_at),
        };
        if let Some(unresolved) = self.unresolved.front() {
            let claim = Claim {
                manual: unresolved.batch.is_manual(),
                overdue: on.is_overdue(unresolved.frozen_at),
                probe: false,
            };
            let due_at = if is_put_off {
                on.now
            } else {
                due_at(unresolved.due_at, LONGEST_RETRY, on.now)
            };
            let open_at = on.gates.open_at(unresolved.batch.usage());
            return Some(call(false, claim, due_at, open_at));
        }
        if self.held.until.is_some() {
            return self.end_of_hold(on.now);
        }
        let waiting = self.waiting_call(on);
        match &self.plan {
            // A manual request does not wait for a plan that was made before it.
            Some(plan) if plan.is_manual() || !waiting.is_some_and(|call| call.claim.manual) => {
                let claim = Claim {
                    manual: plan.is_manual(),
                    overdue: plan
                        .oldest
                        .is_some_and(|oldest| self.is_overdue(oldest, on)),
                    probe: false,
                };
                Some(call(false, claim, on.now, on.gates.open_at(plan.usage())))
            }
            _ => {
                let WaitingCall {
                    claim,
                    due_at,
                    open_at,
                } = waiting?;
                Some(call(true, claim, due_at, open_at))
            }
        }
    }

    /// No call, but a look at the holds when they end: later than now, because a turn that began now
    /// would not know that batching begins anew.
    fn end_of_hold(&self, now: Timestamp) -> Option<WantedCall> {
        let until = self.held.until?.max(now + A_MOMENT);
        Some(WantedCall {
            due_at: until,
            open_at: until,
            ..WantedCall::to_recover(now)
        })
    }

    /// Whether automatic work that has waited since then is overdue. A deploy window wanted it to wait.
    fn is_overdue(&self, since: Timestamp, on: &Conditions<'_>) -> bool {
        on.is_overdue(self.held.released_at.map_or(since, |end| end.max(since)))
    }

    fn suspects_call(&self, on: &Conditions<'_>) -> Option<WantedCall> {
        let part = self.suspects.front()?;
        let batch = &part.batch;
        if batch.items.len() - batch.manual_items > on.gates.automatic {
            return None;
        }
        Some(WantedCall {
            lane: Lane::Suspects,
            needs_plan: false,
            claim: Claim {
                manual: batch.is_manual(),
                overdue: false,
                probe: true,
            },
            due_at: on.now,
            open_at: on.gates.open_at(batch.usage()).max(on.now),
        })
    }

    /// Whether a call is to be made with what other distributions leave.
    fn is_probe(&self, manual: bool) -> bool {
        match self.trouble {
            Trouble::Distribution => true,
            // Manual requests may well have other items.
            Trouble::Items => !manual,
            Trouble::None => !manual && !self.suspects.is_empty(),
        }
    }

    /// The call for the waiting items; `None` if none may be sent until something else changes.
    fn waiting_call(&self, on: &Conditions<'_>) -> Option<WaitingCall> {
        let allowance = self.allowance(on.pools, on.gates, on.now);
        let after = self.held.released_at.zip(self.backlog.newest());
        let after = after.map(|(ended_at, newest)| AfterHold { ended_at, newest });
        let mut wanted: Option<WaitingCall> = None;
        for (kind, group) in self.backlog.groups() {
            if allowance.of(kind) == 0 {
                continue;
            }
            let due_at = on.windows.due_at(kind, group, after, on.now);
            let open_at = on.gates.open_for(kind).max(due_at);
            let is_open = open_at <= on.now;
            let one = WaitingCall {
                claim: Claim {
                    manual: kind.manual && is_open,
                    overdue: !kind.manual && is_open && self.is_overdue(group.oldest, on),
                    probe: false,
                },
                due_at,
                open_at,
            };
            wanted = Some(wanted.map_or(one, |other| other.or(one)));
        }
        if wanted.is_none() && !self.backlog.is_empty() {
            let ends = [self.others_until(on.now), self.listing_until(on.now)];
            let until = ends.into_iter().flatten().min()?;
            wanted = Some(WaitingCall {
                claim: Claim::default(),
                due_at: until,
                open_at: until,
            });
        }
        wanted
    }
}

impl WantedCall {
    /// No call: the batches are read from the store.
    fn to_recover(now: Timestamp) -> Self {
        Self {
            lane: Lane::Main,
            needs_plan: true,
            claim: Claim::default(),
            due_at: now,
            open_at: now,
        }
    }
}

impl WaitingCall {
    /// One call for the items of both.
    fn or(self, other: Self) -> Self {
        Self {
            claim: Claim {
                manual: self.claim.manual || other.claim.manual,
                overdue: self.claim.overdue || other.claim.overdue,
                probe: false,
            },
            due_at: self.due_at.min(other.due_at),
            open_at: self.open_at.min(other.open_at),
        }
    }
}
