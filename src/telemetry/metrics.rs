//! Metrics, in Prometheus's text format. No label ever holds a key, a path or a reason.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::domain::status::{DistributionStatus, Status};

/// All metrics. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    messages: Family<Outcome, Counter>,
    records: Family<Outcome, Counter>,
    changes: Family<Kind, Counter>,
    calls: Family<Call, Counter>,
    items: Family<Kind, Counter>,
    confirmations: Family<Outcome, Counter>,
    unauthorized: Family<Outcome, Counter>,
    waiting: Family<Distribution, Gauge>,
    oldest_age: Family<Distribution, Gauge<f64, AtomicU64>>,
    in_progress: Family<Pool, Gauge>,
    dead_letters: Gauge,
    limiter_waits: Family<Limiter, Counter>,
    waited: Histogram,
    completed: Histogram,
    propagation: Family<Distribution, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Distribution {
    distribution_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    distribution_id: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limiter {
    limit: &'static str,
}

/// Seconds: from what a quiet distribution takes to hours of throttling.
const WAITS: [f64; 12] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];

fn waits() -> Histogram {
    Histogram::new(WAITS)
}

/// How a call to AWS ended, in one word.
pub type CallOutcome = &'static str;

impl Default for Metrics {
    #[expect(
        clippy::too_many_lines,
        reason = "each metric with its name and help, one by one"
    )]
    fn default() -> Self {
        let mut registry = Registry::with_prefix("purgefront");
        let messages = Family::default();
        registry.register(
            "sns_messages",
            "Messages that came to /sns, by what became of them",
            messages.clone(),
        );
        let records = Family::default();
        registry.register(
            "records",
            "S3 records in accepted messages, by what became of them",
            records.clone(),
        );
        let unauthorized = Family::default();
        registry.register(
            "unauthorized",
            "Requests without a known token or credentials, by what was wrong",
            unauthorized.clone(),
        );
        let changes = Family::default();
        registry.register("changes", "Changes taken into the journal", changes.clone());
        let calls = Family::default();
        registry.register(
            "cloudfront_calls",
            "Calls to CloudFront's API",
            calls.clone(),
        );
        let items = Family::default();
        registry.register(
            "items_submitted",
            "Items that CloudFront took, each billed as a path",
            items.clone(),
        );
        let confirmations = Family::default();
        registry.register(
            "subscription_confirmations",
            "Tries to confirm a subscription, by what became of them",
            confirmations.clone(),
        );
        let waiting = Family::default();
        registry.register(
            "waiting_items",
            "Items that wait for a batch, by distribution",
            waiting.clone(),
        );
        let oldest_age = Family::default();
        registry.register(
            "oldest_waiting_age_seconds",
            "Age of the oldest change that waits for a batch, by distribution; 0 where none does",
            oldest_age.clone(),
        );
        let in_progress = Family::default();
        registry.register(
            "in_progress_items",
            "Our items that CloudFront has not completed, by distribution and pool",
            in_progress.clone(),
        );
        let dead_letters = Gauge::default();
        registry.register(
            "dead_letters",
            "Dead letters that are kept",
            dead_letters.clone(),
        );
        let limiter_waits = Family::default();
        registry.register(
            "limiter_waits",
            "Times that a call had to wait for a limit, by limit",
            limiter_waits.clone(),
        );
        let waited = waits();
        registry.register(
            "accepted_to_submitted_seconds",
            "Time from accepting a change to freezing the batch that covers it",
            waited.clone(),
        );
        let completed = waits();
        registry.register(
            "accepted_to_completed_seconds",
            "Time from accepting the oldest change of an invalidation to seeing it completed",
            completed.clone(),
        );
        let propagation = Family::new_with_constructor(waits as fn() -> Histogram);
        registry.register(
            "propagation_seconds",
            "Time from CloudFront's yes to completed, as seen by looking, by distribution",
            propagation.clone(),
        );
        Self {
            registry: Arc::new(registry),
            messages,
            records,
            changes,
            calls,
            items,
            confirmations,
            unauthorized,
            waiting,
            oldest_age,
            in_progress,
            dead_letters,
            limiter_waits,
            waited,
            completed,
            propagation,
        }
    }
}

impl Metrics {
    /// Counts a message that came to `/sns`.
    pub fn message(&self, outcome: &'static str) {
        self.messages.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a request that showed no token or credentials, or wrong ones.
    pub fn unauthorized(&self, outcome: &'static str) {
        self.unauthorized.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts S3 records of an accepted message.
    pub fn records(&self, outcome: &'static str, count: usize) {
        let counter = self.records.get_or_create(&Outcome { outcome });
        counter.inc_by(count as u64);
    }

    /// Counts changes taken into the journal.
    pub fn changes(&self, kind: &'static str, count: usize) {
        self.changes
            .get_or_create(&Kind { kind })
            .inc_by(count as u64);
    }

    /// Counts a call to `CloudFront`.
    pub fn call(&self, operation: &'static str, outcome: CallOutcome) {
        self.calls.get_or_create(&Call { operation, outcome }).inc();
    }

    /// Counts items that `CloudFront` took.
    pub fn items(&self, exact: usize, wildcards: usize) {
        for (kind, count) in [("exact", exact), ("wildcard", wildcards)] {
            self.items
                .get_or_create(&Kind { kind })
                .inc_by(count as u64);
        }
    }

    /// Counts a try to confirm a subscription.
    pub fn confirmation(&self, outcome: &'static str) {
        self.confirmations.get_or_create(&Outcome { outcome }).inc();
    }

    /// Notes how many seconds the oldest change of an invalidation took to be done.
    pub fn completed(&self, seconds: f64) {
        self.completed.observe(seconds);
    }

    /// Counts a wait for a limit.
    pub fn limited(&self, limit: &'static str) {
        self.limiter_waits.get_or_create(&Limiter { limit }).inc();
    }

    /// Notes how many seconds a change waited for its batch.
    pub fn waited(&self, seconds: f64) {
        self.waited.observe(seconds);
    }

    /// Notes how many seconds an invalidation took to be completed.
    pub fn propagated(&self, distribution_id: &str, seconds: f64) {
        let distribution_id = distribution_id.to_owned();
        self.propagation
            .get_or_create(&Distribution { distribution_id })
            .observe(seconds);
    }

    /// Says how many dead letters are kept.
    pub fn dead_letters(&self, count: u64) {
        self.dead_letters.set(count.try_into().unwrap_or(i64::MAX));
    }

    /// All of it in Prometheus's text format, with the status as it stands at `now`.
    pub fn encode(&self, now: Timestamp, status: &Status) -> Result<String, fmt::Error> {
        for (id, one) in &status.distributions {
            self.show(now, id, one);
        }
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry)?;
        Ok(encoded)
    }

    fn show(&self, now: Timestamp, id: &str, status: &DistributionStatus) {
        let label = Distribution {
            distribution_id: id.to_owned(),
        };
        let items = status.waiting.map_or(0, |backlog| backlog.items);
        self.waiting.get_or_create(&label).set(gauge(items));
        let oldest = status.waiting.map_or(now, |backlog| backlog.oldest);
        let age = now.duration_since(oldest).as_secs_f64().max(0.0);
        self.oldest_age.get_or_create(&label).set(age);
        let usage = status.in_progress;
        for (kind, items) in [("exact", usage.paths), ("wildcard", usage.wildcards)] {
            let pool = Pool {
                distribution_id: id.to_owned(),
                kind,
            };
            self.in_progress.get_or_create(&pool).set(gauge(items));
        }
    }
}

fn gauge(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
