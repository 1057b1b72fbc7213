//! From keys to the URLs that can be stale: by behaviours, policies, rules, and late knowledge.

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    distribution::Behaviour,
    service::{Service, Setup, TOKEN},
    signer::{Signer, s3_records},
    until,
};

async fn prepared() -> (FakeAws, Signer, Setup) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let setup = Setup::new(&aws);
    (aws, signer, setup)
}

async fn uploads(service: &Service, signer: &Signer, keys: &[&str]) {
    let records: Vec<_> = keys.iter().map(|key| ("ObjectCreated:Put", *key)).collect();
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

/// Two origins, a group, policies of every kind, a function.
fn site() -> Distribution {
    let mut site = Distribution::of("E1", "site");
    site.root = Some("index.html".to_owned());
    site.origins
        .push(("app.example.com".to_owned(), String::new()));
    site.groups = vec![(
        "both".to_owned(),
        ["origin-1".to_owned(), "origin-0".to_owned()],
    )];
    let with_policy = |pattern: &str, policy: &str| Behaviour {
        cache_policy: Some(policy.to_owned()),
        ..Behaviour::of(pattern, "origin-0")
    };
    site.behaviours = vec![
        Behaviour::of("/app/*", "origin-1"),
        with_policy("/search/*", "queries"),
        with_policy("/live/*", "nothing"),
        Behaviour {
            function: true,
            ..Behaviour::of("/docs/*", "both")
        },
        Behaviour {
            query_strings: true,
            ..Behaviour::of("*.css", "origin-0")
        },
    ];
    site
}

#[tokio::test]
async fn behaviours_and_policies_decide_what_goes_out() {
    let (aws, signer, setup) = prepared().await;
    aws.cloudfront.put(site());
    aws.cloudfront.put_policy("queries", 86_400, "whitelist");
    aws.cloudfront.put_policy("nothing", 0, "none");
    let service = setup.start().await;
    let keys = [
        "index.html",
        "app/a",
        "search/a",
        "live/a",
        "docs/x/index.html",
        "a.css",
        "b.js",
    ];
    uploads(&service, &signer, &keys).await;
    let expected = [
        "/",
        "/a.css*",
        "/b.js",
        "/docs/x/",
        "/docs/x/index.html",
        "/index.html",
        "/search/a*",
    ];
    assert_eq!(paths(&aws, "E1", expected.len()).await, expected);
    assert_eq!(
        aws.cloudfront.reads("policy queries"),
        1,
        "asked once, and kept"
    );
}

#[tokio::test]
async fn where_a_cache_policy_is_denied_mapping_goes_on_and_readiness_warns() {
    let (aws, signer, setup) = prepared().await;
    aws.cloudfront.put(site());
    aws.cloudfront.put_policy("queries", 60, "all");
    aws.cloudfront.deny_config(true);
    let service = setup.start().await;
    uploads(&service, &signer, &["search/a"]).await;
    assert_eq!(paths(&aws, "E1", 1).await, ["/search/a"]);
    let check = || async { service.ready().await.1["checks"]["cache_policies"].clone() };
    eventually!(check().await["state"] == "warn");
    let detail = check().await["detail"].to_string();
    assert!(
        detail.contains("queries") && detail.contains("cloudfront:GetCachePolicy"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_distribution_that_shows_up_late_gets_what_was_accepted_meanwhile_once() {
    let (aws, signer, mut setup) = prepared().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    setup.set_env("PURGEFRONT_CATALOGUE__REFRESH", "1h");
    let service = setup.start().await;
    service.knows_the_catalogue().await;
    // Made after the reading, and nobody knows of it when the keys come.
    aws.cloudfront.put(Distribution::of("E2", "site"));
    uploads(&service, &signer, &["a", "b"]).await;
    assert_eq!(paths(&aws, "E1", 2).await, ["/a", "/b"]);
    assert!(aws.cloudfront.paths("E2").is_empty());
    // Killed: that has to be found out at the next start.
    service.kill();
    let service = setup.start().await;
    assert_eq!(paths(&aws, "E2", 2).await, ["/a", "/b"]);
    uploads(&service, &signer, &["c"]).await;
    assert_eq!(paths(&aws, "E2", 3).await, ["/a", "/b", "/c"]);
    assert_eq!(
        paths(&aws, "E1", 3).await,
        ["/a", "/b", "/c"],
        "nothing went out twice"
    );

    // Another behaviour, while it runs: only what that changes goes out.
    let mut rewritten = Distribution::of("E1", "site");
    rewritten.default.query_strings = true;
    aws.cloudfront.put(rewritten);
    uploads(&service, &signer, &["d"]).await;
    paths(&aws, "E1", 4).await;
    // An unknown bucket makes it read the list.
    let text = s3_records("nobodys", &[("ObjectCreated:Put", "x")]);
    service.sns(signer.notification(&text).body()).await;
    let all = until("the wildcard", || {
        let all = aws.cloudfront.paths("E1");
        all.iter().any(|path| path == "/d*").then_some(all)
    });
    let all = all.await;
    assert!(
        !all.iter().any(|path| path == "/a*"),
        "accepted before the reading: {all:?}"
    );
    assert_eq!(aws.cloudfront.paths("E2").len(), 4);
}

#[tokio::test]
async fn rules_and_tags_go_where_the_owner_says() {
    let (aws, signer, mut setup) = prepared().await;
    let mut keeps = Distribution::of("E1", "site");
    keeps.cache_tags = true;
    aws.cloudfront.put(keeps);
    aws.cloudfront.put(Distribution::of("E2", "site"));
    setup.set_settings(
        "[batching]\nquiet = \"50ms\"\nmax_wait = \"500ms\"\n\
         [[rule]]\nbucket = \"site\"\nmatch = \"posts/{slug}.md\"\n\
         also = [\"/blog/{slug}/\", \"#post-{slug}\"]\ninstead = true\n\
         [[ignore]]\nbucket = \"site\"\nmatch = \"*.map\"\n",
    );
    let service = setup.start().await;
    // Said at the start, before any change came.
    let check = || async { service.ready().await.1["checks"]["rules"].clone() };
    eventually!(check().await["state"] == "warn");
    let detail = check().await["detail"].to_string();
    assert!(detail.contains("E2") && !detail.contains("E1 "), "{detail}");
    uploads(
        &service,
        &signer,
        &["posts/a b.md", "js/a.js.map", "posts/c.md"],
    )
    .await;
    assert_eq!(
        paths(&aws, "E1", 3).await,
        ["#post-c", "/blog/a%20b/", "/blog/c/"]
    );
    assert_eq!(paths(&aws, "E2", 2).await, ["/blog/a%20b/", "/blog/c/"]);
    // A tag with a space is none: kept, with the reason, for E1 and for E2.
    eventually!(service.metric("purgefront_dead_letters").await >= 2);
    let body = json!({"distribution_id": "E1", "tags": ["sale"], "paths": ["/x"]});
    let request = service.client.post(format!("{}/invalidate", service.url));
    let answer = request
        .bearer_auth(TOKEN)
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    assert!(paths(&aws, "E1", 5).await.contains(&"#sale".to_owned()));
}

/// An account to plan for: its AWS, a service that may ask it, one that reaches nobody, and
/// the catalogue in a file.
async fn planned() -> (FakeAws, Setup, Setup, String) {
    let (aws, _, setup) = prepared().await;
    aws.cloudfront.put(site());
    aws.cloudfront.put(Distribution::of("E2", "other"));
    let mut outside = Distribution::of("E3", "site");
    "/prod".clone_into(&mut outside.origins[0].1);
    aws.cloudfront.put(outside);
    aws.cloudfront.put_policy("queries", 86_400, "all");
    aws.cloudfront.put_policy("nothing", 0, "none");

    let (code, catalogue, complaint) = setup.run(&["catalogue"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let file = setup.store().with_file_name("catalogue.json");
    std::fs::write(&file, &catalogue).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut alone = Setup::alone();
    alone.forget_token();
    (aws, setup, alone, file)
}

/// That a plan has the wildcard, the root object and the function's directory, each with its
/// reason, and says why the third distribution has nothing.
fn assert_plan(shown: &Value) {
    let first = &shown["distributions"][0];
    assert_eq!(first["distribution_id"], "E1");
    let items = first["items"].as_array().unwrap();
    let names: Vec<_> = items
        .iter()
        .map(|item| item["item"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["/search/q*", "/", "/index.html", "/docs/*"]);
    let why = items[0]["why"][0].as_str().unwrap();
    assert!(
        why.contains("search/q") && why.contains("behaviour /search/*"),
        "{why}"
    );
    assert_eq!(first["skipped"], Value::Null);
    let last = &shown["distributions"][1];
    assert_eq!(last["distribution_id"], "E3");
    assert_eq!(last["items"], json!([]));
    let skipped = last["skipped"].as_str().unwrap();
    assert!(skipped.contains("outside every origin path"), "{skipped}");
    assert_eq!(
        (&shown["paths"], &shown["wildcards"]),
        (&json!(4), &json!(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_says_what_would_go_out_and_why_without_sending_it() {
    let (aws, setup, alone, file) = planned().await;
    let keys = ["search/q", "index.html", "docs/~x", "live/a"];
    let plan = ["plan", "--bucket", "site", "--json"];
    let online: Vec<_> = plan.iter().chain(&keys).copied().collect();
    let (code, said, _) = setup.run(&online);
    assert_eq!(code, Some(0));
    assert_plan(&serde_json::from_str(&said).unwrap());
    // From the file alone, without AWS, and from standard input: the same.
    let from_file = ["--catalogue", &file];
    let offline: Vec<_> = plan.iter().chain(&from_file).copied().collect();
    let (code, same, _) = alone.run_with(&offline, &(keys.join("\n") + "\n"));
    assert_eq!((code, same), (Some(0), said));
    assert!(aws.cloudfront.calls().is_empty(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_people_is_text_with_its_price() {
    let (_aws, _setup, alone, file) = planned().await;
    let planned = |words: &[&str]| {
        let (code, text, _) = alone.run(&[&["plan", "--catalogue", &file], words].concat());
        assert_eq!(code, Some(0), "{words:?}");
        text
    };
    let text = planned(&["--bucket", "site", "--deleted", "a\u{1b}[2Jb"]);
    assert!(
        text.contains("/a%1B%5B2Jb") && text.contains("1 paths"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}'),
        "a key does not command the terminal"
    );
    let text = planned(&["--distribution", "E2", "--paths", "/a/*", "#tag"]);
    assert!(
        text.contains("2 paths, 1 of them wildcards: $0.010"),
        "{text}"
    );
    // Taken, for a person asked; but CloudFront drops nothing for it.
    let text = planned(&["--distribution", "E2", "--paths", "/a%7Eb"]);
    assert!(text.contains("warning: CloudFront takes %7E"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_cannot_be_made_ends_with_the_code_of_its_fault() {
    let (_aws, mut setup, alone, file) = planned().await;
    setup.set_env("PURGEFRONT_MAPPING__INDEX_DOCUMENTS", "[\"a/b\"]");
    for words in [
        &["plan", "a"][..],
        &["plan", "--bucket", "site", "a"],
        &["catalogue"],
    ] {
        assert_eq!(setup.run(words).0, Some(2), "{words:?}");
    }
    let file = ["--catalogue", file.as_str()];
    for (words, file, expected) in [
        (&["--bucket", "nobodys", "a"][..], file, 0),
        (&["--bucket", "site", "a"], ["--catalogue", "/nowhere"], 1),
        (&["--paths", "--bucket", "site", "a b"], file, 2),
        (&["--paths", "--distribution", "E9", "/a"], file, 1),
    ] {
        let words = [&["plan"], &file[..], words].concat();
        assert_eq!(alone.run(&words).0, Some(expected), "{words:?}");
    }
}
