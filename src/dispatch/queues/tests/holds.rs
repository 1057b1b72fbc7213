//! Tests what deploy windows hold, and when what they have gathered is due.

use uuid::Uuid;

use super::*;
use crate::domain::hold::{DeployHold, HeldNow, Place};

/// Holds E1 from 0 until then, or until it is ended; `now` in milliseconds.
fn hold(queues: &Queues, until: i64, ended: Option<i64>, now: i64) -> Vec<String> {
    let one = DeployHold {
        id: Uuid::nil(),
        place: Place::Distribution("E1".to_owned()),
        token: "t".to_owned(),
        reason: None,
        created_at: at(0),
        expires_at: at(until),
        ended_at: ended.map(at),
    };
    queues.set_holds(HeldNow::resolve(&[one], None, at(now)))
}

fn manual(millis: i64) -> Backlog {
    one("/m", true, millis)
}

#[test]
fn nothing_new_is_planned_while_a_hold_is_open() {
    let queues = queues();
    assert!(hold(&queues, 60_000, None, 0).is_empty());
    wait(&queues, "E1", &[event(1_000), manual(2_000)]);
    wait(&queues, "E2", &[event(1_000)]);
    assert_eq!(next(&queues, 30_000), ready("E2"));
    let until = Hold::Held { until: at(60_000) };
    assert_eq!(holds(&queues, "E1", 30_000), [until]);
    wait(&queues, "E2", &[]);
    assert_eq!(next(&queues, 30_000), Next::At(at(60_000)));
    // At its end, the holds are read first.
    assert_eq!(next(&queues, 60_000), Next::At(at(60_001)));
    assert_eq!(hold(&queues, 60_000, None, 60_000), ["E1"]);
    assert_eq!(holds(&queues, "E1", 60_000), []);
}

#[test]
fn what_was_planned_before_a_hold_is_dropped() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let (turn, _) = begin(&queues, "E1", 5_000).unwrap();
    turn.planned(planned("/a"));
    hold(&queues, 60_000, None, 5_000);
    assert_eq!(next(&queues, 5_000), Next::At(at(60_000)));
    hold(&queues, 60_000, Some(6_000), 6_000);
    assert_eq!(next(&queues, 6_000), Next::At(at(7_000)));
    let (_turn, work) = begin(&queues, "E1", 7_000).unwrap();
    assert!(matches!(work, Work::Plan(_)), "{work:?}");
}

#[test]
fn a_frozen_batch_is_sent_again_while_a_hold_is_open() {
    let queues = queues();
    queues.reopen(Unresolved::new(batch("E1"), at(0)));
    hold(&queues, 60_000, None, 0);
    let (_turn, work) = begin(&queues, "E1", 1_000).unwrap();
    assert!(matches!(work, Work::Resend(_)), "{work:?}");
}

#[test]
fn batching_begins_anew_when_a_hold_ends() {
    let queues = queues();
    // Overdue already when the hold began.
    wait(&queues, "E1", &[event(-60_000), manual(5_000)]);
    hold(&queues, 60_000, Some(30_000), 30_000);
    assert_eq!(next(&queues, 30_000), Next::At(at(31_000)));
    // The events of the last uploads.
    wait(
        &queues,
        "E1",
        &[event(-60_000), event(30_700), manual(5_000)],
    );
    assert_eq!(next(&queues, 31_000), Next::At(at(31_700)));
    // They do not stop coming.
    wait(&queues, "E1", &[event(-60_000), event(39_900)]);
    assert_eq!(next(&queues, 39_950), Next::At(at(40_000)));
    assert_eq!(next(&queues, 40_000), ready("E1"));
}

#[test]
fn all_that_waits_after_a_hold_waits_together() {
    let queues = queues();
    hold(&queues, 60_000, Some(30_000), 30_000);
    let wildcard = one("/w/*", false, 10_000);
    wait(&queues, "E1", &[wildcard, event(30_500)]);
    assert_eq!(next(&queues, 31_000), Next::At(at(31_500)));
    // A manual request that comes after the hold does not wait.
    wait(&queues, "E1", &[wildcard, event(30_500), manual(30_900)]);
    assert_eq!(next(&queues, 31_000), ready("E1"));
}

#[test]
fn a_hold_that_is_over_long_ago_changes_nothing() {
    let queues = queues();
    hold(&queues, 60_000, Some(30_000), 30_000);
    wait(&queues, "E1", &[event(100_000)]);
    assert_eq!(next(&queues, 100_000), Next::At(at(101_000)));
    wait(&queues, "E1", &[event(100_000), event(109_900)]);
    assert_eq!(next(&queues, 109_950), Next::At(at(110_000)));
    wait(&queues, "E1", &[manual(100_000)]);
    assert_eq!(next(&queues, 100_000), ready("E1"));
    // Work is not overdue because it was held.
    wait(&queues, "E1", &[event(0)]);
    let ready = queues.next(at(45_000), &gates(at(45_000)), 9, |_| true);
    let Next::Ready(ready) = ready else {
        panic!("{ready:?}");
    };
    assert!(!ready.claim.overdue);
}
