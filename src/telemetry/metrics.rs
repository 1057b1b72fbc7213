//! Metrics in Prometheus's text format. No label contains an object key, a path or a reason.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

use super::{
    gauges::{Seconds, StatusGauges, age},
    health::Check,
};
use crate::domain::{cdn::CdnError, status::Status};

/// All metrics. Cheap to clone; clones share their counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    started: Gauge,
    messages: Family<OutcomeLabel, Counter>,
    /// When the last message was accepted, or the store was made, in seconds.
    last_message: Arc<AtomicI64>,
    last_message_age: Seconds,
    last_messages: Family<TopicLabel, Gauge>,
    records: Family<OutcomeLabel, Counter>,
    changes: Family<KindLabel, Counter>,
    calls: Family<CallLabel, Counter>,
    items: Family<KindLabel, Counter>,
    confirmations: Family<OutcomeLabel, Counter>,
    notices: Family<OutcomeLabel, Counter>,
    unauthorized: Family<OutcomeLabel, Counter>,
    status: StatusGauges,
    skipped: Family<WhyLabel, Counter>,
    dead_letters: Gauge,
    failures: Family<ReasonLabel, Counter>,
    limiter_waits: Family<LimiterLabel, Counter>,
    durations: Durations,
}

#[derive(Debug, Clone)]
struct Durations {
    waited: Histogram,
    completed: Histogram,
    propagation: Family<DistributionLabel, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DistributionLabel {
    distribution_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabel {
    topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimiterLabel {
    limit: &'static str,
}

// Series exist from the start: `increase()` does not see the step from nothing to one.
const MESSAGES: [&str; 24] = [
    "accepted",
    "duplicate",
    "not-json",
    "not-an-object",
    "duplicate-key",
    "raw-delivery",
    "unknown-type",
    "topic-not-allowed",
    "bad-field",
    "signature-version",
    "certificate-url",
    "certificate-unavailable",
    "certificate",
    "signature",
    "too-old",
    "from-the-future",
    "too-large",
    "overloaded",
    "not-read",
    "not-in-time",
    "store-unavailable",
    "wrong-path",
    "no-credentials",
    "wrong-credentials",
];
const RECORDS: [&str; 4] = ["accepted", "ignored", "test", "dead"];
/// Why something ended as a dead letter.
const FAILURES: [&str; 5] = [
    UNREADABLE,
    NOT_ALLOWED,
    "invalid",
    "too_large",
    "no_such_distribution",
];
/// A record that cannot be read.
pub const UNREADABLE: &str = "unreadable";
/// A change that would need an item that may not be sent.
pub const NOT_ALLOWED: &str = "not_allowed";
const CONFIRMATIONS: [&str; 3] = ["confirmed", "retry", "given_up"];
const NOTICES: [&str; 4] = ["delivered", "failed", "given_up", "surplus"];
const CHANGES: [&str; 2] = ["event", "manual"];
const ITEMS: [&str; 2] = ["exact", "wildcard"];
const CALLS: [&str; 6] = [
    "ListDistributions",
    "GetDistributionConfig",
    "GetCachePolicy",
    "CreateInvalidation",
    "GetInvalidation",
    "ListInvalidations",
];

/// Bucket bounds in seconds, from the delay of a quiet distribution to a day of throttling.
const WAITS: [f64; 12] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0,
];

fn waits() -> Histogram {
    Histogram::new(WAITS)
}

fn register<M: Clone + Metric>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A counter that has outcomes.
fn by_outcome(registry: &mut Registry, name: &str, help: &str) -> Family<OutcomeLabel, Counter> {
    register(registry, name, help, Family::default())
}

impl Durations {
    fn registered(registry: &mut Registry) -> Self {
        let waited = register(
            registry,
            "accepted_to_submitted_seconds",
            "Time from accepting a change to freezing the batch that covers it",
            waits(),
        );
        let completed = register(
            registry,
            "accepted_to_completed_seconds",
            "Time from accepting the oldest change of an invalidation to seeing it completed",
            waits(),
        );
        let propagation = register(
            registry,
            "propagation_seconds",
            "Time from creating an invalidation to seeing it completed, by distribution",
            Family::new_with_constructor(waits as fn() -> Histogram),
        );
        Self {
            waited,
            completed,
            propagation,
        }
    }
}

/// The series of what ends without an invalidation: skips, dead letters, and failures.
fn ends(
    registry: &mut Registry,
) -> (
    Family<WhyLabel, Counter>,
    Gauge,
    Family<ReasonLabel, Counter>,
) {
    let skipped = register(
        registry,
        "skipped_changes",
        "Changes that needed nothing, everywhere or at one distribution, by reason",
        Family::default(),
    );
    let dead_letters = register(
        registry,
        "dead_letters",
        "Dead letters in the store",
        Gauge::default(),
    );
    let failures = register(
        registry,
        "permanent_failures",
        "Records, changes and items that can never succeed, by reason",
        Family::default(),
    );
    (skipped, dead_letters, failures)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut whole = Registry::with_prefix("purgefront");
        let registry = &mut whole;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of purgefront", version);
        let started = register(
            registry,
            "start_time_seconds",
            "When the service started, in seconds since 1970",
            Gauge::default(),
        );
        let last_message_age = register(
            registry,
            "last_message_age_seconds",
            "Time since the last message from SNS was accepted or, if none ever was, since the store was \
             made",
            Seconds::default(),
        );
        let last_messages = register(
            registry,
            "last_notification_timestamp_seconds",
            "When a notification from SNS was last accepted, by topic, in seconds since 1970",
            Family::default(),
        );
        let messages = by_outcome(
            registry,
            "sns_messages",
            "Messages received at /sns, or accepted at /redrive, by outcome",
        );
        let records = by_outcome(
            registry,
            "records",
            "S3 records in accepted messages, by outcome",
        );
        let unauthorized = by_outcome(
            registry,
            "unauthorized",
            "Requests with missing or wrong credentials, by reason",
        );
        let changes = register(
            registry,
            "changes",
            "Changes added to the journal",
            Family::default(),
        );
        let calls = register(
            registry,
            "cloudfront_calls",
            "Calls to CloudFront's API",
            Family::default(),
        );
        let items = register(
            registry,
            "items_submitted",
            "Items that CloudFront accepted, each billed as a path",
            Family::default(),
        );
        let confirmations = by_outcome(
            registry,
            "subscription_confirmations",
            "Attempts to confirm a subscription, by outcome",
        );
        let notices = by_outcome(
            registry,
            "notices",
            "Attempts to deliver notices, and dropped ones",
        );
        let status = StatusGauges::registered(registry);
        let (skipped, dead_letters, failures) = ends(registry);
        let limiter_waits = register(
            registry,
            "limiter_waits",
            "Times that a call had to wait for a limit, by limit",
            Family::default(),
        );
        let durations = Durations::registered(registry);
        let metrics = Self {
            registry: Arc::new(whole),
            started,
            messages,
            last_message: Arc::default(),
            last_message_age,
            last_messages,
            records,
            changes,
            calls,
            items,
            confirmations,
            notices,
            unauthorized,
            status,
            skipped,
            dead_letters,
            failures,
            limiter_waits,
            durations,
        };
        metrics.begin();
        metrics
    }
}

impl Metrics {
    /// Creates the series of the counters.
    fn begin(&self) {
        for outcome in MESSAGES {
            drop(self.messages.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in RECORDS {
            self.records(outcome, 0);
        }
        for outcome in CONFIRMATIONS {
            drop(self.confirmations.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in NOTICES {
            self.notices(outcome, 0);
        }
        for kind in CHANGES {
            self.changes(kind, 0);
        }
        for reason in FAILURES {
            drop(self.failures.get_or_create(&ReasonLabel { reason }));
        }
        for kind in ITEMS {
            drop(self.items.get_or_create(&KindLabel { kind }));
        }
        for operation in CALLS {
            for outcome in CdnError::LABELS.into_iter().chain(["ok"]) {
                drop(self.calls.get_or_create(&CallLabel { operation, outcome }));
            }
        }
    }

    /// The service starts now. Earlier ones have received nothing since `silent_since`.
    pub fn start(&self, now: Timestamp, silent_since: Timestamp) {
        self.started.set(now.as_second());
        self.last_message
            .store(silent_since.as_second(), Ordering::Relaxed);
    }

    /// Counts a message that SNS need not send again.
    pub fn taken(&self, outcome: &'static str, now: Timestamp) {
        self.message(outcome);
        self.last_message.store(now.as_second(), Ordering::Relaxed);
    }

    /// A notification of a configured topic was accepted at this time.
    pub fn notified(&self, topic: &str, at: Timestamp) {
        let topic = topic.to_owned();
        let last = self.last_messages.get_or_create(&TopicLabel { topic });
        last.set(at.as_second());
    }

    /// Counts a message refused at `/sns`, or accepted at `/redrive`. [`Metrics::taken`] counts those that
    /// SNS itself delivered.
    pub fn message(&self, outcome: &'static str) {
        self.messages.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a request with missing or wrong credentials.
    pub fn unauthorized(&self, outcome: &'static str) {
        self.unauthorized
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Counts S3 records of an accepted message.
    pub fn records(&self, outcome: &'static str, count: usize) {
        let counter = self.records.get_or_create(&OutcomeLabel { outcome });
        counter.inc_by(count as u64);
    }

    /// Counts changes added to the journal.
    pub fn changes(&self, kind: &'static str, count: usize) {
        self.changes
            .get_or_create(&KindLabel { kind })
            .inc_by(count as u64);
    }

    /// Counts a call to CloudFront, by its outcome.
    pub fn call<T>(&self, operation: &'static str, result: &Result<T, CdnError>) {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.calls
            .get_or_create(&CallLabel { operation, outcome })
            .inc();
    }

    /// Counts items that CloudFront accepted.
    pub fn items(&self, exact: usize, wildcards: usize) {
        for (kind, count) in [("exact", exact), ("wildcard", wildcards)] {
            self.items
                .get_or_create(&KindLabel { kind })
                .inc_by(count as u64);
        }
    }

    /// Counts an attempt to confirm a subscription.
    pub fn confirmation(&self, outcome: &'static str) {
        self.confirmations
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Counts attempts to deliver a notice, or notices that were dropped.
    pub fn notices(&self, outcome: &'static str, count: u64) {
        self.notices
            .get_or_create(&OutcomeLabel { outcome })
            .inc_by(count);
    }

    /// Observes the time from accepting an invalidation's oldest change to completion.
    pub fn completed(&self, seconds: f64) {
        self.durations.completed.observe(seconds);
    }

    /// Counts a wait for a limit.
    pub fn limited(&self, limit: &'static str) {
        self.limiter_waits
            .get_or_create(&LimiterLabel { limit })
            .inc();
    }

    /// Observes the time from accepting a change to freezing its batch.
    pub fn waited(&self, seconds: f64) {
        self.durations.waited.observe(seconds);
    }

    /// Observes the time from creating an invalidation to completion.
    pub fn propagated(&self, distribution_id: &str, seconds: f64) {
        let distribution_id = distribution_id.to_owned();
        self.durations
            .propagation
            .get_or_create(&DistributionLabel { distribution_id })
            .observe(seconds);
    }

    /// Counts a change that needed nothing, everywhere or at one distribution.
    pub fn skipped(&self, why: &'static str) {
        self.skipped.get_or_create(&WhyLabel { why }).inc();
    }

    /// Counts something that became a dead letter: [`UNREADABLE`], [`NOT_ALLOWED`], or the label of
    /// CloudFront's refusal.
    pub fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Sets the number of dead letters in the store.
    pub fn dead_letters(&self, count: u64) {
        self.dead_letters.set(count.try_into().unwrap_or(i64::MAX));
    }

    /// Sets the free space of the store's file system, if it is known.
    pub fn free_bytes(&self, bytes: Option<u64>) {
        self.status.set_free_bytes(bytes);
    }

    /// Encodes all metrics, with the gauges set from the checks and the status at `now`.
    pub fn encode(
        &self,
        now: Timestamp,
        checks: &BTreeMap<&'static str, Check>,
        status: &Status,
    ) -> Result<String, fmt::Error> {
        self.status.set(now, checks, status);
        let last_message = self.last_message.load(Ordering::Relaxed);
        let last_message = Timestamp::from_second(last_message).ok();
        self.last_message_age.set(age(now, last_message));
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry)?;
        Ok(encoded)
    }
}
