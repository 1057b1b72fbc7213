//! What openapi.yaml says is what the service does.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Setup, TOKEN},
};

fn described() -> Value {
    serde_saphyr::from_str(include_str!("../openapi.yaml")).unwrap()
}

#[tokio::test]
async fn every_described_operation_is_there_and_answers_as_described() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let served = service
        .client
        .get(format!("{}/openapi.yaml", service.url))
        .send()
        .await
        .unwrap();
    assert_eq!(
        served.text().await.unwrap(),
        include_str!("../openapi.yaml")
    );
    let request: Value = service
        .invalidate("E1", &["/a"])
        .await
        .json()
        .await
        .unwrap();

    let api = described();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let listener = operation["x-listener"].as_str().unwrap_or("public");
            let base = if listener == "admin" {
                &service.admin_url
            } else {
                &service.url
            };
            let id = request["id"].as_str().unwrap();
            let url = format!("{base}{}", path.replace("{id}", id));
            let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let request = service.client.request(method, &url).bearer_auth(TOKEN);
            let answer = request.body("{}").send().await.unwrap();
            let status = answer.status().as_u16().to_string();
            let described: BTreeSet<_> =
                operation["responses"].as_object().unwrap().keys().collect();
            assert!(
                described.contains(&status),
                "{path} answers {status}, described are {described:?}"
            );
            assert_ne!(status, "405", "{path} does not know its method");
        }
    }
}

/// Every member that the service shows stands in the schema, and the other way round.
fn compare(shown: &Value, schema: &Value, api: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => api.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    };
    if let (Some(shown), Some(properties)) = (shown.as_object(), schema["properties"].as_object()) {
        for (name, value) in shown {
            let property = properties.get(name);
            let property = property.unwrap_or_else(|| panic!("{at}/{name} is not described"));
            compare(value, property, api, &format!("{at}/{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            assert!(
                shown.contains_key(name),
                "{at}/{name} is required and not there"
            );
        }
    }
    if let Some(list) = shown.as_array() {
        for one in list {
            compare(one, &schema["items"], api, at);
        }
    }
}

#[tokio::test]
async fn bodies_have_the_described_members() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let api = described();
    let schema = |name: &str| &api["components"]["schemas"][name];
    let request: Value = service
        .invalidate("E1", &["/a"])
        .await
        .json()
        .await
        .unwrap();
    compare(&request, schema("Request"), &api, "request");
    crate::support::until("the call", || {
        (!aws.cloudfront.calls().is_empty()).then_some(())
    })
    .await;
    let id = request["id"].as_str().unwrap();
    compare(
        &service.get(&format!("/requests/{id}")).await,
        schema("Request"),
        &api,
        "request",
    );
    let page = service.get("/invalidations").await;
    compare(&page, schema("InvalidationPage"), &api, "page");
    let id = page["invalidations"][0]["id"].as_str().unwrap();
    let one = service.get(&format!("/invalidations/{id}")).await;
    compare(&one, schema("InvalidationDetail"), &api, "invalidation");
    let asked = r#"{"bucket": "site", "keys": ["a b"]}"#;
    let asked = service
        .client
        .post(format!("{}/invalidate", service.url))
        .body(asked);
    asked.bearer_auth(TOKEN).send().await.unwrap();
    let page = service.get("/changes?bucket=site&key=a+b").await;
    assert_eq!(page["changes"].as_array().map(Vec::len), Some(1));
    compare(&page, schema("ChangePage"), &api, "changes");
    let page = service.get("/distributions").await;
    compare(&page, schema("DistributionPage"), &api, "distributions");
    let keys = r#"{"bucket": "site", "keys": ["a b"], "dry_run": true}"#;
    let dry_run = service.client.post(format!("{}/invalidate", service.url));
    let dry_run = dry_run.bearer_auth(TOKEN).body(keys).send().await.unwrap();
    let preview: Value = dry_run.json().await.unwrap();
    compare(&preview, schema("Preview"), &api, "preview");
    let problem: Value = service.invalidate("E1", &["a"]).await.json().await.unwrap();
    compare(&problem, schema("Problem"), &api, "problem");
    compare(
        &service.ready().await.1,
        schema("Readiness"),
        &api,
        "readiness",
    );
}
