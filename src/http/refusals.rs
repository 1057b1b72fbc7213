//! Limits the log lines about refused messages per reason, so that strangers cannot fill the disk.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::domain::limits::TokenBucket;

/// The rate of lines per reason. The metrics count all refusals.
const BURST: u32 = 20;
const PER_SECOND: f64 = 1.0;

/// For each reason, the rate limit of its log lines and how many were left out.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<&'static str, (TokenBucket, u64)>>);

impl Refusals {
    /// Whether to log a refusal for this reason now; if so, how many were left out since the
    /// last line.
    pub(super) fn line(&self, reason: &'static str, now: Timestamp) -> Option<u64> {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (turns, left_out) = reasons
            .entry(reason)
            .or_insert_with(|| (TokenBucket::full(PER_SECOND, BURST, now), 0));
        if turns.take(now).is_err() {
            *left_out += 1;
            return None;
        }
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_reason_has_its_own_limit_and_reports_what_was_left_out() {
        let refusals = Refusals::default();
        let now = Timestamp::UNIX_EPOCH;
        let lines = (0..100).filter(|_| refusals.line("signature", now).is_some());
        assert_eq!(lines.count(), 20);
        assert_eq!(refusals.line("not-json", now), Some(0), "another reason");
        let later = now + Duration::from_secs(1);
        assert_eq!(refusals.line("signature", later), Some(80));
        assert_eq!(refusals.line("signature", later), None);
    }
}
