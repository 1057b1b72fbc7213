//! The account's distributions as purgefront sees them: `GET /distributions`.

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Setup, TOKEN},
};

#[tokio::test]
async fn each_distribution_is_shown_with_its_figures_and_with_what_holds_it() {
    let aws = FakeAws::start().await;
    let mut one = Distribution::of("E1", "site");
    one.aliases = vec!["www.example.com".to_owned()];
    aws.cloudfront.put(one);
    aws.cloudfront.put(Distribution::of("E2", "other"));
    let mut setup = Setup::new(&aws);
    setup.add_settings("[[distribution]]\nid = \"E2\"\nenabled = false\n");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let pause = service.client.post(format!("{}/pause", service.admin_url));
    let pause = pause.body(json!({"distribution_id": "E1"}).to_string());
    assert_eq!(pause.send().await.unwrap().status(), 200);
    eventually!(service.ready().await.1["checks"]["paused"]["state"] == "warn");
    assert_eq!(
        service
            .invalidate("E1", &["/a", "/b", "/c/*"])
            .await
            .status(),
        202
    );
    let shown = || async { service.get("/distributions").await["distributions"][0].clone() };
    eventually!(shown().await["waiting"]["manual_paths"] == 2);
    let shown = shown().await;
    assert_eq!(shown["id"], "E1");
    assert_eq!(shown["aliases"], json!(["www.example.com"]));
    assert_eq!(
        (&shown["enabled"], &shown["not_invalidated"]),
        (&json!(true), &Value::Null)
    );
    let origin = &shown["origins"][0];
    assert_eq!(
        (&origin["bucket"], &origin["prefix"]),
        (&json!("site"), &json!(""))
    );
    let default = shown["behaviours"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&default["pattern"], &default["caches"]),
        (&json!("*"), &json!(true))
    );
    assert_eq!(shown["waiting"]["manual_wildcards"], 1);
    assert_eq!(shown["waiting"]["paths"], 0);
    assert!(shown["waiting"]["since"].is_string());
    assert_eq!(shown["held_by"][0]["hold"], "paused");
    let page = service.get("/distributions").await;
    assert!(page["read_since"].is_string());
    let excluded = &page["distributions"][1];
    assert_eq!(
        excluded["not_invalidated"],
        "the configuration excludes this distribution"
    );
}

#[tokio::test]
async fn distributions_come_in_pages_and_limited_tokens_see_only_theirs() {
    let aws = FakeAws::start().await;
    for id in ["E1", "E2", "E3", "E4"] {
        aws.cloudfront.put(Distribution::of(id, "site"));
    }
    let mut setup = Setup::new(&aws);
    let team = setup.add_token("team", "distributions = [\"E2\", \"E4\", \"E9\"]");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    let page = async |token: &str, query: &str| {
        let (status, page) = service
            .get_as(token, &format!("/distributions{query}"))
            .await;
        assert_eq!(status, 200, "{page}");
        let all = page["distributions"].as_array().unwrap().iter();
        let ids: Vec<_> = all
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page["next_cursor"].clone())
    };
    assert_eq!(
        page(TOKEN, "?limit=4").await,
        (
            vec!["E1".into(), "E2".into(), "E3".into(), "E4".into()],
            Value::Null
        )
    );
    assert_eq!(page(TOKEN, "?limit=3").await.1, "E3");
    assert_eq!(
        page(TOKEN, "?limit=3&cursor=E3").await,
        (vec!["E4".into()], Value::Null)
    );
    assert_eq!(
        page(&team, "").await,
        (vec!["E2".into(), "E4".into()], Value::Null)
    );
    assert_eq!(
        page(&team, "?limit=1").await,
        (vec!["E2".into()], json!("E2"))
    );
    assert_eq!(
        page(&team, "?limit=1&cursor=E2").await,
        (vec!["E4".into()], Value::Null)
    );
    let (status, _) = service.get_as(TOKEN, "/distributions?limit=201").await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn before_the_account_was_read_there_is_nothing_to_show() {
    let service = Setup::alone().start().await;
    let (status, problem) = service.get_as(TOKEN, "/distributions").await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("urn:purgefront:problem:no-catalogue"))
    );
}
