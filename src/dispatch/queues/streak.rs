//! Recognizes when CloudFront answers every distribution alike, so that one is tried for all.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    cdn::CdnError,
    due::due_at,
    resolution::{Failure, LONGEST_RETRY},
};

/// The longest time between two answers to one distribution, if they may be about itself.
const EACH_AFTER: SignedDuration = LONGEST_RETRY;
/// The same, if CloudFront has not answered at all.
const EACH_UNANSWERED_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Answers in a row, from several distributions, that may be about the account.
#[derive(Debug, Default)]
pub(super) struct Streak {
    label: Option<&'static str>,
    /// Whether they say nothing about any distribution: the calls were not sent, or got no answer.
    is_unanswered: bool,
    /// When each distribution was answered.
    members: HashMap<String, Timestamp>,
    /// When the last one to be answered may be tried again,
    retry_at: Timestamp,
    /// and the most failures of a member.
    failures: u32,
}

impl Streak {
    /// Notes that a call failed.
    pub(super) fn failed(&mut self, distribution_id: &str, failure: &Failure, now: Timestamp) {
        let error = &failure.error;
        let label = may_be_about_the_account(error).then(|| error.label());
        if label != self.label {
            *self = Self {
                label,
                is_unanswered: matches!(
                    error,
                    CdnError::NotConfigured { .. } | CdnError::NotSent(_) | CdnError::Unknown(_)
                ),
                ..Self::default()
            };
        }
        if label.is_some() {
            self.members.insert(distribution_id.to_owned(), now);
            self.retry_at = failure.not_before;
            self.failures = self.failures.max(failure.failures);
        }
    }

    /// Notes that a call succeeded. If it was made for all, returns those that waited for it.
    pub(super) fn succeeded(&mut self, distribution_id: &str) -> Vec<String> {
        let ended = std::mem::take(self);
        if ended.has(distribution_id) {
            ended.members.into_keys().collect()
        } else {
            Vec::new()
        }
    }

    /// Notes that a distribution does not wait for the others any more.
    pub(super) fn leave(&mut self, distribution_id: &str) {
        self.members.remove(distribution_id);
    }

    /// Whether a distribution is one of several that were answered alike.
    pub(super) fn has(&self, distribution_id: &str) -> bool {
        self.members.len() > 1 && self.members.contains_key(distribution_id)
    }

    /// The failures in a row that the next attempt of a member continues.
    pub(super) fn failures(&self, distribution_id: &str) -> Option<u32> {
        self.has(distribution_id).then_some(self.failures)
    }

    /// When a member may be tried: for all of them, unless one is being tried, and in any case some time
    /// after its own last answer.
    pub(super) fn retry_at(
        &self,
        distribution_id: &str,
        is_trying: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if !self.has(distribution_id) {
            return None;
        }
        let answered_at = *self.members.get(distribution_id)?;
        let each_after = if self.is_unanswered {
            EACH_UNANSWERED_AFTER
        } else {
            EACH_AFTER
        };
        let alone = due_at(answered_at + each_after, each_after, now);
        let for_all = due_at(self.retry_at, LONGEST_RETRY, now);
        Some(if is_trying { alone } else { alone.min(for_all) })
    }
}

/// Whether CloudFront may answer all distributions like this. The other errors are about one
/// distribution, or about the items.
fn may_be_about_the_account(error: &CdnError) -> bool {
    match error {
        CdnError::Throttled(_)
        | CdnError::Denied(_)
        | CdnError::NotConfigured { .. }
        | CdnError::Refused(_)
        | CdnError::NotSent(_)
        | CdnError::Unknown(_) => true,
        CdnError::TooManyInProgress { .. }
        | CdnError::TooLarge(_)
        | CdnError::Invalid(_)
        | CdnError::ReferenceConflict(_)
        | CdnError::ConflictUnexplained(_)
        | CdnError::NoSuchDistribution(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::resolution::NextStep;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn fails(streak: &mut Streak, id: &str, failures: u32, retry_at: i64, now: i64) {
        let failure = Failure {
            error: CdnError::Denied("no".to_owned()),
            next: NextStep::Requeue,
            failures,
            not_before: at(retry_at),
        };
        streak.failed(id, &failure, at(now));
    }

    #[test]
    fn those_that_are_answered_alike_are_tried_as_one() {
        let mut streak = Streak::default();
        fails(&mut streak, "E1", 1, 2, 0);
        assert!(!streak.has("E1"), "one alone says nothing about others");
        fails(&mut streak, "E2", 3, 9, 1);
        assert!(streak.has("E1") && streak.has("E2") && !streak.has("E3"));
        assert_eq!(streak.failures("E1"), Some(3));
        assert_eq!(streak.retry_at("E1", false, at(1)), Some(at(9)));
        assert_eq!(streak.retry_at("E1", true, at(1)), Some(at(900)));
        assert_eq!(streak.retry_at("E3", false, at(1)), None);
        assert_eq!(streak.succeeded("E1").len(), 2);
        assert!(!streak.has("E1"));
    }

    #[test]
    fn another_answer_shows_that_it_is_not_the_account() {
        let mut streak = Streak::default();
        fails(&mut streak, "E1", 1, 2, 0);
        let invalid = Failure {
            error: CdnError::Invalid("bad".to_owned()),
            next: NextStep::DeadLetter,
            failures: 1,
            not_before: at(0),
        };
        streak.failed("E3", &invalid, at(0));
        fails(&mut streak, "E2", 1, 2, 0);
        assert!(!streak.has("E1") && !streak.has("E2"));
        assert!(streak.succeeded("E1").is_empty());
        fails(&mut streak, "E1", 1, 2, 0);
        fails(&mut streak, "E2", 1, 2, 0);
        assert!(streak.succeeded("E3").is_empty(), "it was refused nothing");
        assert!(!streak.has("E1"));
    }

    #[test]
    fn a_clock_set_back_delays_nobody() {
        let mut streak = Streak::default();
        for id in ["E1", "E2"] {
            fails(&mut streak, id, 1, 7_300, 7_200);
        }
        assert_eq!(streak.retry_at("E1", false, at(0)), Some(at(0)));
        assert_eq!(streak.retry_at("E1", true, at(0)), Some(at(0)));
    }
}
