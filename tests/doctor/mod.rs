//! `purgefront doctor` against an account with AWS's rules: what is wrong is found, what is right is
//! not, and a mend that is a command mends it as printed.

mod account;
mod here;
mod permissions;
mod wiring;

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{
    cloudfront::Distribution,
    connecting::{Account, TOPIC},
    not_tested,
    service::Setup,
    shell,
};

const ENDPOINT: &str = "https://purge.example/sns";

/// An account in which everything is right, and who examines it.
struct Clinic {
    account: Account,
    setup: Setup,
    /// More lines of the configuration.
    settings: String,
}

impl Clinic {
    /// A connected bucket `site` that the distribution E1 serves.
    async fn open() -> Self {
        let account = Account::start().await;
        account.cloudfront.put_policy("p-1", 60, "none");
        let mut one = Distribution::of("E1", "site");
        one.default.cache_policy = Some("p-1".to_owned());
        account.cloudfront.put(one);
        let mut setup = account.setup();
        setup.set_env("AWS_REGION", "us-east-1");
        let clinic = Self {
            account,
            setup,
            settings: String::new(),
        };
        let connect = ["connect", "site", "--topic", TOPIC, "--yes"];
        let connect = [&connect[..], &["--endpoint", ENDPOINT]].concat();
        let (code, said, complaint) = clinic.setup.run(&connect);
        assert_eq!(code, Some(0), "{said}{complaint}");
        clinic.account.state().things.subscriptions[0].confirmed = true;
        clinic.account.calls();
        clinic
    }

    fn write_settings(&self) {
        let mut text = format!("[sns]\ntopics = [\"{TOPIC}\"]\n");
        let _ = write!(
            text,
            "[limits]\nreads_per_second = 200\nread_burst = 200\n[store]\nurl = \"sqlite://{}\"\n{}",
            self.setup.store().display(),
            self.settings
        );
        std::fs::write(self.setup.home().join("purgefront.toml"), text).unwrap();
    }

    /// Its exit code and its findings.
    fn examine(&self, more: &[&str]) -> (Option<i32>, Vec<Value>) {
        self.write_settings();
        let words = [&["doctor", "--json"], more].concat();
        let (code, said, complaint) = self.setup.run(&words);
        assert_eq!(complaint, "", "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        (code, said["checks"].as_array().unwrap().clone())
    }

    /// The one check that is as bad as this, where all others are fine.
    fn only(&self, id: &str, level: &str, more: &[&str]) -> Value {
        let (code, checks) = self.examine(more);
        assert_eq!(code, Some(i32::from(level == "failure")), "{checks:#?}");
        let bad = |one: &&Value| !["ok", "skipped"].contains(&one["level"].as_str().unwrap());
        let bad: Vec<_> = checks.iter().filter(bad).collect();
        let [one] = *bad.as_slice() else {
            panic!("{id}: {bad:#?}")
        };
        assert_eq!(
            (&one["id"], &one["level"]),
            (&id.into(), &level.into()),
            "{one:#}"
        );
        one.clone()
    }

    /// Runs a mend as it is printed, if AWS's command line is there; afterwards all is right.
    fn mend(&self, finding: &Value) {
        let command = finding["mend"]["command"].as_str();
        let command = command.unwrap_or_else(|| panic!("no command: {finding:#}"));
        if command.starts_with("aws ") && !shell::tools().join("aws").exists() {
            not_tested("aws is not installed in .venv; `make test` installs it");
            return;
        }
        let (code, said, complaint) = self.account.shell(command, &self.setup);
        assert_eq!(code, Some(0), "{command}: {said}{complaint}");
        let (code, checks) = self.examine(&[]);
        let bad = |one: &&Value| !["ok", "skipped"].contains(&one["level"].as_str().unwrap());
        let bad: Vec<_> = checks.iter().filter(bad).collect();
        assert_eq!(
            (code, bad.as_slice()),
            (Some(0), &[][..]),
            "after {command}"
        );
    }
}

/// The finding of a check, which is there once.
fn of<'a>(checks: &'a [Value], id: &str) -> &'a Value {
    let found: Vec<_> = checks.iter().filter(|one| one["id"] == id).collect();
    let [one] = *found.as_slice() else {
        panic!("{id}: {checks:#?}")
    };
    one
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_wrong_nothing_is_said_and_nothing_is_changed() {
    let clinic = Clinic::open().await;
    let before = clinic.account.things();
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    for one in &checks {
        // There is no store yet.
        let is_new = one["id"] == "store.version";
        assert_eq!(
            one["level"],
            if is_new { "skipped" } else { "ok" },
            "{one:#}"
        );
        assert_eq!(one["mend"], Value::Null);
    }
    let served = of(&checks, "catalogue.serving")["why"].as_str().unwrap();
    assert_eq!(served, "is served by E1 by *");
    let reads = |call: &String| [":Get", ":List"].iter().any(|verb| call.contains(verb));
    let mut calls = clinic.account.calls();
    calls.retain(|call| !reads(call));
    calls.sort();
    assert_eq!(
        calls,
        ["cloudfront:CreateInvalidation", "sns:ConfirmSubscription"]
    );
    assert!(
        clinic.account.cloudfront.calls().is_empty(),
        "refused before that"
    );
    assert_eq!(clinic.account.things(), before);
    // The store was not made, either.
    let names = std::fs::read_dir(clinic.setup.home()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["purgefront.toml"]);

    let (code, said, complaint) = clinic.setup.run(&["doctor"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    assert!(
        said.starts_with("ok       configuration.environment "),
        "{said}"
    );
    assert!(
        said.contains("\nfailures: 0, warnings: 0, skipped: 1, ok: "),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_told_by_the_exit_code() {
    let setup = Setup::alone();
    let (code, said, complaint) = setup.run(&["doctor"]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(complaint.contains("sns.topics"), "{complaint}");
    let (code, _, _) = setup.run(&["doctor", "--endpoint", "https://user:password@a/"]);
    assert_eq!(code, Some(2));
}
