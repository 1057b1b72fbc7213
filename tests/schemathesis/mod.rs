//! Schemathesis finds no difference between openapi.yaml and the running service, on both listeners.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    not_tested, number,
    service::{Setup, TOKEN},
};

/// The fewest cases that have to be tried, on both listeners together.
const CASES: u64 = 10_000;

/// A command that `make test` installs.
fn installed(command: &str) -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let command = home.join(".tools/schemathesis/bin").join(command);
    if command.exists() {
        return Some(command);
    }
    not_tested("openapi.yaml by schemathesis: `make test` installs it");
    None
}

#[test]
fn the_description_and_its_examples_are_valid() {
    let Some(python) = installed("python") else {
        return;
    };
    let output = Command::new(python)
        .arg("tests/schemathesis/document.py")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{faults}");
}

/// Runs schemathesis against a listener, and returns the number of cases.
fn tried(tool: &Path, url: &str, options: &[&str], reports: &Path) -> u64 {
    let report = reports.join("report.json");
    let mut command = Command::new(tool);
    command
        .args(["--config-file", "tests/schemathesis/schemathesis.toml"])
        .args(["run", "openapi.yaml", "--url", url, "--no-color"])
        .arg("--report-json-path")
        .arg(&report)
        .args(options)
        .env("TOKEN", TOKEN)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    if let Some(seed) = number("SCHEMATHESIS_SEED") {
        command.args(["--seed", &seed.to_string()]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{url}: {text}");
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    report["test_cases"]["generated"].as_u64().unwrap()
}

#[expect(
    clippy::print_stdout,
    reason = "--nocapture shows how many cases there were"
)]
#[tokio::test]
async fn the_service_is_what_its_description_says() {
    let Some(tool) = installed("schemathesis") else {
        return;
    };
    let aws = FakeAws::start().await;
    let mut site = Distribution::of("E1", "site");
    site.aliases = vec!["www.example.com".to_owned()];
    aws.cloudfront.put(site);
    let service = Setup::new(&aws).start().await;
    service.knows_the_catalogue().await;
    let (public, admin) = (service.url.clone(), service.admin_url.clone());
    let cases = tokio::task::spawn_blocking(move || {
        let reports = tempfile::tempdir().unwrap();
        let admin_tags = ["operations", "page"];
        let tags = |option: &'static str| admin_tags.iter().flat_map(move |tag| [option, *tag]);
        let others: Vec<_> = tags("--exclude-tag")
            .chain(["--exclude-path", "/metrics"])
            .collect();
        let operators: Vec<_> = tags("--include-tag")
            .chain(["--include-path", "/metrics"])
            .collect();
        tried(&tool, &public, &others, reports.path())
            + tried(&tool, &admin, &operators, reports.path())
    });
    let cases = cases.await.unwrap();
    println!("schemathesis tried {cases} cases");
    assert!(cases >= CASES, "only {cases} cases were tried");
}
