//! CloudFront's quotas: the classic pools of a distribution, and the account's newer rates.

use std::collections::BTreeMap;

use jiff::Timestamp;
use purgefront::domain::limits::{ItemRate, TokenBucket};

use super::{Refusal, items::is_wildcard};

/// What CloudFront lets through; each is kept only where a test says so.
#[derive(Default)]
pub struct Quotas {
    calls: Option<TokenBucket>,
    /// Paths and wildcards a second.
    items: Option<[ItemRate; 2]>,
    /// Paths and wildcards in progress at a distribution.
    in_progress: Option<[usize; 2]>,
    refusals: BTreeMap<&'static str, usize>,
}

impl Quotas {
    /// Lets so many calls a second through, and a burst that is saved up at the beginning.
    pub fn limit_calls(&mut self, now: Timestamp, per_second: f64, burst: u32) {
        self.calls = Some(TokenBucket::full(per_second, burst, now));
    }

    /// Lets so many paths and wildcards a second through.
    pub fn limit_items(&mut self, now: Timestamp, paths: f64, wildcards: f64) {
        self.items = Some([paths, wildcards].map(|rate| ItemRate::empty(rate, now)));
    }

    /// Lets so many paths and wildcards be in progress at a distribution.
    pub fn limit_in_progress(&mut self, paths: usize, wildcards: usize) {
        self.in_progress = Some([paths, wildcards]);
    }

    /// Calls that were refused, by the quota that they were over; each name begins with `quota`.
    pub fn refusals(&self) -> BTreeMap<&'static str, usize> {
        self.refusals.clone()
    }

    pub(super) fn admit_call(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let calls = self.calls.as_mut();
        if calls.is_some_and(|calls| calls.take(now).is_err()) {
            return Err(self.refuse("quota calls", Refusal::Throttled));
        }
        Ok(())
    }

    /// One call may overdraw a rate; then it has to be earned back.
    pub(super) fn admit_items(&mut self, now: Timestamp, sent: &[String]) -> Result<(), Refusal> {
        let sent = counted(sent);
        let Some(rates) = &mut self.items else {
            return Ok(());
        };
        let mut both = rates.iter_mut().zip(sent);
        if both.any(|(rate, items)| items > 0 && rate.next(now) > now) {
            return Err(self.refuse("quota items", Refusal::Throttled));
        }
        for (rate, items) in rates.iter_mut().zip(sent) {
            rate.spend(items, now);
        }
        Ok(())
    }

    /// Paths and wildcards have a pool each, of what is open at the distribution.
    pub(super) fn admit_in_progress(
        &mut self,
        open: [usize; 2],
        sent: &[String],
    ) -> Result<(), Refusal> {
        let Some(most) = self.in_progress else {
            return Ok(());
        };
        let sent = counted(sent);
        let is_full = |kind: usize| sent[kind] > 0 && open[kind] + sent[kind] > most[kind];
        if is_full(0) || is_full(1) {
            let wildcards = is_full(1);
            return Err(self.refuse("quota pool", Refusal::TooManyInProgress { wildcards }));
        }
        Ok(())
    }

    fn refuse(&mut self, cause: &'static str, refusal: Refusal) -> Refusal {
        *self.refusals.entry(cause).or_default() += 1;
        refusal
    }
}

/// How many are paths or tags, and how many wildcards.
pub(super) fn counted<'a>(items: impl IntoIterator<Item = &'a String>) -> [usize; 2] {
    let mut counts = [0; 2];
    for item in items {
        counts[usize::from(is_wildcard(item))] += 1;
    }
    counts
}
