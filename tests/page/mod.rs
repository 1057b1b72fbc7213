//! The status page: what it tells, how it is protected, its forms, and how it looks in a browser.

mod browser;
mod forms;
mod scene;

use purgefront::domain::propagation;
use reqwest::header::HeaderMap;

use self::scene::Scene;
use crate::support::{
    service::{Setup, TOKEN},
    signer::s3_records,
};

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_new_service_says_what_it_waits_for() {
    let scene = Scene::empty().await;
    let (status, headers, page) = scene.page("/").await;
    assert_eq!(status, 200);
    assert_eq!(header(&headers, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&headers, "cache-control"), "no-store");
    let policy = header(&headers, "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(header(&headers, "referrer-policy"), "same-origin");
    assert!(!page.contains("style=") && !page.contains("<style"));
    for part in [
        "1 warning",
        "subscribe https://YOUR-HOST/sns",
        "live",
        "not paused",
        env!("CARGO_PKG_VERSION"),
        "No distributions are known",
        "There are none.",
        "No invalidation was made yet.",
        "$0.000",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn a_busy_service_shows_what_it_does() {
    let scene = Scene::busy().await;
    let (_, _, page) = scene.page("/").await;
    for part in [
        "E3LDOZ8XKQ2WPT",
        "pool full",
        "assets.shop.example.com",
        "Propagation times by hour of the last day",
        "in progress",
        "beyond the free 1,000",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(
        page.matches("<svg").count(),
        5,
        "one for each with a day behind it"
    );
    let first = page.find("E3LDOZ8XKQ2WPT").unwrap();
    assert!(
        first < page.find("E1PA6795UKMFR9").unwrap(),
        "trouble comes first"
    );
    let bars = page.matches("class=\"longest\"").count();
    assert!(bars > propagation::HOURS, "{bars}");

    let list = scene
        .service
        .get("/invalidations?distribution_id=E1PA6795UKMFR9&limit=1")
        .await;
    let id = list["invalidations"][0]["id"].as_str().unwrap();
    assert!(page.contains(&format!("/page/invalidations/{id}")));
    let (status, _, detail) = scene.page(&format!("/page/invalidations/{id}")).await;
    assert_eq!(status, 200);
    for part in [
        "/blog/a%20post%20with%20spaces.html",
        "ObjectCreated:Put",
        "blog/a post with spaces.html",
        "completed",
    ] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let (status, headers, _) = scene.page("/page/invalidations/unknown").await;
    assert_eq!(status, 404);
    assert_eq!(header(&headers, "content-type"), "text/html; charset=utf-8");

    let (_, _, story) = scene.page("/page/object?bucket=docs&key=index.html").await;
    for part in [
        "Accepted",
        "ObjectCreated:Put",
        "E1PA6795UKMFR9",
        "completed",
        "/index.html",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    scene.upload("nobodys", &["a"]).await;
    eventually!({
        let (_, _, story) = scene.page("/page/object?bucket=nobodys&key=a").await;
        story.contains("everywhere: ") && story.contains("nothing to invalidate")
    });
    let (_, _, story) = scene.page("/page/object?bucket=docs&key=other").await;
    assert!(story.contains("No change of this object is known"));
}

#[tokio::test]
async fn trouble_is_told_with_its_mend_and_hostile_text_is_only_text() {
    let scene = Scene::trouble().await;
    let (_, _, page) = scene.page("/").await;
    for part in [
        "warnings",
        "paused",
        "purgefront resume E5B0VNRSQ7MEAK",
        "grant cloudfront:CreateInvalidation",
        "ListDistributions failed",
        "has ended; subscribe again",
        "7 dead letters",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "invoice\\u202efdp.exe\\u001b[31m\\u000a\\u0007",
        "not UTF-8",
        "not all subscribed",
    ] {
        let part = if part == "7 dead letters" {
            "there are 7"
        } else {
            part
        };
        assert!(page.contains(part), "{part}: {page}");
    }
    let wide = scene.page("/page/deadletters").await.2;
    for text in [page, wide] {
        assert!(!text.contains("<script>") && !text.contains("<img"));
        assert!(!text.contains(['\u{202e}', '\u{1b}', '\u{7}']));
    }
    let key = "%7E%3Cscript%3Ealert(1)%3C/script%3E%3Cimg%20src=x%20onerror=alert(2)%3E.html";
    let (_, _, story) = scene
        .page(&format!("/page/object?bucket=site&key={key}"))
        .await;
    assert!(story.contains("dead letter"), "{story}");
    assert!(!story.contains("<img"));
}

#[tokio::test]
async fn browsers_keep_the_two_files_until_they_change() {
    let scene = Scene::empty().await;
    for (path, kind) in [
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
    ] {
        let (status, headers, text) = scene.page(path).await;
        assert_eq!((status, header(&headers, "content-type")), (200, kind));
        assert!(text.len() > 1_000);
        assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
        let known = header(&headers, "etag").to_owned();
        let again = scene
            .service
            .client
            .get(format!("{}{path}", scene.service.admin_url));
        let again = again.header("if-none-match", known).send().await.unwrap();
        assert_eq!(again.status(), 304);
    }
}

#[tokio::test]
async fn the_public_listener_has_no_page() {
    let scene = Scene::empty().await;
    for path in ["/", "/page.css", "/page/deadletters"] {
        let url = format!("{}{path}", scene.service.url);
        let answer = scene.service.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn elsewhere_than_on_loopback_a_browser_is_asked_for_a_token() {
    let mut setup = Setup::alone();
    setup.set_env("PURGEFRONT_SERVER__ADMIN_LISTEN", "0.0.0.0:0");
    let service = setup.start().await;
    let url = service.admin_url.replace("0.0.0.0", "127.0.0.1");
    for path in [
        "/",
        "/page.css",
        "/page.js",
        "/page/deadletters",
        "/deadletters",
    ] {
        let get = || service.client.get(format!("{url}{path}"));
        let answer = get().send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let challenges = answer.headers().get_all("www-authenticate").iter();
        let challenges: Vec<_> = challenges.map(|one| one.to_str().unwrap()).collect();
        assert_eq!(
            challenges,
            ["Bearer", "Basic realm=\"purgefront\", charset=\"UTF-8\""]
        );
        let wrong = get()
            .basic_auth("operator", Some("wrong"))
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
        let right = get()
            .basic_auth("anybody", Some(TOKEN))
            .send()
            .await
            .unwrap();
        assert_eq!(right.status(), 200, "{path}");
        let right = get().bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(right.status(), 200, "{path}");
    }
    let public = service.client.get(format!("{}/invalidations", service.url));
    let public = public
        .basic_auth("anybody", Some(TOKEN))
        .send()
        .await
        .unwrap();
    assert_eq!(public.status(), 401, "the API takes bearers only");
}

#[tokio::test]
async fn the_page_is_there_while_the_store_cannot_be_read() {
    let scene = Scene::empty().await;
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    scene
        .service
        .sns(scene.signer.notification(&text).body())
        .await;
    crate::support::sqlite::execute(
        scene.setup.store(),
        "ALTER TABLE batches RENAME TO gone; ALTER TABLE day_spending RENAME TO gone_too",
    )
    .await;
    let (status, _, page) = scene.page("/").await;
    assert_eq!(status, 200);
    assert!(page.contains("The store cannot be read now"), "{page}");
    assert!(page.contains("unknown: the store cannot be read"), "{page}");
    assert_eq!(scene.page("/page/invalidations/x").await.0, 503);
}
