//! Journeys of the issue "What people hit", each named after its point there: what CloudFront's API says
//! of distributions, and what follows from it.

use std::{collections::HashMap, time::Duration};

use purgefront::domain::{
    catalogue::Distribution as Known,
    mapping::{DistributionPolicy, MappingPolicy, Reaction},
};
use serde_json::Value;

use crate::support::{
    account::{Account, Running},
    aws::FakeAws,
    cloudfront::Distribution,
    distribution::Behaviour,
    inside::in_front_of,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

const SECOND: Duration = Duration::from_secs(1);

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

async fn reports(service: &Service, signer: &Signer, event: &str, keys: &[&str]) {
    let records: Vec<_> = keys.iter().map(|key| (event, *key)).collect();
    let text = s3_records("site", &records);
    let answer = service.sns(signer.notification(&text).body()).await;
    assert_eq!(answer.status(), 200);
}

/// Waits for so many paths of a distribution, and returns them sorted.
async fn paths(aws: &FakeAws, id: &str, count: usize) -> Vec<String> {
    let there = || {
        let mut paths = aws.cloudfront.paths(id);
        paths.sort();
        (paths.len() >= count).then_some(paths)
    };
    until(&format!("{count} paths at {id}"), there).await
}

/// What a check of readiness warns of.
async fn warning(service: &Service, check: &str) -> String {
    let check = service.ready().await.1["checks"][check].clone();
    check["detail"].as_str().unwrap_or_default().to_owned()
}

/// The one-page application that most people have.
fn one_page(id: &str) -> Distribution {
    let mut site = Distribution::of(id, "site");
    site.root = Some("index.html".to_owned());
    site.errors = vec![
        (403, "/index.html".to_owned(), 86_400),
        (404, "/index.html".to_owned(), 86_400),
    ];
    site
}

#[tokio::test]
async fn p2_error_pages_are_told_or_cleared() {
    let (aws, signer, mut setup) = prepared().await;
    aws.cloudfront.put(one_page("E1"));
    aws.cloudfront.put(one_page("E2"));
    // Nothing is cached but errors.
    let mut errors = one_page("E3");
    errors.default.cache_policy = Some("4135ea2d-6df8-44a3-9df3-4b5a84be39ad".to_owned());
    errors.errors[0].2 = 10;
    errors.errors[1] = (404, String::new(), 300);
    aws.cloudfront.put(errors);
    setup.set_settings(
        "[batching]\nquiet = \"50ms\"\nmax_wait = \"500ms\"\n\
         [[distribution]]\nid = \"E2\"\nerror_pages = \"clear\"\n",
    );
    let service = setup.start().await;
    // Said before any change.
    eventually!(!warning(&service, "error_pages").await.is_empty());
    let text = warning(&service, "error_pages").await;
    assert!(
        text.contains("E1: /index.html is kept as the page of 403, 404 for at least 86400 s"),
        "{text}"
    );
    assert!(!text.contains("E2") && !text.contains("E3"), "{text}");
    reports(&service, &signer, "ObjectCreated:Put", &["index.html"]).await;
    assert_eq!(paths(&aws, "E1", 2).await, ["/", "/index.html"]);
    // It covers the others.
    assert_eq!(paths(&aws, "E2", 1).await, ["/*"]);
    assert_eq!(paths(&aws, "E3", 2).await, ["/", "/index.html"]);
    reports(&service, &signer, "ObjectRemoved:Delete", &["gone"]).await;
    assert_eq!(paths(&aws, "E1", 3).await, ["/", "/gone", "/index.html"]);
    reports(&service, &signer, "ObjectCreated:Put", &["back"]).await;
    assert_eq!(
        paths(&aws, "E3", 3).await,
        ["/", "/back", "/index.html"],
        "nothing of the object that is gone"
    );
    let list = service.get("/invalidations?distribution_id=E1").await;
    let all = list["invalidations"].as_array().unwrap();
    let id = all.last().unwrap()["id"].as_str().unwrap();
    let one = service.get(&format!("/invalidations/{id}")).await;
    let because = one["items"][0]["why"][0]["because"].to_string();
    assert!(
        because.contains("warning") && because.contains("under every URL"),
        "{because}"
    );
}

#[tokio::test]
async fn p5_p11_p12_the_list_is_read_as_cloudfront_writes_it() {
    let (aws, signer, setup) = prepared().await;
    let mut legacy = Distribution::of("E1", "site");
    legacy.behaviours = vec![Behaviour {
        max_ttl: Some(0),
        ..Behaviour::of("/live/*", "origin-0")
    }];
    legacy.default.max_ttl = Some(31_536_000);
    aws.cloudfront.put(legacy);
    let mut tenants = Distribution::of("E2", "site");
    tenants.tenants_only = true;
    aws.cloudfront.put(tenants);
    let mut grouped = Distribution::of("E3", "site");
    grouped
        .origins
        .push(("app.example.com".to_owned(), String::new()));
    let members = ["origin-1".to_owned(), "origin-0".to_owned()];
    grouped.groups = vec![("both".to_owned(), members)];
    "both".clone_into(&mut grouped.default.target);
    let mut unlisted = grouped.clone();
    unlisted.id = "E4".to_owned();
    unlisted.unlisted_groups.append(&mut unlisted.groups);
    let mut unknown = Distribution::of("E5", "site");
    unknown.behaviours = vec![Behaviour::of("/live/*", "nowhere")];
    for one in [grouped, unlisted, unknown] {
        aws.cloudfront.put(one);
    }
    let service = setup.start().await;
    reports(&service, &signer, "ObjectCreated:Put", &["live/a", "b"]).await;
    for (id, expected) in [
        ("E1", &["/b"][..]),
        ("E3", &["/b", "/live/a"]),
        ("E4", &["/b", "/live/a"]),
        ("E5", &["/b"]),
    ] {
        assert_eq!(paths(&aws, id, expected.len()).await, expected, "{id}");
    }
    let answer = service.invalidate("E2", &["/a"]).await;
    let request: Value = answer.json().await.unwrap();
    let path = format!("/requests/{}", request["id"].as_str().unwrap());
    eventually!(service.get(&path).await["state"] == "completed");
    let why = service.get(&path).await["skipped"][0]["why"].to_string();
    assert!(why.contains("tenants"), "{why}");
    assert!(aws.cloudfront.paths("E2").is_empty());
    assert!(warning(&service, "tenants").await.contains("E2"));
    eventually!(!warning(&service, "origin_groups").await.is_empty());
    let text = warning(&service, "origin_groups").await;
    assert!(text.ends_with("E5: nowhere"), "{text}");
}

fn at(path: &str) -> Known {
    let mut site = in_front_of("E1", "site.s3.amazonaws.com");
    path.clone_into(&mut site.origins[0].path);
    // CloudFront changes its ETag with the configuration.
    path.clone_into(&mut site.revision);
    site
}

#[tokio::test]
async fn p3_a_release_by_another_origin_path_is_said_until_everything_is_invalidated() {
    let account = Account::default();
    account.put(at("/v1"));
    let running = Running::with(account).await;
    let told = || running.inside.finding("origin_changes");
    assert_eq!(told(), "");
    running.account.put(at("/v2"));
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert!(told().contains("E1: seen at"), "{}", told());
    assert_eq!(running.items("E1").await, [""; 0], "nobody asked for it");
    running.events("site", &["v2/a"]).await;
    running.pass(5 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/a"]);
    // A later reading does not forget it, and a part does not settle it.
    running.ask("E1", "/b/*").await;
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert!(told().contains("E1: seen at"), "{}", told());
    running.ask("E1", "/*").await;
    running.pass(5 * SECOND).await;
    assert_eq!(told(), "");
    running.refresh().await;
    running.pass(5 * SECOND).await;
    assert_eq!(told(), "");
    running.end().await;
}

#[tokio::test]
async fn p3_a_release_by_another_origin_path_is_cleared_once_it_is_deployed() {
    let account = Account::default();
    account.put(at("/v1"));
    let clears = DistributionPolicy {
        origin_change: Reaction::Clear,
        ..DistributionPolicy::default()
    };
    let policy = MappingPolicy {
        distributions: HashMap::from([("E1".to_owned(), clears)]),
        ..MappingPolicy::default()
    };
    let running = Running::with_policy(account, policy).await;
    let told = || running.inside.finding("origin_changes");
    let under_way = Known {
        deployed: false,
        ..at("/v2")
    };
    running.account.put(under_way);
    running.refresh().await;
    running.pass(40 * SECOND).await;
    assert!(told().contains("as soon as that is deployed"), "{}", told());
    assert_eq!(
        running.items("E1").await,
        [""; 0],
        "edges still ask the old one"
    );
    // Nobody has to wait for the next refresh.
    running.account.put(at("/v2"));
    running.pass(40 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/*"]);
    assert_eq!(told(), "");
    running.refresh().await;
    running.pass(60 * SECOND).await;
    assert_eq!(running.items("E1").await, ["/*"], "once");
    running.end().await;
}
