//! A person gives the keys that changed, or a distribution's alias: purgefront finds what is meant.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
    until,
};

async fn post(service: &Service, token: &str, body: &Value) -> (u16, Value) {
    let request = service.client.post(format!("{}/invalidate", service.url));
    let request = request.bearer_auth(token).body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn get(service: &Service, token: &str, path: &str) -> (u16, Value) {
    let request = service.client.get(format!("{}{path}", service.url));
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn path(request: &Value) -> String {
    format!("/requests/{}", request["id"].as_str().unwrap())
}

#[tokio::test]
async fn keys_go_where_their_events_would() {
    let aws = FakeAws::start().await;
    for id in ["E1", "E2"] {
        aws.cloudfront.put(Distribution::of(id, "site"));
    }
    aws.cloudfront.put(Distribution::of("E3", "other"));
    aws.cloudfront.complete_after(Duration::from_millis(1));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let body = json!({"bucket": "site", "keys": ["a b.html", "é", "a b.html"], "reason": "typo"});
    let (status, request) = post(&service, TOKEN, &body).await;
    assert_eq!(status, 202);
    until("both calls", || {
        (aws.cloudfront.calls().len() == 2).then_some(())
    })
    .await;
    for id in ["E1", "E2"] {
        assert_eq!(
            aws.cloudfront.paths(id),
            ["/a%20b.html", "/a+b.html", "/%C3%A9"],
            "{id}"
        );
    }
    eventually!(service.get(&path(&request)).await["state"] == "completed");
    let view = service.get(&path(&request)).await;
    let id = view["invalidations"][0]["id"].as_str().unwrap();
    let one = service.get(&format!("/invalidations/{id}")).await;
    let why = &one["items"][0]["why"][0];
    assert_eq!(
        (&why["kind"], &why["bucket"], &why["key"], &why["reason"]),
        (
            &json!("manual"),
            &json!("site"),
            &json!("a b.html"),
            &json!("typo")
        )
    );
}

#[tokio::test]
async fn an_unknown_bucket_waits_for_a_refresh_and_ends_with_the_reason() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let lists = aws.cloudfront.reads("list");
    let body = json!({"bucket": "nobodys", "keys": ["a"]});
    let (status, request) = post(&service, TOKEN, &body).await;
    assert_eq!(status, 202);
    eventually!(service.get(&path(&request)).await["state"] == "completed");
    assert!(aws.cloudfront.reads("list") > lists);
    let view = service.get(&path(&request)).await;
    assert_eq!(
        view["skipped"],
        json!([{"distribution_id": null, "why": "no distribution has this bucket as an origin"}])
    );
}

#[tokio::test]
async fn keys_of_a_limited_token_reach_only_its_distributions() {
    let aws = FakeAws::start().await;
    for id in ["E1", "E2"] {
        aws.cloudfront.put(Distribution::of(id, "site"));
    }
    aws.cloudfront.put(Distribution::of("E3", "secret"));
    let mut setup = Setup::new(&aws);
    let token = setup.add_token("team", "distributions = [\"E1\"]");
    let stranger = setup.add_token("stranger", "distributions = [\"E2\"]");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let (status, request) = post(&service, &token, &json!({"bucket": "site", "keys": ["a"]})).await;
    assert_eq!(status, 202);
    until("the call", || {
        (!aws.cloudfront.calls().is_empty()).then_some(())
    })
    .await;
    assert_eq!(get(&service, &token, &path(&request)).await.0, 200);
    assert_eq!(get(&service, &stranger, &path(&request)).await.0, 404);
    assert_eq!(get(&service, TOKEN, &path(&request)).await.0, 200);
    // It cannot tell a bucket of others from one of nobody.
    for bucket in ["secret", "nobodys"] {
        let (_, request) = post(&service, &token, &json!({"bucket": bucket, "keys": ["a"]})).await;
        let path = path(&request);
        eventually!(get(&service, &token, &path).await.1["state"] == "completed");
        let (_, view) = get(&service, &token, &path).await;
        let why = "none of the token's distributions has this bucket as an origin";
        assert_eq!(
            view["skipped"],
            json!([{"distribution_id": null, "why": why}])
        );
    }
    let (_, everywhere) = post(&service, TOKEN, &json!({"bucket": "site", "keys": ["b"]})).await;
    assert_eq!(get(&service, &token, &path(&everywhere)).await.0, 404);
    until("both calls", || {
        (!aws.cloudfront.paths("E2").is_empty()).then_some(())
    })
    .await;
    assert_eq!(aws.cloudfront.paths("E2"), ["/b"]);
}

#[tokio::test]
async fn an_alias_finds_its_distribution() {
    let aws = FakeAws::start().await;
    let with = |id: &str, aliases: &[&str]| {
        let mut one = Distribution::of(id, "site");
        one.aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        one
    };
    aws.cloudfront
        .put(with("E1", &["www.Example.com", "*.example.org"]));
    aws.cloudfront.put(with("E2", &["shared.example.com"]));
    aws.cloudfront.put(with("E3", &["shared.example.com"]));
    let mut setup = Setup::new(&aws);
    let token = setup.add_token("team", "distributions = [\"E3\"]");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    for (token, alias, expected) in [
        (TOKEN, "WWW.example.COM", 202),
        (TOKEN, "*.Example.org", 202),
        (TOKEN, "a.example.org", 404),
        (TOKEN, "shared.example.com", 404),
        (TOKEN, "example.com", 404),
        (token.as_str(), "shared.example.com", 202),
        (token.as_str(), "www.example.com", 404),
    ] {
        let (status, answer) =
            post(&service, token, &json!({"alias": alias, "paths": ["/a"]})).await;
        assert_eq!(status, expected, "{alias}: {answer}");
        if status == 404 {
            assert_eq!(
                answer["type"],
                "urn:purgefront:problem:unknown-distribution"
            );
        }
    }
    until("both distributions", || {
        let sent = |id| !aws.cloudfront.paths(id).is_empty();
        (sent("E1") && sent("E3")).then_some(())
    })
    .await;
    assert!(aws.cloudfront.paths("E2").is_empty());
}

#[tokio::test]
async fn a_token_may_be_denied_wildcards() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    let token = setup.add_token("exact", "wildcards = false");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let body = json!({"distribution_id": "E1", "paths": ["/a", "/b/*"], "tags": ["t*"]});
    let (status, problem) = post(&service, &token, &body).await;
    assert_eq!(
        (status, problem["type"].as_str()),
        (422, Some("urn:purgefront:problem:invalid"))
    );
    let detail = "/b/* is a wildcard, and this token may not ask for wildcards";
    assert_eq!(
        problem["errors"],
        json!([{"pointer": "/paths/1", "detail": detail}])
    );
    assert_eq!(post(&service, TOKEN, &body).await.0, 202);
}
