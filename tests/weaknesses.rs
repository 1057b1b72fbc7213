//! The known weaknesses of webhooks that SNS posts to, one by one, and the test that each has.
//!
//! The rows are the facts sheet's on signatures (`facts/sns-s3.md`, part B; B14 are weaknesses
//! that others published). A test in tests/forged.rs is named after its row; where another already
//! proves a row, it is named here instead. `every_row_names_tests_that_exist` keeps this table true, and
//! docs/threat-model.md with it.
//!
//! | row | what goes wrong | tests |
//! | --- | --- | --- |
//! | B1 | something that matters is not signed | `real_messages_verify_and_altered_ones_do_not`, `a_confirmation_signs_its_token_and_url_and_no_subject` |
//! | B2 | another algorithm, or a small key | `only_two_signature_versions_exist`, `a_version_2_signature_labelled_1_is_refused`, `only_rsa_keys_of_a_good_size_are_taken` |
//! | B3 | what is not signed decides something | `b3_what_is_not_signed_decides_nothing`, `what_is_not_signed_may_be_anything` |
//! | B4 | a genuine message is refused | `b4_the_timestamp_is_kept_as_text`, `a_subject_that_is_null_or_absent_is_not_signed`, `all_types_and_both_versions_are_believed_once` |
//! | B5 | a pattern for certificate URLs lets strangers in | `every_other_spelling_is_refused` |
//! | B6 | SNS's certificate has another name in some region | `its_name_must_be_one_that_sns_has_for_the_topic`, `hosts_and_certificate_names_by_partition` |
//! | B7 | the certificate is changed every year | `b7_two_certificates_may_be_live_at_once`, `its_dates_must_span_the_messages_own_time` |
//! | B8 | the chain is asked for, which SNS does not serve | `one_pem_block_is_read_with_blank_space_around_it`, `the_common_name_counts_only_without_a_subject_alt_name` |
//! | B9 | junk URLs make us a request cannon, or a failure is remembered | `slow_senders_and_junk_certificates_do_not_keep_others_out`, `b9_junk_addresses_are_no_request_cannon`, `a_failure_is_shared_by_those_who_wait_and_then_forgotten`, `the_oldest_certificate_makes_room` |
//! | B10 | AWS's own advice is not taken | `sns_is_only_asked_over_https`, `topics_are_compared_exactly` |
//! | B11 | real repeats are refused, or replays taken | `b11_late_messages_are_believed`, `b11_a_replay_is_known_for_as_long_as_its_age_lets_it_in` |
//! | B12 | something is done before all was checked | `b12_checks_come_cheapest_first_and_acts_last` |
//! | B13 | two messages with one signature | `b13_the_ambiguous_pair_is_told_apart`, `one_signature_has_one_reading` |
//! | B14.1 | any host of AWS's is trusted | `b14_1_certificates_come_from_sns_hosts_alone` |
//! | B14.2 | S3 is trusted | `b14_2_s3_is_not_sns` |
//! | B14.3 | a certificate within another answer of SNS's | `b14_3_a_certificate_within_another_answer_is_refused` |
//! | B14.4 | a bucket named sns | `b14_4_s3_hosts_that_look_like_sns_are_refused` |
//! | B14.5 | no host check, or no TLS | `b14_5_other_schemes_and_hosts_are_refused` |
//! | B14.6 | SubscribeURL is fetched | `b14_6_the_subscribe_url_is_never_fetched` |
//! | B14.7 | no signature check | `b14_7_nothing_is_believed_unsigned` |
//! | B14.8 | signed by SNS, on a stranger's topic | `b14_8_a_strangers_topic_is_refused_though_sns_signed` |
//! | B14.9 | a switch that skips verification | `an_emulators_certificate_is_believed_only_from_its_own_origin` |
//! | B14.10 | a secret is compared byte by byte | `basic_credentials_are_compared_in_constant_time_and_challenged_first`, `tokens_are_compared_by_hash_in_constant_time` |

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    service::TOKEN,
    signer::{TOPIC, record},
    until,
    world::World,
};

/// The cells of a Markdown table's line; nothing where it is none.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The rows below each heading line whose last cell is `tests`: what they begin with, and the
/// names in their last cell.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(cells) = cells(line.trim_start_matches("//!")) else {
            inside = false;
            continue;
        };
        let (first, last) = (cells[0], cells[cells.len() - 1]);
        if last == "tests" {
            inside = true;
        } else if inside && !last.starts_with("---") {
            let names = last.split('`').skip(1).step_by(2).map(str::to_owned);
            rows.push((first.to_owned(), names.collect()));
        }
    }
    rows
}

/// The name of every test of the crate.
fn tests_of_the_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                collect_tests(&fs::read_to_string(path).unwrap(), &mut found);
            }
        }
    }
    found
}

fn collect_tests(text: &str, found: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if marked && let Some((before, rest)) = line.split_once("fn ") {
            let name: String = rest
                .chars()
                .take_while(|char| char.is_ascii_alphanumeric() || *char == '_')
                .collect();
            if before.is_empty() || before == "async " {
                found.insert(name);
                marked = false;
            }
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn every_row_names_tests_that_exist() {
    let tests = tests_of_the_sources();
    let weaknesses = rows(include_str!("weaknesses.rs"));
    let numbers: Vec<_> = weaknesses.iter().map(|(row, _)| row.as_str()).collect();
    let expected = (1..=13).map(|row| format!("B{row}"));
    let expected: Vec<_> = expected
        .chain((1..=10).map(|row| format!("B14.{row}")))
        .collect();
    assert_eq!(numbers, expected, "one row for each");
    let threats = rows(&page("docs/threat-model.md"));
    assert!(threats.len() >= 20, "{} threats", threats.len());
    let mut faults = Vec::new();
    for (row, names) in weaknesses.into_iter().chain(threats) {
        if names.is_empty() {
            faults.push(format!("{row}: names no test"));
        }
        for name in names {
            if !tests.contains(&name) {
                faults.push(format!("{row}: there is no test {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_check_of_the_tables_sees_what_it_should() {
    let table = "| threat | tests |\n| --- | --- |\n| a | `x`, `y` |\n| b | none |\n\n| c | `z` |";
    let found = rows(table);
    let expected = [("a", vec!["x", "y"]), ("b", vec![])];
    let expected = expected.map(|(row, names)| {
        let names = names.into_iter().map(str::to_owned).collect();
        (row.to_owned(), names)
    });
    assert_eq!(found, expected);
    let mut tests = BTreeSet::new();
    let source =
        "#[test]\n#[ignore]\nfn a() {}\nfn b() {}\n#[tokio::test(flavor)]\nasync fn c() {}";
    collect_tests(source, &mut tests);
    assert_eq!(tests, BTreeSet::from(["a".to_owned(), "c".to_owned()]));
}

#[test]
fn tokens_are_compared_by_hash_in_constant_time() {
    let source = page("src/http/auth.rs");
    let body = source.split("fn find").nth(1).unwrap();
    let body = body.split("\n    }\n").next().unwrap();
    assert!(body.contains("known.sha256.matches(&shown)"));
    let source = page("src/secret.rs");
    let compare = source.split("fn matches").nth(1).unwrap();
    let compare = compare.split("\n    }\n").next().unwrap();
    assert!(compare.contains("verify_slices_are_equal(&self.0, &shown.0).is_ok()"));
    // Nothing ends the comparison early.
    for early in ["==", "break", "return", ".find", ".any", ".position", "?;"] {
        assert!(!body.contains(early), "{early} in:\n{body}");
        assert!(!compare.contains(early), "{early} in:\n{compare}");
    }
}

#[test]
fn dependencies_are_locked_and_come_from_one_registry() {
    let lock: toml::Table = page("Cargo.lock").parse().unwrap();
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if name == "purgefront" {
            continue;
        }
        let source = package.get("source").and_then(toml::Value::as_str);
        assert_eq!(source, Some(registry), "{name}");
        assert!(package.get("checksum").is_some(), "{name}");
    }
    let deny: toml::Table = page("deny.toml").parse().unwrap();
    for unknown in ["unknown-registry", "unknown-git"] {
        assert_eq!(deny["sources"][unknown].as_str(), Some("deny"));
    }
}

#[tokio::test]
async fn strangers_may_not_pause_or_drop_anything() {
    let settings = [("PURGEFRONT_SERVER__ADMIN_LISTEN", "0.0.0.0:0")];
    let world = World::start_with(&settings).await;
    let service = &world.service;
    let operations = [
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/deadletters"),
        ("DELETE", "/deadletters?all=true"),
        ("POST", "/deadletters/replay?all=true"),
        ("DELETE", "/deadletters/1"),
        ("POST", "/deadletters/1/replay"),
    ];
    let send = async |url: &str, method: &str, path: &str, token: Option<&str>| {
        let method = method.parse().unwrap();
        let mut request = service.client.request(method, format!("{url}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap_or_default();
        (
            status,
            problem["type"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let problem = |slug: &str| (401, format!("urn:purgefront:problem:{slug}"));
    for (method, path) in operations {
        let refused = send(&service.admin_url, method, path, None).await;
        assert_eq!(refused, problem("no-token"), "{path}");
        for guess in [
            "x",
            &TOKEN[1..],
            &format!("{TOKEN}x"),
            &TOKEN.to_uppercase(),
        ] {
            let refused = send(&service.admin_url, method, path, Some(guess)).await;
            assert_eq!(refused, problem("wrong-token"), "{path} {guess}");
        }
        // The public listener has none of it, whoever asks.
        let nothing = send(&service.url, method, path, Some(TOKEN)).await;
        assert_eq!(nothing.0, 404, "{path}");
    }
    world.accepts(world.upload().body()).await;
    until("the invalidation", || {
        (world.aws.cloudfront.paths("E1") == ["/a"]).then_some(())
    })
    .await;
    let paused = send(&service.admin_url, "POST", "/pause", Some(TOKEN)).await;
    assert_eq!(paused.0, 200);
}

#[tokio::test]
async fn an_ended_subscription_is_shown_and_never_restored() {
    let world = World::start().await;
    let token = "ab".repeat(112);
    let ended = world.signer.unsubscribe_confirmation(&token);
    world.accepts(ended.body()).await;
    let is = async |world: &World, state: &str| {
        world.service.ready().await.1["checks"]["unsubscribed"]["state"] == state
    };
    eventually!(is(&world, "warn").await);
    let (status, ready) = world.service.ready().await;
    assert_eq!((status, &ready["state"]), (200, &json!("warn")));
    let check = ready["checks"]["unsubscribed"].to_string();
    assert!(check.contains(TOPIC), "{check}");
    // A start does not forget it.
    let world = world.restarted().await;
    eventually!(is(&world, "warn").await);
    // What comes later is done, and so there is a subscription again; none is made by us.
    world.accepts(world.upload().body()).await;
    eventually!(is(&world, "ok").await);
    until("the invalidation", || {
        (world.aws.cloudfront.paths("E1") == ["/a"]).then_some(())
    })
    .await;
    assert!(world.aws.sns.confirmations().is_empty());
}

#[tokio::test]
async fn the_store_is_its_owners_alone() {
    let world = World::start().await;
    world.accepts(world.upload().body()).await;
    let modes = world.modes_of_the_store();
    assert!(modes.len() >= 3, "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn hostile_text_is_never_a_metrics_label() {
    let world = World::start().await;
    let hostile = "evil\"}\u{1b}[31m";
    let records = json!({"Records": [
        record("ObjectCreated:Put", hostile, "evil-key%0A%22"),
        record("ObjectCreated:evil", "site", "evil-key"),
        record(hostile, "site", "evil-key"),
        record("ObjectCreated:Put", "site", "%FFevil"),
    ]});
    let message = world.signer.notification(&records.to_string());
    world.accepts(message.with("Subject", "evil").body()).await;
    let mut forged = world.upload().signed();
    forged["Type"] = json!(hostile);
    world.service.sns(forged.to_string()).await;
    world.service.invalidate("evil", &["/evil"]).await;
    eventually!(world.service.metric("purgefront_dead_letters").await != 0);
    let request = world
        .service
        .client
        .get(format!("{}/metrics", world.service.admin_url));
    let metrics = request.send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("evil"), "{metrics}");
    assert!(!metrics.contains('\u{1b}'), "{metrics}");
}
