//! The permissions of the running service: deploy/iam/service.json is all that it needs, and each of
//! them is needed for what the README says.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use serde_json::Value;

use crate::support::{
    Patience,
    aws::FakeAws,
    cloudfront::{Distribution, Fault},
    service::{Service, Setup},
    signer::{Signer, TOPIC, s3_records},
};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The actions and resources that a policy allows.
fn allowed(policy: &str) -> Vec<(String, String)> {
    let policy: Value = serde_json::from_str(policy).unwrap();
    let list = |value: &Value| match value {
        Value::String(one) => vec![one.clone()],
        many => serde_json::from_value(many.clone()).unwrap(),
    };
    let statements = policy["Statement"].as_array().unwrap().iter();
    let pairs = statements.flat_map(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        assert!(statement.get("Condition").is_none());
        let actions = list(&statement["Action"]).into_iter();
        actions.flat_map(move |action| {
            let resources = list(&statement["Resource"]).into_iter();
            resources.map(move |resource| (action.clone(), resource))
        })
    });
    pairs.collect()
}

fn actions<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> BTreeSet<String> {
    pairs
        .into_iter()
        .map(|(action, _)| action.clone())
        .collect()
}

/// As IAM compares ARNs: part by part, with `*` for anything within one.
fn matches(pattern: &str, arn: &str) -> bool {
    let parts = |text: &str| text.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
    let (patterns, parts) = (parts(pattern), parts(arn));
    let same = |(pattern, part): (&String, &String)| match pattern.strip_suffix('*') {
        Some(stem) => part.starts_with(stem),
        None => pattern == part,
    };
    pattern == "*" || (patterns.len() == parts.len() && patterns.iter().zip(&parts).all(same))
}

/// The permissions of a table of the documentation: the names in the first column.
fn table(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let columns = rows.map(|row| row.split(" | ").next().unwrap().to_owned());
    let names = columns.flat_map(|column| {
        let names = column.split(['`', ',', ' ']).map(str::to_owned);
        names.collect::<Vec<_>>()
    });
    let services = ["cloudfront:", "s3:", "sns:", "sqs:"];
    names
        .filter(|name| services.iter().any(|service| name.starts_with(service)))
        .collect()
}

/// What came of the same work.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    paths: BTreeSet<String>,
    completed: bool,
    confirmed: bool,
}

struct World {
    aws: FakeAws,
    signer: Signer,
    service: Service,
}

/// A service that does everything there is to do, at once: a site with a default root object, and
/// query strings in the cache key; a full pool at first; invalidations that take their time; and a
/// subscription to confirm.
async fn world(denied: Option<&str>) -> World {
    let aws = FakeAws::start().await;
    let mut site = Distribution::of("E1", "site");
    site.root = Some("index.html".to_owned());
    site.default.cache_policy = Some("queries".to_owned());
    aws.cloudfront.put(site);
    aws.cloudfront.put_policy("queries", 60, "all");
    aws.cloudfront.complete_after(Duration::from_secs(1));
    aws.cloudfront.fail_next([Fault::TooManyInProgress]);
    if let Some(denied) = denied {
        aws.permissions.deny(denied);
    }
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let service = Setup::new(&aws).start().await;
    for message in [
        signer.subscription_confirmation(&"ab".repeat(112)),
        signer.notification(&s3_records("site", &[("ObjectCreated:Put", "index.html")])),
    ] {
        assert_eq!(service.sns(message.body()).await.status(), 200);
    }
    World {
        aws,
        signer,
        service,
    }
}

impl World {
    async fn outcome(&self) -> Outcome {
        let list = self.service.get("/invalidations").await;
        let list = list["invalidations"].as_array().unwrap().clone();
        let is_completed = |one: &Value| one["status"] == "completed";
        Outcome {
            paths: self.aws.cloudfront.paths("E1").into_iter().collect(),
            completed: list.iter().any(is_completed),
            confirmed: !self.aws.sns.confirmations().is_empty(),
        }
    }

    /// Waits until this came of it, and says on the way what did.
    async fn becomes(&self, expected: &Outcome) {
        let patience = Patience::new();
        let mut last = None;
        loop {
            let outcome = self.outcome().await;
            if outcome == *expected {
                return;
            }
            if last.as_ref() != Some(&outcome) {
                eprintln!("{outcome:?}, not yet {expected:?}");
                last = Some(outcome);
            }
            patience.pause("the outcome").await;
        }
    }

    /// What a check of readiness says.
    async fn check(&self, name: &str) -> String {
        self.service.ready().await.1["checks"][name]["detail"].to_string()
    }
}

fn expected(paths: &[&str], completed: bool, confirmed: bool) -> Outcome {
    Outcome {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        completed,
        confirmed,
    }
}

const ALL: [&str; 3] = ["/", "/?*", "/index.html*"];

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_allows_everything_that_the_service_calls_and_nothing_else() {
    let policy = allowed(&read("deploy/iam/service.json"));
    let world = world(None).await;
    world.becomes(&expected(&ALL, true, true)).await;
    let used = world.aws.permissions.used();
    for (action, resource) in &used {
        let by =
            |(allowed, pattern): &(String, String)| allowed == action && matches(pattern, resource);
        assert!(policy.iter().any(by), "{action} on {resource}");
    }
    assert_eq!(actions(&used), actions(&policy));
    let optional = allowed(&read("deploy/iam/merging.json"));
    assert_eq!(table("README.md"), actions(policy.iter().chain(&optional)));
    assert!(policy.contains(&("sns:ConfirmSubscription".to_owned(), TOPIC.to_owned())));
    drop(world.signer);
}

/// Without one of them, the rest goes on, and readiness names what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_permission_exactly_what_it_is_for_is_missing() {
    let cases: [(&str, &str, Outcome); 7] = [
        ("ListDistributions", "catalogue", expected(&[], false, true)),
        (
            "CreateInvalidation",
            "cloudfront",
            expected(&[], false, true),
        ),
        ("GetInvalidation", "tracking", expected(&ALL, false, true)),
        ("ListInvalidations", "", expected(&ALL, true, true)),
        (
            "GetDistributionConfig",
            "root_objects",
            expected(&["/index.html*"], true, true),
        ),
        (
            "GetCachePolicy",
            "cache_policies",
            expected(&["/", "/index.html"], true, true),
        ),
        (
            "ConfirmSubscription",
            "subscriptions",
            expected(&ALL, true, false),
        ),
    ];
    let tried = cases.map(|(name, check, expected)| async move {
        let service = match name {
            "ConfirmSubscription" => "sns",
            _ => "cloudfront",
        };
        let action = format!("{service}:{name}");
        let world = world(Some(&action)).await;
        world.becomes(&expected).await;
        let is_told = |told: &str| check.is_empty() || told.contains(&action);
        eventually!(is_told(&world.check(check).await));
        assert!(actions(&world.aws.permissions.used()).contains(&action));
        // It stays like that.
        assert_eq!(world.outcome().await, expected, "{action}");
        action
    });
    let tried = futures_util::future::join_all(tried).await;
    let policy = actions(&allowed(&read("deploy/iam/service.json")));
    assert_eq!(tried.into_iter().collect::<BTreeSet<_>>(), policy);
}

/// That it is sufficient for listing keys, `key_listing.rs` shows; that nothing else is missing without it, the
/// story above, whose service may list nothing.
#[test]
fn the_one_optional_permission_is_the_one_that_is_documented() {
    let optional = allowed(&read("deploy/iam/merging.json"));
    assert_eq!(
        actions(&optional),
        BTreeSet::from(["s3:ListBucket".to_owned()])
    );
    let text = read("README.md");
    let row = text.lines().find(|line| line.contains("`s3:ListBucket`"));
    assert!(row.is_some_and(|row| row.starts_with("| `s3:ListBucket`, optional ")));
    let service = allowed(&read("deploy/iam/service.json"));
    assert!(actions(&service).is_disjoint(&actions(&optional)));
}

/// That these are used and sufficient, `redrive.rs` and `resync.rs` show.
#[test]
fn the_policy_of_recovery_is_the_one_that_is_documented() {
    let policy = allowed(&read("deploy/iam/recovery.json"));
    let text = read("docs/recovery.md");
    let (_, section) = text.split_once("\n## Permissions\n").unwrap();
    let words = section.split(['`', ',', ' ']);
    let named = words.filter(|word| word.starts_with("sqs:") || word.starts_with("s3:"));
    assert_eq!(
        named.map(str::to_owned).collect::<BTreeSet<_>>(),
        actions(&policy)
    );
}

/// That these are used and sufficient, `connect.rs` shows.
#[test]
fn the_policy_of_whoever_connects_is_the_one_that_is_documented() {
    let policy = allowed(&read("deploy/iam/connect.json"));
    assert_eq!(actions(&policy), table("docs/connect.md"));
}
