//! A file is uploaded to S3, and CloudFront drops it.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, record, s3_records},
    until,
};

async fn started(aws: &FakeAws, signer: &Signer) -> (Setup, Service) {
    aws.sns.serve(&signer.file_name, signer.certificate());
    let setup = Setup::new(aws);
    let service = setup.start().await;
    (setup, service)
}

#[tokio::test]
async fn an_upload_becomes_an_invalidation_that_says_why() {
    let aws = FakeAws::start().await;
    let mut site = Distribution::of("E1", "site");
    site.root = Some("index.html".to_owned());
    aws.cloudfront.put(site);
    aws.cloudfront.put(Distribution::of("E2", "other"));
    aws.cloudfront.complete_after(Duration::from_millis(1));
    let signer = Signer::new();
    let (_setup, service) = started(&aws, &signer).await;

    let keys = ["a b+c 100% é.html", "index.html", "gone.txt"];
    let events = [
        "ObjectCreated:Put",
        "ObjectCreated:Copy",
        "ObjectRemoved:Delete",
    ];
    let records: Vec<_> = events.into_iter().zip(keys).collect();
    let message = signer.notification(&s3_records("site", &records));
    assert_eq!(service.sns(message.body()).await.status(), 200);

    let expected = [
        "/",
        "/a%20b%2Bc%20100%25%20%C3%A9.html",
        // S3 reads a raw plus as a space.
        "/a+b%2Bc+100%25+%C3%A9.html",
        "/gone.txt",
        "/index.html",
    ];
    let paths = until("the invalidation", || {
        let mut paths = aws.cloudfront.paths("E1");
        paths.sort();
        (paths.len() >= expected.len()).then_some(paths)
    });
    assert_eq!(paths.await, expected);
    assert_eq!(aws.cloudfront.paths("E2"), Vec::<String>::new());

    let list = || service.get("/invalidations?distribution_id=E1");
    eventually!(list().await["invalidations"][0]["cloudfront_id"].is_string());
    let one = &list().await["invalidations"][0];
    assert_eq!(
        (&one["item_count"], &one["change_count"]),
        (&json!(5), &json!(3))
    );
    let by_our_id = service
        .get(&format!("/invalidations/{}", one["id"].as_str().unwrap()))
        .await;
    let theirs = one["cloudfront_id"].as_str().unwrap();
    assert_eq!(
        service.get(&format!("/invalidations/{theirs}")).await["id"],
        one["id"]
    );
    let items = by_our_id["items"].as_array().unwrap();
    let item = items
        .iter()
        .find(|item| item["item"] == "/gone.txt")
        .unwrap();
    assert_eq!(item["why_total"], 1);
    let why = &item["why"][0];
    assert_eq!(why["kind"], "event");
    assert_eq!(
        (&why["bucket"], &why["key"]),
        (&json!("site"), &json!("gone.txt"))
    );
    assert_eq!(why["event"], "ObjectRemoved:Delete");
    assert_eq!(why["message_id"], message.fields["MessageId"]);
    assert!(why["because"].as_str().unwrap().contains("origin-0"));

    let hosts: Vec<_> = aws.hosts().into_iter().collect();
    assert_eq!(
        hosts,
        [
            "cloudfront.amazonaws.com:443",
            "site.s3.us-east-1.amazonaws.com:443",
            "sns.us-east-1.amazonaws.com:443"
        ]
    );
}

#[tokio::test]
async fn all_types_and_both_versions_are_believed_once() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let signer = Signer::new();
    let (_setup, service) = started(&aws, &signer).await;
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let token = "ab".repeat(112);
    for message in [
        signer.notification(&text).with("SignatureVersion", "1"),
        signer
            .notification(&text)
            .with("Subject", "Amazon S3 Notification"),
        signer
            .notification(&text)
            .with("MessageAttributes", json!({"a": {"Type": "String"}})),
        signer.subscription_confirmation(&token),
        signer
            .unsubscribe_confirmation(&token)
            .with("SignatureVersion", "1"),
    ] {
        let body = message.body();
        let first = service.sns(body.clone()).await;
        assert_eq!(first.status(), 200, "{}", first.text().await.unwrap());
        let second = service.sns(body).await;
        assert_eq!(second.status(), 200);
        let outcome: serde_json::Value = second.json().await.unwrap();
        assert_eq!(outcome["outcome"], "duplicate");
    }
    assert_eq!(
        service
            .metric("purgefront_changes_total{kind=\"event\"}")
            .await,
        3
    );
    assert_eq!(aws.sns.fetches(&signer.file_name), 1);
    until("the one item", || {
        (!aws.cloudfront.paths("E1").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_means_nothing_to_us_is_kept_and_spoils_nothing() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let signer = Signer::new();
    let (_setup, service) = started(&aws, &signer).await;
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "site"});
    let mixed = json!({"Records": [
        record("ObjectCreated:Put", "site", "%FF"),
        record("ObjectTagging:Put", "site", "tagged"),
        record("s3:ObjectCreated:Put", "site", "good"),
        {"eventVersion": "2.1"},
    ]});
    for text in ["hello", "{}", &test.to_string(), &mixed.to_string()] {
        assert_eq!(
            service.sns(signer.notification(text).body()).await.status(),
            200
        );
    }
    until("the good one", || {
        (aws.cloudfront.paths("E1") == ["/good"]).then_some(())
    })
    .await;
    let records = |outcome: &str| format!("purgefront_records_total{{outcome=\"{outcome}\"}}");
    for (outcome, count) in [("accepted", 1), ("ignored", 1), ("test", 1), ("dead", 4)] {
        assert_eq!(service.metric(&records(outcome)).await, count, "{outcome}");
    }
    eventually!(service.metric("purgefront_dead_letters").await == 4);
}

#[tokio::test]
async fn certificates_are_fetched_once_however_many_wait() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let signer = Signer::new();
    let mut slow = signer.certificate();
    slow.delay = Duration::from_millis(300);
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    aws.sns.serve(&signer.file_name, slow);
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let bodies: Vec<_> = (0..20).map(|_| signer.notification(&text).body()).collect();
    let answers = bodies.into_iter().map(|body| service.sns(body));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(aws.sns.fetches(&signer.file_name), 1);
}
