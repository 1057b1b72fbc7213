//! What SNS sent and what became of it: refused, at the wrong path, or of no use.

use serde_json::{Value, json};

use super::{check, lines};
use crate::support::{
    distribution::{Behaviour, Distribution},
    signer::{TOPIC, s3_records},
    until,
    world::World,
};

#[tokio::test]
async fn point_15_a_bucket_that_no_distribution_has_is_told() {
    let world = World::start().await;
    let text = s3_records("elsewhere", &[("ObjectCreated:Put", "a")]);
    world.accepts(world.signer.notification(&text).body()).await;
    let skipped = "purgefront_skipped_changes_total{why=\"no_distribution\"}";
    eventually!(world.service.metric(skipped).await == 1);
    eventually!(
        check(&world.service, "unknown_buckets")
            .await
            .contains("\"elsewhere\"")
    );
    let line = "no distribution has this bucket as an origin: its changes invalidate nothing";
    let lines = lines(&world.service, line);
    assert_eq!((lines.len(), &lines[0]["bucket"]), (1, &json!("elsewhere")));
    // Once one has it, all is well.
    world
        .aws
        .cloudfront
        .put(Distribution::of("E9", "elsewhere"));
    let world = world.restarted().await;
    world.service.knows_the_catalogue().await;
    assert_eq!(check(&world.service, "unknown_buckets").await, "");
}

#[tokio::test]
async fn point_15_a_behaviour_that_never_caches_is_counted() {
    let world = World::start().await;
    let mut site = Distribution::of("E9", "uncached");
    let mut never = Behaviour::of("*", "origin-0");
    never.cache_policy = Some("4135ea2d-6df8-44a3-9df3-4b5a84be39ad".to_owned());
    site.behaviours = vec![never];
    world.aws.cloudfront.put(site);
    let text = s3_records("uncached", &[("ObjectCreated:Put", "a")]);
    world.accepts(world.signer.notification(&text).body()).await;
    let skipped = "purgefront_skipped_changes_total{why=\"never_cached\"}";
    eventually!(world.service.metric(skipped).await == 1);
    let line = until("a line", || lines(&world.service, "change skipped").pop()).await;
    assert!(
        line["why"].as_str().unwrap().contains("never caches"),
        "{line}"
    );
}

#[tokio::test]
async fn point_15_a_topic_that_nobody_subscribed_is_told() {
    let world = World::start().await;
    let told = check(&world.service, "subscriptions").await;
    assert!(told.contains(TOPIC) && told.contains("/sns"), "{told}");
    assert_eq!(world.service.ready().await.0, 200);
    world.accepts(world.upload().body()).await;
    assert_eq!(check(&world.service, "subscriptions").await, "");
    let world = world.restarted().await;
    assert_eq!(check(&world.service, "subscriptions").await, "");
}

#[tokio::test]
async fn point_15_permanent_refusals_are_told_with_topic_message_and_sender() {
    let world = World::start().await;
    assert_eq!(check(&world.service, "refused_messages").await, "");
    let request = world
        .service
        .client
        .post(format!("{}/sns", world.service.url));
    let answer = request
        .header("x-amz-sns-rawdelivery", "true")
        .header("x-amz-sns-message-type", "Notification")
        .header("x-amz-sns-topic-arn", TOPIC)
        .header("x-amz-sns-message-id", "the-id\u{9b}")
        .header("x-forwarded-for", "spoofed, 192.0.2.7")
        .body(s3_records("site", &[("ObjectCreated:Put", "a")]))
        .send();
    assert_eq!(answer.await.unwrap().status(), 400);
    let old = world.upload().with("Timestamp", "2020-01-01T00:00:00.000Z");
    world.refuses(old.body(), 403, "too-old").await;
    let told = check(&world.service, "refused_messages").await;
    for part in [
        "raw-delivery: 1",
        "too-old: 1",
        TOPIC,
        "the-id",
        "192.0.2.7",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let refused = lines(&world.service, "message refused");
    let raw = refused
        .iter()
        .find(|line| line["reason"] == "raw-delivery")
        .unwrap();
    assert_eq!(raw["claimed_topic"], TOPIC);
    assert_eq!(raw["sender"], "192.0.2.7");
    assert!(
        raw["claimed_message_id"]
            .as_str()
            .unwrap()
            .starts_with("the-id")
    );
    let direct = refused
        .iter()
        .find(|line| line["reason"] == "too-old")
        .unwrap();
    assert_eq!(direct["sender"], "127.0.0.1");
    // Strangers' junk is none of it.
    world.refuses("junk".to_owned(), 400, "not-json").await;
    assert!(
        !check(&world.service, "refused_messages")
            .await
            .contains("not-json")
    );
}

#[tokio::test]
async fn point_15_messages_at_another_path_are_told_and_a_slash_is_accepted() {
    let world = World::start().await;
    let post = async |path: &str, body: String| {
        let request = world
            .service
            .client
            .post(format!("{}{path}", world.service.url));
        let request = request.header("x-amz-sns-message-type", "SubscriptionConfirmation");
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let token = "ab".repeat(112);
    let confirmation = || world.signer.subscription_confirmation(&token).body();
    let counter = "purgefront_sns_messages_total{outcome=\"wrong-path\"}";
    for (count, path) in [(1, "/"), (2, "/snss"), (3, "/invalidate"), (4, "/healthz")] {
        let (status, problem) = post(path, confirmation()).await;
        assert_eq!(status, 404, "{path}");
        assert_eq!(problem["type"], "urn:purgefront:problem:wrong-path");
        assert!(
            problem["detail"].as_str().unwrap().contains("/sns"),
            "{problem}"
        );
        assert_eq!(world.service.metric(counter).await, count);
    }
    let refused = lines(&world.service, "message refused");
    assert_eq!(
        refused
            .iter()
            .filter(|line| line["reason"] == "wrong-path")
            .count(),
        4
    );
    assert!(
        check(&world.service, "refused_messages")
            .await
            .contains("wrong-path: 4")
    );
    assert!(!world.service.log_text().contains(&token));
    assert!(world.aws.sns.confirmations().is_empty());
    assert_eq!(post("/sns/", confirmation()).await.0, 200);
    until("the confirmation", || world.aws.sns.confirmations().pop()).await;
}
