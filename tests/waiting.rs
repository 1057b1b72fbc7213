//! `GET /requests/{id}?wait=`: the answer comes when the request has settled, and says what holds it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
};

async fn start(change: impl FnOnce(&mut Setup)) -> (FakeAws, Service) {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.complete_after(Duration::from_millis(1));
    let mut setup = Setup::new(&aws);
    change(&mut setup);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    (aws, service)
}

async fn pause(service: &Service, verb: &str) {
    let request = service.client.post(format!("{}/{verb}", service.admin_url));
    let body = json!({"distribution_id": "E1"}).to_string();
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    let state = if verb == "pause" { "warn" } else { "ok" };
    eventually!(service.ready().await.1["checks"]["paused"]["state"] == state);
}

async fn ask(service: &Service) -> Value {
    service
        .invalidate("E1", &["/a"])
        .await
        .json()
        .await
        .unwrap()
}

fn path(request: &Value, wait: &str) -> String {
    format!("/requests/{}?wait={wait}", request["id"].as_str().unwrap())
}

/// Waits in the background, from when there is a place for it.
fn wait(service: &Service, request: &Value) -> tokio::task::JoinHandle<(u16, Value)> {
    let url = format!("{}{}", service.url, path(request, "50"));
    let request = service.client.get(url).bearer_auth(TOKEN);
    tokio::spawn(async move {
        loop {
            let answer = request.try_clone().unwrap().send().await.unwrap();
            let status = answer.status().as_u16();
            if status != 429 {
                return (status, answer.json().await.unwrap());
            }
        }
    })
}

#[tokio::test]
async fn the_answer_comes_when_the_request_has_settled() {
    let (_aws, service) = start(|_| {}).await;
    let request = ask(&service).await;
    let view = service.get(&path(&request, "50")).await;
    assert_eq!(view["state"], "completed");
    assert_eq!(view["held_by"], json!([]));
    // It is settled: nobody waits.
    assert_eq!(
        service.get(&path(&request, "50")).await["state"],
        "completed"
    );
}

#[tokio::test]
async fn a_held_request_says_why_and_is_answered_when_the_time_is_up() {
    let (_aws, service) = start(|_| {}).await;
    pause(&service, "pause").await;
    let request = ask(&service).await;
    let view = service.get(&path(&request, "1")).await;
    assert_eq!(view["state"], "accepted");
    let held = &view["held_by"][0];
    assert_eq!(
        (&held["distribution_id"], &held["hold"]),
        (&json!("E1"), &json!("paused"))
    );
    assert!(
        held["detail"]
            .as_str()
            .unwrap()
            .contains("purgefront resume E1")
    );
    let waiting = wait(&service, &request);
    pause(&service, "resume").await;
    let (status, view) = waiting.await.unwrap();
    assert_eq!((status, &view["state"]), (200, &json!("completed")));
    assert_eq!(view["held_by"], json!([]));
}

#[tokio::test]
async fn a_refused_request_says_what_cloudfront_said_and_what_helps() {
    let (aws, service) = start(|_| {}).await;
    let denied = std::iter::repeat_n(crate::support::cloudfront::Fault::AccessDenied, 100);
    aws.cloudfront.fail_next(denied);
    let request = ask(&service).await;
    let held = || async { service.get(&path(&request, "0")).await["held_by"][0].clone() };
    eventually!(held().await["hold"] == "refused");
    let held = held().await;
    let detail = held["detail"].as_str().unwrap();
    assert!(detail.contains("cloudfront:CreateInvalidation"), "{detail}");
    assert!(held["retry_at"].is_string());
}

#[tokio::test]
async fn waiters_are_bounded_and_take_no_place_of_others() {
    let (_aws, service) =
        start(|setup| setup.set_env("PURGEFRONT_SERVER__MAX_REQUESTS", "8")).await;
    pause(&service, "pause").await;
    let request = ask(&service).await;
    // A quarter of 8 may wait.
    let waiting = [wait(&service, &request), wait(&service, &request)];
    let full = || async { service.get_as(TOKEN, &path(&request, "1")).await };
    eventually!(full().await.0 == 429);
    let (_, problem) = full().await;
    assert_eq!(problem["type"], "urn:purgefront:problem:too-many-waiting");
    let url = format!("{}{}", service.url, path(&request, "1"));
    let answer = service.client.get(url).bearer_auth(TOKEN).send().await;
    assert_eq!(answer.unwrap().headers()["retry-after"], "10");
    for _ in 0..20 {
        assert_eq!(service.get_as(TOKEN, &path(&request, "0")).await.0, 200);
    }
    // Whoever hangs up leaves a place.
    for one in &waiting {
        one.abort();
    }
    eventually!(full().await.0 == 200);
}

#[tokio::test]
async fn a_stop_is_not_delayed_by_who_waits() {
    let (_aws, service) =
        start(|setup| setup.set_env("PURGEFRONT_SERVER__MAX_REQUESTS", "4")).await;
    pause(&service, "pause").await;
    let request = ask(&service).await;
    let waiting = wait(&service, &request);
    // It has the only place of those that wait.
    eventually!(service.get_as(TOKEN, &path(&request, "1")).await.0 == 429);
    let ended = service.terminate().await;
    assert!(ended.success());
    let (status, view) = waiting.await.unwrap();
    assert_eq!((status, &view["state"]), (200, &json!("accepted")));
}

#[tokio::test]
async fn a_wait_is_a_number_of_seconds_and_unknown_requests_are_not_waited_for() {
    let (_aws, service) = start(|_| {}).await;
    let request = ask(&service).await;
    for wrong in ["51", "-1", "x", "1.5", ""] {
        let (status, problem) = service.get_as(TOKEN, &path(&request, wrong)).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("wait")),
            "{wrong}"
        );
    }
    for id in ["0198a5b0-0000-7000-8000-000000000001", "x"] {
        let (status, _) = service
            .get_as(TOKEN, &format!("/requests/{id}?wait=50"))
            .await;
        assert_eq!(status, 404);
    }
}
