//! What openapi.yaml says is what the service does.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
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
    for (path, item) in api["paths"].as_object().unwrap() {
        for listener in LISTENERS {
            let base = listener.of(&service);
            let url = format!(
                "{base}{}",
                path.replace("{id}", request["id"].as_str().unwrap())
            );
            let offered = offered(&service, &url).await;
            if !is_at(item, &api, listener) {
                assert_eq!(offered, None, "{path} is not described at {listener:?}");
                continue;
            }
            let methods = operations(item).map(|(method, _)| method.to_uppercase());
            let mut methods: BTreeSet<_> = methods.collect();
            // Whoever answers GET answers HEAD.
            if methods.contains("GET") {
                methods.insert("HEAD".to_owned());
            }
            assert_eq!(offered, Some(methods), "{path}");
            for (method, operation) in operations(item) {
                answers_as_described(&service, method, &url, operation).await;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listener {
    Public,
    Admin,
}

const LISTENERS: [Listener; 2] = [Listener::Public, Listener::Admin];

impl Listener {
    fn of(self, service: &Service) -> &str {
        match self {
            Self::Public => &service.url,
            Self::Admin => &service.admin_url,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Public => "server.listen",
            Self::Admin => "server.admin_listen",
        }
    }
}

/// Whether a path has this listener among its servers.
fn is_at(item: &Value, api: &Value, listener: Listener) -> bool {
    let servers = item.get("servers").unwrap_or(&api["servers"]);
    let mut servers = servers.as_array().unwrap().iter();
    servers.any(|one| {
        one["description"]
            .as_str()
            .unwrap()
            .contains(listener.key())
    })
}

fn operations(item: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = item.as_object().unwrap().iter();
    members
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| *name != "servers")
}

/// The methods that a resource supports, if it is there: what the answer to another one tells.
async fn offered(service: &Service, url: &str) -> Option<BTreeSet<String>> {
    let other = reqwest::Method::from_bytes(b"PATCH").unwrap();
    let answer = service.client.request(other, url).bearer_auth(TOKEN);
    let answer = answer.send().await.unwrap();
    if answer.status() == 404 {
        return None;
    }
    assert_eq!(answer.status(), 405, "{url}");
    let allowed = answer.headers()["allow"].to_str().unwrap().split(',');
    let allowed = allowed.map(|method| method.trim().to_owned()).collect();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "urn:purgefront:problem:method-not-allowed");
    Some(allowed)
}

async fn answers_as_described(service: &Service, method: &str, url: &str, operation: &Value) {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let request = service.client.request(method, url).bearer_auth(TOKEN);
    let answer = request.body("{}").send().await.unwrap();
    let status = answer.status().as_u16().to_string();
    let described: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().collect();
    assert!(
        described.contains(&status),
        "{url} answers {status}, described are {described:?}"
    );
    assert_ne!(status, "405", "{url} does not know its method");
    assert!(answer.headers().contains_key("x-request-id"), "{url}");
    assert!(answer.headers().contains_key("cache-control"), "{url}");
}

#[test]
fn every_route_is_described() {
    let api = described();
    let described = api["paths"].as_object().unwrap();
    let routes = include_str!("../src/http/mod.rs").split(".route(").skip(1);
    let literals = routes.filter_map(|route| {
        let literal = route.trim_start().strip_prefix('"')?;
        Some(literal.split('"').next().unwrap())
    });
    let literals: Vec<_> = literals.collect();
    assert!(literals.len() > 10, "{literals:?}");
    for path in literals {
        assert!(described.contains_key(path), "{path} is not described");
    }
}

/// Every member that the service shows stands in the schema, and the other way round.
fn compare(shown: &Value, schema: &Value, api: &Value, at: &str) {
    let schemas = parts(schema, api);
    if let Some(shown) = shown.as_object() {
        let properties = schemas
            .iter()
            .filter_map(|one| one["properties"].as_object());
        let properties: Vec<_> = properties.flatten().collect();
        for (name, value) in shown.iter().filter(|_| !properties.is_empty()) {
            let property = properties.iter().find(|(known, _)| *known == name);
            let (_, property) = property.unwrap_or_else(|| panic!("{at}/{name} is not described"));
            compare(value, property, api, &format!("{at}/{name}"));
        }
        let required = schemas.iter().filter_map(|one| one["required"].as_array());
        for name in required.flatten() {
            let name = name.as_str().unwrap();
            assert!(
                shown.contains_key(name),
                "{at}/{name} is required and not there"
            );
        }
    }
    for one in shown.as_array().into_iter().flatten() {
        let items = schemas.iter().find_map(|schema| schema.get("items"));
        compare(one, items.unwrap(), api, at);
    }
}

/// A schema and all that it consists of.
fn parts<'a>(schema: &'a Value, api: &'a Value) -> Vec<&'a Value> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => api.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    };
    let others = schema["allOf"].as_array().into_iter().flatten();
    let others = others.flat_map(|one| parts(one, api));
    others.chain([schema]).collect()
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
    let hold = service.client.post(format!("{}/holds", service.url));
    let hold = hold
        .bearer_auth(TOKEN)
        .body(r#"{"bucket": "site", "ttl": 60}"#);
    let hold: Value = hold.send().await.unwrap().json().await.unwrap();
    compare(&hold, schema("Hold"), &api, "hold");
    let holds = service.get("/holds").await;
    compare(&holds, schema("HoldList"), &api, "holds");
    let problem: Value = service.invalidate("E1", &["a"]).await.json().await.unwrap();
    compare(&problem, schema("Problem"), &api, "problem");
    compare(
        &service.ready().await.1,
        schema("Readiness"),
        &api,
        "readiness",
    );
}
