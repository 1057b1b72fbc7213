//! Tests of what refused distributions and rejected items leave to others, and others to them.

use super::*;

/// Has a batch of two items rejected, and returns its parts.
fn bisected(queues: &Arc<Queues>, id: &str, millis: i64) -> [Unresolved; 2] {
    let parts = [1, 2].map(|_| Unresolved {
        is_part: true,
        ..Unresolved::new(batch(id), at(millis))
    });
    let bisect = NextStep::Bisect(Box::new(parts.clone()));
    sends(queues, id, millis, failed(invalid(), bisect, millis));
    parts
}

fn invalid() -> CdnError {
    CdnError::Invalid("bad".to_owned())
}

#[test]
fn parts_are_sent_in_order_and_a_dead_letter_frees_its_room() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let parts = bisected(&queues, "E1", 1_000);
    wait(&queues, "E1", &[]);
    for part in parts {
        let Next::Ready(ready) = next(&queues, 1_000) else {
            panic!("a part is ready");
        };
        assert_eq!(ready.lane, Lane::Suspects);
        let now = at(1_000);
        let begun = queues.begin(&ready, now, &gates(now));
        let (turn, Work::Resend(sent)) = begun.unwrap() else {
            panic!("a part is sent");
        };
        assert_eq!(sent, part);
        let dead = failed(invalid(), NextStep::DeadLetter, 1_000);
        turn.resolved(sent.batch.id, dead, now);
    }
    assert_eq!(holds(&queues, "E1", 1_000), []);
    let status = queues.statuses(at(1_000), &gates(at(1_000)));
    assert_eq!(status["E1"].unresolved.batches, 0);
    assert_eq!(status["E1"].in_progress, usage(0, 0));
}

#[test]
fn parts_leave_their_calls_to_others_and_to_manual_requests() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    bisected(&queues, "E1", 5_000);
    wait(&queues, "E2", &[event(0)]);
    assert_eq!(next(&queues, 5_000), ready("E2"));
    wait(&queues, "E2", &[]);
    wait(&queues, "E1", &[one("/m", true, 0)]);
    assert_eq!(next(&queues, 5_000), ready("E1"));
    let status = queues.statuses(at(5_000), &gates(at(5_000)));
    assert_eq!(status["E1"].unresolved.batches, 2);
}

#[test]
fn parts_that_the_daily_limit_does_not_permit_are_held() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    bisected(&queues, "E1", 5_000);
    let mut spent = gates(at(5_000));
    spent.automatic = 0;
    wait(&queues, "E1", &[]);
    assert_eq!(next_with(&queues, 5_000, &spent, 5), Next::Idle);
}

/// Has an automatic change refused.
fn is_denied(queues: &Arc<Queues>, id: &str, millis: i64, until: i64) {
    wait(queues, id, &[event(0)]);
    let denied = CdnError::Denied("no".to_owned());
    sends(queues, id, millis, failed(denied, NextStep::Requeue, until));
}

#[test]
fn what_is_refused_by_itself_has_what_others_leave() {
    let queues = queues();
    is_denied(&queues, "E1", 1_000, 2_000);
    wait(&queues, "E2", &[event(0)]);
    for _ in 0..4 {
        assert_eq!(next(&queues, 5_000), ready("E2"));
        let Next::Ready(two) = next(&queues, 5_000) else {
            unreachable!()
        };
        let (turn, _) = queues.begin(&two, at(5_000), &gates(at(5_000))).unwrap();
        turn.planned(planned("/a"));
        let (turn, _) = queues.begin(&two, at(5_000), &gates(at(5_000))).unwrap();
        turn.done();
    }
    assert_eq!(next(&queues, 5_000), ready("E1"));
    // So has what the account no longer lists.
    wait(&queues, "E0", &[event(0)]);
    let gone = queues.next(at(5_000), &gates(at(5_000)), 5, |id| id != "E0");
    let Next::Ready(gone) = gone else {
        panic!("one is ready");
    };
    assert_ne!(gone.distribution_id, "E2", "it is the probes' turn");
}

#[test]
fn of_those_that_are_answered_alike_one_is_tried_for_all() {
    let queues = queues();
    is_denied(&queues, "E1", 1_000, 2_000);
    is_denied(&queues, "E2", 1_000, 60_000);
    wait(&queues, "E1", &[event(0)]);
    wait(&queues, "E2", &[event(0)]);
    assert_eq!(next(&queues, 5_000), Next::At(at(60_000)));
    assert_eq!(next(&queues, 60_000), ready("E1"), "the first one");
    let (turn, _) = begin(&queues, "E1", 60_000).unwrap();
    let alone = 1_000 + 15 * 60_000;
    assert_eq!(next(&queues, 60_000), Next::At(at(alone)));
    assert_eq!(queues.failures("E1"), 1);
    turn.planned(planned("/a"));
    sends(&queues, "E1", 60_000, created(false));
    wait(&queues, "E1", &[]);
    assert_eq!(next(&queues, 60_000), ready("E2"), "its pause is over");
}

#[test]
fn a_manual_request_does_not_wait_for_an_automatic_plan() {
    let queues = queues();
    wait(&queues, "E1", &[event(0)]);
    let (turn, _) = begin(&queues, "E1", 1_000).unwrap();
    turn.planned(planned("/a"));
    wait(&queues, "E1", &[event(0), one("/m", true, 1_000)]);
    let (_, work) = begin(&queues, "E1", 1_000).unwrap();
    assert!(matches!(work, Work::Plan(_)), "{work:?}");
}

/// A person's wildcards that wait for their pool lend their precedence to nothing else.
#[test]
fn precedence_belongs_to_items_that_may_be_sent() {
    let queues = queues();
    queues.occupy("E1", usage(0, 3));
    wait(&queues, "E1", &[event(0), one("/w*", true, 0)]);
    let (turn, _) = begin(&queues, "E1", 10_000).unwrap();
    turn.planned(planned("/a"));
    let (turn, _) = begin(&queues, "E1", 10_000).unwrap();
    turn.done();
    wait(&queues, "E2", &[event(0)]);
    assert_eq!(next(&queues, 10_000), ready("E2"));
    queues.release("E1", usage(0, 1));
    assert_eq!(next(&queues, 10_000), ready("E1"));
}

fn backoff(id: &str, error: Option<CdnError>, ended: bool) -> Backoff {
    Backoff {
        distribution_id: id.to_owned(),
        failures: 4,
        not_before: at(600_000),
        error,
        ended,
    }
}

#[test]
fn a_start_knows_what_was_refused_and_why() {
    let denied = CdnError::Denied("AccessDenied: no".to_owned());
    let queues = queues();
    queues.set_backoffs(vec![
        backoff("E1", Some(denied.clone()), false),
        backoff("E2", None, false),
        backoff("E3", Some(CdnError::full_pool("full".to_owned())), false),
        Backoff {
            failures: 0,
            ..backoff("E4", None, false)
        },
    ]);
    let expected = Refused::by_cloudfront(&denied, 4, at(600_000));
    assert_eq!(holds(&queues, "E1", 0), [Hold::Refused(expected)]);
    let [Hold::Refused(forgotten)] = &holds(&queues, "E2", 0)[..] else {
        panic!("refused");
    };
    assert!(forgotten.error.contains("not known any more"));
    assert_eq!((forgotten.kind, forgotten.failures), (None, 4));
    assert!(holds(&queues, "E3", 0).contains(&Hold::PoolFull));
    assert_eq!(holds(&queues, "E4", 0), []);
    wait(&queues, "E1", &[event(0)]);
    assert_eq!(next(&queues, 60_000), Next::At(at(600_000)));
}

#[test]
fn an_operator_ends_a_backoff_but_not_what_is_told() {
    let denied = || Some(CdnError::Denied("no".to_owned()));
    let queues = queues();
    let kept = [
        backoff("E1", denied(), false),
        backoff("E2", denied(), false),
    ];
    queues.set_backoffs(kept.to_vec());
    for id in ["E1", "E2"] {
        wait(&queues, id, &[event(0)]);
    }
    queues.end_backoffs(kept.to_vec(), at(60_000));
    assert_eq!(next(&queues, 60_000), Next::At(at(600_000)));
    let ended = vec![backoff("E1", denied(), true)];
    queues.end_backoffs(ended.clone(), at(60_000));
    assert_eq!(next(&queues, 60_000), ready("E1"));
    assert_eq!(holds(&queues, "E1", 0).len(), 1, "until a success");
    // It is read again, and means no later pause.
    let (turn, _) = begin(&queues, "E1", 60_000).unwrap();
    turn.nothing_fits(at(60_000));
    queues.end_backoffs(ended.clone(), at(60_000));
    assert_ne!(next(&queues, 60_000), ready("E1"));
    // A start finds it ended as well.
    let queues = self::queues();
    queues.set_backoffs(ended);
    wait(&queues, "E1", &[event(0)]);
    assert_eq!(next(&queues, 60_000), ready("E1"));
}

#[test]
fn whoever_an_operator_resumes_waits_for_no_other() {
    let queues = queues();
    for id in ["E1", "E2", "E3"] {
        wait(&queues, id, &[event(0)]);
        is_denied(&queues, id, 1_000, 600_000);
    }
    assert_eq!(next(&queues, 60_000), Next::At(at(600_000)));
    let resumed = vec![backoff("E2", None, true)];
    queues.end_backoffs(resumed, at(60_000));
    assert_eq!(next(&queues, 60_000), ready("E2"));
}
