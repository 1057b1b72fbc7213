//! What each check says.

use super::*;
use crate::domain::{
    cdn::CdnError,
    economy::Economy,
    ledger::{Ledger, MonthStatus},
    operations::{DayBudget, DaySpending},
};

fn detail(status: &Status, check: &str) -> String {
    let findings = status.findings();
    let finding = findings.into_iter().find(|one| one.check == check).unwrap();
    let ok = finding.severity == Severity::Ok;
    assert_eq!(ok, finding.detail.is_empty(), "{finding:?}");
    finding.detail
}

fn with(holds: Vec<Hold>) -> Status {
    let one = DistributionStatus {
        holds,
        ..DistributionStatus::default()
    };
    Status {
        distributions: BTreeMap::from([("E1".to_owned(), one)]),
        ..Status::default()
    }
}

fn refused(corrupt: bool) -> Hold {
    Hold::Refused(Refused {
        error: "access denied: no".to_owned(),
        kind: (!corrupt).then_some("denied"),
        remedy: Some("grant it"),
        corrupt,
        failures: 3,
        retry_at: Timestamp::UNIX_EPOCH,
    })
}

#[test]
fn each_hold_is_reported_by_its_own_check() {
    let text = detail(&with(vec![refused(false)]), "cloudfront");
    assert!(
        ["E1", "3 times", "access denied", "grant it"]
            .iter()
            .all(|part| text.contains(part)),
        "{text}"
    );
    assert_eq!(detail(&with(vec![Hold::PoolFull]), "cloudfront"), "");
    assert!(detail(&with(vec![Hold::Paused]), "paused").contains("E1"));
    let all = Status {
        paused: true,
        ..with(vec![Hold::Paused])
    };
    assert!(detail(&all, "paused").contains("all distributions"));
    let shadow = Status {
        shadow: true,
        ..Status::default()
    };
    assert!(detail(&shadow, "shadow").contains("nothing is sent"));
}

#[test]
fn what_cannot_be_seen_is_named_with_the_permission() {
    let mut status = Status::default();
    assert_eq!(detail(&status, "tracking"), "");
    let why = "access denied: no; grant cloudfront:GetInvalidation on it".to_owned();
    status.unseen.insert("E1".to_owned(), why);
    let text = detail(&status, "tracking");
    let named = [
        "E1",
        "access denied",
        "cloudfront:GetInvalidation",
        "30 minutes",
    ];
    assert!(named.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn receivers_that_do_not_take_notices_are_named() {
    let mut status = Status::default();
    assert_eq!(detail(&status, "notices"), "");
    let origin = "https://hooks.example.com".to_owned();
    status.failing_receivers = vec![(origin, "the response has status 500".to_owned())];
    status.notices.notices = 7;
    let text = detail(&status, "notices");
    let named = ["7 notices", "hooks.example.com", "status 500"];
    assert!(named.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn an_unreadable_row_is_a_failure_but_not_a_refusal() {
    let mut status = with(vec![refused(true)]);
    let failure = WorkerFailure {
        error: "table changes, seq = 7".to_owned(),
        corrupt: true,
    };
    status.workers.insert("mapper", failure);
    let findings = status.findings();
    let finding = findings.iter().find(|one| one.check == "unreadable_rows");
    let finding = finding.unwrap();
    assert_eq!(finding.severity, Severity::Fail);
    assert!(finding.detail.contains("mapper: table changes, seq = 7"));
    assert!(finding.detail.contains("E1: "));
    assert_eq!(detail(&status, "cloudfront"), "");
    assert_eq!(detail(&status, "workers"), "");
}

#[test]
fn the_daily_limit_warns_from_a_tenth_and_urgently_from_four_fifths() {
    let day = |items, lifted| Status {
        day: Some(DayBudget {
            limit: 100,
            spending: DaySpending { items, lifted },
        }),
        ..Status::default()
    };
    assert_eq!(detail(&day(9, false), "daily_limit"), "");
    assert!(detail(&day(10, false), "daily_limit").starts_with("10% "));
    assert!(!detail(&day(79, false), "daily_limit").ends_with('!'));
    assert!(detail(&day(80, false), "daily_limit").ends_with('!'));
    assert!(detail(&day(100, false), "daily_limit").ends_with("held items: none"));
    assert!(detail(&day(100, true), "daily_limit").contains("was lifted"));
    assert!(detail(&day(1, true), "daily_limit").contains("was lifted"));
    let stages = [(9, 0), (10, 1), (80, 2), (100, 3)];
    assert!(
        stages
            .iter()
            .all(|(items, stage)| day(*items, false).day_stage() == *stage)
    );
    assert_eq!(day(1, true).day_stage(), 4);
    assert_eq!(detail(&Status::default(), "daily_limit"), "");
}

#[test]
fn the_months_budget_warns_from_four_fifths_and_says_what_follows() {
    let month = |own, monthly_paths| {
        let economy = Economy {
            monthly_paths,
            ..Economy::default()
        };
        let ledger = Ledger {
            own,
            ..Ledger::default()
        };
        Status {
            month: Some(MonthStatus::of(ledger, &economy, Timestamp::UNIX_EPOCH)),
            ..Status::default()
        }
    };
    assert_eq!(detail(&month(79, 100), "monthly_budget"), "");
    let near = detail(&month(80, 100), "monthly_budget");
    assert!(near.starts_with("80% "), "{near}");
    assert!(near.contains("worth 100 evictions by now instead of 20"));
    let spent = detail(&month(100, 100), "monthly_budget");
    for part in [
        "100 paths is spent",
        "nothing is held",
        "economy.monthly_paths",
    ] {
        assert!(spent.contains(part), "{spent}");
    }
    assert_eq!(detail(&month(1_000_000, 0), "monthly_budget"), "");
    assert_eq!(detail(&Status::default(), "monthly_budget"), "");
    let stages = [(79, 100), (99, 100), (101, 100)].map(|(own, budget)| {
        let told = month(own, budget).announcements().into_iter();
        let told = told.filter(|one| one.check == "monthly_budget");
        told.map(|one| one.stage).collect::<String>()
    });
    assert_eq!(stages, ["0", "1", "2"]);
}

#[test]
fn the_catalogue_check_reports_the_changes_that_wait() {
    let mut status = Status::default();
    assert!(detail(&status, "catalogue").contains("not read yet"));
    status.unmapped = Unmapped {
        changes: 12,
        oldest: Some(Timestamp::UNIX_EPOCH),
    };
    assert!(detail(&status, "catalogue").contains("12 changes"));
    status.catalogue.read_since = Some(Timestamp::UNIX_EPOCH);
    assert_eq!(detail(&status, "catalogue"), "");
    status.catalogue.failure = Some(CatalogueFailure {
        error: "throttled".to_owned(),
        kind: "throttled",
        remedy: Some("wait"),
    });
    assert!(detail(&status, "catalogue").contains("throttled"));
}

#[test]
fn what_fails_is_counted_by_its_error_wherever_work_waits_for_it() {
    let failure = |kind| CatalogueFailure {
        error: String::new(),
        kind,
        remedy: None,
    };
    let mut status = with(vec![Hold::PoolFull, refused(false)]);
    assert_eq!(status.failing("denied"), 1);
    status.catalogue.failure = Some(failure("denied"));
    status.catalogue.unanswered = vec![failure("unknown"), failure("denied")];
    let counts = ["denied", "unknown", "throttled"].map(|kind| status.failing(kind));
    assert_eq!(counts, [3, 1, 0]);
    // The store's own errors are not CloudFront's.
    let store = with(vec![refused(true)]);
    assert!(CdnError::LABELS.iter().all(|kind| store.failing(kind) == 0));
}
