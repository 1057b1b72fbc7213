//! Gauges that are set from the checks and the status when metrics are read.
//!
//! Alerts read these. A counter shows nothing of its first step, and what failed before the first look
//! looks like what never failed; a gauge shows what is.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::health::{Check, CheckState};
use crate::domain::{
    cdn::CdnError,
    ledger::{Ledger, MonthStatus},
    status::{DistributionStatus, Hold, Status},
};

pub(super) type Seconds = Gauge<f64, AtomicU64>;

/// Distributions have series from when they first have work: an id that somebody merely typed has none.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusGauges {
    leader: Gauge,
    waiting: Family<DistributionLabel, Gauge>,
    oldest_age: Family<DistributionLabel, Seconds>,
    unresolved: Family<DistributionLabel, Gauge>,
    in_progress: Family<PoolLabel, Gauge>,
    held: Family<HoldLabel, Gauge>,
    checks: Family<CheckLabel, Gauge>,
    failing: Family<ErrorLabel, Gauge>,
    catalogue_known: Gauge,
    /// Without a series while there is none.
    catalogue_age: Family<Unlabelled, Seconds>,
    oldest_in_progress: Seconds,
    unmapped: Gauge,
    unmapped_age: Seconds,
    notices: Gauge,
    notice_age: Seconds,
    paused: Gauge,
    paused_distributions: Gauge,
    shadow: Gauge,
    day_limit: Gauge,
    day_items: Gauge,
    day_share: Seconds,
    day_lifted: Gauge,
    month: MonthGauges,
    /// Without a series while it is not known.
    free: Family<Unlabelled, Gauge>,
}

/// What the month costs.
#[derive(Debug, Clone, Default)]
struct MonthGauges {
    paths: Family<PayerLabel, Gauge>,
    forecast: Gauge,
    budget: Gauge,
    spent_share: Seconds,
    forecast_share: Seconds,
    evictions_per_path: Seconds,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PayerLabel {
    by: &'static str,
}

impl MonthGauges {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "month_paths",
            "Paths that CloudFront bills this month (UTC), by who sent them; others have sent at least as many",
            self.paths.clone(),
        );
        registry.register(
            "month_forecast_paths",
            "Paths that the month will have at its end, if the rest of it is like the last days",
            self.forecast.clone(),
        );
        registry.register(
            "month_budget_paths",
            "The month's budget of paths; 0 if there is none",
            self.budget.clone(),
        );
        registry.register(
            "month_spent_ratio",
            "The share of the month's budget that is spent; 0 if there is none",
            self.spent_share.clone(),
        );
        registry.register(
            "month_forecast_ratio",
            "The forecast as a share of the month's budget; 0 if there is none",
            self.forecast_share.clone(),
        );
        registry.register(
            "evictions_per_path",
            "How many unchanged objects may be evicted now to save one path",
            self.evictions_per_path.clone(),
        );
    }

    fn set(&self, month: &MonthStatus) {
        let Ledger { own, others, .. } = month.ledger;
        for (by, paths) in [("purgefront", own), ("others", others)] {
            self.paths
                .get_or_create(&PayerLabel { by })
                .set(whole(paths));
        }
        self.forecast.set(whole(month.forecast));
        self.budget.set(whole(month.budget));
        self.spent_share.set(month.spent_share());
        self.forecast_share.set(month.forecast_share());
        self.evictions_per_path.set(month.evictions_per_path);
    }
}

/// The labels of a metric that has none.
type Unlabelled = [(&'static str, &'static str); 0];

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabel {
    check: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    error: &'static str,
}

impl StatusGauges {
    /// Registers what every process knows in `registry`, and what only the leader knows in `work`.
    pub(super) fn registered(registry: &mut Registry, work: &mut Registry) -> Self {
        let new = Self::default();
        new.register_common(registry);
        let mut add = |name: &str, help: &str, gauge: &Gauge| {
            work.register(name, help, gauge.clone());
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
        new.register_families(work);
        new.month.register(work);
        new
    }

    fn register_common(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        add(
            "leader",
            "1 if this process leads: it plans, sends and follows invalidations",
            &self.leader,
        );
        add(
            "shadow_mode",
            "1 if nothing is sent, because of dispatch.mode",
            &self.shadow,
        );
        add(
            "catalogue_known",
            "1 if the account's distributions have ever been read",
            &self.catalogue_known,
        );
        registry.register(
            "check",
            "The checks of readiness: 0 ok, 1 warn, 2 fail",
            self.checks.clone(),
        );
        registry.register(
            "catalogue_age_seconds",
            "Time since the reading of the account began that changes are mapped with",
            self.catalogue_age.clone(),
        );
        registry.register(
            "store_free_bytes",
            "Free space of the file system that the store is on",
            self.free.clone(),
        );
    }

    fn register_families(&self, registry: &mut Registry) {
        registry.register(
            "failing",
            "What work waits for because its last call to CloudFront failed, by error: distributions, \
             and readings of the account",
            self.failing.clone(),
        );
        registry.register(
            "oldest_in_progress_age_seconds",
            "Age of the oldest invalidation that CloudFront has not completed; 0 if there is none",
            self.oldest_in_progress.clone(),
        );
        registry.register(
            "waiting_notices",
            "Notices that wait for delivery",
            self.notices.clone(),
        );
        registry.register(
            "oldest_notice_age_seconds",
            "Age of the oldest notice that waits for delivery; 0 if there is none",
            self.notice_age.clone(),
        );
        registry.register(
            "daily_spent_ratio",
            "The share of the daily limit that is spent; 0 if there is none, or it was lifted",
            self.day_share.clone(),
        );
        registry.register(
            "oldest_unmapped_age_seconds",
            "Age of the oldest change that is not mapped to all its distributions; 0 if there is none",
            self.unmapped_age.clone(),
        );
        registry.register(
            "waiting_items",
            "Items that wait for a batch, by distribution",
            self.waiting.clone(),
        );
        registry.register(
            "unresolved_batches",
            "Batches that CloudFront has not definitely answered, by distribution",
            self.unresolved.clone(),
        );
        registry.register(
            "oldest_waiting_age_seconds",
            "Age of the oldest change that waits for a batch or of the oldest batch without an answer, \
             by distribution; 0 if nothing waits",
            self.oldest_age.clone(),
        );
        registry.register(
            "in_progress_items",
            "Our items that CloudFront has not completed, by distribution and pool",
            self.in_progress.clone(),
        );
        registry.register(
            "held",
            "1 for what holds a distribution's items, by distribution and hold",
            self.held.clone(),
        );
    }

    pub(super) fn set_free_bytes(&self, bytes: Option<u64>) {
        let none = Unlabelled::default();
        if let Some(bytes) = bytes {
            let bytes = bytes.try_into().unwrap_or(i64::MAX);
            self.free.get_or_create(&none).set(bytes);
        } else {
            self.free.remove(&none);
        }
    }

    /// Sets all gauges to the checks and the status at `now`. A check that could not be made keeps what
    /// it was.
    pub(super) fn set(
        &self,
        now: Timestamp,
        checks: &BTreeMap<&'static str, Check>,
        status: &Status,
    ) {
        let leads = status.leadership.leads();
        self.leader.set(leads.into());
        if !leads {
            self.forget_work();
        }
        for (check, found) in checks {
            let state = match found.state {
                CheckState::Ok => 0,
                CheckState::Warn => 1,
                CheckState::Fail => 2,
            };
            self.checks.get_or_create(&CheckLabel { check }).set(state);
        }
        for error in CdnError::LABELS {
            let failing = gauge(status.failing(error));
            self.failing
                .get_or_create(&ErrorLabel { error })
                .set(failing);
        }
        let read_since = status.catalogue.read_since;
        self.catalogue_known.set(read_since.is_some().into());
        if read_since.is_some() {
            let catalogue_age = self.catalogue_age.get_or_create(&Unlabelled::default());
            catalogue_age.set(age(now, read_since));
        }
        self.oldest_in_progress
            .set(age(now, status.in_progress_since));
        for (id, one) in &status.distributions {
            self.set_distribution(now, id, one);
        }
        let unmapped = status.unmapped;
        let changes = usize::try_from(unmapped.changes).unwrap_or(usize::MAX);
        self.unmapped.set(gauge(changes));
        let oldest = unmapped.oldest.filter(|_| unmapped.changes > 0);
        self.unmapped_age.set(age(now, oldest));
        let notices = status.notices;
        self.notices.set(whole(notices.notices));
        self.notice_age.set(age(now, notices.since));
        self.paused.set(status.paused.into());
        let held = status.distributions.values();
        let held = held.filter(|one| one.holds.contains(&Hold::Paused));
        self.paused_distributions.set(gauge(held.count()));
        self.shadow.set(status.shadow.into());
        let day = status.day.unwrap_or_default();
        self.day_limit.set(whole(day.limit));
        self.day_items.set(whole(day.spending.items));
        self.day_share.set(day.share());
        self.day_lifted.set(day.spending.lifted.into());
        self.month.set(&status.month.unwrap_or_default());
    }

    /// Forgets what only the leader knows, which is not shown before this process leads again.
    fn forget_work(&self) {
        self.checks.clear();
        self.waiting.clear();
        self.oldest_age.clear();
        self.unresolved.clear();
        self.in_progress.clear();
        self.held.clear();
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

pub(super) fn age(now: Timestamp, since: Option<Timestamp>) -> f64 {
    let since = since.unwrap_or(now);
    now.duration_since(since).as_secs_f64().max(0.0)
}

fn whole(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn gauge(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
