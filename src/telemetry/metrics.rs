//! Metrics in Prometheus's text format. No label contains an object key, a path or a reason.

use std::{collections::BTreeMap, fmt, sync::Arc, sync::atomic::Ordering};

use jiff::Timestamp;
use prometheus_client::encoding::text;

use super::{
    gauges::age,
    health::Check,
    series::{
        CallLabel, DistributionLabel, GuardLabel, KindLabel, LimiterLabel, OutcomeLabel,
        ReasonLabel, Series, TopicLabel, WhyLabel,
    },
};
use crate::domain::{cdn::CdnError, status::Status};

/// All metrics. Clones share their counts, and cost nothing: every request has one.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Series>);

impl Metrics {
    /// The service starts now. Earlier ones have received nothing since `silent_since`.
    pub fn start(&self, now: Timestamp, silent_since: Timestamp) {
        self.0.started.set(now.as_second());
        self.0
            .last_message
            .store(silent_since.as_second(), Ordering::Relaxed);
    }

    /// Counts a message that SNS need not send again.
    pub fn taken(&self, outcome: &'static str, now: Timestamp) {
        self.message(outcome);
        self.0
            .last_message
            .store(now.as_second(), Ordering::Relaxed);
    }

    /// A notification of a configured topic was accepted at this time.
    pub fn notified(&self, topic: &str, at: Timestamp) {
        let topic = topic.to_owned();
        let last = self.0.last_messages.get_or_create(&TopicLabel { topic });
        last.set(at.as_second());
    }

    /// Counts a message refused at `/sns`, or accepted at `/redrive`. [`Metrics::taken`] counts those that
    /// SNS itself delivered.
    pub fn message(&self, outcome: &'static str) {
        self.0
            .messages
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Counts a request with missing or wrong credentials.
    pub fn unauthorized(&self, outcome: &'static str) {
        self.0
            .unauthorized
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Counts S3 records of an accepted message.
    pub fn records(&self, outcome: &'static str, count: usize) {
        let counter = self.0.records.get_or_create(&OutcomeLabel { outcome });
        counter.inc_by(count as u64);
    }

    /// Counts changes added to the journal.
    pub fn changes(&self, kind: &'static str, count: usize) {
        self.0
            .changes
            .get_or_create(&KindLabel { kind })
            .inc_by(count as u64);
    }

    /// Counts a call to CloudFront, by its outcome.
    pub fn call<T>(&self, operation: &'static str, result: &Result<T, CdnError>) {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.0
            .calls
            .get_or_create(&CallLabel { operation, outcome })
            .inc();
    }

    /// Counts items that CloudFront accepted.
    pub fn items(&self, exact: usize, wildcards: usize) {
        for (kind, count) in [("exact", exact), ("wildcard", wildcards)] {
            self.0
                .items
                .get_or_create(&KindLabel { kind })
                .inc_by(count as u64);
        }
    }

    /// Counts an attempt to confirm a subscription.
    pub fn confirmation(&self, outcome: &'static str) {
        self.0
            .confirmations
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Counts attempts to deliver a notice, or notices that were dropped.
    pub fn notices(&self, outcome: &'static str, count: u64) {
        self.0
            .notices
            .get_or_create(&OutcomeLabel { outcome })
            .inc_by(count);
    }

    /// Observes the time from accepting an invalidation's oldest change to completion.
    pub fn completed(&self, seconds: f64) {
        self.0.durations.completed.observe(seconds);
    }

    /// Counts a wait for a limit.
    pub fn limited(&self, limit: &'static str) {
        self.0
            .limiter_waits
            .get_or_create(&LimiterLabel { limit })
            .inc();
    }

    /// Observes the time from accepting a change to freezing its batch.
    pub fn waited(&self, seconds: f64) {
        self.0.durations.waited.observe(seconds);
    }

    /// Observes the time from creating an invalidation to completion.
    pub fn propagated(&self, distribution_id: &str, seconds: f64) {
        let distribution_id = distribution_id.to_owned();
        self.0
            .durations
            .propagation
            .get_or_create(&DistributionLabel { distribution_id })
            .observe(seconds);
    }

    /// Counts a change that needed nothing, everywhere or at one distribution.
    pub fn skipped(&self, why: &'static str) {
        self.0.skipped.get_or_create(&WhyLabel { why }).inc();
    }

    /// Counts something that became a dead letter: [`super::UNREADABLE`], [`super::NOT_ALLOWED`], or the label of
    /// CloudFront's refusal.
    pub fn failed(&self, reason: &'static str) {
        self.0.failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts what merging saved and cost in a batch: the paths that it has fewer, and the unchanged objects
    /// that its wildcards evict, as far as they were listed.
    pub fn merged(&self, paths: usize, evictions: usize) {
        self.0.merging.merged_paths.inc_by(paths as u64);
        self.0.merging.evictions.inc_by(evictions as u64);
    }

    /// Counts wildcards that merging did not make because of a key of `[economy]`: `protected`, `min_stem`,
    /// `allow_root` or `min_interval`, or because CloudFront has `refused` it.
    pub fn guarded(&self, guard: &'static str, count: usize) {
        let guarded = &self.0.merging.guarded;
        guarded
            .get_or_create(&GuardLabel { guard })
            .inc_by(count as u64);
    }

    /// Counts a listing of the keys with a prefix (`complete`, `partial`, `denied` or `failed`), and its pages.
    pub fn listed(&self, outcome: &'static str, pages: usize) {
        let merging = &self.0.merging;
        merging
            .listings
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
        merging.listing_pages.inc_by(pages as u64);
    }

    /// Sets the number of dead letters in the store.
    pub fn dead_letters(&self, count: u64) {
        self.0
            .dead_letters
            .set(count.try_into().unwrap_or(i64::MAX));
    }

    /// Sets the free space of the store's file system, if it is known.
    pub fn free_bytes(&self, bytes: Option<u64>) {
        self.0.status.set_free_bytes(bytes);
    }

    /// Encodes all metrics, with the gauges set from the checks and the status at `now`.
    pub fn encode(
        &self,
        now: Timestamp,
        checks: &BTreeMap<&'static str, Check>,
        status: &Status,
    ) -> Result<String, fmt::Error> {
        self.0.status.set(now, checks, status);
        let last_message = self.0.last_message.load(Ordering::Relaxed);
        let last_message = Timestamp::from_second(last_message).ok();
        self.0.last_message_age.set(age(now, last_message));
        let mut encoded = String::new();
        text::encode_registry(&mut encoded, &self.0.registry)?;
        if status.leadership.leads() {
            text::encode_registry(&mut encoded, &self.0.work)?;
        }
        text::encode_eof(&mut encoded)?;
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        economy::Economy,
        ledger::{Ledger, MonthStatus},
    };

    #[test]
    fn the_month_is_told_with_its_budget_and_what_merging_does() {
        let metrics = Metrics::default();
        let now = "2026-06-16T00:00:00Z".parse().unwrap();
        let economy = Economy {
            monthly_paths: 10_000,
            ..Economy::default()
        };
        let ledger = Ledger {
            own: 4_000,
            others: 1_000,
            recent: 2_800,
            days: 7,
        };
        let status = Status {
            month: Some(MonthStatus::of(ledger, &economy, now)),
            ..Status::default()
        };
        metrics.merged(17, 30);
        metrics.guarded("min_interval", 2);
        metrics.listed("partial", 3);
        let text = metrics.encode(now, &BTreeMap::new(), &status).unwrap();
        for line in [
            "month_paths{by=\"purgefront\"} 4000",
            "month_paths{by=\"others\"} 1000",
            "month_forecast_paths 11000",
            "month_budget_paths 10000",
            "month_spent_ratio 0.5",
            "month_forecast_ratio 1.1",
            "evictions_per_path 40.0",
            "merged_paths_total 17",
            "evictions_total 30",
            "guarded_total{guard=\"min_interval\"} 2",
            "guarded_total{guard=\"protected\"} 0",
            "key_listings_total{outcome=\"partial\"} 1",
            "key_listings_total{outcome=\"denied\"} 0",
            "key_listing_pages_total 3",
        ] {
            let line = format!("\npurgefront_{line}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
    }

    #[test]
    fn a_follower_has_no_series_of_what_only_the_leader_knows() {
        let metrics = Metrics::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut status = Status::default();
        let mut encode = |check, leads: bool| {
            if !leads {
                status.follow(None);
            }
            let checks = [(check, Check::ok())].into();
            metrics.encode(now, &checks, &status).unwrap()
        };
        let leader = encode("paused", true);
        let follower = encode("store", false);
        for (part, told) in [
            ("\npurgefront_leader 1\n", (true, false)),
            ("\npurgefront_leader 0\n", (false, true)),
            ("purgefront_unmapped_changes 0", (true, false)),
            ("purgefront_month_budget_paths 0", (true, false)),
            ("purgefront_evictions_total 0", (true, true)),
            ("purgefront_check{check=\"paused\"} 0", (true, false)),
            ("purgefront_check{check=\"store\"} 0", (false, true)),
            ("purgefront_catalogue_known 0", (true, true)),
            ("purgefront_records_total", (true, true)),
        ] {
            let found = (leader.contains(part), follower.contains(part));
            assert_eq!(found, told, "{part}");
        }
        for text in [leader, follower] {
            assert!(text.ends_with("# EOF\n"));
            assert_eq!(text.matches("# EOF").count(), 1);
        }
    }
}
