//! What is said while AWS cannot be asked: what waits, and the real cause.

use super::{check, metrics};
use crate::support::{
    aws::FakeAws,
    distribution::{Behaviour, Distribution},
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

async fn prepared() -> (FakeAws, Signer) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    (aws, signer)
}

/// A setup that lacks some variables.
fn without(aws: &FakeAws, missing: &[&str]) -> Setup {
    let mut setup = Setup::alone();
    for (name, value) in aws.environment() {
        if !missing.contains(&name) {
            setup.set_env(name, value);
        }
    }
    setup
}

async fn uploads(service: &Service, signer: &Signer, key: &str) {
    let text = s3_records("site", &[("ObjectCreated:Put", key)]);
    let answer = service.sns(signer.notification(&text).body()).await;
    assert_eq!(answer.status(), 200);
}

async fn age(service: &Service, name: &str) -> f64 {
    let text = metrics(service).await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn point_14_without_credentials_or_region_what_waits_and_why_is_told() {
    let (aws, signer) = prepared().await;
    let secrets = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    for (missing, outcome, cause) in [
        (&secrets[..], "no_credentials", "provide credentials"),
        (&["AWS_REGION"], "no_region", "set AWS_REGION"),
    ] {
        let service = without(&aws, missing).start().await;
        uploads(&service, &signer, "a").await;
        eventually!(service.metric("purgefront_unmapped_changes").await == 1);
        assert!(age(&service, "purgefront_oldest_unmapped_age_seconds").await > 0.0);
        eventually!(check(&service, "catalogue").await.contains(cause));
        let told = check(&service, "catalogue").await;
        assert!(!told.contains("cloudfront:ListDistributions"), "{told}");
        assert!(told.contains("1 changes wait"), "{told}");
        // A subscription that cannot be confirmed for the same reason says so.
        if outcome == "no_credentials" {
            let token = "ab".repeat(112);
            let confirmation = signer.subscription_confirmation(&token).body();
            assert_eq!(service.sns(confirmation).await.status(), 200);
            eventually!(
                check(&service, "subscriptions")
                    .await
                    .contains("credential")
            );
            assert!(!check(&service, "subscriptions").await.contains(&token));
        }
        let calls = "purgefront_cloudfront_calls_total{operation=\"ListDistributions\",outcome=";
        assert_ne!(service.metric(&format!("{calls}\"{outcome}\"}}")).await, 0);
    }
}

#[tokio::test]
async fn point_14_credentials_that_vanish_are_told_for_each_distribution() {
    let (aws, signer) = prepared().await;
    let setup = without(&aws, &[]);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    uploads(&service, &signer, "first").await;
    until("the first", || aws.cloudfront.paths("E1").pop()).await;
    service.kill();
    // The next start has the kept catalogue, but no credentials.
    let bare = without(&aws, &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    let bare = bare.sharing(&setup);
    let service = bare.start().await;
    uploads(&service, &signer, "a").await;
    eventually!(
        check(&service, "cloudfront")
            .await
            .contains("provide credentials")
    );
    let told = check(&service, "cloudfront").await;
    assert!(!told.contains("cloudfront:CreateInvalidation"), "{told}");
    assert_eq!(
        service
            .metric("purgefront_held{distribution_id=\"E1\",hold=\"refused\"}")
            .await,
        1
    );
    let calls = "purgefront_cloudfront_calls_total{operation=\"CreateInvalidation\",outcome=";
    assert_ne!(
        service
            .metric(&format!("{calls}\"no_credentials\"}}"))
            .await,
        0
    );
}

#[tokio::test]
async fn point_14_at_503_the_gauges_show_what_waits() {
    let (aws, signer) = prepared().await;
    let service = without(&aws, &[]).start().await;
    service.knows_the_catalogue().await;
    uploads(&service, &signer, "first").await;
    until("the first", || aws.cloudfront.paths("E1").pop()).await;
    aws.cloudfront.set_unavailable(true);
    uploads(&service, &signer, "a").await;
    let unresolved = "purgefront_unresolved_batches{distribution_id=\"E1\"}";
    eventually!(service.metric(unresolved).await == 1);
    let oldest = "purgefront_oldest_waiting_age_seconds{distribution_id=\"E1\"}";
    eventually!(age(&service, oldest).await.total_cmp(&0.0).is_gt());
    eventually!(
        check(&service, "cloudfront")
            .await
            .contains("CloudFront's API fails")
    );
    let fresh = without(&aws, &[]).start().await;
    eventually!(
        check(&fresh, "catalogue")
            .await
            .contains("CloudFront's API fails")
    );
    let told = check(&fresh, "catalogue").await;
    assert!(!told.contains("cloudfront:ListDistributions"), "{told}");
    aws.cloudfront.set_unavailable(false);
    eventually!(service.metric(unresolved).await == 0);
    assert_eq!(aws.cloudfront.paths("E1"), ["/first", "/a"]);
}

#[tokio::test]
async fn point_14_changes_that_wait_for_details_are_told() {
    let (aws, signer) = prepared().await;
    let service = without(&aws, &[]).start().await;
    service.knows_the_catalogue().await;
    aws.cloudfront.set_unavailable(true);
    uploads(&service, &signer, "a").await;
    eventually!(
        check(&service, "catalogue")
            .await
            .contains("GetDistributionConfig of E1")
    );
    eventually!(
        check(&service, "catalogue")
            .await
            .contains("(1 changes wait")
    );
    let told = check(&service, "catalogue").await;
    assert!(told.contains("CloudFront's API fails"), "{told}");
    aws.cloudfront.set_unavailable(false);
    eventually!(check(&service, "catalogue").await.is_empty());
}

#[tokio::test]
async fn point_14_a_denied_get_invalidation_is_told_with_its_permission() {
    let (aws, signer) = prepared().await;
    aws.cloudfront
        .complete_after(std::time::Duration::from_hours(1));
    aws.cloudfront.deny_polls(true);
    let service = without(&aws, &[]).start().await;
    service.knows_the_catalogue().await;
    uploads(&service, &signer, "a").await;
    eventually!(
        check(&service, "tracking")
            .await
            .contains("grant cloudfront:GetInvalidation")
    );
    let calls = "purgefront_cloudfront_calls_total{operation=\"GetInvalidation\",outcome=";
    assert_ne!(service.metric(&format!("{calls}\"denied\"}}")).await, 0);
}

#[tokio::test]
async fn point_17_settings_about_what_the_account_does_not_have_are_told() {
    let (aws, _) = prepared().await;
    let mut setup = without(&aws, &[]);
    setup.set_env("PURGEFRONT_SERVER_LISTEN", "127.0.0.1:1");
    setup.add_settings(
        "[[ignore]]\nbucket = \"stie\"\nmatch = \"*.map\"\n\
         [[rule]]\nbucket = \"site\"\nmatch = \"a\"\nalso = [\"/b\"]\n\
         [[distribution]]\nid = \"E11\"\n[[distribution]]\nid = \"E1\"\n\
         [[origin]]\ndomain = \"nowhere.example\"\nbucket = \"x\"\n\
         [[api.tokens]]\nname = \"ci\"\ndistributions = [\"E12\"]\n\
         sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n",
    );
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let told = check(&service, "unused_settings").await;
    for part in ["\"stie\"", "\"E11\"", "\"nowhere.example\"", "\"E12\""] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        !told.contains("\"E1\"") && !told.contains("\"site\""),
        "{told}"
    );
    assert!(
        check(&service, "environment")
            .await
            .contains("PURGEFRONT_SERVER__LISTEN")
    );
}

#[tokio::test]
async fn point_18_a_cache_policy_that_is_gone_is_not_told_as_denied() {
    let (aws, signer) = prepared().await;
    let mut site = Distribution::of("E1", "site");
    let mut gone = Behaviour::of("*", "origin-0");
    gone.cache_policy = Some("a-policy-that-is-gone".to_owned());
    site.behaviours = vec![gone];
    aws.cloudfront.put(site);
    let service = without(&aws, &[]).start().await;
    uploads(&service, &signer, "a").await;
    eventually!(
        check(&service, "cache_policies")
            .await
            .contains("NoSuchCachePolicy")
    );
    let told = check(&service, "cache_policies").await;
    assert!(
        !told.contains("denied") && !told.contains("grant"),
        "{told}"
    );
}
