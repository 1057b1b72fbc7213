//! What an operator has done, and what became of it: pauses, the day's limit, dead letters.

use serde_json::{Value, json};

use super::{check, lines, metrics};
use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, record, s3_records},
    until,
};

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.put(Distribution::of("E2", "site"));
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

async fn started(setup: &Setup) -> Service {
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    service
}

async fn posts(service: &Service, path: &str, body: impl Into<String>) -> (u16, Value) {
    let request = service.client.post(format!("{}{path}", service.admin_url));
    let answer = request.body(body.into()).send().await.unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let status = answer.status().as_u16();
    let json = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    assert_eq!(kind, json, "{path}");
    (status, answer.json().await.unwrap())
}

fn types(setup: &Setup, service: &Service, words: &[&str]) -> (Option<i32>, String, String) {
    setup.run(&[words, &["--admin-url", &service.admin_url]].concat())
}

#[tokio::test]
async fn point_13_a_pause_is_told_in_metrics_readiness_and_the_log_also_after_a_restart() {
    let (_aws, signer, setup) = prepared().await;
    let service = started(&setup).await;
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let held = "purgefront_held{distribution_id=\"E1\",hold=\"paused\"}";
    assert_eq!(types(&setup, &service, &["pause", "E1"]).0, Some(0));
    service.sns(signer.notification(&text).body()).await;
    eventually!(service.metric(held).await == 1);
    assert_eq!(service.metric("purgefront_paused_distributions").await, 1);
    assert_eq!(service.metric("purgefront_sending_paused").await, 0);
    service.kill();
    let service = started(&setup).await;
    eventually!(service.metric(held).await == 1);
    eventually!(check(&service, "paused").await.contains("E1"));
    let told = |service: &Service, part: &str| {
        let lines = lines(service, "needs attention");
        let found = lines.iter().any(|line| {
            line["check"] == "paused" && line["detail"].as_str().unwrap().contains(part)
        });
        found.then_some(())
    };
    until("a line at the start", || told(&service, "E1")).await;
    assert_eq!(types(&setup, &service, &["pause"]).0, Some(0));
    eventually!(service.metric("purgefront_sending_paused").await == 1);
    until("a line at the change", || {
        told(&service, "all distributions")
    })
    .await;
    // What stays is said.
    let (code, said, _) = types(&setup, &service, &["resume"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("except for E1"), "{said}");
    assert!(!said.contains("limit"), "there is none: {said}");
    assert_eq!(types(&setup, &service, &["pause"]).0, Some(0));
    let (_, said, _) = types(&setup, &service, &["resume", "E1"]);
    assert!(said.contains("still paused for all"), "{said}");
    let (_, said, _) = types(&setup, &service, &["resume"]);
    assert_eq!(said, "Sending is resumed for all distributions.\n");
    eventually!(service.metric("purgefront_paused_distributions").await == 0);
    until("a line at the end", || {
        let ended = lines(&service, "needs no more attention");
        ended
            .iter()
            .any(|line| line["check"] == "paused")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn point_13_a_misspelt_distribution_is_not_paused_unless_forced() {
    let (aws, _, setup) = prepared().await;
    let service = started(&setup).await;
    let (code, _, complaint) = types(&setup, &service, &["pause", "E11"]);
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("404") && complaint.contains("--force"),
        "{complaint}"
    );
    assert_eq!(types(&setup, &service, &["resume", "E11"]).0, Some(1));
    let forced = ["pause", "E11", "--force"];
    assert_eq!(types(&setup, &service, &forced).0, Some(0));
    // What is paused can be resumed.
    assert_eq!(types(&setup, &service, &["resume", "E11"]).0, Some(0));
    service.kill();
    // Before the account was read, nobody knows.
    aws.cloudfront.set_down(true);
    let mut fresh = Setup::new(&aws);
    let service = fresh.start().await;
    let (status, problem) = posts(&service, "/pause", r#"{"distribution_id": "E1"}"#).await;
    assert_eq!(status, 503, "{problem}");
    fresh.set_env("PURGEFRONT_ADMIN_URL", &service.admin_url);
    assert_eq!(fresh.run(&["pause", "E1", "--force"]).0, Some(0));
    assert_eq!(fresh.run(&["pause"]).0, Some(0));
}

#[tokio::test]
async fn the_months_budget_is_told_by_metrics_and_page() {
    let (_aws, _, mut setup) = prepared().await;
    setup.set_env("PURGEFRONT_ECONOMY__MONTHLY_PATHS", "50000");
    setup.set_env("PURGEFRONT_ECONOMY__EVICTIONS_PER_PATH", "7.5");
    let service = started(&setup).await;
    let budget = service.metric("purgefront_month_budget_paths").await;
    assert_eq!(budget, 50_000);
    let ready = service.ready().await.1;
    assert_eq!(ready["checks"]["monthly_budget"]["state"], "ok");
    let page = service.client.get(&service.admin_url).send().await.unwrap();
    let page = page.text().await.unwrap();
    for part in ["0% of 50,000 paths", "7.5 evictions", "at least 0"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn point_13_the_days_limit_and_shadow_mode_are_told() {
    let (aws, signer, mut setup) = prepared().await;
    setup.set_env("PURGEFRONT_LIMITS__PATHS_PER_DAY", "2");
    let service = started(&setup).await;
    assert_eq!(service.metric("purgefront_daily_limit_items").await, 2);
    for key in ["a", "b"] {
        let text = s3_records("site", &[("ObjectCreated:Put", key)]);
        service.sns(signer.notification(&text).body()).await;
    }
    let held =
        |id: &str| format!("purgefront_held{{distribution_id=\"{id}\",hold=\"daily_limit\"}}");
    eventually!(service.metric(&held("E1")).await + service.metric(&held("E2")).await >= 1);
    assert_eq!(service.metric("purgefront_daily_spent_items").await, 2);
    let told = || {
        let lines = lines(&service, "needs attention");
        let spent = lines.iter().any(|line| {
            line["check"] == "daily_limit"
                && line["detail"].as_str().unwrap().contains("is spent: ")
        });
        spent.then_some(())
    };
    until("a line", told).await;
    let (_, said, _) = types(&setup, &service, &["resume"]);
    assert!(said.contains("daily limit is lifted"), "{said}");
    eventually!(service.metric("purgefront_daily_limit_lifted").await == 1);
    eventually!(check(&service, "daily_limit").await.contains("was lifted"));
    drop(aws);

    let (_aws, _, mut setup) = prepared().await;
    setup.set_env("PURGEFRONT_DISPATCH__MODE", "shadow");
    let service = started(&setup).await;
    eventually!(service.metric("purgefront_shadow_mode").await == 1);
    until("a line", || {
        let lines = lines(&service, "needs attention");
        lines
            .iter()
            .any(|line| line["check"] == "shadow")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn point_16_what_cloudtrail_saw_is_counted_and_dropped() {
    let (_aws, signer, setup) = prepared().await;
    let service = started(&setup).await;
    for kind in ["AWS API Call via CloudTrail", "Async Copy Completion"] {
        let event = json!({"version": "0", "source": "aws.s3", "detail-type": kind,
            "detail": {"eventName": "GetObject", "requestParameters": {"bucketName": "site"}}});
        let message = signer.notification(&event.to_string());
        assert_eq!(service.sns(message.body()).await.status(), 200);
    }
    let ignored = "purgefront_records_total{outcome=\"ignored\"}";
    assert_eq!(service.metric(ignored).await, 2);
    assert_eq!(service.metric("purgefront_dead_letters").await, 0);
    // An event about an object that cannot be read is still kept.
    let event = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {}});
    service
        .sns(signer.notification(&event.to_string()).body())
        .await;
    assert_eq!(service.metric("purgefront_dead_letters").await, 1);
}

#[tokio::test]
async fn point_16_many_dead_letters_are_replayed_and_dropped_at_once() {
    let (_aws, signer, setup) = prepared().await;
    let service = started(&setup).await;
    let records: Vec<_> = (0..5)
        .map(|_| record("ObjectCreated:Put", "site", "%FF"))
        .collect();
    let bad = json!({ "Records": records }).to_string();
    service.sns(signer.notification(&bad).body()).await;
    service.sns(signer.notification("a stranger").body()).await;
    assert_eq!(service.metric("purgefront_dead_letters").await, 6);
    let typed = |words: &[&str]| types(&setup, &service, &[&["deadletters"], words].concat());
    assert_eq!(typed(&["drop"]).0, Some(2), "one has to say which");
    assert_eq!(typed(&["drop", "--all", "--why", "x"]).0, Some(2));
    let (code, said, _) = typed(&["replay", "--all"]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("will be retried: 0") && said.contains("stay: 6"),
        "{said}"
    );
    let (_, said, _) = typed(&["drop", "--why", "not UTF-8"]);
    assert_eq!(said, "Dead letters that were dropped: 5.\n");
    let (_, said, _) = typed(&["drop", "--all"]);
    assert_eq!(said, "Dead letters that were dropped: 1.\n");
    assert_eq!(service.metric("purgefront_dead_letters").await, 0);
    let request = service
        .client
        .delete(format!("{}/deadletters", service.admin_url));
    assert_eq!(
        request.send().await.unwrap().status(),
        422,
        "not all by accident"
    );
}

#[tokio::test]
async fn point_18_the_api_has_no_words_of_the_inside() {
    let (_aws, _, setup) = prepared().await;
    let service = started(&setup).await;
    let get = async |url: String| {
        let request = service
            .client
            .get(url)
            .bearer_auth(crate::support::service::TOKEN);
        request.send().await.unwrap().text().await.unwrap()
    };
    let answers = [
        get(format!("{}/deadletters?limit=many&x=1", service.admin_url)).await,
        get(format!("{}/invalidations?limit=many&cursor=x", service.url)).await,
        posts(&service, "/pause", "5").await.1.to_string(),
        posts(&service, "/pause", r#"{"distribution_id": 5, "x": 1}"#)
            .await
            .1
            .to_string(),
        posts(&service, "/resume", r#"{"distribution_id": ["E1"]}"#)
            .await
            .1
            .to_string(),
    ];
    for answer in &answers {
        for inside in [
            "struct",
            "Scope",
            "usize",
            "eserialize",
            "invalid type",
            "digit found",
        ] {
            assert!(!answer.contains(inside), "{inside} in {answer}");
        }
    }
    // All faults at once.
    assert!(
        answers[1].contains("\"limit\"") && answers[1].contains("\"cursor\""),
        "{answers:?}"
    );
    assert!(
        answers[3].contains("/distribution_id") && answers[3].contains("/x"),
        "{answers:?}"
    );
}

#[tokio::test]
async fn point_20_what_operators_type_is_no_metric_label_and_every_refusal_is_a_problem() {
    let (_aws, _, setup) = prepared().await;
    let service = started(&setup).await;
    let evil = "evil\u{1b}[31m\"}";
    let body = json!({"distribution_id": evil, "force": true}).to_string();
    assert_eq!(posts(&service, "/pause", body).await.0, 200);
    eventually!(check(&service, "paused").await.contains("evil"));
    let text = metrics(&service).await;
    assert!(!text.contains("evil") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(service.metric("purgefront_paused_distributions").await, 1);
    for path in ["/pause", "/resume"] {
        let (status, problem) = posts(&service, path, "x".repeat(5_000)).await;
        assert_eq!(status, 413);
        assert_eq!(problem["type"], "urn:purgefront:problem:too-large");
    }
    let (status, _) = posts(&service, "/deadletters/%FF/replay", "").await;
    assert_eq!(status, 400);
}
