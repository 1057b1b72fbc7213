//! A script that got no answer repeats its request with the same Idempotency-Key.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
    until,
};

async fn post(service: &Service, key: &str, body: &str) -> (u16, Value) {
    let request = service.client.post(format!("{}/invalidate", service.url));
    let request = request.bearer_auth(TOKEN).header("Idempotency-Key", key);
    let answer = request.body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_repeat_is_the_same_request_also_after_a_restart() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let body = json!({"distribution_id": "E1", "paths": ["/a"]}).to_string();
    let copies = (0..8).map(|_| post(&service, "deploy-1", &body));
    let answers = join_all(copies).await;
    for (status, answer) in &answers {
        assert_eq!((*status, &answer["id"]), (202, &answers[0].1["id"]));
    }
    let other = json!({"distribution_id": "E1", "paths": ["/b"]}).to_string();
    let (status, problem) = post(&service, "deploy-1", &other).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (409, Some("urn:purgefront:problem:idempotency-key-reused"))
    );
    // Its answer is kept: otherwise the call would be repeated after the start.
    let kept = || async { service.get("/invalidations").await["invalidations"][0].clone() };
    eventually!(kept().await["cloudfront_id"].is_string());
    service.kill();
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let (status, again) = post(&service, "deploy-1", &body).await;
    assert_eq!((status, &again["id"]), (202, &answers[0].1["id"]));
    let (status, another) = post(&service, "deploy-2", &body).await;
    assert_eq!(status, 202);
    assert_ne!(another["id"], again["id"]);
    until("both calls", || {
        (aws.cloudfront.calls().len() == 2).then_some(())
    })
    .await;
    assert_eq!(aws.cloudfront.paths("E1"), ["/a", "/a"]);
}

#[tokio::test]
async fn a_malformed_key_is_told_with_the_other_faults() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let body = json!({"distribution_id": "E1", "paths": ["a"]}).to_string();
    let (status, problem) = post(&service, "two words", &body).await;
    assert_eq!(status, 422);
    assert_eq!(problem["errors"][0]["pointer"], "/paths/0");
    assert_eq!(problem["errors"][1]["pointer"], "Idempotency-Key");
}
