//! Credentials, and the permissions of the service and of the operator.

use super::{Clinic, of};
use crate::support::{cloudfront::Distribution, shell};

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_of_the_service_is_tried_and_granted_by_its_command() {
    let clinic = Clinic::open().await;
    for (permission, id) in [
        ("cloudfront:ListDistributions", "list-distributions"),
        (
            "cloudfront:GetDistributionConfig",
            "get-distribution-config",
        ),
        ("cloudfront:GetCachePolicy", "get-cache-policy"),
        ("cloudfront:CreateInvalidation", "create-invalidation"),
        ("cloudfront:GetInvalidation", "get-invalidation"),
        ("cloudfront:ListInvalidations", "list-invalidations"),
        ("sns:ConfirmSubscription", "confirm-subscription"),
    ] {
        clinic.account.state().denied.insert(permission.to_owned());
        let found = clinic.only(&format!("permission.{id}"), "failure", &[]);
        assert_eq!(found["what"], permission);
        clinic.mend(&found);
        if !shell::tools().join("aws").exists() {
            clinic.account.state().denied.clear();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_distributions_are_not_all_tried() {
    let clinic = Clinic::open().await;
    for number in 2..=7 {
        let one = Distribution::of(&format!("E{number}"), "site");
        clinic.account.cloudfront.put(one);
    }
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    let why = &of(&checks, "permission.create-invalidation")["why"];
    let expected = "permitted on E1, E2, E3, E4, E5; not tried on E6, E7: only 5 are, to leave the \
                    account's calls to the service";
    assert_eq!(why, expected);
    let calls = clinic.account.calls().into_iter();
    let calls = calls.filter(|call| call == "cloudfront:CreateInvalidation");
    assert_eq!(calls.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_an_operator_may_see_is_a_warning_that_names_the_permission() {
    let clinic = Clinic::open().await;
    for (permission, id) in [
        ("s3:GetBucketNotification", "bucket.known"),
        ("sns:ListSubscriptionsByTopic", "subscription.exists"),
        ("sns:GetSubscriptionAttributes", "subscription.exists"),
        ("sqs:GetQueueUrl", "dead-letters.queue"),
        ("sqs:GetQueueAttributes", "dead-letters.queue"),
        ("sns:GetTopicAttributes", "topic.exists"),
    ] {
        clinic.account.state().denied = [permission.to_owned()].into();
        let more = ["--bucket", "site", "--endpoint", super::ENDPOINT];
        let (code, checks) = clinic.examine(&more);
        assert_eq!(code, Some(0), "{checks:#?}");
        let found = of(&checks, id);
        assert_eq!(found["level"], "warning");
        let why = found["why"].as_str().unwrap();
        assert!(
            why.starts_with(&format!("cannot be seen: {permission}: ")),
            "{why}"
        );
        // Everything else is looked at all the same.
        assert_eq!(of(&checks, "catalogue.serving")["level"], "ok");
        assert_eq!(of(&checks, "endpoint.purgefront")["level"], "ok");
    }
    // Only where it matters.
    let lifecycle = "s3:GetLifecycleConfiguration".to_owned();
    clinic.account.state().denied = [lifecycle].into();
    let (_, checks) = clinic.examine(&[]);
    assert_eq!(of(&checks, "bucket.lifecycle")["level"], "ok");
    let entry = clinic.account.things().notifications[0]
        .replace("<Event>s3:LifecycleExpiration:*</Event>", "");
    clinic.account.state().things.notifications[0] = entry;
    let found = clinic.only("bucket.lifecycle", "warning", &[]);
    assert!(
        found["why"]
            .as_str()
            .unwrap()
            .contains("s3:GetLifecycleConfiguration")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_the_rest_is_checked() {
    let mut clinic = Clinic::open().await;
    clinic.account.state().expired = true;
    let more = ["--endpoint", super::ENDPOINT];
    let found = clinic.only("credentials", "failure", &more);
    let why = found["why"].as_str().unwrap();
    assert!(
        why.starts_with("sts:GetCallerIdentity: ExpiredToken"),
        "{why}"
    );
    let (_, checks) = clinic.examine(&more);
    let skipped = of(&checks, "permission.create-invalidation");
    assert_eq!(
        skipped["why"],
        "skipped, because the credentials do not work"
    );
    for id in [
        "endpoint.reachable",
        "endpoint.purgefront",
        "store.opens",
        "clock",
    ] {
        assert_eq!(of(&checks, id)["level"], "ok", "{id}");
    }
    clinic.account.state().expired = false;
    clinic.setup.unset_env("AWS_REGION");
    clinic.only("credentials.region", "failure", &more);
    clinic.setup.set_env("AWS_REGION", "us-east-1");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        clinic.setup.unset_env(name);
    }
    clinic.only("credentials", "failure", &more);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_another_account_are_told() {
    let mut clinic = Clinic::open().await;
    let topics = r#"["arn:aws:sns:us-east-1:123456789012:site-changes", "arn:aws:sns:us-east-1:210987654321:t"]"#;
    clinic.setup.set_env("PURGEFRONT_SNS__TOPICS", topics);
    let (_, checks) = clinic.examine(&[]);
    let found = of(&checks, "credentials.account");
    assert_eq!(found["level"], "warning");
    assert!(found["why"].as_str().unwrap().contains(":210987654321:t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_told() {
    let clinic = Clinic::open().await;
    for (ahead, level) in [(3_600, "failure"), (-3_600, "failure"), (120, "warning")] {
        clinic.account.state().ahead = ahead;
        clinic.only("clock", level, &[]);
    }
}
