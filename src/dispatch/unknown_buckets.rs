//! Buckets that no distribution serves, according to the catalogue.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::domain::due::due_at;

/// How long a bucket without a distribution is taken as such before the catalogue is read again for
/// it. The time doubles from the first to the longest.
const FIRST: Duration = Duration::from_mins(5);
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// The most such buckets that are remembered.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct UnknownBuckets(HashMap<String, Unknown>);

#[derive(Clone, Copy)]
struct Unknown {
    until: Timestamp,
    /// How often it was found unknown before.
    times: u32,
}

impl Unknown {
    fn is_current(&self, now: Timestamp) -> bool {
        now < due_at(self.until, LONGEST, now)
    }
}

impl UnknownBuckets {
    /// Whether a bucket was found unknown a short time ago.
    pub(super) fn has(&self, bucket: &str, now: Timestamp) -> bool {
        let known = self.0.get(bucket);
        known.is_some_and(|unknown| unknown.is_current(now))
    }

    /// Remembers a bucket, and returns whether it was not known to be unknown before.
    pub(super) fn remember(&mut self, bucket: &str, now: Timestamp) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, unknown| unknown.is_current(now));
        }
        let before = self.0.get(bucket);
        let times = before.map_or(0, |unknown| unknown.times.saturating_add(1));
        let span = FIRST.saturating_mul(2_u32.saturating_pow(times));
        let until = now + span.min(LONGEST.unsigned_abs());
        if before.is_some() || self.0.len() < MOST {
            let unknown = Unknown { until, times };
            self.0.insert(bucket.to_owned(), unknown);
        }
        times == 0
    }

    /// Up to `most` of the buckets that were found unknown a short time ago, sorted.
    pub(super) fn recent(&self, most: usize, now: Timestamp) -> Vec<String> {
        let recent = self.0.iter().filter(|(_, unknown)| unknown.is_current(now));
        let mut recent: Vec<_> = recent.map(|(bucket, _)| bucket.clone()).collect();
        recent.sort_unstable();
        recent.truncate(most);
        recent
    }

    /// A distribution serves the bucket after all.
    pub(super) fn forget(&mut self, bucket: &str) {
        self.0.remove(bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn a_bucket_is_remembered_longer_each_time() {
        let mut unknown = UnknownBuckets::default();
        assert!(!unknown.has("b", at(0)));
        let mut now = 0;
        for minutes in [5, 10, 20, 40, 60, 60] {
            unknown.remember("b", at(now));
            assert!(unknown.has("b", at(now + minutes - 1)));
            assert!(!unknown.has("b", at(now + minutes)));
            now += minutes;
        }
        unknown.forget("b");
        unknown.remember("b", at(now));
        assert!(unknown.has("b", at(now + 4)) && !unknown.has("b", at(now + 5)));
        assert!(!unknown.has("c", at(now)));
    }

    #[test]
    fn a_clock_set_back_does_not_prolong_it() {
        let mut unknown = UnknownBuckets::default();
        unknown.remember("b", at(0));
        assert!(unknown.has("b", at(-50)), "that is not too long");
        assert!(!unknown.has("b", at(-3 * 60)));
    }

    #[test]
    fn there_is_a_limit_to_them() {
        let mut unknown = UnknownBuckets::default();
        for number in 0..MOST {
            unknown.remember(&number.to_string(), at(0));
        }
        unknown.remember("more", at(0));
        assert!(!unknown.has("more", at(0)));
        unknown.remember("more", at(5));
        assert!(unknown.has("more", at(5)));
        assert_eq!(unknown.0.len(), 1);
    }
}
