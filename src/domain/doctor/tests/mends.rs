//! Commands that mend, and what they must not be.

use super::*;
use crate::domain::doctor::{Mend, is_bucket_name, settle};

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
        let found = permission::judge(permission::CREATE_INVALIDATION, &identity, &[], &denied);
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
fn a_permission_on_topics_is_granted_on_all_at_once() {
    let granted = |names: &[&str]| {
        let topics = names.iter();
        let topics = topics.map(|name| format!("arn:aws:sns:us-east-1:123456789012:{name}"));
        let tried = topics
            .clone()
            .map(|topic| (topic, Probe::Denied("no".into())));
        let tried: Vec<_> = tried.collect();
        let topics: Vec<TopicArn> = topics.map(|topic| topic.parse().unwrap()).collect();
        let confirm = permission::CONFIRM_SUBSCRIPTION;
        let found = permission::judge(confirm, &identity(), &topics, &tried);
        command(&[found], Check::ConfirmSubscription)
    };
    assert!(granted(&["a"]).contains("\"Resource\":\"arn:aws:sns:us-east-1:123456789012:a\"}"));
    let both = "\"Resource\":[\"arn:aws:sns:us-east-1:123456789012:a\",\
                \"arn:aws:sns:us-east-1:123456789012:b\"]}";
    let command = granted(&["a", "b"]);
    assert!(command.contains(both), "{command}");
}

#[test]
fn a_role_of_identity_center_is_changed_there() {
    let identity = Identity {
        arn: "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_0123/joe".to_owned(),
        ..identity()
    };
    let denied = [("E1".to_owned(), Probe::Denied("no".to_owned()))];
    let found = permission::judge(permission::GET_INVALIDATION, &identity, &[], &denied);
    let Some(Mend::Words(words)) = found.mend else {
        panic!("{found:?}")
    };
    let start = "add this to the permission set of the role AWSReservedSSO_Admin_0123 ";
    assert!(words.starts_with(start) && words.contains("\"cloudfront:GetInvalidation\""));
}

#[test]
fn a_redrive_reads_the_configuration_that_doctor_has_read() {
    let there = SeenQueue {
        url: "https://sqs.us-east-1.amazonaws.com/123456789012/letters".to_owned(),
        messages: 1,
        ..SeenQueue::default()
    };
    let seen = Ok(Some(there));
    let redrive = |config: Option<&str>| {
        let wiring = Wiring {
            config: config.map(str::to_owned),
            ..wiring()
        };
        let findings = subscription::dead_letters(&wiring, QUEUE, &seen);
        command(&findings, Check::QueueMessages)
    };
    let start = "purgefront redrive https://sqs.us-east-1.amazonaws.com/123456789012/letters";
    assert_eq!(redrive(None), format!("{start} --yes"));
    let expected = format!("{start} --config 'my file.toml' --yes");
    assert_eq!(redrive(Some("my file.toml")), expected);
}

#[test]
fn no_mend_needs_what_another_finding_calls_wrong() {
    let found = || {
        let mut findings = subscription::subscription(&wiring(), ENDPOINT, &Ok(None));
        let catalogue = account(|_| ());
        findings.extend(of_bucket(&catalogue, &[], |there| there.entries.clear()));
        findings
    };
    let whole = "purgefront connect site --topic arn:aws:sns:us-east-1:123456789012:site-changes \
                 --endpoint https://purge.example/sns --yes";
    let mut right = found();
    right.push(endpoint::reachable(
        "https://purge.example/other",
        false,
        &Reached::Answered(404),
    ));
    settle(&mut right);
    for check in [Check::SubscriptionExists, Check::BucketNotification] {
        assert_eq!(command(&right, check), whole);
    }
    // The entry of the bucket does not need the endpoint.
    let mut unusable = found();
    let dead = Reached::Answered(404);
    unusable.push(endpoint::reachable(ENDPOINT, false, &dead));
    settle(&mut unusable);
    let short = whole.replace(" --endpoint https://purge.example/sns", "");
    assert_eq!(command(&unusable, Check::BucketNotification), short);
    let words = |findings: &[Finding], check| {
        let found = findings.iter().find(|one| one.check == check);
        match found.and_then(|one| one.mend.clone()) {
            Some(Mend::Words(words)) => words,
            other => panic!("{other:?}"),
        }
    };
    let first = words(&unusable, Check::SubscriptionExists);
    assert!(first.starts_with("mend the endpoint first"), "{first}");
    // Nothing connects a bucket that is not there.
    let mut missing = found();
    let gone = Unseen::Missing("NoSuchBucket".to_owned());
    missing.extend(bucket::unseen("site", &gone, &[arn()]));
    settle(&mut missing);
    for check in [Check::SubscriptionExists, Check::BucketNotification] {
        let said = words(&missing, check);
        assert_eq!(
            said,
            "connect a bucket that exists: site does not (bucket.known)"
        );
    }
}

/// Only the mend of a filter takes it away.
#[test]
fn other_mends_keep_a_filter() {
    let catalogue = account(|_| ());
    let findings = of_bucket(&catalogue, &[], |there| {
        let events = vec!["s3:ObjectCreated:*".to_owned()];
        there.entries[0] = Entry::ours(arn().as_str(), events, "docs/", "");
    });
    let connect = "purgefront connect site --topic arn:aws:sns:us-east-1:123456789012:site-changes \
                   --endpoint https://purge.example/sns --yes";
    assert_eq!(command(&findings, Check::BucketEvents), connect);
    assert_eq!(
        command(&findings, Check::BucketFilter),
        format!("{connect} --prefix '' --suffix ''")
    );
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
