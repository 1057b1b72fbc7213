//! The account's distributions, and the configuration that names them.

use super::{Clinic, of};
use crate::support::cloudfront::Distribution;

#[tokio::test(flavor = "multi_thread")]
async fn distributions_that_invalidate_nothing_are_told() {
    let clinic = Clinic::open().await;
    let (code, checks) = clinic.examine(&["--bucket", "unserved"]);
    assert_eq!(code, Some(1), "there is no such bucket either");
    assert_eq!(of(&checks, "catalogue.serving")["level"], "warning");
    let put = |change: fn(&mut Distribution)| {
        let mut one = Distribution::of("E1", "site");
        change(&mut one);
        clinic.account.cloudfront.put(one);
    };
    put(|one| one.enabled = false);
    let found = clinic.only("catalogue.serving", "warning", &[]);
    let why = found["why"].as_str().unwrap();
    assert_eq!(
        why,
        "is served by E1 (disabled): its changes invalidate nothing"
    );
    put(|one| one.errors.push((404, "/404.html".to_owned(), 300)));
    clinic.only("catalogue.error-pages", "warning", &[]);
    put(|_| ());
    let mut tenants = Distribution::of("E2", "other");
    tenants.tenants_only = true;
    clinic.account.cloudfront.put(tenants);
    clinic.only("catalogue.tenants", "warning", &[]);
    clinic
        .account
        .cloudfront
        .put(Distribution::of("E2", "other"));
    let found = clinic.only("catalogue.unconnected", "warning", &[]);
    assert!(
        found["why"].as_str().unwrap().ends_with(": other"),
        "{found}"
    );
    // Unless it is clear which are meant.
    let (code, checks) = clinic.examine(&["--bucket", "site"]);
    assert_eq!(code, Some(0));
    assert_eq!(of(&checks, "catalogue.unconnected")["level"], "skipped");
    put(|one| one.default.target = "nowhere".to_owned());
    let (_, checks) = clinic.examine(&["--bucket", "site"]);
    assert_eq!(of(&checks, "catalogue.origin-groups")["level"], "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_nothing_are_told() {
    let mut clinic = Clinic::open().await;
    let tagged = "[[rule]]\nbucket = \"site\"\nmatch = \"*\"\nalso = [\"#tag\"]\n";
    clinic.settings = tagged.to_owned();
    clinic.only("configuration.tags", "warning", &[]);
    clinic.settings = "[[rule]]\nbucket = \"gone\"\nmatch = \"*\"\nalso = [\"/x\"]\n\
        [[ignore]]\nbucket = \"gone-too\"\nmatch = \"*\"\n[[distribution]]\nid = \"EGONE\"\n\
        [[origin]]\ndomain = \"gone.example\"\nbucket = \"b\"\n\
        [[api.tokens]]\nname = \"ci\"\n\
        sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
        distributions = [\"ELOST\"]\n"
        .to_owned();
    let found = clinic.only("configuration.unused", "warning", &[]);
    let why = found["why"].as_str().unwrap();
    for name in ["gone", "gone-too", "EGONE", "gone.example", "ELOST"] {
        assert!(why.contains(&format!("{name:?}")), "{why}");
    }
    clinic.settings = String::new();
    clinic.setup.set_env("PURGEFRONT_SNS__TOPIC", "x");
    let (code, _, complaint) = clinic.setup.run(&["doctor"]);
    assert_eq!(code, Some(2), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_that_have_changed_since_the_service_looked_are_told() {
    let clinic = Clinic::open().await;
    clinic.write_settings();
    let service = clinic.setup.start().await;
    service.knows_the_catalogue().await;
    let (code, checks) = clinic.examine(&[]);
    assert_eq!(code, Some(0), "{checks:#?}");
    let opens = of(&checks, "store.opens")["why"].as_str().unwrap();
    assert_eq!(opens, "can be read; a service has it open");
    let mut one = Distribution::of("E1", "site");
    one.origins[0].1 = "/release-2".to_owned();
    clinic.account.cloudfront.put(one);
    let found = clinic.only("catalogue.origin-changes", "warning", &[]);
    assert!(
        found["why"].as_str().unwrap().contains("E1: seen at "),
        "{found}"
    );
    drop(service);
}
