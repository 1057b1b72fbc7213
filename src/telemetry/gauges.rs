//! Gauges that are set from the status when metrics are read.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::domain::status::{DistributionStatus, Hold, Status};

type Seconds = Gauge<f64, AtomicU64>;

/// Distributions have series from when they first have work: an id that somebody merely typed has none.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusGauges {
    waiting: Family<DistributionLabel, Gauge>,
    oldest_age: Family<DistributionLabel, Seconds>,
    unresolved: Family<DistributionLabel, Gauge>,
    in_progress: Family<PoolLabel, Gauge>,
    held: Family<HoldLabel, Gauge>,
    unmapped: Gauge,
    unmapped_age: Seconds,
    paused: Gauge,
    paused_distributions: Gauge,
    shadow: Gauge,
    day_limit: Gauge,
    day_items: Gauge,
    day_lifted: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DistributionLabel {
    distribution_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    distribution_id: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HoldLabel {
    distribution_id: String,
    hold: &'static str,
}

impl StatusGauges {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new = Self::default();
        let mut add = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        add(
            "unmapped_changes",
            "Changes that are not mapped to all their distributions, for example because the account \
             has not been read",
            &new.unmapped,
        );
        add(
            "sending_paused",
            "1 if sending is paused for all distributions",
            &new.paused,
        );
        add(
            "paused_distributions",
            "Distributions that a pause holds",
            &new.paused_distributions,
        );
        add(
            "shadow_mode",
            "1 if nothing is sent, because of dispatch.mode",
            &new.shadow,
        );
        add(
            "daily_limit_items",
            "The daily limit of items; 0 if there is none",
            &new.day_limit,
        );
        add(
            "daily_spent_items",
            "Items that count toward today's limit",
            &new.day_items,
        );
        add(
            "daily_limit_lifted",
            "1 if the daily limit was lifted for today",
            &new.day_lifted,
        );
        registry.register(
            "oldest_unmapped_age_seconds",
            "Age of the oldest change that is not mapped to all its distributions; 0 if there is none",
            new.unmapped_age.clone(),
        );
        registry.register(
            "waiting_items",
            "Items that wait for a batch, by distribution",
            new.waiting.clone(),
        );
        registry.register(
            "unresolved_batches",
            "Batches that CloudFront has not definitely answered, by distribution",
            new.unresolved.clone(),
        );
        registry.register(
            "oldest_waiting_age_seconds",
            "Age of the oldest change that waits for a batch or of the oldest batch without an answer, \
             by distribution; 0 if nothing waits",
            new.oldest_age.clone(),
        );
        registry.register(
            "in_progress_items",
            "Our items that CloudFront has not completed, by distribution and pool",
            new.in_progress.clone(),
        );
        registry.register(
            "held",
            "1 for what holds a distribution's items, by distribution and hold",
            new.held.clone(),
        );
        new
    }

    /// Sets all gauges to the status at `now`.
    pub(super) fn set(&self, now: Timestamp, status: &Status) {
        for (id, one) in &status.distributions {
            self.set_distribution(now, id, one);
        }
        let unmapped = status.unmapped;
        let changes = usize::try_from(unmapped.changes).unwrap_or(usize::MAX);
        self.unmapped.set(gauge(changes));
        let oldest = unmapped.oldest.filter(|_| unmapped.changes > 0);
        self.unmapped_age.set(age(now, oldest));
        self.paused.set(status.paused.into());
        let held = status.distributions.values();
        let held = held.filter(|one| one.holds.contains(&Hold::Paused));
        self.paused_distributions.set(gauge(held.count()));
        self.shadow.set(status.shadow.into());
        let day = status.day.unwrap_or_default();
        self.day_limit.set(day.limit.try_into().unwrap_or(i64::MAX));
        let items = day.spending.items;
        self.day_items.set(items.try_into().unwrap_or(i64::MAX));
        self.day_lifted.set(day.spending.lifted.into());
    }

    fn set_distribution(&self, now: Timestamp, id: &str, status: &DistributionStatus) {
        let label = DistributionLabel {
            distribution_id: id.to_owned(),
        };
        if status.is_idle() && self.waiting.get(&label).is_none() {
            return;
        }
        let items = status.waiting.items();
        self.waiting.get_or_create(&label).set(gauge(items));
        let batches = status.unresolved.batches;
        self.unresolved.get_or_create(&label).set(gauge(batches));
        let since = status.waits_since();
        self.oldest_age.get_or_create(&label).set(age(now, since));
        let usage = status.in_progress;
        for (kind, items) in [("exact", usage.paths), ("wildcard", usage.wildcards)] {
            let pool = PoolLabel {
                distribution_id: id.to_owned(),
                kind,
            };
            self.in_progress.get_or_create(&pool).set(gauge(items));
        }
        for hold in Hold::NAMES {
            let holds = since.is_some() && status.holds.iter().any(|one| one.name() == hold);
            let label = HoldLabel {
                distribution_id: id.to_owned(),
                hold,
            };
            self.held.get_or_create(&label).set(holds.into());
        }
    }
}

fn age(now: Timestamp, since: Option<Timestamp>) -> f64 {
    let since = since.unwrap_or(now);
    now.duration_since(since).as_secs_f64().max(0.0)
}

fn gauge(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
