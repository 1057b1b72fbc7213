//! What became of an object's changes, from the upload to its end: `GET /changes`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
    signer::{Signer, s3_records},
    world::World,
};

async fn changes(service: &Service, key: &str) -> Vec<Value> {
    let page = service
        .get(&format!("/changes?bucket=site&key={key}"))
        .await;
    page["changes"].as_array().unwrap().clone()
}

async fn upload(service: &Service, signer: &Signer, bucket: &str, keys: &[&str]) {
    let records: Vec<_> = keys.iter().map(|key| ("ObjectCreated:Put", *key)).collect();
    let message = signer.notification(&s3_records(bucket, &records)).body();
    assert_eq!(service.sns(message).await.status(), 200);
}

#[tokio::test]
async fn a_change_is_told_from_the_upload_to_its_completion() {
    let world = World::start().await;
    let (service, aws) = (&world.service, &world.aws);
    aws.cloudfront.complete_after(Duration::from_millis(1));
    service.knows_the_catalogue().await;
    upload(service, &world.signer, "site", &["a b.html"]).await;
    eventually!(changes(service, "a+b.html").await[0]["state"] == "completed");
    let change = changes(service, "a%20b.html").await.remove(0);
    for (member, expected) in [
        ("kind", "event"),
        ("bucket", "site"),
        ("key", "a b.html"),
        ("event", "ObjectCreated:Put"),
        ("sequencer", "006976B8A6AECEE0CB"),
        ("time", "2026-11-23T10:00:00Z"),
    ] {
        assert_eq!(change[member], expected, "{member}");
    }
    assert_eq!(
        (&change["held_by"], &change["skipped"]),
        (&json!([]), &json!([]))
    );
    let targets = change["targets"].as_array().unwrap();
    let items: Vec<_> = targets.iter().map(|one| &one["item"]).collect();
    assert_eq!(items, ["/a%20b.html", "/a+b.html"]);
    for target in targets {
        assert_eq!(target["distribution_id"], "E1");
        assert_eq!(target["state"], "completed");
        assert!(target["completed_at"].is_string() && target["because"].is_string());
        let id = target["invalidation_id"].as_str().unwrap();
        let invalidation = service.get(&format!("/invalidations/{id}")).await;
        assert_eq!(invalidation["cloudfront_id"], target["cloudfront_id"]);
        assert_eq!(
            invalidation["items"][0]["why"][0]["message_id"],
            change["message_id"]
        );
    }
    // Another key, and another spelling of this one, are other objects.
    assert!(changes(service, "a").await.is_empty());
    assert!(changes(service, "a%2Bb.html").await.is_empty());
}

#[tokio::test]
async fn a_key_that_no_distribution_has_ends_with_the_reason() {
    let world = World::start().await;
    let service = &world.service;
    service.knows_the_catalogue().await;
    upload(service, &world.signer, "nobodys", &["a"]).await;
    let path = "/changes?bucket=nobodys&key=a";
    eventually!(service.get(path).await["changes"][0]["state"] == "skipped");
    let change = service.get(path).await["changes"][0].clone();
    assert_eq!(change["targets"], json!([]));
    assert_eq!(
        change["skipped"],
        json!([{"distribution_id": null, "why": "no distribution has this bucket as an origin"}])
    );
}

#[tokio::test]
async fn the_story_goes_on_where_a_batch_was_replaced() {
    let world = World::start().await;
    let (service, aws) = (&world.service, &world.aws);
    aws.cloudfront.complete_after(Duration::from_millis(1));
    aws.cloudfront.refuse_path("/bad");
    service.knows_the_catalogue().await;
    upload(service, &world.signer, "site", &["good", "bad"]).await;
    eventually!(changes(service, "bad").await[0]["state"] == "failed");
    eventually!(changes(service, "good").await[0]["state"] == "completed");
    let bad = changes(service, "bad").await[0]["targets"][0].clone();
    assert_eq!(bad["state"], "dead_letter");
    assert!(bad["dead_letter"]["why"].is_string() && bad["dead_letter"]["id"].is_number());
    let good = changes(service, "good").await[0]["targets"][0].clone();
    let replaced = service.get("/invalidations?status=replaced").await["invalidations"][0].clone();
    let parts = replaced["replaced_by"].as_array().unwrap();
    for end in [&bad, &good] {
        assert!(parts.contains(&end["invalidation_id"]), "{parts:?}: {end}");
    }
    let letter = &bad["dead_letter"]["id"];
    let drop = format!("{}/deadletters/{letter}", service.admin_url);
    let dropped = service.client.delete(drop).send().await.unwrap();
    assert!(dropped.status().is_success());
    let bad = changes(service, "bad").await[0]["targets"][0].clone();
    assert_eq!(
        (&bad["state"], &bad["dead_letter"]),
        (&json!("failed"), &Value::Null)
    );
    assert!(
        bad["failure"]
            .as_str()
            .unwrap()
            .ends_with("its dead letter was dropped")
    );
}

#[tokio::test]
async fn a_held_change_says_what_holds_it() {
    let world = World::start().await;
    let service = &world.service;
    service.knows_the_catalogue().await;
    let pause = service.client.post(format!("{}/pause", service.admin_url));
    let pause = pause.body(json!({"distribution_id": "E1"}).to_string());
    assert_eq!(pause.send().await.unwrap().status(), 200);
    upload(service, &world.signer, "site", &["a"]).await;
    let held = || async {
        let change = changes(service, "a").await.remove(0);
        assert!(["accepted", "waiting"].contains(&change["state"].as_str().unwrap()));
        change["targets"][0]["held_by"][0].clone()
    };
    eventually!(held().await["hold"] == "paused");
    let held = held().await;
    assert_eq!(held["distribution_id"], "E1");
    assert!(
        held["detail"]
            .as_str()
            .unwrap()
            .contains("purgefront resume E1")
    );
}

#[tokio::test]
async fn a_change_waits_visibly_for_the_catalogue() {
    let aws = FakeAws::start().await;
    aws.cloudfront.set_unavailable(true);
    let world = World::start_in(aws, &[]).await;
    upload(&world.service, &world.signer, "site", &["a"]).await;
    let change = changes(&world.service, "a").await.remove(0);
    assert_eq!(change["state"], "accepted");
    let held = &change["held_by"][0];
    assert_eq!(
        (&held["hold"], &held["distribution_id"]),
        (&json!("catalogue"), &Value::Null)
    );
}

#[tokio::test]
async fn a_limited_token_sees_only_what_concerns_its_distributions() {
    let aws = FakeAws::start().await;
    for id in ["E1", "E2"] {
        aws.cloudfront.put(Distribution::of(id, "site"));
    }
    aws.cloudfront.put(Distribution::of("E3", "secret"));
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let mut setup = Setup::new(&aws);
    setup.add_settings("[[ignore]]\nbucket = \"secret\"\nmatch = \"ignored\"\n");
    setup.add_settings("[[ignore]]\nbucket = \"site\"\nmatch = \"ignored\"\n");
    let team = setup.add_token("team", "distributions = [\"E1\"]");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    for bucket in ["site", "secret", "nobodys"] {
        upload(&service, &signer, bucket, &["a", "ignored"]).await;
    }
    let get = async |token: &str, bucket: &str, key: &str| {
        let path = format!("/changes?bucket={bucket}&key={key}");
        let (status, page) = service.get_as(token, &path).await;
        assert_eq!(status, 200, "{page}");
        assert_eq!(page["next_cursor"], Value::Null);
        page["changes"].as_array().unwrap().clone()
    };
    for (bucket, key) in [("secret", "ignored"), ("nobodys", "a")] {
        eventually!(get(TOKEN, bucket, key).await[0]["state"] == "skipped");
    }
    let ids = |change: &Value| -> Vec<String> {
        let targets = change["targets"].as_array().unwrap().iter();
        let ids = targets.map(|one| one["distribution_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    eventually!(get(TOKEN, "site", "a").await[0]["targets"][1].is_object());
    assert_eq!(ids(&get(TOKEN, "site", "a").await[0]), ["E1", "E2"]);
    assert_eq!(ids(&get(&team, "site", "a").await[0]), ["E1"]);
    assert_eq!(get(&team, "site", "ignored").await[0]["state"], "skipped");
    for (bucket, key) in [("secret", "a"), ("secret", "ignored"), ("nobodys", "a")] {
        assert_eq!(get(TOKEN, bucket, key).await.len(), 1, "{bucket}/{key}");
        assert!(get(&team, bucket, key).await.is_empty(), "{bucket}/{key}");
    }
}

/// However many changes concern others alone: the search ends, and goes on with the next page.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_through_what_a_token_may_not_see_has_pages() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.put(Distribution::of("E2", "other"));
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let mut setup = Setup::new(&aws);
    let team = setup.add_token("team", "distributions = [\"E1\"]");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    for _ in 0..3 {
        upload(&service, &signer, "other", &["a"; 400]).await;
    }
    let path = "/changes?bucket=other&key=a";
    let (_, first) = service.get_as(&team, path).await;
    assert_eq!(first["changes"], json!([]));
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = service
        .get_as(&team, &format!("{path}&cursor={cursor}"))
        .await;
    assert_eq!(rest.1, json!({"changes": [], "next_cursor": null}));
    // The client follows it.
    setup.set_env("PURGEFRONT_URL", &service.url);
    setup.set_env("PURGEFRONT_API_TOKEN", &team);
    let (code, _, complaint) = setup.run(&["why", "other", "a"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("No change of this object is known"));
}

#[tokio::test]
async fn what_a_limited_token_may_see_is_unknown_without_the_catalogue() {
    let aws = FakeAws::start().await;
    aws.cloudfront.set_unavailable(true);
    let mut setup = Setup::new(&aws);
    let team = setup.add_token("team", "distributions = [\"E1\"]");
    let service = setup.start().await;
    let path = "/changes?bucket=site&key=a";
    let (status, problem) = service.get_as(&team, path).await;
    assert_eq!(status, 503, "{problem}");
    assert!(problem["type"].as_str().unwrap().ends_with("no-catalogue"));
    assert_eq!(service.get_as(TOKEN, path).await.0, 200);
}

#[tokio::test]
async fn changes_come_in_pages_and_all_faults_are_told() {
    let world = World::start().await;
    let service = &world.service;
    service.knows_the_catalogue().await;
    for _ in 0..3 {
        upload(service, &world.signer, "site", &["a"]).await;
    }
    let first = service.get("/changes?bucket=site&key=a&limit=2").await;
    assert_eq!(first["changes"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/changes?bucket=site&key=a&limit=2&cursor={cursor}");
    let rest = service.get(&path).await;
    assert_eq!(rest["changes"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], Value::Null);
    let (status, problem) = service.get_as(TOKEN, "/changes?bucket=&limit=0&x=1").await;
    assert_eq!(status, 422);
    let faults = problem["errors"].as_array().unwrap().iter();
    let pointers: Vec<_> = faults.map(|fault| &fault["pointer"]).collect();
    assert_eq!(pointers, ["bucket", "key", "limit", "x"]);
    let (status, _) = service
        .get_as("no-token", "/changes?bucket=site&key=a")
        .await;
    assert_eq!(status, 401);
}
