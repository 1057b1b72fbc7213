//! Tests of the distributions' order, states and pages.

use std::sync::Arc;

use super::*;
use crate::domain::{
    catalogue::{Distribution, Snapshot},
    status::{Hold, Refused},
};

fn now() -> Timestamp {
    "2026-03-04T12:00:00Z".parse().unwrap()
}

fn catalogue(ids: &[&str]) -> Catalogue {
    let distributions = ids.iter().map(|id| {
        let aliases = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.example"));
        Arc::new(Distribution {
            id: (*id).to_owned(),
            aliases: aliases.to_vec(),
            ..Distribution::default()
        })
    });
    let snapshot = Snapshot {
        distributions: distributions.collect(),
        ..Snapshot::default()
    };
    Catalogue::new(snapshot, Arc::new([]))
}

fn refused() -> Hold {
    Hold::Refused(Refused {
        error: "AccessDenied: <b>".to_owned(),
        kind: Some("denied"),
        remedy: Some("grant it"),
        corrupt: false,
        failures: 3,
        retry_at: now() + jiff::SignedDuration::from_mins(4),
    })
}

fn status(holds: &[(&str, &[Hold])]) -> Status {
    let distributions = holds.iter().map(|(id, holds)| {
        let holds = holds.to_vec();
        let status = DistributionStatus {
            holds,
            ..DistributionStatus::default()
        };
        ((*id).to_owned(), status)
    });
    Status {
        distributions: distributions.collect(),
        ..Status::default()
    }
}

#[test]
fn those_with_trouble_come_first_then_by_id() {
    let status = status(&[
        ("E1", &[]),
        ("E3", &[Hold::PoolFull]),
        ("E4", &[Hold::DayLimit]),
        ("E5", &[Hold::PoolFull, refused()]),
    ]);
    let pauses = Pauses {
        all: false,
        distributions: ["E9".to_owned()].into(),
    };
    let catalogue = catalogue(&["E0", "E1", "E3", "E4", "E5"]);
    let rows = rows(&status, &pauses, Some(&catalogue), now());
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["E5", "E9", "E4", "E3", "E0", "E1"]);
    assert_eq!(
        rows[1].known,
        Some(false),
        "an operator paused it, but it is gone"
    );
    assert_eq!(rows[1].held[0].hold, "paused", "also while nothing waits");
}

#[test]
fn a_refusal_says_why_what_mends_it_and_when_it_is_tried_again() {
    let status = status(&[("E1", &[refused()])]);
    let rows = rows(&status, &Pauses::default(), None, now());
    let shown = render(&rows, 0, None, now()).into_string();
    for part in [
        "refused",
        "AccessDenied: &lt;b&gt;; grant it",
        "failed 3 times",
        "again in 4 min",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("The store cannot be read"), "no figures");
}

#[test]
fn many_distributions_are_shown_in_pages() {
    let ids: Vec<_> = (0..450).map(|n| format!("E{n:03}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let catalogue = catalogue(&ids);
    let rows = rows(
        &Status::default(),
        &Pauses::default(),
        Some(&catalogue),
        now(),
    );
    let page = |from| render(&rows, from, Some(&Figures::default()), now()).into_string();
    assert_eq!(page(0).matches("<tr").count(), 1 + SHOWN);
    assert!(page(0).contains("/page/distributions?from=200"));
    assert!(page(0).contains("c.example</bdi> and 2 more"));
    assert_eq!(page(400).matches("<tr").count(), 51);
    assert!(!page(400).contains("More distributions"));
    assert!(page(400).contains("from=200\">Previous"));
    assert_eq!(
        [page_of(450, 9_999), page_of(450, 450), page_of(450, 449)],
        [400, 400, 449]
    );
    assert_eq!(page_of(0, 7), 0);
}

#[test]
fn many_idle_distributions_are_folded_on_the_status_page() {
    let ids: Vec<_> = (0..450).map(|n| format!("E{n:03}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let catalogue = catalogue(&ids);
    let status = status(&[("E300", &[Hold::PoolFull])]);
    let all = rows(&status, &Pauses::default(), Some(&catalogue), now());
    let shown = overview(&all, Some(&Figures::default()), now()).into_string();
    assert_eq!(shown.matches("<tr").count(), 2);
    for part in [
        "449 idle distributions",
        "All 450 distributions",
        "and 249 more",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let few = overview(&all[..20], Some(&Figures::default()), now()).into_string();
    assert!(few.matches("<tr").count() == 21 && !few.contains("<details"));
}

#[test]
fn what_cloudfront_has_not_answered_waits_and_is_not_in_progress() {
    let mut status = status(&[("E1", &[])]);
    let usage = |paths| Usage {
        paths,
        wildcards: 1,
    };
    let one = status.distributions.get_mut("E1").unwrap();
    one.in_progress = usage(1_200);
    one.unresolved.usage = usage(999);
    one.unresolved.batches = 1;
    let rows = rows(&status, &Pauses::default(), None, now());
    assert_eq!((rows[0].unanswered, rows[0].in_progress), (1_000, 201));
    let shown = render(&rows, 0, None, now()).into_string();
    assert!(shown.contains("1,000 unanswered"), "{shown}");
}

#[test]
fn a_call_that_is_due_is_tried_again_now() {
    let mut refused = refused();
    if let Hold::Refused(refused) = &mut refused {
        refused.retry_at = now() + jiff::SignedDuration::from_millis(200);
        refused.failures = 0;
    }
    let status = status(&[("E1", &[refused])]);
    let rows = rows(&status, &Pauses::default(), None, now());
    let shown = render(&rows, 0, None, now()).into_string();
    assert!(
        shown.contains("Tried again now") && !shown.contains("0 times"),
        "{shown}"
    );
}

#[test]
fn a_follower_shows_what_is_paused_and_claims_no_figures() {
    let mut status = status(&[("E1", &[])]);
    status.follow(None);
    let ids: Vec<_> = (0..30).map(|n| format!("E{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let pauses = Pauses {
        distributions: ["E2".to_owned()].into(),
        ..Pauses::default()
    };
    let rows = rows(&status, &pauses, Some(&catalogue(&ids)), now());
    let shown = overview(&rows, Some(&Figures::default()), now()).into_string();
    for part in [
        "E2",
        "paused",
        "unknown",
        "29 other distributions",
        "see its page",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("idle distribution"));
    let all = render(&rows, 0, Some(&Figures::default()), now()).into_string();
    assert!(all.contains("known to the leader") && !all.contains(">idle<"));
}
