//! Each outage sets off its alerts, and a healthy service none: the rules of deploy/monitoring are
//! evaluated against what the service tells Prometheus. `make lint-monitoring` tests their `for` times.

mod documents;
mod outages;
mod rules;

use std::collections::BTreeSet;

use self::rules::{Expression, Scrape};
use crate::support::{
    aws::FakeAws,
    distribution::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

/// Longer than the age at which waiting changes are an alert, and shorter than CloudFront may take.
const A_WHILE: f64 = 50.0 * 60.0;

/// A service, and what it told at first.
struct Watched {
    aws: FakeAws,
    signer: Signer,
    setup: Setup,
    service: Service,
    before: Scrape,
}

impl Watched {
    /// A service with some settings, and without some variables of its environment. `prepare` is done
    /// before its first call.
    async fn start(
        settings: &[(&str, &str)],
        missing: &[&str],
        prepare: impl FnOnce(&FakeAws),
    ) -> Self {
        let aws = FakeAws::start().await;
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        aws.cloudfront.put(Distribution::of("E1", "site"));
        prepare(&aws);
        let mut setup = Setup::alone();
        for (name, value) in aws.environment() {
            if !missing.contains(&name) {
                setup.set_env(name, value);
            }
        }
        for (name, value) in settings {
            setup.set_env(name, *value);
        }
        let service = setup.start().await;
        let before = scrape(&service).await;
        Self {
            aws,
            signer,
            setup,
            service,
            before,
        }
    }

    /// A service that has sent its first invalidation.
    async fn works(settings: &[(&str, &str)]) -> Self {
        let watched = Self::start(settings, &[], |_| {}).await;
        watched.uploads("first").await;
        let sent = || watched.aws.cloudfront.paths("E1").pop();
        until("the first", sent).await;
        watched.fires(A_WHILE, &[]).await;
        watched
    }

    async fn uploads(&self, key: &str) {
        let text = s3_records("site", &[("ObjectCreated:Put", key)]);
        let answer = self.service.sns(self.signer.notification(&text).body());
        assert_eq!(answer.await.status(), 200);
    }

    fn types(&self, words: &[&str]) {
        let all = [words, &["--admin-url", &self.service.admin_url]].concat();
        let (code, _, complaint) = self.setup.run(&all);
        assert_eq!(code, Some(0), "{complaint}");
    }

    /// The alerts that fire if nothing moves for so many seconds from now on.
    async fn firing(&self, seconds: f64) -> BTreeSet<String> {
        let now = scrape(&self.service).await.later(seconds);
        let rules = rules::all().into_iter().filter(|rule| {
            let expression = Expression::parse(&rule.expr);
            expression.holds(&self.before, &now)
        });
        rules.map(|rule| rule.alert).collect()
    }

    /// Waits until exactly these alerts fire.
    async fn fires(&self, seconds: f64, alerts: &[&str]) {
        let wanted: BTreeSet<_> = alerts
            .iter()
            .map(|alert| format!("Purgefront{alert}"))
            .collect();
        let patience = crate::support::Patience::new();
        loop {
            let firing = self.firing(seconds).await;
            if firing == wanted {
                return;
            }
            patience
                .pause(&format!("wanted {wanted:?}, and {firing:?} fire"))
                .await;
        }
    }
}

async fn scrape(service: &Service) -> Scrape {
    let request = service.client.get(format!("{}/metrics", service.admin_url));
    Scrape::read(&request.send().await.unwrap().text().await.unwrap())
}
