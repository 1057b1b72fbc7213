//! `purgefront plan` shows what the service would merge, by the keys that there are.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws, cloudfront::Distribution, connecting::Account, distribution::Behaviour,
    service::Setup,
};

/// Puts files into the working directory, and the account's catalogue, which has these distributions.
async fn put(setup: &Setup, distributions: &[Distribution], files: &[(&str, &str)]) {
    let aws = FakeAws::start().await;
    for distribution in distributions {
        aws.cloudfront.put(distribution.clone());
    }
    let (code, catalogue, complaint) = Setup::new(&aws).run(&["catalogue"]);
    assert_eq!(code, Some(0), "{complaint}");
    for (name, text) in files.iter().chain(&[("account.json", &*catalogue)]) {
        fs::write(setup.home().join(name), text).unwrap();
    }
}

fn renditions(photos: std::ops::RangeInclusive<usize>) -> Vec<String> {
    let sizes = |photo| (1..=9).map(move |size| format!("img/photo-{photo}-{size}.jpg"));
    photos.flat_map(sizes).collect()
}

fn lines(keys: &[String]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}

/// Plans keys of the bucket `site`.
fn run(setup: &Setup, options: &[&str], keys: &[String]) -> (String, String) {
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let site = ["plan", "--catalogue", "account.json", "--bucket", "site"];
    let (code, said, complaint) = setup.run(&[&site[..], options, &["--"], &keys].concat());
    assert_eq!(code, Some(0), "{complaint}");
    (said, complaint)
}

fn planned(setup: &Setup, options: &[&str], keys: &[String]) -> Value {
    let (json, complaint) = run(setup, &[&["--json"], options].concat(), keys);
    assert_eq!(complaint, "");
    serde_json::from_str(&json).unwrap()
}

/// The items of each distribution, without the reasons.
fn items(plan: &Value) -> Value {
    let distributions = plan["distributions"].as_array().unwrap().iter();
    let items = |one: &Value| -> Value {
        let items = one["items"].as_array().unwrap().iter();
        items.map(|one| one["item"].clone()).collect()
    };
    distributions.map(items).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_are_merged_as_the_configuration_says() {
    let setup = Setup::alone();
    let site = Distribution::of("E1", "site");
    let known = lines(&[renditions(16..=18), vec!["about.html".to_owned()]].concat());
    put(&setup, &[site], &[("keys", &known)]).await;
    let changed = [renditions(17..=17), vec!["about.html".to_owned()]].concat();

    let plan = planned(&setup, &["--known", "keys"], &changed);
    let root = "/* would have replaced 10 items, but economy.allow_root is false";
    let first = &plan["distributions"][0]["items"][0];
    assert_eq!(items(&plan), json!([["/img/photo-17-*", "/about.html"]]));
    assert_eq!(first["merged"], json!({"replaces": 9, "evictions": 0}));
    assert_eq!(first["why"].as_array().unwrap().len(), 9);
    assert_eq!(plan["distributions"][0]["items"][1].get("merged"), None);
    assert_eq!(plan["distributions"][0]["prevented"], json!([root]));
    assert_eq!(plan["distributions"][0].get("curve"), None);
    assert_eq!(
        (
            &plan["paths"],
            &plan["wildcards"],
            &plan["evictions"],
            &plan["price_usd"]
        ),
        (&json!(2), &json!(1), &json!(0), &json!(0.01))
    );

    let config = |text: &str| {
        fs::write(setup.home().join("purgefront.toml"), text).unwrap();
        planned(&setup, &["--known", "keys"], &changed)
    };
    let plan = config("[economy]\nallow_root = true\n");
    assert_eq!(items(&plan), json!([["/*"]]));
    assert_eq!(plan["evictions"], 18);
    let plan = config("[economy]\nallow_root = true\nevictions_per_path = 5\n");
    assert_eq!(items(&plan), json!([["/img/photo-17-*", "/about.html"]]));
    assert_eq!(plan["distributions"][0].get("prevented"), None);
    let plan = config("[economy]\nprotected = [\"/img/*\"]\nevictions_per_path = 5\n");
    let protected =
        "/img/photo-17-* would have replaced 9 items, but it covers what economy.protected has";
    assert_eq!(plan["paths"], 10);
    assert_eq!(plan["distributions"][0]["prevented"], json!([protected]));
    // At this price, whatever has changed altogether is merged, and nothing else is.
    let plan = config("[limits]\nwildcards_in_progress = 3\n[economy]\nevictions_per_path = 0\n");
    assert_eq!(plan["paths"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_plan_reads_as_text_with_its_alternatives() {
    let setup = Setup::alone();
    let mut other = Distribution::of("E2", "site");
    "/docs".clone_into(&mut other.origins[0].1);
    let known = "docs/1\ndocs/2\ndocs/3\nother\n";
    put(
        &setup,
        &[Distribution::of("E1", "site"), other],
        &[("keys", known)],
    )
    .await;
    let changed = ["docs/1", "docs/2"].map(str::to_owned);
    let (text, complaint) = run(&setup, &["--known", "keys", "--curve"], &changed);
    assert_eq!(complaint, "");
    let expected =
        "E1\n  /docs/*\n      replaces 2 items, evicts 1 unchanged object\n      docs/1: ";
    assert!(text.starts_with(expected), "{text}");
    for expected in [
        "\n\n  --evictions-per-path at least    paths  wildcards  evictions\n",
        "                           1.00        1          1          1\n",
        "                           0.00        2          0          0\n",
        "\n  1 paths, 1 of them wildcards, evictions: 1; $0.005 after the month's first 1,000\n",
        // The origin's path is no part of what viewers ask for.
        "\nE2\n  /1\n",
        "\n  prevented: /* would have replaced 2 items, but economy.allow_root is false\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let last = "3 paths, 1 of them wildcards, evictions: 1; $0.015 after the month's first 1,000";
    assert_eq!(text.lines().last(), Some(last));

    let options = ["--known", "keys", "--curve", "--evictions-per-path", "0.5"];
    let plan = planned(&setup, &options, &changed);
    assert_eq!(items(&plan), json!([["/docs/1", "/docs/2"], ["/1", "/2"]]));
    let curve = json!([
        {"evictions_per_path": 1.0, "paths": 1, "wildcards": 1, "evictions": 1},
        {"evictions_per_path": 0.0, "paths": 2, "wildcards": 0, "evictions": 0},
    ]);
    assert_eq!(plan["distributions"][0]["curve"], curve);

    // Nobody has said which keys there are.
    let (text, _) = run(&setup, &[], &changed);
    let hint = "nothing is merged: --list, or --known FILE, shows what merging would save";
    assert!(text.ends_with(&format!("first 1,000\n{hint}\n")), "{text}");
    let plan = planned(&setup, &[], &changed);
    assert_eq!((&plan["paths"], &plan["evictions"]), (&json!(4), &json!(0)));
    let (text, _) = run(&setup, &[], &changed[..1]);
    assert!(!text.contains("merged"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_paths_and_other_buckets_count() {
    let setup = Setup::alone();
    let mut site = Distribution::of("E1", "site");
    "/live".clone_into(&mut site.origins[0].1);
    let images = "images.s3.us-east-1.amazonaws.com".to_owned();
    site.origins.push((images, String::new()));
    site.behaviours = vec![Behaviour::of("/img/x*", "origin-1")];
    let known = "live/a\nb/1\0live/b/2\0old/b/3\0live/b/3\0live/img/1\0live/img/2\0";
    put(&setup, &[site], &[("keys", known)]).await;
    let (code, json, complaint) = setup.run_with(
        &[
            "plan",
            "--catalogue",
            "account.json",
            "--bucket",
            "site",
            "--known",
            "keys",
            "-z",
            "--json",
        ],
        "live/b/2\0live/b/3\0live/img/1\0live/img/2\0",
    );
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let plan: Value = serde_json::from_str(&json).unwrap();
    // What the other bucket has below /img/ is not known.
    assert_eq!(items(&plan), json!([["/b/*", "/img/1", "/img/2"]]));
    assert_eq!(plan["evictions"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_listed_as_the_service_lists_it() {
    let account = Account::start().await;
    for key in renditions(1..=5) {
        account.state().objects.put(&key, Timestamp::UNIX_EPOCH);
    }
    let mut setup = account.setup();
    put(&setup, &[Distribution::of("E1", "site")], &[]).await;
    let changed = renditions(3..=3);
    let plan = planned(&setup, &["--list"], &changed);
    assert_eq!(items(&plan), json!([["/img/photo-3-*"]]));
    // The model's pages have three keys.
    assert_eq!(account.calls(), ["s3:ListBucket"; 3]);

    account.state().denied.insert("s3:ListBucket".to_owned());
    let (json, complaint) = run(&setup, &["--list", "--json"], &changed);
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&plan["paths"], &plan["evictions"]), (&json!(9), &json!(0)));
    let expected =
        "warning: E1: what cannot be listed is not merged: s3:ListBucket: AccessDenied: ";
    assert!(complaint.starts_with(expected), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");

    setup.set_env("PURGEFRONT_ECONOMY__LIST_OBJECTS", "false");
    let (_, complaint) = run(&setup, &["--list"], &changed);
    assert!(
        complaint.contains("the service does not list"),
        "{complaint}"
    );
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let setup = Setup::alone();
    for (words, complaint) in [
        (&["--bucket", "site", "--known", "-"][..], "standard input"),
        (
            &["--bucket", "site", "--known", "k", "--list"],
            "cannot be used with",
        ),
        (
            &["--bucket", "site", "--paths", "--list"],
            "cannot be used with",
        ),
        (
            &["--bucket", "site", "--paths", "--known", "k"],
            "cannot be used with",
        ),
        (&["--changed", "c", "--list"], "cannot be used with"),
        (&["--bucket", "site", "--curve"], "--list"),
        (
            &["--bucket", "site", "--evictions-per-path", "1"],
            "--known",
        ),
        (&["--list", "key"], "--bucket"),
        (&["--known", "k", "key"], "--bucket"),
    ] {
        let (code, _, said) = setup.run(&[&["plan"], words].concat());
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(complaint), "{words:?}: {said}");
    }
}
