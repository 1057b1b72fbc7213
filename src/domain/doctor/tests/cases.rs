//! What makes each check fail.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::domain::catalogue::{CustomError, Rerouted};

/// A check, how bad it has to be, and the findings.
pub(super) type Case = (Check, Level, Vec<Finding>);

fn fails(check: Check, findings: Vec<Finding>) -> Case {
    (check, Level::Failure, findings)
}

fn warns(check: Check, findings: Vec<Finding>) -> Case {
    (check, Level::Warning, findings)
}

fn failing_wiring() -> Vec<Case> {
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
        fails(
            Check::TopicExists,
            vec![topic::exists(&arn(), &Ok(None), Some(&wiring()))],
        ),
        fails(Check::TopicKey, vec![topic::key(&arn(), &no)]),
        warns(Check::TopicKey, vec![topic::key(&arn(), &own_key)]),
        fails(Check::TopicPolicy, of_topic_policy(&json!({}))),
        fails(Check::TopicPolicy, of_topic_policy(&denies)),
        warns(Check::TopicPolicy, of_topic_policy(&loose)),
        fails(Check::SubscriptionExists, none),
        fails(
            Check::SubscriptionExists,
            subscription::nobody(&arn(), None),
        ),
        fails(
            Check::SubscriptionConfirmed,
            set("PendingConfirmation", "true"),
        ),
        fails(
            Check::SubscriptionConfirmed,
            of_subscription(|there| there.arn = None),
        ),
        fails(Check::SubscriptionRaw, set("RawMessageDelivery", "true")),
        warns(Check::SubscriptionRetries, set("DeliveryPolicy", short)),
        warns(Check::SubscriptionRetries, set("DeliveryPolicy", "null")),
        warns(Check::SubscriptionRetries, effective(short)),
        warns(Check::SubscriptionQueue, set("RedrivePolicy", "{}")),
        fails(Check::QueueExists, no_queue),
        fails(Check::QueueExists, foreign),
        fails(Check::QueuePolicy, of_queue(|there| there.policy = None)),
        fails(Check::QueueMessages, of_queue(|there| there.messages = 2)),
    ]
}

fn failing_buckets() -> Vec<Case> {
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
        fails(Check::BucketRegion, elsewhere),
        fails(Check::BucketKnown, missing),
        warns(Check::BucketKnown, denied),
        fails(
            Check::BucketNotification,
            changed(|there| there.entries.clear()),
        ),
        fails(
            Check::BucketNotification,
            changed(|there| there.entries[0].kind = Kind::Queue),
        ),
        warns(
            Check::BucketNotification,
            changed(|there| {
                there.entries.clear();
                there.event_bridge = true;
            }),
        ),
        fails(
            Check::BucketEvents,
            of_bucket(&catalogue, &[], |there| there.entries[0].events = created),
        ),
        fails(
            Check::BucketLifecycle,
            of_bucket(&catalogue, &["old"], |there| there.entries[0].events = both),
        ),
        warns(
            Check::BucketFilter,
            changed(|there| {
                let ours = &there.entries[0];
                let (topic, events) = (ours.target.clone(), ours.events.clone());
                there.entries[0] = Entry::ours(&topic, events, "img/", "");
            }),
        ),
    ]
}

fn failing_account() -> Vec<Case> {
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
        warns(Check::Serving, unserved),
        warns(Check::Serving, changed(|one| one.enabled = false)),
        warns(
            Check::Serving,
            changed(|one| one.behaviours[0].target = "x".to_owned()),
        ),
        warns(
            Check::Serving,
            changed(|one| {
                one.behaviours[0].caching = Caching::Inline(CacheKey {
                    caches: false,
                    query_strings: false,
                });
            }),
        ),
        warns(
            Check::Unconnected,
            of_account(&plain, &catalogue, &["other"]),
        ),
        warns(Check::ErrorPages, changed(error_page)),
        warns(Check::OriginChanges, changed(rerouted)),
        warns(Check::Tenants, changed(|one| one.tenants_only = true)),
        warns(
            Check::OriginGroups,
            changed(|one| one.behaviours[0].target = "x".to_owned()),
        ),
        warns(
            Check::Unused,
            of_account(&with_rule("gone", "/x"), &catalogue, &["site"]),
        ),
        warns(
            Check::Tags,
            of_account(&with_rule("site", "#tag"), &catalogue, &["site"]),
        ),
    ]
}

fn failing_access() -> Vec<Case> {
    let expired = Unseen::Credentials("ExpiredToken: expired".to_owned());
    let foreign = "arn:aws:sns:us-east-1:210987654321:t".parse().unwrap();
    let no_region = CdnError::NotConfigured {
        missing: Missing::Region,
        text: "Missing Region".to_owned(),
    };
    let ignored = ["PURGEFRONT_X__Y".to_owned()];
    let mut cases = vec![
        warns(
            Check::Environment,
            vec![judge_catalogue::environment(&ignored)],
        ),
        fails(
            Check::Credentials,
            vec![credentials::credentials(&Err(expired))],
        ),
        warns(
            Check::Account,
            vec![credentials::account(&identity(), &[foreign])],
        ),
        fails(Check::Region, vec![credentials::region(Some(&no_region))]),
        fails(Check::Clock, of_clock(901)),
        fails(Check::Clock, of_clock(-901)),
        warns(Check::Clock, of_clock(-61)),
    ];
    for permission in PERMISSIONS {
        let denied = Probe::Denied("AccessDenied: no".to_owned());
        let unclear = Probe::Unclear("Throttling".to_owned());
        cases.push(fails(permission.check, of_permission(permission, denied)));
        cases.push(warns(permission.check, of_permission(permission, unclear)));
    }
    cases
}

fn failing_here() -> Vec<Case> {
    let untrusted = Reached::Untrusted("UnknownIssuer".to_owned());
    let not = Reached::Not("refused".to_owned());
    let answered = Reached::Answered;
    let no_directory = SeenFile::NoDirectory("/no such".to_owned());
    let unreadable = SeenFile::Unreadable("no".to_owned());
    let other = SeenFile::Read {
        version: StoreVersion::Other,
        catalogue: None,
    };
    let reached = |reached: Reached| of_endpoint(ENDPOINT, &reached, 400);
    let plain = of_endpoint("http://purge.example/sns", &answered(200), 400);
    let foreign = Ok(Answer {
        status: 400,
        problem: None,
    });
    let foreign = vec![endpoint::is_purgefront(ENDPOINT, &foreign)];
    let wrong_path = of_endpoint(ENDPOINT, &answered(200), 404);
    let on = |kind: &'static str| of_store(|seen| seen.file_system = Some(kind.to_owned()));
    let left = |bytes| of_store(|seen| seen.free = Some(bytes));
    vec![
        fails(Check::EndpointReachable, reached(untrusted)),
        fails(Check::EndpointReachable, reached(not)),
        fails(Check::EndpointReachable, reached(answered(301))),
        fails(Check::EndpointReachable, reached(answered(502))),
        fails(Check::EndpointReachable, plain),
        fails(Check::EndpointPurgefront, wrong_path),
        fails(Check::EndpointPurgefront, foreign),
        fails(Check::StoreOpens, of_store(|seen| seen.file = no_directory)),
        fails(Check::StoreOpens, of_store(|seen| seen.file = unreadable)),
        fails(Check::StoreVersion, of_store(|seen| seen.file = other)),
        fails(Check::StoreDisk, left(1 << 20)),
        warns(Check::StoreDisk, left(1 << 29)),
        fails(Check::StoreFileSystem, on("nfs4")),
        fails(Check::StoreFileSystem, on("fuse.mountpoint-s3")),
        fails(
            Check::StoreOpens,
            of_server(|server| server.seen = Err("refused".to_owned())),
        ),
        fails(
            Check::StoreVersion,
            with_facts(|facts| facts.version = Some(StoreVersion::Other)),
        ),
        fails(Check::StoreServer, with_facts(|facts| facts.major = 12)),
        fails(Check::StoreServer, with_facts(|facts| facts.syncs = false)),
    ]
}

/// Of all checks.
pub(super) fn all() -> impl Iterator<Item = Case> {
    [
        failing_wiring(),
        failing_buckets(),
        failing_account(),
        failing_access(),
        failing_here(),
    ]
    .into_iter()
    .flatten()
}
