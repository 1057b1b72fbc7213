//! Every check can fail, and passes where nothing is wrong.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    Check, Finding, Level, Mend, Unseen, Wiring, bucket, catalogue as judge_catalogue,
    credentials::{self, Comparison, Identity},
    endpoint::{self, Answer, Reached},
    is_bucket_name,
    permission::{self, Permission, Probe},
    store::{self, SeenFile, SeenStore, StoreVersion},
    subscription, topic,
};
use crate::domain::{
    catalogue::{
        Behaviour, CacheKey, Caching, Catalogue, CustomError, Details, Distribution, Origin,
        Rerouted, Snapshot,
    },
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

pub(super) const ENDPOINT: &str = "https://purge.example/sns";
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

fn of_topic_policy(statement: serde_json::Value) -> Vec<Finding> {
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

fn of_endpoint(endpoint: &str, reached: Reached, status: u16) -> Vec<Finding> {
    let answer = Answer {
        status,
        problem: Some("urn:purgefront:problem:not-json".to_owned()),
    };
    vec![
        endpoint::reachable(endpoint, false, &reached),
        endpoint::is_purgefront(endpoint, &Ok(answer)),
    ]
}

fn of_store(change: impl FnOnce(&mut SeenStore)) -> Vec<Finding> {
    let mut seen = SeenStore {
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
    store::findings(&seen)
}

fn of_permission(permission: Permission, probe: Probe) -> Vec<Finding> {
    let tried = [
        ("E0".to_owned(), Probe::Permitted),
        ("E1".to_owned(), probe),
    ];
    vec![permission::judge(permission, &identity(), None, &tried)]
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
        Finding::ok(Check::Environment, "the configuration", ""),
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
    findings.extend(of_topic_policy(policy::topic_statement(
        &arn(),
        "site",
        OWNER,
    )));
    findings.extend(of_subscription(|_| ()));
    findings.extend(of_queue(|_| ()));
    findings.extend(of_bucket(&catalogue, &["old"], |_| ()));
    findings.extend(of_account(&MappingPolicy::default(), &catalogue, &["site"]));
    findings.extend(of_endpoint(ENDPOINT, Reached::Answered(200), 400));
    findings.extend(of_store(|_| ()));
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

type Case = (Check, Level, Vec<Finding>);

fn failing_wiring() -> Vec<Case> {
    use Level::{Failure, Warning};
    let no = SeenTopic {
        key: Some("alias/aws/sns".to_owned()),
        ..SeenTopic::default()
    };
    let own_key = SeenTopic {
        key: Some("arn:aws:kms:us-east-1:123456789012:key/1".to_owned()),
        ..SeenTopic::default()
    };
    let mut loose = policy::topic_statement(&arn(), "site", OWNER);
    loose["Condition"]["StringEquals"] = json!({});
    let mut denies = json!({"Effect": "Deny", "Principal": "*", "Resource": "*"});
    denies["Action"] = json!("SNS:Publish");
    let none = subscription::subscription(&wiring(), ENDPOINT, &Ok(None));
    let set = |name: &'static str, value: &'static str| {
        of_subscription(|there| {
            there.attributes.insert(name.to_owned(), value.to_owned());
        })
    };
    let short =
        r#"{"healthyRetryPolicy":{"numRetries":3,"minDelayTarget":20,"maxDelayTarget":20}}"#;
    let effective = |policy: &str| {
        of_subscription(|there| {
            there.attributes.remove("DeliveryPolicy");
            let name = "EffectiveDeliveryPolicy".to_owned();
            there.attributes.insert(name, policy.to_owned());
        })
    };
    let no_queue = subscription::dead_letters(&wiring(), QUEUE, &Ok(None));
    let foreign = subscription::dead_letters(&wiring(), "arn:aws:sqs:eu-west-1:1:q", &Ok(None));
    vec![
        (
            Check::TopicExists,
            Failure,
            vec![topic::exists(&arn(), &Ok(None), Some(&wiring()))],
        ),
        (Check::TopicKey, Failure, vec![topic::key(&arn(), &no)]),
        (Check::TopicKey, Warning, vec![topic::key(&arn(), &own_key)]),
        (Check::TopicPolicy, Failure, of_topic_policy(json!({}))),
        (Check::TopicPolicy, Failure, of_topic_policy(denies)),
        (Check::TopicPolicy, Warning, of_topic_policy(loose)),
        (Check::SubscriptionExists, Failure, none),
        (
            Check::SubscriptionConfirmed,
            Failure,
            set("PendingConfirmation", "true"),
        ),
        (
            Check::SubscriptionConfirmed,
            Failure,
            of_subscription(|there| there.arn = None),
        ),
        (
            Check::SubscriptionRaw,
            Failure,
            set("RawMessageDelivery", "true"),
        ),
        (
            Check::SubscriptionRetries,
            Warning,
            set("DeliveryPolicy", short),
        ),
        (
            Check::SubscriptionRetries,
            Warning,
            set("DeliveryPolicy", "null"),
        ),
        (Check::SubscriptionRetries, Warning, effective(short)),
        (
            Check::SubscriptionQueue,
            Warning,
            set("RedrivePolicy", "{}"),
        ),
        (Check::QueueExists, Failure, no_queue),
        (Check::QueueExists, Failure, foreign),
        (
            Check::QueuePolicy,
            Failure,
            of_queue(|there| there.policy = None),
        ),
        (
            Check::QueueMessages,
            Failure,
            of_queue(|there| there.messages = 2),
        ),
    ]
}

fn failing_buckets() -> Vec<Case> {
    use Level::{Failure, Warning};
    let catalogue = account(|_| ());
    let changed = |change: fn(&mut Notification)| of_bucket(&catalogue, &["old"], change);
    let unseen = |unseen: Unseen| bucket::unseen("site", &unseen, &[arn()]);
    let elsewhere = unseen(Unseen::Elsewhere("eu-west-1".to_owned()));
    let missing = unseen(Unseen::Missing("NoSuchBucket".to_owned()));
    let denied = unseen(Unseen::Denied("s3:GetBucketNotification: no".to_owned()));
    let only = |events: &[&str]| -> Vec<String> {
        events.iter().map(|event| (*event).to_owned()).collect()
    };
    let created = only(&["s3:ObjectCreated:*", "s3:LifecycleExpiration:*"]);
    let both = only(&["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]);
    vec![
        (Check::BucketRegion, Failure, elsewhere),
        (Check::BucketKnown, Failure, missing),
        (Check::BucketKnown, Warning, denied),
        (
            Check::BucketNotification,
            Failure,
            changed(|there| there.entries.clear()),
        ),
        (
            Check::BucketNotification,
            Failure,
            changed(|there| there.entries[0].kind = Kind::Queue),
        ),
        (
            Check::BucketNotification,
            Warning,
            changed(|there| {
                there.entries.clear();
                there.event_bridge = true;
            }),
        ),
        (
            Check::BucketEvents,
            Failure,
            of_bucket(&catalogue, &[], |there| there.entries[0].events = created),
        ),
        (
            Check::BucketLifecycle,
            Failure,
            of_bucket(&catalogue, &["old"], |there| there.entries[0].events = both),
        ),
        (
            Check::BucketFilter,
            Warning,
            changed(|there| {
                let ours = &there.entries[0];
                let (topic, events) = (ours.target.clone(), ours.events.clone());
                there.entries[0] = Entry::ours(&topic, events, "img/", "");
            }),
        ),
    ]
}

fn failing_account() -> Vec<Case> {
    use Level::Warning;
    let plain = MappingPolicy::default();
    let changed = |change: fn(&mut Distribution)| of_account(&plain, &account(change), &["site"]);
    let empty = Catalogue::default();
    let unserved = vec![judge_catalogue::serving(&empty, &plain, "site")];
    let error_page = |one: &mut Distribution| {
        one.custom_errors.push(CustomError {
            status: 404,
            page: Some("/404.html".to_owned()),
            min_ttl: 300,
        });
    };
    let rerouted = |one: &mut Distribution| {
        one.rerouted = Some(Rerouted {
            seen_at: Timestamp::UNIX_EPOCH,
            buckets: true,
        });
    };
    let catalogue = account(|_| ());
    vec![
        (Check::Serving, Warning, unserved),
        (Check::Serving, Warning, changed(|one| one.enabled = false)),
        (
            Check::Serving,
            Warning,
            changed(|one| one.behaviours[0].target = "x".to_owned()),
        ),
        (
            Check::Serving,
            Warning,
            changed(|one| {
                one.behaviours[0].caching = Caching::Inline(CacheKey {
                    caches: false,
                    query_strings: false,
                });
            }),
        ),
        (
            Check::Unconnected,
            Warning,
            of_account(&plain, &catalogue, &["other"]),
        ),
        (Check::ErrorPages, Warning, changed(error_page)),
        (Check::OriginChanges, Warning, changed(rerouted)),
        (
            Check::Tenants,
            Warning,
            changed(|one| one.tenants_only = true),
        ),
        (
            Check::OriginGroups,
            Warning,
            changed(|one| one.behaviours[0].target = "x".to_owned()),
        ),
        (
            Check::Unused,
            Warning,
            of_account(&with_rule("gone", "/x"), &catalogue, &["site"]),
        ),
        (
            Check::Tags,
            Warning,
            of_account(&with_rule("site", "#tag"), &catalogue, &["site"]),
        ),
    ]
}

fn failing_others() -> Vec<Case> {
    use Level::{Failure, Warning};
    let expired = Unseen::Credentials("ExpiredToken: expired".to_owned());
    let foreign = "arn:aws:sns:us-east-1:210987654321:t".parse().unwrap();
    let untrusted = Reached::Untrusted("UnknownIssuer".to_owned());
    let not = Reached::Not("refused".to_owned());
    let no_region = CdnError::NotConfigured {
        missing: Missing::Region,
        text: "Missing Region".to_owned(),
    };
    let no_directory = SeenFile::NoDirectory("/no such".to_owned());
    let unreadable = SeenFile::Unreadable("no".to_owned());
    let other = SeenFile::Read {
        version: StoreVersion::Other,
        catalogue: None,
    };
    let reached = |reached| of_endpoint(ENDPOINT, reached, 400);
    let foreign_answer = Ok(Answer {
        status: 400,
        problem: None,
    });
    let file_system =
        |kind: &'static str| of_store(|seen| seen.file_system = Some(kind.to_owned()));
    let mut cases = vec![
        (
            Check::Environment,
            Warning,
            vec![Finding::warning(Check::Environment, "", "")],
        ),
        (
            Check::Credentials,
            Failure,
            vec![credentials::credentials(&Err(expired))],
        ),
        (
            Check::Account,
            Warning,
            vec![credentials::account(&identity(), &[foreign])],
        ),
        (
            Check::Region,
            Failure,
            vec![credentials::region(Some(&no_region))],
        ),
        (Check::Clock, Failure, of_clock(901)),
        (Check::Clock, Failure, of_clock(-901)),
        (Check::Clock, Warning, of_clock(-61)),
        (Check::EndpointReachable, Failure, reached(untrusted)),
        (Check::EndpointReachable, Failure, reached(not)),
        (
            Check::EndpointReachable,
            Failure,
            reached(Reached::Answered(301)),
        ),
        (
            Check::EndpointReachable,
            Failure,
            reached(Reached::Answered(502)),
        ),
        (
            Check::EndpointReachable,
            Failure,
            of_endpoint("http://purge.example/sns", Reached::Answered(200), 400),
        ),
        (
            Check::EndpointPurgefront,
            Failure,
            of_endpoint(ENDPOINT, Reached::Answered(200), 404),
        ),
        (
            Check::EndpointPurgefront,
            Failure,
            vec![endpoint::is_purgefront(ENDPOINT, &foreign_answer)],
        ),
        (
            Check::StoreOpens,
            Failure,
            of_store(|seen| seen.file = no_directory),
        ),
        (
            Check::StoreOpens,
            Failure,
            of_store(|seen| seen.file = unreadable),
        ),
        (
            Check::StoreVersion,
            Failure,
            of_store(|seen| seen.file = other),
        ),
        (
            Check::StoreDisk,
            Failure,
            of_store(|seen| seen.free = Some(1 << 20)),
        ),
        (
            Check::StoreDisk,
            Warning,
            of_store(|seen| seen.free = Some(1 << 29)),
        ),
        (Check::StoreFileSystem, Failure, file_system("nfs4")),
        (
            Check::StoreFileSystem,
            Failure,
            file_system("fuse.mountpoint-s3"),
        ),
    ];
    for permission in PERMISSIONS {
        let denied = Probe::Denied("AccessDenied: no".to_owned());
        let unclear = Probe::Unclear("Throttling".to_owned());
        cases.push((permission.check, Failure, of_permission(permission, denied)));
        cases.push((
            permission.check,
            Warning,
            of_permission(permission, unclear),
        ));
    }
    cases
}

#[test]
fn every_check_can_fail_and_says_how_it_is_mended() {
    let cases = [
        failing_wiring(),
        failing_buckets(),
        failing_account(),
        failing_others(),
    ];
    let mut failing = BTreeSet::new();
    for (check, level, findings) in cases.into_iter().flatten() {
        let found = findings.iter().find(|finding| finding.check == check);
        let found = found.unwrap_or_else(|| panic!("{}: {findings:?}", check.id()));
        assert_eq!(found.level, level, "{found:?}");
        let is_mended = found.mend.is_some() || check == Check::Environment;
        assert!(is_mended, "{found:?}");
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
    let page = include_str!("../../../docs/doctor.md");
    let rows = page.lines().filter_map(|line| {
        let (id, _) = line.strip_prefix("| `")?.split_once("` |")?;
        Check::ALL
            .iter()
            .any(|check| check.id() == id)
            .then_some(id)
    });
    assert_eq!(rows.collect::<Vec<_>>(), ids);
}

fn command(findings: &[Finding], check: Check) -> String {
    let found = findings.iter().find(|finding| finding.check == check);
    match found.and_then(|found| found.mend.as_ref()) {
        Some(Mend::Command(command)) => command.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_permission_is_granted_to_whose_credentials_these_are() {
    let granted = |arn: &str| {
        let identity = Identity {
            arn: arn.to_owned(),
            ..identity()
        };
        let denied = [("E1".to_owned(), Probe::Denied("no".to_owned()))];
        let found = permission::judge(permission::CREATE_INVALIDATION, &identity, None, &denied);
        found.mend.unwrap()
    };
    let Mend::Command(command) = granted(&identity().arn) else {
        panic!("no command")
    };
    assert_eq!(
        command.to_string(),
        "aws iam put-role-policy --role-name purgefront --policy-name purgefront-CreateInvalidation \
         --policy-document '{\"Statement\":[{\"Action\":\"cloudfront:CreateInvalidation\",\"Effect\":\
         \"Allow\",\"Resource\":\"arn:aws:cloudfront::123456789012:distribution/*\"}],\
         \"Version\":\"2012-10-17\"}'"
    );
    let Mend::Command(command) = granted("arn:aws:iam::123456789012:user/path/joe") else {
        panic!("no command")
    };
    assert!(
        command
            .to_string()
            .contains("put-user-policy --user-name joe ")
    );
    assert!(matches!(
        granted("arn:aws:iam::123456789012:root"),
        Mend::Words(_)
    ));
}

#[test]
fn what_connect_cannot_mend_is_not_left_to_it() {
    // S3 would refuse an entry beside this one.
    let catalogue = account(|_| ());
    let findings = of_bucket(&catalogue, &[], |there| {
        there.entries[0].id = Some("theirs".to_owned());
        there.entries[0].target = "arn:aws:sns:us-east-1:123456789012:others".to_owned();
    });
    let found = findings
        .iter()
        .find(|one| one.check == Check::BucketNotification);
    let Some(Mend::Words(words)) = &found.unwrap().mend else {
        panic!("{found:?}")
    };
    assert!(words.contains("Fan out"), "{words}");
    // It leaves alone retries that somebody has chosen, and a queue as well.
    let chosen = of_subscription(|there| {
        let own = r#"{"healthyRetryPolicy":{"numRetries":3,"minDelayTarget":20},"throttlePolicy":{"maxReceivesPerSecond":9}}"#;
        there
            .attributes
            .insert("DeliveryPolicy".to_owned(), own.to_owned());
    });
    let set = command(&chosen, Check::SubscriptionRetries);
    assert!(
        set.starts_with("aws sns set-subscription-attributes --region us-east-1 "),
        "{set}"
    );
    assert!(set.contains("\"maxReceivesPerSecond\":9") && set.contains("\"numRetries\":62"));
    let none = subscription::dead_letters(&wiring(), QUEUE, &Ok(None));
    assert_eq!(
        command(&none, Check::QueueExists),
        "purgefront connect site --topic arn:aws:sns:us-east-1:123456789012:site-changes --endpoint \
         https://purge.example/sns --yes --dead-letter-queue letters"
    );
    // A password is on no command line.
    let secret = Wiring {
        password: true,
        ..wiring()
    };
    let none = subscription::subscription(&secret, ENDPOINT, &Ok(None));
    assert!(
        matches!(&none[0].mend, Some(Mend::Words(words)) if words.contains("--basic-auth-file"))
    );
}

#[test]
fn a_name_that_is_no_buckets_gets_into_no_command() {
    assert!(is_bucket_name("my.site-1") && is_bucket_name("Old_Bucket"));
    for wrong in ["--yes", "a", "a b c", "a;b", "site\n", "sité"] {
        assert!(!is_bucket_name(wrong), "{wrong}");
    }
}
