//! A person asks for an invalidation with curl, and follows it to its end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
    until,
};

async fn post(service: &Service, token: &str, body: &str) -> (u16, Value) {
    let request = service
        .client
        .post(format!("{}/invalidate", service.url))
        .bearer_auth(token);
    // As curl -d does.
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(body.to_owned()).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_request_goes_out_as_given_and_is_followed_to_completed() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.complete_after(Duration::from_millis(1));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let body = json!({
        "distribution_id": "E1",
        "paths": ["/b/*", "/a%20b", "/a%20b", "/b/c", "/q?x=1"],
        "reason": "wrong \"price\"",
    });
    let (status, request) = post(&service, TOKEN, &body.to_string()).await;
    assert_eq!((status, &request["state"]), (202, &json!("accepted")));
    until("the call", || {
        (!aws.cloudfront.calls().is_empty()).then_some(())
    })
    .await;
    assert_eq!(aws.cloudfront.paths("E1"), ["/b/*", "/a%20b", "/q?x=1"]);

    let path = format!("/requests/{}", request["id"].as_str().unwrap());
    eventually!(service.get(&path).await["state"] == "completed");
    let view = service.get(&path).await;
    assert_eq!(view["created_at"], request["created_at"]);
    let invalidation = &view["invalidations"][0];
    assert_eq!(invalidation["status"], "completed");
    let id = invalidation["id"].as_str().unwrap();
    let one = service.get(&format!("/invalidations/{id}")).await;
    let wildcard = &one["items"][0];
    assert_eq!(
        (&wildcard["item"], &wildcard["why_total"]),
        (&json!("/b/*"), &json!(2))
    );
    let why = &wildcard["why"][0];
    assert_eq!(why["kind"], "manual");
    assert_eq!(why["request_id"], request["id"]);
    assert_eq!(why["reason"], "wrong \"price\"");
    assert_eq!(why["token"], "PURGEFRONT_API_TOKEN");
    assert!(one["completed_at"].is_string());
}

#[tokio::test]
async fn bad_requests_are_told_all_that_is_wrong() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let slug = |problem: &Value| problem["type"].as_str().unwrap().to_owned();

    let (status, problem) = post(&service, TOKEN, "distribution_id=E1").await;
    assert_eq!(
        (status, slug(&problem).as_str()),
        (400, "urn:purgefront:problem:not-json")
    );
    let body =
        json!({"distribution_id": "E1", "paths": ["a", "/~", "/ok", "/é"], "tags": ["x", "y,z"]});
    let (status, problem) = post(&service, TOKEN, &body.to_string()).await;
    assert_eq!(
        (status, slug(&problem).as_str()),
        (422, "urn:purgefront:problem:invalid")
    );
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].clone())
        .collect();
    assert_eq!(pointers, ["/paths/0", "/paths/1", "/paths/3", "/tags/1"]);
    let body = json!({"distribution_id": "E9", "paths": ["/a"]}).to_string();
    let lists = aws.cloudfront.reads("list");
    let (status, problem) = post(&service, TOKEN, &body).await;
    assert_eq!(
        (status, slug(&problem).as_str()),
        (404, "urn:purgefront:problem:unknown-distribution")
    );
    until("a refresh behind it", || {
        (aws.cloudfront.reads("list") > lists).then_some(())
    })
    .await;
    let (status, problem) = post(&service, "not the token at all", &body).await;
    assert_eq!(
        (status, slug(&problem).as_str()),
        (401, "urn:purgefront:problem:wrong-token")
    );
    let (status, _) = post(&service, TOKEN, &" ".repeat(1024 * 1024 + 1)).await;
    assert_eq!(status, 413);
    for path in ["/invalidations", "/invalidations/x", "/requests/x"] {
        let response = service
            .client
            .get(format!("{}{path}", service.url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    assert_eq!(service.get("/requests/x").await["status"], 404);
    assert_eq!(service.get("/invalidations/x").await["status"], 404);
    assert_eq!(
        service.get("/invalidations?status=lost").await["status"],
        422
    );
    assert_eq!(service.get("/invalidations?limit=0").await["status"], 422);
    assert_eq!(
        service.get("/invalidations?colour=red").await["status"],
        422
    );
    assert!(aws.cloudfront.calls().is_empty());
}

#[tokio::test]
async fn without_a_token_nobody_may() {
    let aws = FakeAws::start().await;
    let mut setup = Setup::new(&aws);
    setup.forget_token();
    let service = setup.start().await;
    let (status, problem) = post(&service, TOKEN, "{}").await;
    assert_eq!(status, 401);
    assert_eq!(
        problem["type"],
        "urn:purgefront:problem:no-tokens-configured"
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    for at in 1..=5 {
        service.invalidate("E1", &[&format!("/{at}")]).await;
        until("the call", || {
            (aws.cloudfront.calls().len() == at).then_some(())
        })
        .await;
    }
    let mut ids = Vec::new();
    let mut path = "/invalidations?limit=2".to_owned();
    loop {
        let page = service.get(&path).await;
        ids.extend(
            page["invalidations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].to_string()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/invalidations?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 5);
    ids.dedup();
    assert_eq!(ids.len(), 5);
    assert_eq!(
        service.get("/invalidations?distribution_id=E2").await["invalidations"],
        json!([])
    );
}
