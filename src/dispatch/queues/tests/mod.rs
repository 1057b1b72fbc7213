//! Tests which distribution has its turn next, and what it may send.

mod holds;
mod trouble;

use super::*;
use crate::{
    dispatch::plan::Planned,
    domain::{
        batch::{Backlog, Batch, Merges},
        cdn::{CdnError, CreatedInvalidation, Pool},
        path::Item,
        resolution::{Failure, NextStep, Resolution},
        status::{Hold, Refused},
    },
    ports::StoreError,
};

const QUIET: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(10);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
}

fn queues() -> Arc<Queues> {
    let windows = BatchingWindows {
        quiet: QUIET,
        max_wait: MAX_WAIT,
    };
    let pools = PoolLimits {
        limit: usage(10, 3),
        reserve: usage(2, 1),
    };
    Arc::new(Queues::new(windows, pools))
}

fn usage(paths: usize, wildcards: usize) -> Usage {
    Usage { paths, wildcards }
}

fn gates(now: Timestamp) -> RateGates {
    RateGates {
        paths_at: now,
        wildcards_at: now,
        automatic: usize::MAX,
    }
}

/// Which distribution has its turn next, whatever its claim to it.
fn next_with(queues: &Queues, millis: i64, gates: &RateGates, calls: usize) -> Next {
    match queues.next(at(millis), gates, calls, |_| true) {
        Next::Ready(ready) => Next::Ready(Ready {
            claim: Claim::default(),
            ..ready
        }),
        other => other,
    }
}

fn next(queues: &Queues, millis: i64) -> Next {
    next_with(queues, millis, &gates(at(millis)), usize::MAX)
}

fn turn_of(id: &str, lane: Lane) -> Ready {
    Ready {
        distribution_id: id.to_owned(),
        lane,
        claim: Claim::default(),
    }
}

fn begin(queues: &Arc<Queues>, id: &str, millis: i64) -> Option<(Turn, Work)> {
    let ready = turn_of(id, Lane::Main);
    queues.begin(&ready, at(millis), &gates(at(millis)))
}

fn one(path: &str, manual: bool, millis: i64) -> Backlog {
    Backlog::of_one(&Item::parse(path).unwrap(), manual, at(millis))
}

/// Sets a distribution's backlog, as if read from the store.
fn wait(queues: &Queues, id: &str, waiting: &[Backlog]) {
    let backlog = waiting
        .iter()
        .copied()
        .reduce(Backlog::and)
        .unwrap_or_default();
    let read = DistributionBacklog {
        distribution_id: id.to_owned(),
        backlog,
    };
    queues.set_backlogs(vec![read], false);
}

fn event(millis: i64) -> Backlog {
    one("/a", false, millis)
}

fn ready(id: &str) -> Next {
    Next::Ready(turn_of(id, Lane::Main))
}

fn batch(id: &str) -> Batch {
    Batch::new(id, vec![Item::parse("/x").unwrap()])
}

fn planned(path: &str) -> Planned {
    Planned {
        merges: Merges::default(),
        barred: Vec::new(),
        items: vec![Item::parse(path).unwrap()],
        covered: Vec::new(),
        manual_items: 0,
        oldest: None,
    }
}

fn created(completed: bool) -> Resolution {
    Resolution::Created {
        invalidation: CreatedInvalidation {
            cloudfront_id: "I1".to_owned(),
            completed,
        },
        poll_at: at(0),
    }
}

fn failed(error: CdnError, next: NextStep, millis: i64) -> Resolution {
    Resolution::Failed(Failure {
        error,
        next,
        failures: 1,
        not_before: at(millis),
    })
}

/// Sends a batch in a distribution's turn, which is answered with `resolution`.
fn sends(queues: &Arc<Queues>, id: &str, millis: i64, resolution: Resolution) {
    let (mut turn, _) = begin(queues, id, millis).expect("a turn");
    let batch = batch(id);
    let sent = batch.id;
    turn.frozen(Unresolved::new(batch, at(millis)));
    turn.call_begins(sent);
    turn.resolved(sent, resolution, at(millis));
}

fn holds(queues: &Queues, id: &str, millis: i64) -> Vec<Hold> {
    let mut statuses = queues.statuses(at(millis), &gates(at(millis)));
    statuses.remove(id).map_or(Vec::new(), |one| one.holds)
}

#[test]
fn a_distribution_is_due_after_a_quiet_period() {
    let queues = queues();
    assert_eq!(next(&queues, 0), Next::Idle);
    wait(&queues, "E1", &[event(0)]);
    assert_eq!(next(&queues, 0), Next::At(at(1_000)));
    wait(&queues, "E1", &[event(0), event(900)]);
    assert_eq!(next(&queues, 1_000), Next::At(at(1_900)));
    assert_eq!(next(&queues, 1_900), ready("E1"));
}

#[test]
fn a_distribution_that_is_never_quiet_is_due_after_max_wait() {
    let queues = queues();
    for millis in (0..10_000).step_by(500) {
        wait(&queues, "E1", &[event(0), event(millis)]);
        assert_ne!(next(&queues, millis), ready("E1"));
    }
    assert_eq!(next(&queues, 10_000), ready("E1"));
}

#[test]
fn manual_requests_are_due_at_once_and_take_precedence() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    wait(&queues, "E2", &[one("/b", true, 5_000)]);
    assert_eq!(next(&queues, 5_000), ready("E2"));
}

#[test]
fn distributions_take_turns() {
    let queues = queues();
    let mut order = Vec::new();
    for id in ["E1", "E2", "E3"] {
        wait(&queues, id, &[event(0)]);
    }
    for _ in 0..6 {
        let Next::Ready(Ready {
            distribution_id: id,
            ..
        }) = next(&queues, 10_000)
        else {
            panic!("a distribution is ready");
        };
        let (turn, work) = begin(&queues, &id, 10_000).unwrap();
        assert!(matches!(work, Work::Plan(_)));
        turn.planned(planned("/a"));
        let (turn, _) = begin(&queues, &id, 10_000).unwrap();
        turn.done();
        order.push(id);
    }
    assert_eq!(order[..3], order[3..]);
    order.sort_unstable();
    order.dedup();
    assert_eq!(order.len(), 3);
}

#[test]
fn a_refused_distribution_does_not_delay_others() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let denied = CdnError::Denied("no".to_owned());
    sends(
        &queues,
        "E1",
        1_000,
        failed(denied, NextStep::Requeue, 60_000),
    );
    wait(&queues, "E2", &[event(0)]);
    assert_eq!(next(&queues, 1_000), ready("E2"));
    let [Hold::Refused(refused)] = &holds(&queues, "E1", 1_000)[..] else {
        panic!("it is held by the refusal");
    };
    assert!(refused.remedy.unwrap().contains("CreateInvalidation"));
    sends(&queues, "E2", 1_000, created(false));
    wait(&queues, "E2", &[]);
    assert_eq!(next(&queues, 1_000), Next::At(at(60_000)));
    sends(&queues, "E1", 60_000, created(false));
    assert_eq!(holds(&queues, "E1", 60_000), []);
}

#[test]
fn a_clock_set_back_delays_nothing() {
    let queues = queues();
    let hour = 3_600_000;
    wait(&queues, "E1", &[event(hour)]);
    assert_eq!(next(&queues, 0), ready("E1"));
    // A little is waited for: the changes may go on arriving.
    wait(&queues, "E1", &[event(5_000)]);
    assert_eq!(next(&queues, 0), Next::At(at(6_000)));
    let failed = failed(
        CdnError::Unknown("lost".to_owned()),
        NextStep::Requeue,
        hour,
    );
    sends(&queues, "E1", 0, failed);
    wait(&queues, "E1", &[event(-hour)]);
    assert_eq!(next(&queues, 0), ready("E1"), "its pause ends");
    let mut unresolved = Unresolved::new(batch("E1"), at(hour));
    unresolved.due_at = at(hour);
    queues.reopen(unresolved);
    assert_eq!(next(&queues, 0), ready("E1"), "its batch is sent again");
    queues.set_others("E2", usage(10, 3), at(hour));
    wait(&queues, "E2", &[event(-hour)]);
    assert!(!queues.is_full("E2", at(0)));
}

#[test]
fn a_full_pool_holds_its_kind_of_items_except_for_the_manual_reserve() {
    let queues = queues();
    let wildcard = one("/w*", false, 0);
    queues.occupy("E1", usage(8, 0));
    wait(&queues, "E1", &[event(0)]);
    assert_eq!(next(&queues, 5_000), Next::Idle);
    assert!(queues.is_full("E1", at(5_000)));
    assert_eq!(holds(&queues, "E1", 5_000), [Hold::PoolFull]);
    // Wildcards have a pool of their own.
    wait(&queues, "E1", &[event(0), wildcard]);
    assert_eq!(next(&queues, 5_000), ready("E1"));
    queues.occupy("E1", usage(0, 2));
    assert_eq!(next(&queues, 5_000), Next::Idle);
    // Manual requests have a reserve.
    wait(&queues, "E1", &[event(0), wildcard, one("/m", true, 0)]);
    assert_eq!(next(&queues, 5_000), ready("E1"));
    let (turn, Work::Plan(allowance)) = begin(&queues, "E1", 5_000).unwrap() else {
        panic!("something waits");
    };
    let (manual, automatic) = (allowance.manual, allowance.automatic);
    assert_eq!((manual.paths, manual.wildcards), (2, 1));
    assert_eq!((automatic.paths, automatic.wildcards), (0, 0));
    turn.done();
    // Completed invalidations make room again.
    wait(&queues, "E1", &[event(0)]);
    queues.release("E1", usage(1, 0));
    assert_eq!(next(&queues, 5_000), ready("E1"));
}

#[test]
fn a_pool_that_cloudfront_reports_full_is_full_until_checked_or_until_the_pause_ends() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    queues.occupy("E1", usage(3, 0));
    let full = CdnError::TooManyInProgress {
        pool: Pool::Paths,
        text: "full".to_owned(),
    };
    sends(
        &queues,
        "E1",
        5_000,
        failed(full, NextStep::Requeue, 60_000),
    );
    assert_eq!(next(&queues, 5_000), Next::At(at(60_000)));
    assert_eq!(next(&queues, 60_000), ready("E1"));
    queues.pool_is_full("E1");
    assert_eq!(queues.take_full_pools().len(), 1);
    queues.set_others("E1", usage(1, 0), at(90_000));
    assert_eq!(next(&queues, 60_000), ready("E1"));
    queues.set_others("E1", usage(5, 0), at(90_000));
    assert_eq!(next(&queues, 60_000), Next::At(at(90_000)));
    assert_eq!(next(&queues, 90_000), ready("E1"), "it expires");
}

#[test]
fn items_wait_for_the_rate_of_their_kind() {
    let queues = queues();
    wait(&queues, "E1", &[one("/w*", false, 0)]);
    let mut closed = gates(at(5_000));
    closed.wildcards_at = at(7_000);
    let next = |closed: &RateGates| next_with(&queues, 5_000, closed, usize::MAX);
    assert_eq!(next(&closed), Next::At(at(7_000)));
    wait(&queues, "E1", &[one("/w*", false, 0), event(0)]);
    assert_eq!(next(&closed), ready("E1"));
    closed.automatic = 0;
    assert_eq!(next(&closed), Next::Idle);
    wait(&queues, "E1", &[event(0), one("/m", true, 0)]);
    assert_eq!(next(&closed), ready("E1"));
}

#[test]
fn a_pause_holds_one_distribution_or_all() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    wait(&queues, "E2", &[event(0)]);
    let pauses = |all, paused: &[&str]| Pauses {
        all,
        distributions: paused.iter().map(|id| (*id).to_owned()).collect(),
    };
    queues.set_pauses(&pauses(false, &["E1"]));
    assert_eq!(next(&queues, 5_000), ready("E2"));
    assert_eq!(holds(&queues, "E1", 5_000), [Hold::Paused]);
    queues.set_pauses(&pauses(true, &["E1"]));
    assert_eq!(next(&queues, 5_000), Next::Idle);
    assert_eq!(holds(&queues, "E2", 5_000), [Hold::Paused]);
    queues.set_pauses(&pauses(false, &[]));
    assert!(matches!(next(&queues, 5_000), Next::Ready(_)));
}

#[test]
fn unresolved_batches_are_sent_before_anything_new() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let batch = batch("E1");
    let mut unresolved = Unresolved::new(batch.clone(), at(0));
    unresolved.due_at = at(2_000);
    queues.reopen(unresolved);
    assert_eq!(next(&queues, 1_500), Next::At(at(2_000)));
    let (_, Work::Resend(unresolved)) = begin(&queues, "E1", 2_000).unwrap() else {
        panic!("the batch goes first");
    };
    assert_eq!(unresolved.batch, batch);
}

#[test]
fn a_plan_waits_for_a_call_and_for_the_rates_of_its_items() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let (turn, _) = begin(&queues, "E1", 1_000).unwrap();
    assert_eq!(next(&queues, 1_000), Next::Idle, "one turn at a time");
    turn.planned(planned("/a"));
    let mut closed = gates(at(1_000));
    closed.paths_at = at(7_000);
    let next = next_with(&queues, 1_000, &closed, 0);
    assert_eq!(next, Next::At(at(7_000)));
    closed.paths_at = at(1_000);
    assert_eq!(next_with(&queues, 1_000, &closed, 0), ready("E1"));
    let (_, Work::Send(plan)) = begin(&queues, "E1", 1_000).unwrap() else {
        panic!("the plan is sent");
    };
    assert_eq!(plan.items.len(), 1);
}

#[test]
fn running_plans_are_limited_by_calls_but_a_slow_plan_delays_no_other() {
    let queues = queues();
    for id in ["E1", "E2"] {
        wait(&queues, id, &[event(0)]);
    }
    let one_call = |millis| next_with(&queues, millis, &gates(at(millis)), 1);
    let Next::Ready(first) = one_call(1_000) else {
        panic!("one distribution may plan");
    };
    let (_slow, _) = begin(&queues, &first.distribution_id, 1_000).unwrap();
    assert_eq!(one_call(1_000), Next::Planning(at(1_250)));
    assert!(matches!(one_call(1_250), Next::Ready(other) if other != first));
}

#[test]
fn a_dropped_turn_ends_and_a_batch_it_may_have_sent_is_in_doubt() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let (turn, _) = begin(&queues, "E1", 1_000).unwrap();
    drop(turn);
    assert_eq!(next(&queues, 1_000), Next::At(at(2_000)), "after a pause");
    let (mut turn, _) = begin(&queues, "E1", 2_000).unwrap();
    let batch = batch("E1");
    let sent = batch.id;
    turn.frozen(Unresolved::new(batch, at(2_000)));
    turn.call_begins(sent);
    drop(turn);
    let (_, Work::Resend(unresolved)) = begin(&queues, "E1", 3_000).unwrap() else {
        panic!("it is sent again");
    };
    assert!(unresolved.in_doubt);
    let waiting = queues.take_stale().unwrap();
    assert!(
        waiting.distributions.contains("E1"),
        "its backlog is read again"
    );
}

#[test]
fn after_a_store_error_a_turn_looks_for_unknown_batches() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let (turn, _) = begin(&queues, "E1", 1_000).unwrap();
    assert!(!turn.is_in_doubt());
    turn.store_failed(&StoreError::unavailable("down"), at(1_000));
    let (turn, _) = begin(&queues, "E1", 2_000).unwrap();
    assert!(turn.is_in_doubt());
    let forgotten = Unresolved::new(batch("E1"), at(1_000));
    queues.release("E1", usage(0, 0));
    turn.recovered(vec![forgotten.clone()], usage(1, 0));
    let (turn, _) = begin(&queues, "E1", 2_000).unwrap();
    assert!(turn.is_in_doubt(), "something changed while it was read");
    turn.recovered(vec![forgotten.clone()], usage(1, 0));
    let (turn, Work::Resend(sent)) = begin(&queues, "E1", 2_000).unwrap() else {
        panic!("the batch goes first");
    };
    assert_eq!((sent, turn.is_in_doubt()), (forgotten, false));
    let status = queues.statuses(at(2_000), &gates(at(2_000)));
    assert_eq!(status["E1"].in_progress, usage(1, 0));
    assert_eq!(status["E1"].unresolved.usage, usage(1, 0));
    assert_eq!(status["E1"].accepted(), usage(0, 0), "it has no answer");
}
