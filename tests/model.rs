//! The tests' model of CloudFront keeps the rules that AWS documents (`facts/cloudfront.md`,
//! sections 1 to 4), or every test over it would prove little.

use std::time::Duration;

use jiff::Timestamp;

use crate::support::model::{CloudFrontModel, Fault, Order, Outcome, Refusal};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn order(distribution_id: &str, caller_reference: &str, items: &[&str]) -> Order {
    Order {
        distribution_id: distribution_id.to_owned(),
        caller_reference: caller_reference.to_owned(),
        items: items.iter().map(|item| (*item).to_owned()).collect(),
    }
}

/// So many paths from one number on.
fn paths(caller_reference: &str, from: usize, count: usize) -> Order {
    let mut order = order("E1", caller_reference, &[]);
    order.items = (from..from + count).map(|at| format!("/{at}")).collect();
    order
}

fn account() -> CloudFrontModel {
    let mut model = CloudFrontModel::default();
    model.add_distribution("E1");
    model.add_distribution("E2");
    model
}

/// The answer without what was made: its id, or the refusal.
fn answered(outcome: Outcome) -> Result<String, Refusal> {
    match outcome {
        Outcome::Created(one) | Outcome::Repeated(one) => Ok(one.id),
        Outcome::Refused(refusal) => Err(refusal),
        lost => panic!("no answer: {lost:?}"),
    }
}

#[test]
fn a_reference_is_one_invalidation_and_other_items_conflict() {
    let mut model = account();
    let mut call = |id, reference, items: &[&str]| {
        answered(model.call(at(0), &order(id, reference, items), None))
    };
    let first = call("E1", "r", &["/a", "/b"]).unwrap();
    assert_eq!(call("E1", "r", &["/a", "/b"]).unwrap(), first);
    for others in [&["/b", "/a"][..], &["/a"]] {
        let conflict = call("E1", "r", others);
        assert_eq!(conflict, Err(Refusal::ReferenceConflict), "{others:?}");
    }
    assert_ne!(call("E1", "another", &["/a", "/b"]).unwrap(), first);
    let elsewhere = call("E2", "r", &["/c"]);
    assert!(elsewhere.is_ok(), "references are a distribution's own");
    let answers: Vec<_> = model.calls().iter().map(|call| call.answer).collect();
    let refused = "InvalidArgument";
    let expected = [
        "created", "repeated", refused, refused, "created", "created",
    ];
    assert_eq!(answers, expected);
    assert_eq!(model.made().len(), 3);
}

#[test]
fn only_legal_items_of_known_distributions_are_taken() {
    let mut model = account();
    let (long, longest) = (format!("/{}", "x".repeat(4_000)), "t".repeat(257));
    let long_tag = format!("#{longest}");
    for illegal in [
        "", "a", "/a b", "/é", "/~", "/a#b", "/%", "/%2", "/%zz", "/a\"", &long, "#", "#a,b",
        "#a b", &long_tag,
    ] {
        let outcome = model.call(at(0), &order("E1", illegal, &["/ok", illegal]), None);
        assert_eq!(answered(outcome), Err(Refusal::InvalidItems), "{illegal}");
    }
    for legal in [
        "/",
        "/*",
        "/a*b",
        "/%2A",
        "/a?b=c&d=+",
        &long[1..],
        "#tag",
        "#*",
    ] {
        let legal = legal.replacen('x', "/", 1);
        let outcome = model.call(at(0), &order("E1", &legal, &[&legal]), None);
        assert!(answered(outcome).is_ok(), "{legal}");
    }
    let empty = model.call(at(0), &order("E1", "r", &[]), None);
    assert_eq!(answered(empty), Err(Refusal::InvalidItems));
    let unknown = model.call(at(0), &order("E9", "r", &["/a"]), None);
    assert_eq!(answered(unknown), Err(Refusal::NoSuchDistribution));
    let most = model.call(at(0), &paths("most", 0, 3_000), None);
    assert!(answered(most).is_ok());
    let more = model.call(at(0), &paths("more", 0, 3_001), None);
    assert_eq!(answered(more), Err(Refusal::BatchTooLarge));
}

#[test]
fn what_is_refused_by_name_spoils_its_batch_and_no_earlier_one() {
    let mut model = account();
    let earlier = order("E1", "earlier", &["/a", "/bad"]);
    let first = answered(model.call(at(0), &earlier, None)).unwrap();
    model.refuse_item("/bad");
    assert_eq!(answered(model.call(at(0), &earlier, None)), Ok(first));
    let again = order("E1", "again", &["/a", "/bad"]);
    let refused = answered(model.call(at(0), &again, None));
    assert_eq!(refused, Err(Refusal::InvalidItems));
    model.accept_items();
    assert!(answered(model.call(at(0), &again, None)).is_ok());
}

#[test]
fn a_distributions_pools_are_free_again_when_invalidations_are_completed() {
    let mut model = account();
    model.set_propagation(Duration::from_secs(10));
    model.quotas.limit_in_progress(3_000, 2);
    let full = |wildcards| Err(Refusal::TooManyInProgress { wildcards });
    let theirs = paths("theirs", 0, 1_000);
    model.add_foreign(at(0), theirs);
    let ours = paths("ours", 0, 2_000);
    let first = answered(model.call(at(0), &ours, None)).unwrap();
    let one_more = order("E1", "one more", &["/a"]);
    assert_eq!(answered(model.call(at(9), &one_more, None)), full(false));
    let repeated = answered(model.call(at(9), &ours, None));
    assert_eq!(repeated, Ok(first), "a repeat takes no room");
    let wildcards = order("E1", "wildcards", &["/a*", "/b*"]);
    let other_pool = answered(model.call(at(9), &wildcards, None));
    assert!(other_pool.is_ok(), "wildcards have a pool of their own");
    let one_more_wildcard = order("E1", "one more wildcard", &["/c*"]);
    let refused = answered(model.call(at(9), &one_more_wildcard, None));
    assert_eq!(refused, full(true));
    let tag = order("E1", "tag", &["#c*"]);
    assert_eq!(
        answered(model.call(at(9), &tag, None)),
        full(false),
        "a path"
    );
    let elsewhere = model.call(at(9), &order("E2", "r", &["/a", "/b*"]), None);
    assert!(
        answered(elsewhere).is_ok(),
        "pools are a distribution's own"
    );
    assert!(answered(model.call(at(10), &one_more, None)).is_ok());
    assert_eq!(model.quotas.refusals()["quota pool"], 3);
    assert_eq!(model.made().len(), 4, "what others made is theirs");
    assert_eq!(model.newest("E1").count(), 4, "and is listed all the same");
}

#[test]
fn calls_paths_and_wildcards_have_rates() {
    let mut model = account();
    model.quotas.limit_calls(at(0), 1.0, 2);
    model.quotas.limit_items(at(0), 100.0, 1.0);
    let mut call = |seconds, reference: &str, items: &[&str]| {
        answered(model.call(at(seconds), &order("E1", reference, items), None))
    };
    assert!(
        call(0, "1", &["/a*", "/b*"]).is_ok(),
        "one call may overdraw"
    );
    assert_eq!(
        call(0, "2", &["/c*"]),
        Err(Refusal::Throttled),
        "a wildcard"
    );
    assert_eq!(call(0, "3", &["/a"]), Err(Refusal::Throttled), "a call");
    assert!(
        call(1, "3", &["/a"]).is_ok(),
        "paths have a rate of their own"
    );
    assert!(call(2, "2", &["/c*"]).is_ok(), "it is earned back");
    let repeat = call(3, "2", &["/c*"]);
    assert!(
        repeat.is_ok(),
        "nothing is overdrawn at the time: {repeat:?}"
    );
    let refusals = model.quotas.refusals();
    assert_eq!((refusals["quota calls"], refusals["quota items"]), (1, 1));
}

#[test]
fn an_invalidation_is_in_progress_until_it_has_spread_and_the_newest_is_listed_first() {
    let mut model = account();
    model.set_propagation(Duration::from_secs(10));
    for (seconds, reference) in [(0, "first"), (5, "second")] {
        answered(model.call(at(seconds), &order("E1", reference, &["/a"]), None)).unwrap();
    }
    let seen = |seconds| {
        let newest = model.newest("E1");
        let seen = newest.map(|one| {
            let completed = model.is_completed(one, at(seconds));
            (one.caller_reference.as_str(), completed)
        });
        seen.collect::<Vec<_>>()
    };
    assert_eq!(seen(9), [("second", false), ("first", false)]);
    assert_eq!(seen(10), [("second", false), ("first", true)]);
    assert_eq!(seen(15), [("second", true), ("first", true)]);
    let id = &model.newest("E1").next().unwrap().id;
    assert!(model.invalidation("E1", id).is_some());
    assert!(model.invalidation("E2", id).is_none());
}

#[test]
fn faults_act_before_the_call_instead_of_it_or_after_it() {
    let mut model = account();
    let order = order("E1", "r", &["/a"]);
    let lost = model.call(at(0), &order, Some(Fault::LostBefore));
    assert!(matches!(lost, Outcome::LostBefore), "{lost:?}");
    for (fault, refusal) in [
        (Fault::Throttling, Refusal::Throttled),
        (
            Fault::TooManyInProgress,
            Refusal::TooManyInProgress { wildcards: false },
        ),
        (Fault::Status(500), Refusal::Unavailable(500)),
        (Fault::AccessDenied, Refusal::AccessDenied),
    ] {
        let outcome = model.call(at(0), &order, Some(fault));
        assert_eq!(answered(outcome), Err(refusal));
    }
    assert!(model.made().is_empty());
    for fault in [Fault::LostAfter, Fault::HangAfter] {
        let outcome = model.call(at(0), &order, Some(fault));
        assert!(matches!(outcome, Outcome::LostAfter), "{outcome:?}");
    }
    assert_eq!(model.made().len(), 1);
    let outcome = model.call(at(0), &order, None);
    assert!(matches!(outcome, Outcome::Repeated(_)), "{outcome:?}");
    assert!(
        model.quotas.refusals().is_empty(),
        "no quota was in the way"
    );
}
