//! Tokens of the API: made, shown, limited, and counted where they are wrong.

use serde_json::{Value, json};

use crate::support::{
    Patience,
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup, TOKEN},
};

async fn get(service: &Service, token: &str, path: &str) -> (u16, Value) {
    let request = service
        .client
        .get(format!("{}{path}", service.url))
        .bearer_auth(token);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn invalidate(service: &Service, token: &str, id: &str) -> (u16, Value) {
    let body = json!({"distribution_id": id, "paths": ["/a"]}).to_string();
    let request = service.client.post(format!("{}/invalidate", service.url));
    let answer = request.bearer_auth(token).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Makes a token by the command, and returns it with its table.
fn made(setup: &Setup, arguments: &[&str]) -> (String, String) {
    let words: Vec<_> = ["token"].iter().chain(arguments).copied().collect();
    let (code, said, _) = setup.run(&words);
    assert_eq!(code, Some(0));
    let token = said
        .lines()
        .find(|line| line.starts_with("pf_"))
        .unwrap()
        .to_owned();
    let (_, table) = said.split_once("[[api.tokens]]").unwrap();
    assert!(
        !table.contains(&token),
        "the configuration has only the hash"
    );
    (token, format!("[[api.tokens]]{table}\n"))
}

/// A service in front of two distributions, with two made tokens: one for the first alone, and
/// one for all.
async fn started() -> (FakeAws, Service, String, String) {
    let aws = FakeAws::start().await;
    for id in ["E1", "E2"] {
        aws.cloudfront.put(Distribution::of(id, "site"));
    }
    let mut setup = Setup::new(&aws);
    let (limited, table) = made(&setup, &["--name", "team \"one\"", "--distribution", "E1"]);
    let (all, other_table) = made(&setup, &["--name", "all"]);
    assert_ne!(limited, all);
    setup.set_settings(&format!(
        "[batching]\nquiet = \"50ms\"\n{table}{other_table}"
    ));
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    (aws, service, limited, all)
}

/// Waits until both distributions have an invalidation, and returns them as the list shows them.
async fn both_invalidations(service: &Service) -> Vec<Value> {
    let patience = Patience::new();
    loop {
        let (_, list) = get(service, TOKEN, "/invalidations").await;
        let all = list["invalidations"].as_array().unwrap();
        if all.len() == 2 && all.iter().all(|one| one["cloudfront_id"].is_string()) {
            return all.clone();
        }
        patience.pause("both invalidations").await;
    }
}

#[tokio::test]
async fn a_token_sees_and_does_only_what_its_distributions_are() {
    let (aws, service, limited, all) = started().await;
    let (status, mine) = invalidate(&service, &limited, "E1").await;
    assert_eq!(status, 202);
    let lists = aws.cloudfront.reads("list");
    for unseen in ["E2", "E9"] {
        let (status, problem) = invalidate(&service, &limited, unseen).await;
        assert_eq!(
            (status, problem["type"].as_str().unwrap()),
            (404, "urn:purgefront:problem:unknown-distribution"),
            "{unseen}"
        );
    }
    assert_eq!(
        aws.cloudfront.reads("list"),
        lists,
        "they cannot make it ask"
    );
    let (_, theirs) = invalidate(&service, &all, "E2").await;
    let path = |request: &Value| format!("/requests/{}", request["id"].as_str().unwrap());
    assert_eq!(get(&service, &limited, &path(&mine)).await.0, 200);
    assert_eq!(get(&service, &limited, &path(&theirs)).await.0, 404);
    assert_eq!(get(&service, &all, &path(&theirs)).await.0, 200);

    for one in both_invalidations(&service).await {
        let is_mine = one["distribution_id"] == "E1";
        let expected = if is_mine { 200 } else { 404 };
        for id in [&one["id"], &one["cloudfront_id"]] {
            let path = format!("/invalidations/{}", id.as_str().unwrap());
            assert_eq!(get(&service, &limited, &path).await.0, expected);
        }
    }
    for (query, count) in [
        ("", 1),
        ("?distribution_id=E1", 1),
        ("?distribution_id=E2", 0),
    ] {
        let (_, list) = get(&service, &limited, &format!("/invalidations{query}")).await;
        let shown = list["invalidations"].as_array().unwrap();
        assert_eq!(shown.len(), count, "{query}");
    }
    let logs = service.log_text();
    assert!(!logs.contains(&limited) && !logs.contains(&all));
}

#[tokio::test]
async fn who_has_no_token_or_a_wrong_one_is_counted() {
    let (_aws, service, limited, all) = started().await;
    for (token, outcome) in [("pf_wrong", "wrong-token"), ("", "no-token")] {
        let counter = format!("purgefront_unauthorized_total{{outcome=\"{outcome}\"}}");
        let before = service.metric(&counter).await;
        let mut request = service.client.get(format!("{}/invalidations", service.url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        assert_eq!(request.send().await.unwrap().status(), 401);
        assert_eq!(service.metric(&counter).await, before + 1, "{outcome}");
    }
    let logs = service.log_text();
    assert!(!logs.contains(&limited) && !logs.contains(&all));
}

#[tokio::test]
async fn operators_work_needs_a_token_that_is_not_limited() {
    let aws = FakeAws::start().await;
    let mut setup = Setup::new(&aws);
    let (limited, table) = made(&setup, &["--distribution", "E1"]);
    setup.set_settings(&table);
    setup.set_env("PURGEFRONT_SERVER__ADMIN_LISTEN", "0.0.0.0:0");
    let service = setup.start().await;
    let url = service.admin_url.replace("0.0.0.0", "127.0.0.1");
    for (token, expected) in [
        (None, 401),
        (Some("wrong"), 401),
        (Some(&*limited), 403),
        (Some(TOKEN), 200),
    ] {
        let mut request = service.client.get(format!("{url}/deadletters"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_eq!(
            request.send().await.unwrap().status(),
            expected,
            "{token:?}"
        );
    }
    for open in ["/metrics", "/healthz", "/readyz"] {
        let answer = service
            .client
            .get(format!("{url}{open}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{open}");
    }
}
