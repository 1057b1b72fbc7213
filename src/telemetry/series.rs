//! The series of the metrics: their names, labels, and what exists from the start.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

use super::gauges::{Seconds, StatusGauges};
use crate::domain::cdn::CdnError;

/// The series, and the registries that have them all.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) registry: Registry,
    /// What only the leader knows.
    pub(super) work: Registry,
    pub(super) started: Gauge,
    pub(super) messages: Family<OutcomeLabel, Counter>,
    /// When the last message was accepted, or the store was made, in seconds.
    pub(super) last_message: AtomicI64,
    pub(super) last_message_age: Seconds,
    pub(super) last_messages: Family<TopicLabel, Gauge>,
    pub(super) records: Family<OutcomeLabel, Counter>,
    pub(super) changes: Family<KindLabel, Counter>,
    pub(super) calls: Family<CallLabel, Counter>,
    pub(super) items: Family<KindLabel, Counter>,
    pub(super) confirmations: Family<OutcomeLabel, Counter>,
    pub(super) notices: Family<OutcomeLabel, Counter>,
    pub(super) unauthorized: Family<OutcomeLabel, Counter>,
    pub(super) status: StatusGauges,
    pub(super) skipped: Family<WhyLabel, Counter>,
    pub(super) dead_letters: Gauge,
    pub(super) failures: Family<ReasonLabel, Counter>,
    pub(super) limiter_waits: Family<LimiterLabel, Counter>,
    pub(super) durations: Durations,
    pub(super) merging: Merging,
}

/// What merging saved, what it cost, and what it asked S3 for.
#[derive(Debug, Clone, Default)]
pub(super) struct Merging {
    pub(super) merged_paths: Counter,
    pub(super) evictions: Counter,
    pub(super) guarded: Family<GuardLabel, Counter>,
    pub(super) listing_pages: Counter,
    pub(super) listings: Family<OutcomeLabel, Counter>,
}

#[derive(Debug, Clone)]
pub(super) struct Durations {
    pub(super) waited: Histogram,
    pub(super) completed: Histogram,
    pub(super) propagation: Family<DistributionLabel, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabel {
    pub(super) operation: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DistributionLabel {
    pub(super) distribution_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WhyLabel {
    pub(super) why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TopicLabel {
    pub(super) topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimiterLabel {
    pub(super) limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GuardLabel {
    pub(super) guard: &'static str,
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
/// The keys of `[economy]` that keep merging from making a wildcard.
const GUARDS: [&str; 5] = [
    "protected",
    "min_stem",
    "allow_root",
    "min_interval",
    "refused",
];
const LISTINGS: [&str; 4] = ["complete", "partial", "denied", "failed"];
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

impl Merging {
    fn registered(registry: &mut Registry) -> Self {
        let new = Self::default();
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        add(
            "merged_paths",
            "Paths that merging into wildcards has saved",
            &new.merged_paths,
        );
        add(
            "evictions",
            "Unchanged objects that wildcards made by merging have evicted, as far as they were listed",
            &new.evictions,
        );
        add(
            "key_listing_pages",
            "Pages of at most 1,000 keys that were listed to know which objects there are",
            &new.listing_pages,
        );
        registry.register(
            "guarded",
            "Wildcards that merging did not make, by the key of [economy] that prevents it",
            new.guarded.clone(),
        );
        registry.register(
            "key_listings",
            "Prefixes that were listed to know which objects there are, by outcome",
            new.listings.clone(),
        );
        new
    }

    fn begin(&self) {
        for guard in GUARDS {
            drop(self.guarded.get_or_create(&GuardLabel { guard }));
        }
        for outcome in LISTINGS {
            drop(self.listings.get_or_create(&OutcomeLabel { outcome }));
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

fn with_version() -> Registry {
    let mut registry = Registry::with_prefix("purgefront");
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The version of purgefront", version);
    registry
}

impl Default for Series {
    fn default() -> Self {
        let mut whole = with_version();
        let registry = &mut whole;
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
        let mut work = Registry::with_prefix("purgefront");
        let status = StatusGauges::registered(registry, &mut work);
        let (skipped, dead_letters, failures) = ends(registry);
        let limiter_waits = register(
            registry,
            "limiter_waits",
            "Times that a call had to wait for a limit, by limit",
            Family::default(),
        );
        let durations = Durations::registered(registry);
        let merging = Merging::registered(registry);
        let series = Self {
            registry: whole,
            work,
            started,
            messages,
            last_message: AtomicI64::default(),
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
            merging,
        };
        series.begin();
        series
    }
}

impl Series {
    /// Creates the series of the counters.
    fn begin(&self) {
        self.merging.begin();
        for outcome in MESSAGES {
            drop(self.messages.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in RECORDS {
            drop(self.records.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in CONFIRMATIONS {
            drop(self.confirmations.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in NOTICES {
            drop(self.notices.get_or_create(&OutcomeLabel { outcome }));
        }
        for kind in CHANGES {
            drop(self.changes.get_or_create(&KindLabel { kind }));
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
}
