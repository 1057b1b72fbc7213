//! A person looks at what a request would send before sending it.

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
};

async fn post(service: &Service, body: &Value) -> (u16, Value) {
    let request = service.client.post(format!("{}/invalidate", service.url));
    let request = request.bearer_auth(TOKEN).header("Idempotency-Key", "k");
    let answer = request.body(body.to_string()).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_plan_does_and_sends_and_keeps_nothing() {
    let aws = FakeAws::start().await;
    let mut one = Distribution::of("E1", "site");
    one.root = Some("index.html".to_owned());
    aws.cloudfront.put(one);
    aws.cloudfront.put(Distribution::of("E2", "site"));
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    // No change has needed the root object yet: it is read for this.
    let keys = json!({"bucket": "site", "keys": ["index.html", "a b"], "dry_run": true});
    let (status, shown) = post(&service, &keys).await;
    assert_eq!(status, 200, "{shown}");
    let planned = |arguments: &[&str]| -> Value {
        let (code, json, complaint) = setup.run(arguments);
        assert_eq!(code, Some(0), "{complaint}");
        serde_json::from_str(&json).unwrap()
    };
    let plan = planned(&["plan", "--json", "--bucket", "site", "index.html", "a b"]);
    assert_eq!(shown, plan);
    assert_eq!(shown["distributions"][0]["items"][0]["item"], "/");
    assert_eq!(
        (&shown["paths"], &shown["evictions"], &shown["price_usd"]),
        (&json!(7), &json!(0), &json!(0.035))
    );

    let paths = json!({"distribution_id": "E1", "paths": ["/x", "/y/*", "/y/z"], "dry_run": true});
    let (status, shown) = post(&service, &paths).await;
    assert_eq!(status, 200);
    let plan = [
        "plan",
        "--json",
        "--distribution",
        "E1",
        "--paths",
        "/x",
        "/y/*",
        "/y/z",
    ];
    assert_eq!(shown, planned(&plan));
    let (status, shown) = post(
        &service,
        &json!({"bucket": "no", "keys": ["a"], "dry_run": true}),
    )
    .await;
    assert_eq!((status, &shown["distributions"]), (200, &json!([])));

    let kept = service.get("/invalidations").await;
    assert_eq!(kept["invalidations"], json!([]));
    // The key is free: a dry run is no request.
    let real = json!({"distribution_id": "E1", "paths": ["/real"]});
    assert_eq!(post(&service, &real).await.0, 202);
    crate::support::until("the call", || {
        (!aws.cloudfront.calls().is_empty()).then_some(())
    })
    .await;
    assert_eq!(aws.cloudfront.paths("E1"), ["/real"]);
}

#[tokio::test]
async fn a_dry_run_is_refused_as_the_request_would_be() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    for (body, expected) in [
        (
            json!({"distribution_id": "E9", "paths": ["/a"], "dry_run": true}),
            404,
        ),
        (
            json!({"distribution_id": "E1", "paths": ["a"], "dry_run": true}),
            422,
        ),
        (
            json!({"distribution_id": "E1", "paths": ["/a"], "dry_run": "yes"}),
            422,
        ),
    ] {
        assert_eq!(post(&service, &body).await.0, expected, "{body}");
    }
}
