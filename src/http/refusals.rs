//! What is told of refused messages: log lines, limited so that strangers cannot fill the disk, and a
//! warning of readiness.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::sender::Sender;
use crate::domain::limits::TokenBucket;

/// The rate of lines per reason. The metrics count all refusals.
const BURST: u32 = 20;
const PER_SECOND: f64 = 1.0;

/// How long readiness tells of refusals after the last one for a reason.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(1);
/// Refusals that SNS does not repeat and that somebody has to do something about. Others, such as bodies
/// that are no JSON, are never from SNS.
const TOLD: [&str; 9] = [
    "certificate",
    "certificate-url",
    "raw-delivery",
    "signature",
    "signature-version",
    "too-old",
    "topic-not-allowed",
    WRONG_PATH,
    "wrong-credentials",
];
/// The reason for refusing a message that came to another path than /sns.
pub(super) const WRONG_PATH: &str = "wrong-path";

/// The refusals by reason.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<&'static str, Refused>>);

#[derive(Debug)]
struct Refused {
    /// The rate limit of the log lines, and how many were left out.
    turns: TokenBucket,
    left_out: u64,
    /// How many there were, until there was none for a while, and the last.
    count: u64,
    last_at: Timestamp,
    last: String,
}

impl Refusals {
    /// Remembers a refusal for readiness. Returns whether to log it now; if so, how many were left out
    /// since the last line.
    pub(super) fn note(
        &self,
        reason: &'static str,
        sender: &Sender,
        now: Timestamp,
    ) -> Option<u64> {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = reasons.entry(reason).or_insert_with(|| Refused {
            turns: TokenBucket::full(PER_SECOND, BURST, now),
            left_out: 0,
            count: 0,
            last_at: now,
            last: String::new(),
        });
        if !refused.is_recent(now) {
            refused.count = 0;
        }
        refused.count += 1;
        refused.last_at = now;
        if refused.turns.take(now).is_err() {
            refused.left_out += 1;
            return None;
        }
        refused.last = sender.to_string();
        Some(std::mem::take(&mut refused.left_out))
    }

    /// Describes the recent refusals that somebody has to do something about.
    pub(super) fn warning(&self, now: Timestamp) -> Option<String> {
        let reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = TOLD.iter().filter_map(|reason| {
            let refused = reasons.get(reason).filter(|one| one.is_recent(now))?;
            let Refused {
                count,
                last_at,
                last,
                ..
            } = refused;
            Some(format!("{reason}: {count}, last at {last_at} ({last})"))
        });
        let told: Vec<_> = told.collect();
        (!told.is_empty()).then(|| {
            format!(
                "messages were refused, which SNS does not repeat: {}. What the senders say of \
                 themselves is unverified; `purgefront verify` explains a refusal",
                told.join("; ")
            )
        })
    }
}

impl Refused {
    fn is_recent(&self, now: Timestamp) -> bool {
        now.duration_since(self.last_at).abs() <= TOLD_FOR
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(refusals: &Refusals, reason: &'static str, now: Timestamp) -> Option<u64> {
        refusals.note(reason, &Sender::default(), now)
    }

    #[test]
    fn each_reason_has_its_own_limit_and_reports_what_was_left_out() {
        let refusals = Refusals::default();
        let now = Timestamp::UNIX_EPOCH;
        let lines = (0..100).filter(|_| line(&refusals, "signature", now).is_some());
        assert_eq!(lines.count(), 20);
        assert_eq!(line(&refusals, "not-json", now), Some(0), "another reason");
        let later = now + Duration::from_secs(1);
        assert_eq!(line(&refusals, "signature", later), Some(80));
        assert_eq!(line(&refusals, "signature", later), None);
    }

    #[test]
    fn readiness_tells_for_an_hour_what_sns_does_not_repeat() {
        let refusals = Refusals::default();
        let now = Timestamp::UNIX_EPOCH;
        line(&refusals, "not-json", now);
        assert_eq!(refusals.warning(now), None, "strangers send that");
        let sender = Sender {
            topic: Some("the-topic\u{1b}".to_owned()),
            ..Sender::default()
        };
        refusals.note("raw-delivery", &sender, now);
        refusals.note("raw-delivery", &sender, now);
        let told = refusals.warning(now + TOLD_FOR).unwrap();
        assert!(
            told.contains("raw-delivery: 2") && told.contains("the-topic"),
            "{told}"
        );
        assert!(!told.contains('\u{1b}'), "{told}");
        let later = now + TOLD_FOR + Duration::from_secs(1);
        assert_eq!(refusals.warning(later), None);
    }
}
