//! CloudFront's quotas as the fake keeps them: the classic pools and the newer rates.

use std::collections::HashMap;

use jiff::Timestamp;
use purgefront::domain::limits::{ItemRate, TokenBucket};

/// What CloudFront lets through; each is kept only where a test says so.
#[derive(Default)]
pub struct Quotas {
    /// Calls a second.
    pub calls: Option<TokenBucket>,
    /// Paths and wildcards a second.
    pub items: Option<[ItemRate; 2]>,
    /// Paths and wildcards in progress at a distribution.
    pub in_progress: Option<(usize, usize)>,
    /// Calls that were refused, by which quota.
    pub refusals: HashMap<&'static str, usize>,
}

impl Quotas {
    /// Which quota a call is over, if any: it sends `paths` where `open` are in progress.
    pub fn over(
        &mut self,
        now: Timestamp,
        open: &[&String],
        paths: &[String],
    ) -> Option<&'static str> {
        let is_wildcard = |path: &&String| path.starts_with('/') && path.ends_with('*');
        let wildcards = paths.iter().filter(is_wildcard).count();
        let sent = [paths.len() - wildcards, wildcards];
        let open_wildcards = open.iter().copied().filter(is_wildcard).count();
        let cause = if self
            .calls
            .as_mut()
            .is_some_and(|calls| calls.take(now).is_err())
        {
            "calls"
        } else if self
            .in_progress
            .is_some_and(|(most_paths, most_wildcards)| {
                open.len() - open_wildcards + sent[0] > most_paths
                    || open_wildcards + sent[1] > most_wildcards
            })
        {
            "in progress"
        } else if self.over_rates(now, sent) {
            "items"
        } else {
            return None;
        };
        *self.refusals.entry(cause).or_default() += 1;
        Some(cause)
    }

    /// One call may overdraw a rate; then it has to be earned back.
    fn over_rates(&mut self, now: Timestamp, sent: [usize; 2]) -> bool {
        let Some(rates) = &mut self.items else {
            return false;
        };
        let mut both = rates.iter_mut().zip(sent);
        if both.any(|(rate, items)| items > 0 && rate.next(now) > now) {
            return true;
        }
        for (rate, items) in rates.iter_mut().zip(sent) {
            rate.spend(items, now);
        }
        false
    }
}
