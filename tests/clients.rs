//! The clients of the API on the command line: `invalidate`, `status` and `why`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::{Distribution, Fault},
    service::{Service, Setup},
    signer::{Signer, s3_records},
};

/// A service in front of two distributions, and a place from which clients are run.
struct Desk {
    aws: FakeAws,
    signer: Signer,
    setup: Setup,
    service: Service,
}

impl Desk {
    async fn open() -> Self {
        let aws = FakeAws::start().await;
        let mut one = Distribution::of("E1", "site");
        one.aliases = vec!["www.example.com".to_owned()];
        aws.cloudfront.put(one);
        aws.cloudfront.put(Distribution::of("E2", "other"));
        aws.cloudfront.complete_after(Duration::from_millis(1));
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        let mut setup = Setup::new(&aws);
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        setup.set_env("PURGEFRONT_URL", &service.url);
        setup.set_env("PURGEFRONT_ADMIN_URL", &service.admin_url);
        Self {
            aws,
            signer,
            setup,
            service,
        }
    }

    /// Runs a command: exit code, standard output, standard error.
    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        self.setup.run(words)
    }

    async fn pause(&self) {
        assert_eq!(self.run(&["pause", "E1"]).0, Some(0));
        eventually!(self.service.ready().await.1["checks"]["paused"]["state"] == "warn");
    }

    async fn upload(&self, bucket: &str, key: &str) {
        let text = s3_records(bucket, &[("ObjectCreated:Put", key)]);
        let body = self.signer.notification(&text).body();
        assert_eq!(self.service.sns(body).await.status(), 200);
    }
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidate_requests_and_waits_for_the_end() {
    let desk = Desk::open().await;
    let words = [
        "invalidate",
        "--alias",
        "www.example.com",
        "/a",
        "/b/*",
        "--tag",
        "t",
    ];
    let (code, said, complaint) = desk.run(&[&words[..], &["--reason", "typo", "--wait"]].concat());
    // Nobody watches: there is no progress.
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{said}");
    assert!(
        said.contains(": completed\n") && said.contains("  E1: completed (invalidation "),
        "{said}"
    );
    let mut paths = desk.aws.cloudfront.paths("E1");
    paths.sort();
    assert_eq!(paths, ["#t", "/a", "/b/*"]);
    let (code, said, _) = desk.setup.run_with(
        &["invalidate", "--bucket", "site", "-", "--wait=1m", "--json"],
        "a b\n\nc\n",
    );
    assert_eq!(code, Some(0), "{said}");
    let view = json_of(&said);
    assert_eq!(view["state"], "completed");
    let (code, said, _) = desk.run(&["status", view["id"].as_str().unwrap(), "--json"]);
    assert_eq!((code, json_of(&said)), (Some(0), view));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_nothing_and_a_key_makes_a_repeat_harmless() {
    let desk = Desk::open().await;
    let (code, said, _) = desk.run(&["invalidate", "--bucket", "site", "a", "--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("E1: /a (") && said.contains("Dry run: paths: 1,"),
        "{said}"
    );
    let words = [
        "invalidate",
        "--distribution",
        "E1",
        "/a",
        "--idempotency-key",
        "k",
        "--json",
    ];
    let ids = [0, 1].map(|_| json_of(&desk.run(&words).1)["id"].clone());
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_settle_or_fails_is_a_failure() {
    let desk = Desk::open().await;
    desk.pause().await;
    let words = ["invalidate", "--distribution", "E1", "/a"];
    let (code, said, _) = desk.run(&words);
    assert_eq!(code, Some(0), "nobody waits for it");
    assert!(said.contains("E1 is held: paused: "), "{said}");
    let (code, said, complaint) = desk.run(&[&words[..], &["--wait=1s"]].concat());
    assert_eq!(code, Some(1));
    assert!(said.contains(": accepted\n"), "{said}");
    assert!(complaint.contains("had not settled"), "{complaint}");
    assert_eq!(desk.run(&["resume", "E1"]).0, Some(0));
    desk.aws.cloudfront.refuse_path("/bad");
    let (code, said, _) = desk.run(&["invalidate", "--distribution", "E1", "/bad", "--wait"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(": failed\n") && said.contains("error: /bad: "),
        "{said}"
    );
    for (words, expected) in [
        (&["invalidate", "/a"][..], 2),
        (
            &["invalidate", "--distribution", "E1", "--bucket", "b", "/a"],
            2,
        ),
        (&["invalidate", "--distribution", "E1"], 2),
        (&["invalidate", "--bucket", "b", "k", "--tag", "t"], 2),
        (
            &[
                "invalidate",
                "--distribution",
                "E1",
                "/a",
                "--dry-run",
                "--wait",
            ],
            2,
        ),
        (&["invalidate", "--distribution", "E1", "no-path"], 1),
        (&["invalidate", "--distribution", "E9", "/a"], 1),
        (&["status", "no-request"], 1),
        (&["why", "site"], 2),
    ] {
        let (code, _, complaint) = desk.run(words);
        assert_eq!(code, Some(expected), "{words:?}: {complaint}");
        assert!(!complaint.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_waits_and_what_holds_it() {
    let desk = Desk::open().await;
    desk.aws.cloudfront.fail_next([Fault::AccessDenied; 50]);
    desk.upload("site", "a").await;
    let shows = |part: &str| {
        let (code, said, _) = desk.run(&["status"]);
        assert_eq!(code, Some(0));
        said.contains(part)
    };
    eventually!(shows("E1 is held: refused: ") && shows(" (tried again at 20"));
    assert!(shows("E1 (www.example.com): waiting ") && shows("\nE2: waiting 0, "));
    let (_, said, _) = desk.run(&["status", "--json"]);
    let page = json_of(&said);
    assert_eq!(page["distributions"][1]["id"], "E2");
    assert!(page["read_since"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn why_tells_the_story_of_an_object() {
    let desk = Desk::open().await;
    desk.upload("site", "a \u{202e}b").await;
    desk.upload("nobodys", "a").await;
    let why = |bucket: &str, key: &str| desk.run(&["why", bucket, key]);
    eventually!(why("site", "a \u{202e}b").1.contains(": completed\n"));
    let (code, said, _) = why("site", "a \u{202e}b");
    assert_eq!(code, Some(0));
    for part in [
        ": ObjectCreated:Put (message ",
        ", sequencer 006976B8A6AECEE0CB, event of 2026-11-23T10:00:00Z): completed\n",
        "  E1 /a%20%E2%80%AEb (",
        "    invalidation ",
        ", CloudFront's I",
        ", submitted 20",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    eventually!(
        why("nobodys", "a")
            .1
            .contains("nothing: no distribution has this bucket")
    );
    let (code, said, complaint) = why("site", "never");
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(complaint.contains("No change of this object is known"));
    let (code, said, _) = desk.run(&["why", "site", "never", "--json"]);
    assert_eq!(code, Some(1));
    assert_eq!(json_of(&said), json!({"changes": [], "next_cursor": null}));
    // What a person asked for is told with the reason, as text that moves no cursor.
    let words = [
        "invalidate",
        "--bucket",
        "site",
        "b",
        "--wait",
        "--reason",
        "re\u{202e}ason",
    ];
    assert_eq!(desk.run(&words).0, Some(0));
    let (_, said, _) = why("site", "b");
    assert!(
        said.contains("requested by ") && said.contains("reason: re\\u202eason"),
        "{said}"
    );
}

/// As `pause` does: from the configuration file, where there is no `--url`.
#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_taken_from_the_configuration() {
    let desk = Desk::open().await;
    let mut setup = Setup::alone();
    let address = desk.service.url.strip_prefix("http://").unwrap();
    let file = setup.home().join("purgefront.toml");
    std::fs::write(&file, format!("[server]\nlisten = \"{address}\"\n")).unwrap();
    let (code, said, complaint) = setup.run(&["status"]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("E1 (www.example.com)"));
    // A token from a file, and none.
    setup.forget_token();
    let (code, _, complaint) = setup.run(&["status"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("401"), "{complaint}");
    let token = setup.home().join("token");
    std::fs::write(&token, crate::support::service::TOKEN).unwrap();
    let token = token.to_str().unwrap();
    assert_eq!(setup.run(&["status", "--token-file", token]).0, Some(0));
}

#[test]
fn what_can_never_work_is_wrong_usage() {
    let mut setup = Setup::alone();
    setup.set_env("PURGEFRONT_ADMIN_URL", "localhost:9090");
    for url in [
        "127.0.0.1:1",
        "localhost:8080",
        "ftp://localhost",
        "https://",
        "",
    ] {
        setup.set_env("PURGEFRONT_URL", url);
        for words in [
            &["invalidate", "--distribution", "E1", "/a"][..],
            &["status"],
            &["why", "b", "k"],
            &["resync", "bkt", "--since", "1h", "--yes"],
            &["pause"],
            &["redrive", "queue", "--yes"],
        ] {
            let (code, _, complaint) = setup.run(words);
            assert_eq!(code, Some(2), "{url} {words:?}: {complaint}");
            assert!(complaint.contains("http:// or https://"), "{complaint}");
        }
    }
    setup.set_env("PURGEFRONT_URL", "http://127.0.0.1:1");
    let words = [
        "invalidate",
        "--distribution",
        "E1",
        "/a",
        "--idempotency-key",
    ];
    for key in ["a\nb", "a b", "\u{e4}", &"k".repeat(256)] {
        let (code, _, complaint) = setup.run(&[&words[..], &[key]].concat());
        assert_eq!(code, Some(2), "{complaint}");
        assert!(complaint.contains("visible ASCII"), "{complaint}");
    }
}

#[test]
fn nothing_on_standard_input_is_nothing_to_do() {
    let mut setup = Setup::alone();
    setup.set_env("PURGEFRONT_URL", "http://127.0.0.1:1");
    for more in [&["-"][..], &["-", "--json"], &["-", "--wait=1s"]] {
        let words = [&["invalidate", "--bucket", "b"][..], more].concat();
        let (code, said, complaint) = setup.run_with(&words, "\n");
        assert_eq!((code, said.as_str()), (Some(0), ""), "{complaint}");
        assert!(complaint.contains("nothing to invalidate"), "{complaint}");
        assert_eq!(
            setup.run_with(&words, "-\n").0,
            Some(1),
            "a key like others"
        );
    }
    let (code, _, complaint) = setup.run(&["why", "b", "k"]);
    assert_eq!(code, Some(1));
    assert!(
        complaint.starts_with("the changes could not be read: the service does not answer"),
        "{complaint}"
    );
}

#[test]
fn no_password_of_an_address_is_printed() {
    let mut setup = Setup::alone();
    let url = "http://u:PASSW@127.0.0.1:1";
    setup.set_env("PURGEFRONT_URL", url);
    setup.set_env("PURGEFRONT_ADMIN_URL", url);
    for words in [
        &["status"][..],
        &["status", "--help"],
        &["why", "b", "k"],
        &["pause"],
        &["pause", "--help"],
        &["healthcheck", "--url", url],
        &["status", "--url", "u:PASSW@127.0.0.1:1"],
        &["status", "--url", "http://u:PASSW@127.0.0.1:port"],
    ] {
        let (_, said, complaint) = setup.run(words);
        assert!(!(said + &complaint).contains("PASSW"), "{complaint}");
    }
    let (_, _, complaint) = setup.run(&["status"]);
    assert!(
        complaint.contains("at http://127.0.0.1:1/distributions"),
        "{complaint}"
    );
}

#[test]
fn a_tag_with_the_mark_of_a_tag_is_told() {
    let mut setup = Setup::alone();
    setup.set_env("PURGEFRONT_URL", "http://127.0.0.1:1");
    let hints = |tag: &str| {
        let (_, _, complaint) = setup.run(&["invalidate", "--distribution", "E1", "--tag", tag]);
        complaint.contains("note: the tag is sent as ##x")
    };
    assert!(hints("#x") && !hints("x"));
}
