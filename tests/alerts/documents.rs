//! Rules, dashboard and documents know the same metrics, checks and alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    A_WHILE, Watched,
    rules::{self, Expression},
};
use crate::support::signer::s3_records;

const METRICS: &str = include_str!("../../docs/metrics.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboard.json");
const TESTS: &str = include_str!("../../deploy/monitoring/rules_test.yml");
const OUTAGES: &str = include_str!("outages.rs");

/// Alerts about a process that a test cannot have, or a fault that it cannot cause.
const NOT_PLAYED: [&str; 7] = [
    "Down",
    "Absent",
    "Restarting",
    "WorkersFail",
    "DiskFills",
    // It takes several processes.
    "NoLeader",
    "SeveralLead",
];

/// Checks that an alert sees by another metric.
const OTHERWISE: [&str; 8] = [
    "cloudfront",
    "daily_limit",
    "dead_letters",
    "holds",
    "monthly_budget",
    "notices",
    "shadow",
    // It is there only while the service stops.
    "shutdown",
];

/// The names in a text that metrics of ours could have.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words
        .filter(|word| word.starts_with("purgefront_"))
        .collect()
}

/// A metric's name without what a histogram adds.
fn base(name: &str) -> &str {
    let ends = ["_bucket", "_count", "_sum"];
    let base = ends.iter().find_map(|end| name.strip_suffix(end));
    base.unwrap_or(name)
}

/// A service with something to count in all series that come with what they count.
async fn told_all() -> Watched {
    let watched = Watched::works(&[]).await;
    let Watched { aws, service, .. } = &watched;
    let wrong = service.client.get(format!("{}/requests/x", service.url));
    let wrong = wrong.bearer_auth("wrong").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let text = s3_records("elsewhere", &[("ObjectCreated:Put", "a")]);
    let elsewhere = watched.signer.notification(&text).body();
    assert_eq!(service.sns(elsewhere).await.status(), 200);
    watched.fires(A_WHILE, &["NeedsAttention"]).await;
    watched.types(&["pause"]);
    watched.uploads("a").await;
    eventually!(
        service
            .metric("purgefront_waiting_items{distribution_id=\"E1\"}")
            .await
            == 1
    );
    aws.cloudfront.complete_after(Duration::from_secs(1));
    watched.types(&["resume"]);
    let seen = "purgefront_propagation_seconds_count{distribution_id=\"E1\"}";
    eventually!(service.metric(seen).await == 1);
    watched
}

#[tokio::test]
async fn every_metric_is_there_and_documented() {
    let watched = told_all().await;
    let scrape = super::scrape(&watched.service).await;
    let mut told: BTreeSet<_> = scrape.names().map(base).collect();
    // A limit has to be met first.
    told.insert("purgefront_limiter_waits_total");
    assert_eq!(named(METRICS), told, "docs/metrics.md, and the service");
    for (name, text) in [
        ("rules.yml", rules::FILE),
        ("rules_test.yml", TESTS),
        ("dashboard.json", DASHBOARD),
        ("operations.md", OPERATIONS),
    ] {
        let used: BTreeSet<_> = named(text).into_iter().map(base).collect();
        let unknown: Vec<_> = used.difference(&told).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
    // A misspelt label or value would never fire.
    for rule in rules::all() {
        let expression = Expression::parse(&rule.expr);
        let selector = expression.selector();
        for (label, values) in &selector.labels {
            let known: Vec<_> = scrape.labels(&selector.metric, label).collect();
            // These have a series only if there is something to say.
            let quiet = ["environment", "emulator", "leader", "purgefront"];
            let unknown = values.iter().filter(|value| {
                !known.contains(&value.as_str()) && !quiet.contains(&value.as_str())
            });
            assert_eq!(unknown.count(), 0, "{}: {known:?}", rule.alert);
        }
    }
}

#[tokio::test]
async fn every_check_of_readiness_has_one_alert() {
    let watched = Watched::works(&[]).await;
    let mut alerts: BTreeMap<String, usize> = BTreeMap::new();
    for rule in rules::all() {
        let expression = Expression::parse(&rule.expr);
        let selector = expression.selector();
        if selector.metric == "purgefront_check" {
            for check in &selector.labels[0].1 {
                *alerts.entry(check.clone()).or_default() += 1;
            }
        }
    }
    let (_, ready) = watched.service.ready().await;
    for check in ready["checks"].as_object().unwrap().keys() {
        let wanted = usize::from(!OTHERWISE.contains(&check.as_str()));
        assert_eq!(alerts.get(check).copied().unwrap_or(0), wanted, "{check}");
    }
}

#[test]
fn every_alert_is_tested_and_says_what_to_do() {
    let mut sections: Vec<_> = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("### Purgefront"))
        .collect();
    for rule in rules::all() {
        let name = rule.alert.strip_prefix("Purgefront").unwrap();
        let at = sections.iter().position(|section| *section == name);
        sections.remove(at.unwrap_or_else(|| panic!("docs/operations.md says nothing of {name}")));
        let url = &rule.annotations["runbook_url"];
        let anchor = format!("docs/operations.md#{}", rule.alert.to_lowercase());
        assert!(url.ends_with(&anchor), "{url}");
        assert!(["page", "ticket"].contains(&rule.labels["severity"].as_str()));
        for text in ["summary", "description"] {
            assert!(!rule.annotations[text].is_empty(), "{name}");
        }
        let fires = format!("alertname=\"{}\"", rule.alert);
        assert!(
            TESTS.contains(&fires),
            "rules_test.yml does not set off {name}"
        );
        let played = OUTAGES.contains(&format!("\"{name}\""));
        assert_ne!(played, NOT_PLAYED.contains(&name), "{name}");
    }
    assert!(sections.is_empty(), "no such alerts: {sections:?}");
}

#[test]
fn the_dashboard_lets_one_choose_the_source() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}
