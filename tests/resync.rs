//! After an outage longer than SNS's retries: the bucket is listed, and what may be stale requested.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    connecting::{Account, Objects},
    service::{Service, Setup},
    signer::{Signer, s3_records},
    sqlite::execute,
    until,
};

/// What planning uses.
const PLANNED: [&str; 2] = [
    "cloudfront:GetDistributionConfig",
    "cloudfront:ListDistributions",
];

fn ago(minutes: i64) -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the service lives in real time")]
    let now = Timestamp::now();
    now - SignedDuration::from_mins(minutes)
}

struct Outage {
    aws: FakeAws,
    account: Account,
    signer: Signer,
    setup: Setup,
    service: Service,
}

impl Outage {
    /// It began 30 minutes ago and is over: the service is back.
    async fn over(distributions: &[Distribution], settings: &str) -> Self {
        let aws = FakeAws::start().await;
        let account = Account::beside(Arc::clone(&aws.cloudfront)).await;
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        for distribution in distributions {
            aws.cloudfront.put(distribution.clone());
        }
        let mut setup = Setup::new(&aws);
        setup.add_settings(settings);
        let service = setup.start().await;
        service.knows_the_catalogue().await;
        Self {
            aws,
            account,
            signer,
            setup,
            service,
        }
    }

    async fn accepts(&self, key: &str) {
        let text = s3_records("site", &[("ObjectCreated:Put", key)]);
        let body = self.signer.notification(&text).body();
        assert_eq!(self.service.sns(body).await.status(), 200);
    }

    fn resync(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut setup = self.account.setup();
        setup.set_env("AWS_REGION", "us-east-1");
        setup.set_env("PURGEFRONT_URL", &self.service.url);
        let config = self.setup.store().with_file_name("purgefront.toml");
        let config = ["--config", config.to_str().unwrap()];
        setup.run(&[&["resync", "site"], words, &config].concat())
    }

    fn resynced(&self, words: &[&str]) -> Value {
        let (code, said, complaint) = self.resync(&[words, &["--json"]].concat());
        assert_eq!((code, complaint.as_str()), (Some(0), ""), "{said}");
        serde_json::from_str(&said).unwrap()
    }

    fn has_one_stale(&self) {
        let done = self.resynced(&["--since", "30m", "--dry-run"]);
        let counts = (&done["covered"], &done["stale"], &done["paths"]);
        assert_eq!(counts, (&json!(0), &json!(1), &json!(1)), "{done}");
    }

    async fn sent(&self, id: &str, paths: &[&str]) {
        let expected: BTreeSet<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        let all = || {
            let sent = BTreeSet::from_iter(self.aws.cloudfront.paths(id));
            sent.is_superset(&expected).then_some(sent)
        };
        assert_eq!(until("all paths", all).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_history_does_not_cover_is_requested_once() {
    let outage = Outage::over(&[Distribution::of("E1", "site")], "").await;
    {
        let objects = &mut outage.account.state().objects;
        for key in ["before/1", "before/2", "before/3", "before/4"] {
            objects.put(key, ago(120));
        }
        for key in ["a b+c.html", "covered", "covered+", "Covered", "earlier"] {
            objects.put(key, ago(10));
        }
        objects.put("é/100%.html", ago(20));
        objects.put("z\u{1}", ago(20));
    }
    // S3 told of these: of one before it changed again.
    outage.accepts("covered").await;
    outage.accepts("earlier").await;
    let earlier = "UPDATE changes SET accepted_at = accepted_at - 1200000000 \
                   WHERE object_key = 'earlier'";
    execute(outage.setup.store(), earlier).await;
    outage.sent("E1", &["/covered", "/earlier"]).await;
    let calls = outage.aws.cloudfront.calls().len();

    let since = ago(30).to_string();
    let (code, said, complaint) = outage.resync(&["--since", &since, "--dry-run"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{said}");
    for told in [
        "11 objects looked at, 7 changed",
        "1 of them covered by later changes in the history, 6 possibly stale",
        "deletes cannot be seen",
        "--prefix-wildcard",
        "E1: 7 items, 0 of them wildcards",
        "$0.035 after the month's first 1,000",
        "Dry run",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(!said.contains('\u{1}'), "{said}");
    let (code, _, complaint) = outage.resync(&["--since", "30m"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("Not agreed to"), "{complaint}");
    assert_eq!(outage.aws.cloudfront.calls().len(), calls);

    let done = outage.resynced(&["--since", "30m", "--yes"]);
    assert_eq!(done["outcome"], "done");
    let request = done["requests"][0]["id"].as_str().unwrap();
    let settled = || async {
        let request = outage.service.get(&format!("/requests/{request}")).await;
        request["state"] == "completed"
    };
    eventually!(settled().await);
    let expected = [
        "/covered",
        "/earlier",
        "/a%20b%2Bc.html",
        "/a+b%2Bc.html",
        "/covered%2B",
        "/Covered",
        "/%C3%A9/100%25.html",
        "/z%01",
    ];
    outage.sent("E1", &expected).await;
    let again = outage.resynced(&["--since", "30m", "--yes"]);
    assert_eq!(again["outcome"], "nothing to do");
    assert_eq!(
        (&again["requested"], &again["paths"]),
        (&json!(7), &json!(0))
    );

    // What changes after that is stale again, and a prefix selects.
    outage.account.state().objects.put("covered+", ago(-1));
    let done = outage.resynced(&["--since", "30m", "--dry-run", "--prefix", "cover"]);
    assert_eq!((&done["looked_at"], &done["paths"]), (&json!(2), &json!(1)));
    let mut used = outage.account.calls();
    used.sort();
    used.dedup();
    let listed = ["s3:GetBucketVersioning", "s3:ListBucket"];
    assert_eq!(used, [&PLANNED[..], &listed].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_markers_tell_of_deletes_where_there_are_versions() {
    let outage = Outage::over(&[Distribution::of("E1", "site")], "").await;
    for versioning in ["Enabled", "Suspended"] {
        let objects = &mut outage.account.state().objects;
        *objects = Objects {
            versioning: Some(versioning),
            ..Objects::default()
        };
        for at in [200, 25, 20] {
            objects.put("rewritten", ago(at));
        }
        objects.put("deleted", ago(100));
        objects.delete("deleted", ago(20));
        objects.put("deleted before", ago(100));
        objects.delete("deleted before", ago(60));
        objects.delete("back again", ago(15));
        objects.put("back again", ago(10));
        objects.put("untouched", ago(100));
    }
    outage.account.calls();
    let (code, said, _) = outage.resync(&["--since", "30m", "--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("1 of the stale ones is deleted"), "{said}");
    assert!(!said.contains("cannot be seen"), "{said}");
    let done = outage.resynced(&["--since", "30m", "--yes"]);
    let counts = (&done["looked_at"], &done["stale"], &done["deleted"]);
    assert_eq!(counts, (&json!(10), &json!(3), &json!(1)), "{done}");
    let expected = ["/rewritten", "/deleted", "/back%20again", "/back+again"];
    outage.sent("E1", &expected).await;
    let mut used = outage.account.calls();
    used.sort();
    used.dedup();
    let listed = ["s3:GetBucketVersioning", "s3:ListBucketVersions"];
    assert_eq!(used, [&PLANNED[..], &listed].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_wildcard_is_sent_only_by_name() {
    let origin = |id: &str, path: &str| {
        let mut distribution = Distribution::of(id, "site");
        path.clone_into(&mut distribution.origins[0].1);
        distribution
    };
    let mut disabled = Distribution::of("E5", "site");
    disabled.enabled = false;
    let distributions = [
        origin("E1", ""),
        origin("E2", "/img"),
        origin("E3", "/img/a b"),
        origin("E4", "/docs"),
        disabled,
    ];
    let outage = Outage::over(&distributions, "").await;
    let words = ["--prefix", "img/", "--prefix-wildcard"];
    let (code, said, _) = outage.resync(&[&words[..], &["--dry-run"]].concat());
    assert_eq!(code, Some(0));
    for told in [
        "E1: 1 item, 1 of them a wildcard (/img/*)",
        "E2: 1 item, 1 of them a wildcard (/*)",
        "E2: the path for this prefix is /*, which drops everything",
        "E3: 1 item, 1 of them a wildcard (/*)",
        "E4: the key is outside every origin path",
        "E5: the distribution is disabled",
        "$0.015",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let used = outage.account.calls();
    assert!(used.iter().all(|one| !one.starts_with("s3:")), "{used:?}");
    let words = ["--prefix", "img/a b/x+", "--prefix-wildcard", "--yes"];
    outage.resynced(&words);
    let expected = ["/img/a%20b/x%2B*", "/img/a+b/x%2B*"];
    outage.sent("E1", &expected).await;
    outage.sent("E3", &["/x%2B*"]).await;
    let words = ["--prefix", "", "--prefix-wildcard", "--yes", "--json"];
    let (code, said, _) = outage.resync(&words);
    assert_eq!(code, Some(0), "{said}");
    outage.sent("E4", &["/*"]).await;
    let (code, ..) = outage.resync(&["--prefix-wildcard", "--yes"]);
    assert_eq!(code, Some(2), "a prefix has to be named");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_way_it_says_what_was_requested_and_goes_on_from_there() {
    let settings = "[[api.tokens]]\nname = \"half\"\ndistributions = [\"E1\"]\n\
                    sha256 = \"dc3c9d2b32f8f5c1fb50b9b7e5af1c3f9fdbc9d5a2be22b0f5d5c8f2ab7b0e6c\"\n";
    let token = "half-a-token";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let placeholder = settings.split('"').nth(5).unwrap();
    let settings = settings.replace(placeholder, &hex::encode(digest));
    let both = [
        Distribution::of("E1", "site"),
        Distribution::of("E2", "site"),
    ];
    let outage = Outage::over(&both, &settings).await;
    outage.account.state().objects.put("a", ago(10));
    let file = outage.setup.store().with_file_name("token");
    std::fs::write(&file, token).unwrap();
    let file = file.to_str().unwrap();
    let words = ["--since", "30m", "--yes", "--token-file", file];
    let (code, said, complaint) = outage.resync(&words);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("sent     E1: 1 item, request "), "{said}");
    assert!(
        complaint.contains("Stopped after 1 of 2 items"),
        "{complaint}"
    );
    assert!(complaint.contains("in the next run"), "{complaint}");
    assert!(!complaint.contains("Run it again"), "{complaint}");
    outage.sent("E1", &["/a"]).await;
    let done = outage.resynced(&["--since", "30m", "--yes"]);
    let requests = done["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "{done}");
    outage.sent("E2", &["/a"]).await;
    assert_eq!(outage.aws.cloudfront.paths("E1"), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_says_what_to_do() {
    let outage = Outage::over(&[Distribution::of("E1", "site")], "").await;
    outage.account.state().objects.put("a", ago(10));
    outage.account.state().region = "eu-west-1".to_owned();
    let done = outage.resynced(&["--since", "30m", "--dry-run"]);
    assert_eq!(done["stale"], 1, "the bucket's region is found");
    for permission in ["s3:ListBucket", "s3:GetBucketVersioning"] {
        let denied = || outage.account.state().denied.insert(permission.to_owned());
        denied();
        let (code, _, complaint) = outage.resync(&["--since", "30m", "--dry-run"]);
        assert_eq!(code, Some(1));
        let expected = format!("{permission}: AccessDenied");
        assert!(complaint.contains(&expected), "{complaint}");
        assert!(!complaint.contains("--account"), "{complaint}");
        outage.account.state().denied.clear();
    }
    for words in [
        &["--yes"][..],
        &["--since", "yesterday"],
        &["--since", "1h", "--json"],
        &["--since", "7000000d", "--dry-run"],
    ] {
        assert_eq!(outage.resync(words).0, Some(2), "{words:?}");
    }
    let (code, _, complaint) = outage.resync(&["--since", "9999-01-01T00:00:00Z", "--dry-run"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("in the future"), "{complaint}");
    outage.service.kill();
    let mut setup = outage.account.setup();
    setup.set_env("AWS_REGION", "us-east-1");
    setup.set_env("PURGEFRONT_URL", "http://127.0.0.1:9");
    let mut words = ["resync", "site", "--since", "3d", "--yes"];
    outage.account.calls();
    let (code, _, complaint) = setup.run(&words);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("does not answer"), "{complaint}");
    assert_eq!(outage.account.calls(), [""; 0], "nothing is listed first");
    words[4] = "--dry-run";
    let (code, _, complaint) = setup.run(&words);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("there is no store at"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_recorded_or_needed_nothing_is_still_stale() {
    let settings = "[dispatch]\nmode = \"shadow\"\n";
    let outage = Outage::over(&[Distribution::of("E1", "site")], settings).await;
    outage.account.state().objects.put("recorded", ago(10));
    outage.accepts("recorded").await;
    let recorded = || async {
        let shadowed = outage.service.get("/invalidations?status=shadowed").await;
        shadowed["invalidations"].as_array().map(Vec::len) == Some(1)
    };
    eventually!(recorded().await);
    outage.has_one_stale();

    // It needed nothing then, because it was outside of the origin's path.
    let mut elsewhere = Distribution::of("E1", "site");
    "/elsewhere".clone_into(&mut elsewhere.origins[0].1);
    let outage = Outage::over(&[elsewhere], "").await;
    outage.account.state().objects.put("outside", ago(10));
    outage.accepts("outside").await;
    let skipped = "purgefront_skipped_changes_total{why=\"outside\"}";
    eventually!(outage.service.metric(skipped).await == 1);
    outage.aws.cloudfront.put(Distribution::of("E1", "site"));
    outage.has_one_stale();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_wildcard_covers_what_is_below_it() {
    let outage = Outage::over(&[Distribution::of("E1", "site")], "").await;
    for key in ["docs/a", "docs/b c"] {
        outage.account.state().objects.put(key, ago(10));
    }
    outage.resynced(&["--prefix", "docs/", "--prefix-wildcard", "--yes"]);
    outage.sent("E1", &["/docs/*"]).await;
    let again = outage.resynced(&["--since", "30m", "--yes"]);
    assert_eq!(again["outcome"], "nothing to do", "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_cleared_is_no_success() {
    let outage = Outage::over(&[Distribution::of("E1", "site")], "").await;
    outage.account.state().objects.put("~tilde", ago(10));
    let (code, said, complaint) = outage.resync(&["--since", "30m", "--yes"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("note     1 key without an item: "), "{said}");
    assert!(!said.contains("Nothing to do"), "{said}");
    assert!(complaint.contains("1 key cannot be cleared"), "{complaint}");
    let words = ["--since", "30m", "--yes", "--token-file", "/dev/null"];
    outage.account.calls();
    let (code, _, complaint) = outage.resync(&words);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("needs an API token"), "{complaint}");
    assert!(!complaint.contains("Run it again"), "{complaint}");
    assert_eq!(outage.account.calls(), [""; 0], "nothing is listed first");
}
