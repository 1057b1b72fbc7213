//! Whose turn it is, and what it may send.

use super::*;
use crate::{
    domain::{batch::Batch, path::Item},
    ports::Brake,
};

const QUIET: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(10);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
}

fn queues() -> Queues {
    let pools = Pools {
        limit: usage(10, 3),
        reserve: usage(2, 1),
    };
    Queues::new(QUIET, MAX_WAIT, pools, Metrics::default())
}

fn usage(paths: usize, wildcards: usize) -> Usage {
    Usage { paths, wildcards }
}

fn gates(now: Timestamp) -> Gates {
    Gates {
        paths_at: now,
        wildcards_at: now,
        automatic: usize::MAX,
    }
}

fn next(queues: &Queues, millis: i64) -> Next {
    queues.next(at(millis), &gates(at(millis)))
}

fn begin(queues: &Queues, id: &str, millis: i64) -> Option<Turn> {
    queues.begin(id, at(millis), &gates(at(millis)))
}

fn waits(path: &str, manual: bool, millis: i64) -> Backlog {
    Backlog::of_one(&Item::parse(path).unwrap(), manual, at(millis))
}

fn event(millis: i64) -> Backlog {
    waits("/a", false, millis)
}

fn ready(id: &str) -> Next {
    Next::Ready(id.to_owned())
}

#[test]
fn a_distribution_is_due_when_it_was_quiet() {
    let queues = queues();
    assert_eq!(next(&queues, 0), Next::Idle);
    queues.add("E1", event(0));
    assert_eq!(next(&queues, 0), Next::At(at(1_000)));
    queues.add("E1", event(900));
    assert_eq!(next(&queues, 1_000), Next::At(at(1_900)));
    assert_eq!(next(&queues, 1_900), ready("E1"));
}

#[test]
fn a_distribution_that_is_never_quiet_is_due_after_the_longest_wait() {
    let queues = queues();
    for millis in (0..10_000).step_by(500) {
        queues.add("E1", event(millis));
        assert_ne!(next(&queues, millis), ready("E1"));
    }
    assert_eq!(next(&queues, 10_000), ready("E1"));
}

#[test]
fn people_are_due_at_once_and_go_first() {
    let queues = queues();
    queues.add("E1", event(0));
    queues.add("E2", waits("/b", true, 5_000));
    assert_eq!(next(&queues, 5_000), ready("E2"));
}

#[test]
fn turns_go_round() {
    let queues = queues();
    let mut order = Vec::new();
    for id in ["E1", "E2", "E3"] {
        queues.add(id, event(0));
    }
    for _ in 0..6 {
        let Next::Ready(id) = next(&queues, 10_000) else {
            panic!("somebody is ready");
        };
        assert!(matches!(
            begin(&queues, &id, 10_000),
            Some(Turn::Plan { .. })
        ));
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
    assert!(begin(&queues, "E1", 1_000).is_some());
    assert_eq!(next(&queues, 1_000), Next::Idle);
    let setback = Setback {
        open: Vec::new(),
        due_at: at(60_000),
        failures: 1,
        trouble: "down".to_owned(),
    };
    queues.fail("E1", setback);
    queues.add("E1", event(0));
    queues.add("E2", event(0));
    assert_eq!(next(&queues, 1_000), ready("E2"));
    assert_eq!(queues.troubles(), ["E1: down"]);
    assert!(begin(&queues, "E2", 1_000).is_some());
    assert_eq!(next(&queues, 1_000), Next::At(at(60_000)));
    queues.finish("E1");
    assert_eq!(queues.troubles(), Vec::<String>::new());
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_waiting() {
    let queues = queues();
    queues.add("E1", event(3_600_000));
    assert_eq!(next(&queues, 0), Next::At(at(10_000)));
}

#[test]
fn a_full_pool_stops_its_kind_and_leaves_people_their_reserve() {
    let queues = queues();
    queues.occupy("E1", usage(8, 0));
    queues.add("E1", event(0));
    assert_eq!(next(&queues, 5_000), Next::Idle);
    assert!(queues.is_full("E1", at(5_000)));
    // Wildcards have a pool of their own,
    queues.add("E1", waits("/w*", false, 0));
    assert_eq!(next(&queues, 5_000), ready("E1"));
    queues.occupy("E1", usage(0, 2));
    assert_eq!(next(&queues, 5_000), Next::Idle);
    // people a reserve,
    queues.add("E1", waits("/m", true, 0));
    assert_eq!(next(&queues, 5_000), ready("E1"));
    let Some(Turn::Plan {
        room: (manual, automatic),
        ..
    }) = begin(&queues, "E1", 5_000)
    else {
        panic!("something waits");
    };
    assert_eq!((manual.paths, manual.wildcards), (2, 1));
    assert_eq!((automatic.paths, automatic.wildcards), (0, 0));
    queues.finish("E1");
    // and what completes makes room again.
    queues.add("E1", event(0));
    queues.release("E1", usage(1, 0));
    assert_eq!(next(&queues, 5_000), ready("E1"));
}

#[test]
fn what_cloudfront_calls_full_is_full_until_somebody_looked_or_the_wait_is_over() {
    let queues = queues();
    queues.add("E1", event(0));
    queues.occupy("E1", usage(3, 0));
    queues.crowd("E1", false, at(60_000));
    assert_eq!(next(&queues, 5_000), Next::At(at(60_000)));
    assert_eq!(next(&queues, 60_000), ready("E1"));
    assert_eq!(queues.take_crowded().len(), 1);
    queues.set_foreign("E1", usage(1, 0));
    assert_eq!(next(&queues, 5_000), ready("E1"));
    queues.set_foreign("E1", usage(5, 0));
    assert_eq!(next(&queues, 5_000), Next::Idle);
}

#[test]
fn what_the_rates_hold_back_goes_when_they_let_it() {
    let queues = queues();
    queues.add("E1", waits("/w*", false, 0));
    let mut closed = gates(at(5_000));
    closed.wildcards_at = at(7_000);
    assert_eq!(queues.next(at(5_000), &closed), Next::At(at(7_000)));
    queues.add("E1", event(0));
    assert_eq!(queues.next(at(5_000), &closed), ready("E1"));
    closed.automatic = 0;
    assert_eq!(queues.next(at(5_000), &closed), Next::Idle);
    queues.add("E1", waits("/m", true, 0));
    assert_eq!(queues.next(at(5_000), &closed), ready("E1"));
}

#[test]
fn a_pause_stops_what_it_names() {
    let queues = queues();
    queues.add("E1", event(0));
    queues.add("E2", event(0));
    let brakes = |all_paused, paused| Brakes {
        all_paused,
        distributions: vec![Brake {
            distribution_id: "E1".to_owned(),
            paused,
            failures: 0,
            not_before: at(0),
        }],
    };
    queues.set_pauses(&brakes(false, true));
    assert_eq!(next(&queues, 5_000), ready("E2"));
    queues.set_pauses(&brakes(true, true));
    assert_eq!(next(&queues, 5_000), Next::Idle);
    queues.set_pauses(&brakes(false, false));
    assert!(matches!(next(&queues, 5_000), Next::Ready(_)));
}

#[test]
fn what_has_no_answer_goes_before_anything_new() {
    let queues = queues();
    queues.add("E1", event(0));
    let batch = Batch::new("E1", vec![Item::parse("/x").unwrap()]);
    queues.reopen(Unresolved {
        batch: batch.clone(),
        failures: 3,
        in_doubt: true,
        renamed: false,
        missing_since: None,
        due_at: at(2_000),
    });
    assert_eq!(next(&queues, 1_500), Next::At(at(2_000)));
    let Some(Turn::Resend(unresolved)) = begin(&queues, "E1", 2_000) else {
        panic!("the batch goes first");
    };
    assert_eq!(unresolved.batch, batch);
}
