//! An operator pauses and resumes, looks after dead letters, and stops the service.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, record, s3_records},
    until,
};

async fn prepared() -> (FakeAws, Signer, Setup, Service) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    aws.cloudfront.put(Distribution::of("E2", "site"));
    let setup = Setup::new(&aws);
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    (aws, signer, setup, service)
}

async fn uploads(service: &Service, signer: &Signer, key: &str) {
    let text = s3_records("site", &[("ObjectCreated:Put", key)]);
    assert_eq!(
        service
            .sns(signer.notification(&text).body())
            .await
            .status(),
        200
    );
}

fn types(setup: &Setup, service: &Service, words: &[&str]) -> (Option<i32>, String, String) {
    let mut all = words.to_vec();
    all.extend(["--admin-url", &service.admin_url]);
    setup.run(&all)
}

#[tokio::test]
async fn what_is_paused_waits_also_across_a_restart_and_intake_goes_on() {
    let (aws, signer, setup, service) = prepared().await;
    assert_eq!(types(&setup, &service, &["pause", "E1"]).0, Some(0));
    uploads(&service, &signer, "a").await;
    until("the other", || {
        (aws.cloudfront.paths("E2") == ["/a"]).then_some(())
    })
    .await;
    assert_eq!(types(&setup, &service, &["pause"]).0, Some(0));
    uploads(&service, &signer, "b").await;
    service.kill();
    let service = setup.start().await;
    let waiting = |id: &str| format!("purgefront_waiting_items{{distribution_id=\"{id}\"}}");
    eventually!(service.metric(&waiting("E2")).await != 0);
    assert_eq!(aws.cloudfront.calls().len(), 1);
    assert_eq!(types(&setup, &service, &["resume"]).0, Some(0));
    until("the other", || {
        (aws.cloudfront.paths("E2").len() == 2).then_some(())
    })
    .await;
    assert!(aws.cloudfront.paths("E1").is_empty());
    assert_eq!(types(&setup, &service, &["resume", "E1"]).0, Some(0));
    until("the paused", || {
        (aws.cloudfront.paths("E1").len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_shown_replayed_and_dropped() {
    let (aws, signer, setup, service) = prepared().await;
    // A key that only /* would cover, a record that cannot be read, and a stranger.
    uploads(&service, &signer, "~\u{1b}[31m").await;
    let bad = json!({"Records": [record("ObjectCreated:Put", "site", "%FF")]}).to_string();
    service.sns(signer.notification(&bad).body()).await;
    eventually!(service.metric("purgefront_dead_letters").await >= 3);
    eventually!(service.ready().await.1["checks"]["dead_letters"]["state"] == "warn");
    let (_, ready) = service.ready().await;
    assert_eq!(ready["state"], "warn", "a warning, never a failure");
    let (code, list, _) = types(&setup, &service, &["deadletters", "list"]);
    assert_eq!((code, list.lines().count()), (Some(0), 3), "{list}");
    assert!(!list.contains('\u{1b}'), "a terminal sees no escapes");
    assert!(list.contains("not UTF-8"));
    let letters = || {
        let (_, page, _) = types(&setup, &service, &["deadletters", "list", "--json"]);
        let page: Value = serde_json::from_str(&page).unwrap();
        page["dead_letters"].as_array().unwrap().clone()
    };
    let first = letters();
    let record = first.iter().find(|one| one["kind"] == "record").unwrap()["id"].to_string();
    let (code, _, complaint) = types(&setup, &service, &["deadletters", "replay", &record]);
    assert_eq!(code, Some(1), "what is still dead stays");
    assert!(complaint.contains("409"), "{complaint}");
    // An item is mapped again, and is as dead as it was.
    let item = first.iter().find(|one| one["kind"] == "item").unwrap();
    let replay = ["deadletters", "replay", &item["id"].to_string()];
    assert_eq!(types(&setup, &service, &replay).0, Some(0));
    let again = until("letters for it again", || {
        Some(letters()).filter(|letters| letters.len() == 3)
    });
    for letter in again.await {
        let id = letter["id"].to_string();
        assert_eq!(
            types(&setup, &service, &["deadletters", "drop", &id]).0,
            Some(0)
        );
        assert_eq!(
            types(&setup, &service, &["deadletters", "drop", &id]).0,
            Some(1)
        );
    }
    eventually!(service.metric("purgefront_dead_letters").await == 0);
    assert!(aws.cloudfront.calls().is_empty());
}

#[tokio::test]
async fn a_bad_item_is_found_kept_and_replayed_when_cloudfront_takes_it() {
    let (aws, _, setup, service) = prepared().await;
    aws.cloudfront.refuse_path("/bad");
    let paths: Vec<_> = (0..99)
        .map(|at| format!("/{at}"))
        .chain(["/bad".to_owned()])
        .collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let answer = service.invalidate("E1", &paths).await;
    let request: Value = answer.json().await.unwrap();
    until("all but one", || {
        (aws.cloudfront.paths("E1").len() == 99).then_some(())
    })
    .await;
    eventually!(service.metric("purgefront_dead_letters").await == 1);
    let view = service
        .get(&format!("/requests/{}", request["id"].as_str().unwrap()))
        .await;
    assert!(
        view["errors"][0].as_str().unwrap().starts_with("/bad: "),
        "{view}"
    );
    assert!(
        view["invalidations"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["status"] != "replaced")
    );
    aws.cloudfront.accept_paths();
    let (_, page, _) = types(&setup, &service, &["deadletters", "list", "--json"]);
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["dead_letters"][0]["content"], "/bad");
    let id = page["dead_letters"][0]["id"].to_string();
    assert_eq!(
        types(&setup, &service, &["deadletters", "replay", &id]).0,
        Some(0)
    );
    until("the last", || {
        aws.cloudfront
            .paths("E1")
            .contains(&"/bad".to_owned())
            .then_some(())
    })
    .await;
    eventually!(service.metric("purgefront_dead_letters").await == 0);
}

#[tokio::test]
async fn a_page_in_a_browser_may_not_operate() {
    let (_aws, _, _, service) = prepared().await;
    let url = format!("{}/pause", service.admin_url);
    let with_origin = service
        .client
        .post(&url)
        .header("origin", "https://evil.example");
    assert_eq!(with_origin.send().await.unwrap().status(), 403);
    let with_host = service
        .client
        .post(&url)
        .header("host", "evil.example:9090");
    assert_eq!(with_host.send().await.unwrap().status(), 403);
}

/// An unset variable in `purgefront pause "$ID"` must not stop the whole account.
#[tokio::test]
async fn an_empty_distribution_does_not_mean_all() {
    let (_aws, _, setup, service) = prepared().await;
    let (code, _, complaint) = types(&setup, &service, &["pause", ""]);
    assert_ne!(code, Some(0));
    assert!(
        complaint.contains("distribution_id is empty"),
        "{complaint}"
    );
    let (_, ready) = service.ready().await;
    assert_eq!(ready["checks"]["paused"]["state"], "ok");
}

#[tokio::test]
async fn shadow_mode_plans_and_sends_nothing() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_DISPATCH__MODE", "shadow");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let request: Value = service
        .invalidate("E1", &["/a"])
        .await
        .json()
        .await
        .unwrap();
    let path = format!("/requests/{}", request["id"].as_str().unwrap());
    eventually!(service.get(&path).await["state"] == "shadowed");
    let list = service.get("/invalidations?status=shadowed").await;
    assert_eq!(list["invalidations"][0]["item_count"], 1);
    assert!(aws.cloudfront.calls().is_empty());
}

#[tokio::test]
async fn the_days_limit_holds_what_nobody_asked_for_until_it_is_lifted() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_LIMITS__PATHS_PER_DAY", "2");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    for key in ["a", "b", "c"] {
        uploads(&service, &signer, key).await;
    }
    until("two", || {
        (aws.cloudfront.paths("E1").len() == 2).then_some(())
    })
    .await;
    service.invalidate("E1", &["/asked"]).await;
    until("what was asked for", || {
        aws.cloudfront
            .paths("E1")
            .contains(&"/asked".to_owned())
            .then_some(())
    })
    .await;
    let held = || async { service.ready().await.1["checks"]["daily_limit"]["detail"].to_string() };
    eventually!(held().await.contains("held items: E1: 1"));
    assert_eq!(aws.cloudfront.paths("E1").len(), 3);
    assert_eq!(types(&setup, &service, &["resume"]).0, Some(0));
    until("the rest", || {
        (aws.cloudfront.paths("E1").len() == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sigterm_fails_readiness_first_and_a_second_one_ends_it_now() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_SERVER__DRAIN", "1h");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let pid = service.pid().to_string();
    let terminate = || {
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    terminate();
    eventually!(service.ready().await.0 == 503);
    // While it drains, requests are taken as before.
    assert_eq!(service.invalidate("E1", &["/late"]).await.status(), 202);
    until("the late one", || {
        (aws.cloudfront.paths("E1") == ["/late"]).then_some(())
    })
    .await;
    terminate();
    // Long before it has drained.
    let (status, _) = service.ended().await;
    assert_eq!(status.code(), Some(0));
}
