//! The forms for dead letters, as a browser without JavaScript sends them.

use reqwest::{Response, redirect::Policy};

use super::scene::Scene;
use crate::support::{
    service::{Setup, TOKEN},
    sqlite,
};

/// The ids of all dead letters, those of records first, then the newest first.
async fn ids(scene: &Scene) -> Vec<i64> {
    let url = format!("{}/deadletters", scene.service.admin_url);
    let answer = scene.service.client.get(url).send().await.unwrap();
    let page: serde_json::Value = answer.json().await.unwrap();
    let mut letters = page["dead_letters"].as_array().unwrap().clone();
    letters.sort_by_key(|letter| letter["kind"] != "record");
    let ids = letters.iter().map(|letter| letter["id"].as_i64().unwrap());
    ids.collect()
}

/// Submits the second step as the page of `origin` does.
async fn submit(scene: &Scene, origin: Option<&str>, body: &str) -> Response {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none());
    let url = format!("{}/page/deadletters", scene.service.admin_url);
    let mut request = client.build().unwrap().post(url);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(body.to_owned()).send().await.unwrap()
}

/// The same from the own page, to the end.
async fn done(scene: &Scene, body: &str) -> String {
    let origin = scene.service.admin_url.clone();
    let answer = submit(scene, Some(&origin), &format!("{body}&token={TOKEN}")).await;
    assert_eq!(answer.status(), 303);
    let to = answer.headers()["location"].to_str().unwrap();
    let (status, _, page) = scene.page(to).await;
    assert_eq!(status, 200);
    page
}

#[tokio::test]
async fn one_and_many_are_replayed_and_dropped() {
    let scene = Scene::trouble().await;
    let all = ids(&scene).await;
    assert_eq!(all.len(), 7);
    let (_, _, step) = scene
        .page(&format!("/page/deadletters/confirm?one=drop-{}", all[1]))
        .await;
    assert!(step.contains("Drop 1 dead letter?") && step.contains("type=\"password\""));
    let page = done(&scene, &format!("do=drop&scope=ids&id={}", all[1])).await;
    assert!(page.contains("1 dead letter dropped"), "{page}");
    assert_eq!(ids(&scene).await.len(), 6);
    // A record that cannot be read stays.
    let page = done(&scene, &format!("do=replay&scope=ids&id={}", all[0])).await;
    assert!(
        page.contains("0 dead letters replayed, 1 still cannot succeed and stayed"),
        "{page}"
    );
    assert!(ids(&scene).await.contains(&all[0]));
    let query = format!("scope=why&why={}&do=drop", all[0]);
    let (_, _, step) = scene
        .page(&format!("/page/deadletters/confirm?{query}"))
        .await;
    assert!(
        step.contains("Drop 1 dead letter with this reason?") && step.contains("not UTF-8"),
        "{step}"
    );
    let page = done(&scene, &query).await;
    assert!(page.contains("1 dead letter dropped"), "{page}");
    let confirm = format!("/page/deadletters/confirm?{query}");
    let (status, _, gone) = scene.page(&confirm).await;
    assert!(status == 400 && gone.contains("meanwhile"), "{gone}");
    let two = format!("do=replay&scope=ids&id={}&id={}", all[2], all[3]);
    let page = done(&scene, &two).await;
    assert!(page.contains("2 dead letters replayed"), "{page}");
    // What only /* would cover is as dead as before.
    eventually!(ids(&scene).await.len() >= 5);
    let page = done(&scene, "scope=all&do=drop").await;
    assert!(
        page.contains("dead letters dropped") && page.contains("There are none."),
        "{page}"
    );
    assert!(ids(&scene).await.is_empty());
}

#[tokio::test]
async fn all_with_a_reason_are_those_with_exactly_this_one() {
    let scene = Scene::empty().await;
    let long = "x".repeat(300);
    let reasons = [
        "no key\nat all",
        "no key\nat",
        &format!("{long}1"),
        &format!("{long}2"),
    ];
    for (at, why) in reasons.iter().enumerate() {
        let times = at + 1;
        let why = why.replace('\n', "' || char(10) || '");
        let insert = format!(
            "INSERT INTO dead_letters (kind, why, content, created_at) \
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {times}) \
             SELECT 'record', '{why}', '{long}<end>', unixepoch() * 1000000 FROM n"
        );
        sqlite::execute(scene.setup.store(), &insert).await;
    }
    let (_, _, page) = scene.page("/page/deadletters").await;
    let (_, choices) = page.split_once("<select").unwrap();
    let (choices, _) = choices.split_once("</select>").unwrap();
    let values = choices.split("value=\"").skip(1);
    let values: Vec<_> = values.map(|rest| rest.split_once('"').unwrap().0).collect();
    assert_eq!(values.len(), reasons.len(), "each reason once: {choices}");
    assert!(
        page.contains("&lt;end&gt;"),
        "all of a long content is there"
    );
    let mut left = 10;
    for value in values {
        let order = format!("do=drop&scope=why&why={value}");
        let confirm = format!("/page/deadletters/confirm?{order}");
        let (_, _, step) = scene.page(&confirm).await;
        let (_, count) = step.split_once("Drop ").unwrap();
        let (count, _) = count.split_once(" dead letter").unwrap();
        let told = done(&scene, &order).await;
        assert!(told.contains(&format!("{count} dead letter")), "{told}");
        left -= count.parse::<usize>().unwrap();
        assert_eq!(ids(&scene).await.len(), left, "{order}");
    }
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_link_tells_no_result_that_never_was() {
    let scene = Scene::empty().await;
    let forged = "done=drop&count=123456&kept=0&do=drop&scope=all&cursor=9";
    for proof in ["", "&at=0&proof=00"] {
        let (status, _, page) = scene
            .page(&format!("/page/deadletters?{forged}{proof}"))
            .await;
        assert_eq!(status, 200);
        assert!(
            !page.contains("123,456") && !page.contains("do the rest"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_person_gets_errors_as_pages() {
    let scene = Scene::empty().await;
    let url = |path: &str| format!("{}{path}", scene.service.admin_url);
    let client = &scene.service.client;
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let large = "id=1&".repeat(2_000);
    let requests = [
        (client.get(url("/page/nope")), 404),
        (client.put(url("/page/object")), 405),
        (client.post(url("/page/deadletters")).body(large), 413),
        (
            client.get(url("/")).header("origin", "http://evil.example"),
            403,
        ),
    ];
    for (request, status) in requests {
        for (accept, kind) in [
            (browser, "text/html; charset=utf-8"),
            ("*/*", "application/problem+json"),
        ] {
            let request = request.try_clone().unwrap().header("accept", accept);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{accept}");
            assert_eq!(answer.headers()["content-type"], kind, "{status}");
            assert!(answer.headers().contains_key("x-request-id"));
            if kind.starts_with("text/html") {
                assert!(answer.headers().contains_key("content-security-policy"));
                assert!(answer.text().await.unwrap().contains("<h1>"), "{status}");
            }
        }
    }
    let elsewhere = client.get(url("/nope")).header("accept", browser);
    let answer = elsewhere.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn nothing_is_done_for_strangers_or_without_a_token() {
    let scene = Scene::trouble().await;
    let own = scene.service.admin_url.clone();
    let order = "do=drop&scope=all";
    let with = |token: &str| format!("{order}&token={token}");
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let answer = submit(&scene, Some(origin), &with(TOKEN)).await;
        assert_eq!(answer.status(), 403, "{origin}");
        assert!(answer.text().await.unwrap().contains("foreign-origin"));
    }
    for (body, told) in [
        (with("wrong"), "This token is unknown"),
        (with(""), "Enter a token"),
        (order.to_owned(), "Enter a token"),
    ] {
        let answer = submit(&scene, Some(&own), &body).await;
        assert_eq!(answer.status(), 403, "{body}");
        let page = answer.text().await.unwrap();
        assert!(
            page.contains(told) && page.contains("role=\"alert\""),
            "{page}"
        );
        assert!(
            page.contains("name=\"scope\" value=\"all\""),
            "it can be tried again"
        );
        assert!(!page.contains("wrong"), "the token is not repeated");
    }
    for body in [
        with(TOKEN).replace("scope=all", "scope=ids"),
        format!("token={TOKEN}"),
    ] {
        let answer = submit(&scene, Some(&own), &body).await;
        assert_eq!(answer.status(), 400, "{body}");
        assert!(answer.text().await.unwrap().contains("Nothing was done"));
    }
    let url = format!("{own}/page/deadletters");
    let same_site = scene
        .service
        .client
        .post(url)
        .header("sec-fetch-site", "same-site");
    let answer = same_site.body(with(TOKEN)).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(ids(&scene).await.len(), 7, "nothing was dropped");
    assert!(!scene.service.log_text().contains(TOKEN));
}

#[tokio::test]
async fn a_limited_token_may_not_and_without_any_the_page_says_how_to_get_one() {
    let mut setup = Setup::alone();
    let words = ["token", "--name", "team", "--distribution", "E1"];
    let (_, said, _) = setup.run(&words);
    let limited = said.lines().find(|line| line.starts_with("pf_")).unwrap();
    let (_, table) = said.split_once("[[api.tokens]]").unwrap();
    setup.add_settings(&format!("\n[[api.tokens]]{table}\n"));
    let service = setup.start().await;
    let act = |token: String| {
        let request = service
            .client
            .post(format!("{}/page/deadletters", service.admin_url));
        request
            .body(format!("do=drop&scope=all&token={token}"))
            .send()
    };
    let answer = act(limited.to_owned()).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("limited to some distributions")
    );
    assert_eq!(
        act(TOKEN.to_owned()).await.unwrap().status(),
        200,
        "after the redirect"
    );

    let mut setup = Setup::alone();
    setup.forget_token();
    let service = setup.start().await;
    let url = format!(
        "{}/page/deadletters/confirm?do=drop&scope=all",
        service.admin_url
    );
    let page = service
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("none is configured") && !page.contains("<form"),
        "{page}"
    );
}
