//! What is known of the account's distributions, and what happens while it is not.

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

async fn uploads(service: &Service, signer: &Signer, bucket: &str, key: &str) {
    let text = s3_records(bucket, &[("ObjectCreated:Put", key)]);
    assert_eq!(
        service
            .sns(signer.notification(&text).body())
            .await
            .status(),
        200
    );
}

async fn covered(aws: &FakeAws, id: &str, path: &str) {
    let there = || {
        aws.cloudfront
            .paths(id)
            .iter()
            .any(|one| one == path)
            .then_some(())
    };
    until(&format!("{path} at {id}"), there).await;
}

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

#[tokio::test]
async fn changes_wait_in_the_journal_until_the_catalogue_was_read() {
    let (aws, signer, setup) = prepared().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.set_down(true);
    let service = setup.start().await;
    uploads(&service, &signer, "site", "early").await;
    assert_eq!(service.invalidate("E1", &["/a"]).await.status(), 503);
    eventually!(service.ready().await.1["checks"]["catalogue"]["state"] == "warn");
    assert_eq!(service.ready().await.0, 200);
    aws.cloudfront.set_down(false);
    covered(&aws, "E1", "/early").await;
}

#[tokio::test]
async fn a_start_without_cloudfront_works_on_the_kept_catalogue() {
    let (aws, signer, setup) = prepared().await;
    let mut site = Distribution::of("E1", "site");
    site.root = Some("index.html".to_owned());
    aws.cloudfront.put(site);
    let service = setup.start().await;
    uploads(&service, &signer, "site", "first").await;
    covered(&aws, "E1", "/first").await;
    service.kill();

    aws.cloudfront.set_down(true);
    let service = setup.start().await;
    uploads(&service, &signer, "site", "index.html").await;
    assert_eq!(service.invalidate("E1", &["/a"]).await.status(), 202);
    // Mapped, root object and all, though CloudFront cannot be asked.
    let items =
        "purgefront_cloudfront_calls_total{operation=\"CreateInvalidation\",outcome=\"unknown\"}";
    eventually!(service.metric(items).await != 0);
    aws.cloudfront.set_down(false);
    covered(&aws, "E1", "/").await;
    covered(&aws, "E1", "/index.html").await;
    assert_eq!(aws.cloudfront.reads("config E1"), 1, "asked once, and kept");
}

#[tokio::test]
async fn all_pages_are_read_and_only_reached_distributions_are_asked_for_their_root() {
    let (aws, signer, setup) = prepared().await;
    for at in 0..250 {
        aws.cloudfront
            .put(Distribution::of(&format!("E{at}"), &format!("bucket-{at}")));
    }
    let service = setup.start().await;
    for at in [3, 120, 249] {
        uploads(&service, &signer, &format!("bucket-{at}"), "a").await;
        uploads(&service, &signer, &format!("bucket-{at}"), "b").await;
        covered(&aws, &format!("E{at}"), "/b").await;
        assert_eq!(aws.cloudfront.reads(&format!("config E{at}")), 1);
    }
    assert_eq!(aws.cloudfront.reads("list"), 3);
    assert_eq!(aws.cloudfront.reads("config E4"), 0);
}

#[tokio::test]
async fn an_unknown_bucket_is_looked_up_once_and_a_new_distribution_found() {
    let (aws, signer, setup) = prepared().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let lists = aws.cloudfront.reads("list");
    uploads(&service, &signer, "nobodys", "a").await;
    eventually!(
        service
            .events()
            .iter()
            .any(|line| line["message"] == "change skipped")
    );
    // Now that it is known to be nobody's, others of it end without a look.
    uploads(&service, &signer, "nobodys", "b").await;
    uploads(&service, &signer, "site", "c").await;
    covered(&aws, "E1", "/c").await;
    assert_eq!(aws.cloudfront.reads("list"), lists + 1);
    // A bucket that is new to us, behind a distribution that is new as well.
    aws.cloudfront.put(Distribution::of("E2", "new"));
    uploads(&service, &signer, "new", "d").await;
    covered(&aws, "E2", "/d").await;
    assert_eq!(aws.cloudfront.paths("E1"), ["/c"]);
}

#[tokio::test]
async fn where_the_root_object_is_denied_mapping_goes_on_and_readiness_warns() {
    let (aws, signer, setup) = prepared().await;
    let mut site = Distribution::of("E1", "site");
    site.root = Some("index.html".to_owned());
    aws.cloudfront.put(site);
    aws.cloudfront.deny_config(true);
    let service = setup.start().await;
    uploads(&service, &signer, "site", "index.html").await;
    covered(&aws, "E1", "/index.html").await;
    assert_eq!(aws.cloudfront.paths("E1"), ["/index.html"]);
    let check = || async { service.ready().await.1["checks"]["root_objects"].clone() };
    eventually!(check().await["state"] == "warn");
    let check = check().await;
    assert!(
        check["detail"]
            .as_str()
            .unwrap()
            .contains("cloudfront:GetDistributionConfig")
    );
    let list = service.get("/invalidations").await;
    let id = list["invalidations"][0]["id"].as_str().unwrap().to_owned();
    let one = service.get(&format!("/invalidations/{id}")).await;
    assert!(
        one["items"][0]["why"][0]["because"]
            .as_str()
            .unwrap()
            .contains("denied")
    );
}

#[tokio::test]
async fn disabled_distributions_and_keys_outside_are_left_alone() {
    let (aws, signer, setup) = prepared().await;
    let mut disabled = Distribution::of("E1", "site");
    disabled.enabled = false;
    aws.cloudfront.put(disabled);
    let mut prod = Distribution::of("E2", "site");
    prod.origins = vec![(
        "site.s3-website.eu-central-1.amazonaws.com".into(),
        "/prod".into(),
    )];
    aws.cloudfront.put(prod);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    for key in ["production/a", "prod/b"] {
        uploads(&service, &signer, "site", key).await;
    }
    covered(&aws, "E2", "/b").await;
    assert_eq!(aws.cloudfront.paths("E2"), ["/b"]);
    let answer = service.invalidate("E1", &["/a"]).await;
    let request: serde_json::Value = answer.json().await.unwrap();
    let path = format!("/requests/{}", request["id"].as_str().unwrap());
    eventually!(service.get(&path).await["state"] != "accepted");
    let view = service.get(&path).await;
    assert_eq!(view["state"], "completed");
    assert_eq!(view["invalidations"], serde_json::json!([]));
    assert_eq!(view["skipped"][0]["distribution_id"], "E1");
    assert!(
        view["skipped"][0]["why"]
            .as_str()
            .unwrap()
            .contains("disabled")
    );
    assert!(aws.cloudfront.paths("E1").is_empty());
}
