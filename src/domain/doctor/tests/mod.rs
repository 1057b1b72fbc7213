//! Every check can fail, and passes where nothing is wrong.

mod cases;
mod mends;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    Check, Finding, Level, Unseen, Wiring, bucket, catalogue as judge_catalogue,
    credentials::{self, Comparison, Identity},
    endpoint::{self, Answer, Reached},
    permission::{self, Permission, Probe},
    store::{self, SeenFile, SeenLocal, SeenServer, SeenStore, ServerFacts, StoreVersion},
    subscription, topic,
};
use crate::domain::{
    catalogue::{Behaviour, CacheKey, Caching, Catalogue, Details, Distribution, Origin, Snapshot},
    cdn::{CdnError, Missing},
    connection::{
        SeenQueue, SeenSubscription, SeenTopic,
        delivery::{self, Attributes},
        notification::{Entry, Kind, Notification},
        policy,
    },
    event_names,
    mapping::MappingPolicy,
    rules::Rule,
    s3_event::EventFilter,
    topic::TopicArn,
};

const ENDPOINT: &str = "https://purge.example/sns";
const OWNER: &str = "123456789012";
const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:letters";

fn arn() -> TopicArn {
    let arn = "arn:aws:sns:us-east-1:123456789012:site-changes";
    arn.parse().unwrap()
}

fn wiring() -> Wiring {
    Wiring {
        bucket: "site".to_owned(),
        topic: arn(),
        endpoint: Some(ENDPOINT.to_owned()),
        password: false,
        config: None,
    }
}

fn identity() -> Identity {
    Identity {
        account: OWNER.to_owned(),
        arn: "arn:aws:sts::123456789012:assumed-role/purgefront/i-1".to_owned(),
        date: None,
    }
}

/// A distribution that serves the bucket `site`.
fn distribution() -> Distribution {
    Distribution {
        id: "E1".to_owned(),
        enabled: true,
        origins: vec![Origin {
            id: "o".to_owned(),
            domain: "site.s3.us-east-1.amazonaws.com".to_owned(),
            path: String::new(),
        }],
        behaviours: vec![Behaviour {
            pattern: "*".to_owned(),
            target: "o".to_owned(),
            caching: Caching::Inline(CacheKey {
                caches: true,
                query_strings: false,
            }),
            rewrites: false,
            smooth_streaming: false,
        }],
        details: Details::Read {
            revision: String::new(),
            root: None,
            cache_tags: false,
            groups: Some(Vec::new()),
        },
        ..Distribution::default()
    }
}

fn account(change: impl FnOnce(&mut Distribution)) -> Catalogue {
    let mut one = distribution();
    change(&mut one);
    let snapshot = Snapshot {
        distributions: vec![Arc::new(one)],
        ..Snapshot::default()
    };
    Catalogue::new(snapshot, Arc::new([]))
}

/// What connect has set up, with something changed: all that is judged of a bucket.
fn of_bucket(
    catalogue: &Catalogue,
    lifecycle: &[&str],
    change: impl FnOnce(&mut Notification),
) -> Vec<Finding> {
    let events = crate::domain::connection::EVENTS.map(str::to_owned);
    let mut notification = Notification::default();
    let ours = Entry::ours(arn().as_str(), events.into(), "", "");
    notification.entries.push(ours);
    change(&mut notification);
    let rules = lifecycle.iter().map(|rule| (*rule).to_owned());
    bucket::SeenBucket {
        wiring: &wiring(),
        owner: OWNER,
        topics: &[arn()],
        notification: &notification,
        lifecycle: &Ok(rules.collect()),
        events: &EventFilter::new(event_names::all().take(8).map(str::to_owned)),
        serving: catalogue.serving("site"),
    }
    .findings()
}

fn of_topic_policy(statement: &serde_json::Value) -> Vec<Finding> {
    let there = SeenTopic {
        policy: Some(json!({"Statement": [statement]}).to_string()),
        ..SeenTopic::default()
    };
    vec![topic::policy(&wiring(), OWNER, &there)]
}

fn of_subscription(change: impl FnOnce(&mut SeenSubscription)) -> Vec<Finding> {
    let mut there = SeenSubscription {
        arn: Some("arn:aws:sns:us-east-1:123456789012:site-changes:1".to_owned()),
        attributes: delivery::wanted(&Attributes::new(), QUEUE, None).attributes,
    };
    change(&mut there);
    subscription::subscription(&wiring(), ENDPOINT, &Ok(Some(there)))
}

fn of_queue(change: impl FnOnce(&mut SeenQueue)) -> Vec<Finding> {
    let statement = policy::queue_statement(&arn(), QUEUE);
    let mut there = SeenQueue {
        url: "https://sqs.us-east-1.amazonaws.com/123456789012/letters".to_owned(),
        policy: Some(json!({"Statement": statement}).to_string()),
        messages: 0,
    };
    change(&mut there);
    subscription::dead_letters(&wiring(), QUEUE, &Ok(Some(there)))
}

fn of_endpoint(endpoint: &str, reached: &Reached, status: u16) -> Vec<Finding> {
    let answer = Answer {
        status,
        problem: Some("urn:purgefront:problem:not-json".to_owned()),
    };
    vec![
        endpoint::reachable(endpoint, false, reached),
        endpoint::is_purgefront(endpoint, &Ok(answer)),
    ]
}

fn of_store(change: impl FnOnce(&mut SeenLocal)) -> Vec<Finding> {
    let mut seen = SeenLocal {
        path: "purgefront.db".to_owned(),
        file: SeenFile::Read {
            version: StoreVersion::Current,
            catalogue: None,
        },
        in_use: true,
        free: Some(1 << 40),
        file_system: Some("ext4".to_owned()),
    };
    change(&mut seen);
    store::findings(&SeenStore::Local(seen))
}

fn of_server(change: impl FnOnce(&mut SeenServer)) -> Vec<Finding> {
    let mut seen = SeenServer {
        name: "postgres://app@db/purgefront".to_owned(),
        seen: Ok(ServerFacts {
            server: "15.4".to_owned(),
            major: 15,
            syncs: true,
            version: Some(StoreVersion::Current),
            leader: Some(("host-a 17".to_owned(), Timestamp::UNIX_EPOCH)),
            catalogue: None,
        }),
    };
    change(&mut seen);
    store::findings(&SeenStore::Server(seen))
}

fn with_facts(change: impl FnOnce(&mut ServerFacts)) -> Vec<Finding> {
    of_server(|server| change(server.seen.as_mut().unwrap()))
}

fn of_permission(permission: Permission, probe: Probe) -> Vec<Finding> {
    let tried = [
        ("E0".to_owned(), Probe::Permitted),
        ("E1".to_owned(), probe),
    ];
    vec![permission::judge(permission, &identity(), &[], &tried)]
}

fn of_clock(seconds: i64) -> Vec<Finding> {
    let compared = Comparison {
        ours: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds),
        theirs: Timestamp::UNIX_EPOCH,
        whose: "AWS",
    };
    vec![credentials::clock(Some(compared), Duration::from_mins(15))]
}

fn of_account(policy: &MappingPolicy, catalogue: &Catalogue, buckets: &[&str]) -> Vec<Finding> {
    let buckets: Vec<_> = buckets.iter().map(|name| (*name).to_owned()).collect();
    let mut findings = judge_catalogue::notices(catalogue, policy);
    findings.extend([
        judge_catalogue::serving(catalogue, policy, "site"),
        judge_catalogue::unconnected(catalogue, policy, &buckets),
        judge_catalogue::settings(catalogue, policy, &[], &[]),
        judge_catalogue::tags(catalogue, policy),
    ]);
    findings
}

fn with_rule(bucket: &str, item: &str) -> MappingPolicy {
    MappingPolicy {
        rules: vec![Rule::new(bucket, "*", &[item.to_owned()], false).unwrap()],
        ..MappingPolicy::default()
    }
}

/// What everything gives where nothing is wrong.
fn healthy() -> Vec<Finding> {
    let catalogue = account(|_| ());
    let there = SeenTopic::default();
    let mut findings = vec![
        judge_catalogue::environment(&[]),
        credentials::credentials(&Ok(identity())),
        credentials::account(&identity(), &[arn()]),
        credentials::region(None),
        topic::exists(&arn(), &Ok(Some(there.clone())), None),
        topic::key(&arn(), &there),
    ];
    for permission in PERMISSIONS {
        findings.extend(of_permission(permission, Probe::Permitted));
    }
    findings.extend(of_clock(3));
    findings.extend(of_topic_policy(&policy::topic_statement(
        &arn(),
        "site",
        OWNER,
    )));
    findings.extend(of_subscription(|_| ()));
    findings.extend(of_queue(|_| ()));
    findings.extend(of_bucket(&catalogue, &["old"], |_| ()));
    findings.extend(of_account(&MappingPolicy::default(), &catalogue, &["site"]));
    findings.extend(of_endpoint(ENDPOINT, &Reached::Answered(200), 400));
    findings.extend(of_store(|_| ()));
    findings.extend(of_server(|_| ()));
    findings
}

const PERMISSIONS: [Permission; 7] = [
    permission::LIST_DISTRIBUTIONS,
    permission::DISTRIBUTION_CONFIG,
    permission::CACHE_POLICY,
    permission::CREATE_INVALIDATION,
    permission::GET_INVALIDATION,
    permission::LIST_INVALIDATIONS,
    permission::CONFIRM_SUBSCRIPTION,
];

#[test]
fn every_check_can_fail_and_says_how_it_is_mended() {
    let mut failing = BTreeSet::new();
    for (check, level, findings) in cases::all() {
        let found = findings.iter().find(|finding| finding.check == check);
        let found = found.unwrap_or_else(|| panic!("{}: {findings:?}", check.id()));
        assert_eq!(found.level, level, "{found:?}");
        assert!(found.mend.is_some(), "{found:?}");
        failing.insert(check);
    }
    let all: BTreeSet<_> = Check::ALL.iter().copied().collect();
    assert_eq!(failing, all, "each has a case in which it fails");
}

#[test]
fn where_nothing_is_wrong_every_check_passes() {
    let findings = healthy();
    for finding in &findings {
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
    }
    let passing: BTreeSet<_> = findings.iter().map(|finding| finding.check).collect();
    let all: BTreeSet<_> = Check::ALL.iter().copied().collect();
    assert_eq!(passing, all);
}

#[test]
fn ids_are_unique_and_documented_in_their_order() {
    let ids: Vec<_> = Check::ALL.iter().map(|check| check.id()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let page = include_str!("../../../../docs/doctor.md");
    let rows = page.lines().filter_map(|line| {
        let (id, _) = line.strip_prefix("| `")?.split_once("` |")?;
        Check::ALL
            .iter()
            .any(|check| check.id() == id)
            .then_some(id)
    });
    assert_eq!(rows.collect::<Vec<_>>(), ids);
}

/// What a condition excludes is not what it permits.
#[test]
fn a_queue_is_judged_by_the_sources_that_its_policy_permits() {
    let verdict = |operator: &str, source: &str| {
        let mut statement = policy::queue_statement(&arn(), QUEUE);
        statement["Condition"] = json!({operator: {"AWS:SourceArn": source}});
        let policy = json!({"Statement": statement}).to_string();
        let found = of_queue(|there| there.policy = Some(policy));
        let mut found = found.iter();
        found.any(|one| one.check == Check::QueuePolicy && one.level == Level::Ok)
    };
    let (ours, other) = (arn(), "arn:aws:sns:us-east-1:123456789012:other");
    assert!(verdict("ArnEquals", ours.as_str()) && !verdict("ArnEquals", other));
    assert!(verdict("ArnNotLike", other));
}
