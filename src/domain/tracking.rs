//! Invalidations that are tracked until CloudFront reports them as completed: which of them are polled
//! next, and what a poll shows.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{batch::Usage, cdn::CdnError, due::due_at};

/// The pause between two polls: at first, and at most.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// The longest pause while something waits for room in the pool.
pub const AWAITED_PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// When an invalidation that cannot be seen is taken as completed. CloudFront takes seconds, and
/// minutes at worst.
pub const TAKEN_AS_COMPLETED: SignedDuration = SignedDuration::from_mins(30);

/// An invalidation in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The batch's id, which is also our id of the invalidation.
    pub batch: Uuid,
    pub distribution_id: String,
    pub cloudfront_id: String,
    /// When CloudFront created it.
    pub submitted_at: Timestamp,
    /// When it is polled next.
    pub due_at: Timestamp,
    pub usage: Usage,
}

impl Tracked {
    /// When the next poll is due. `awaited`: something waits for room in the pool that it occupies.
    pub fn due_at(&self, awaited: bool, now: Timestamp) -> Timestamp {
        let longest = if awaited {
            AWAITED_PAUSE
        } else {
            LONGEST_PAUSE
        };
        due_at(self.due_at, longest, now)
    }

    /// The pause until the next poll: it grows with the invalidation's age. `jitter` is in
    /// `0.0..1.0`.
    pub fn pause(&self, awaited: bool, now: Timestamp, jitter: f64) -> SignedDuration {
        let longest = if awaited {
            AWAITED_PAUSE
        } else {
            LONGEST_PAUSE
        };
        let age = now.duration_since(self.submitted_at);
        let pause = (age / 2).clamp(SHORTEST_PAUSE, longest);
        pause.mul_f64(0.8 + jitter / 5.0)
    }

    /// Whether an invalidation that a poll could not see is taken as completed.
    pub fn is_taken_as_completed(&self, error: &CdnError, now: Timestamp) -> bool {
        is_lasting(error) && now.duration_since(self.submitted_at) >= TAKEN_AS_COMPLETED
    }
}

/// Whether an invalidation cannot be seen until somebody changes something. Throttled and
/// unanswered calls only have to be repeated.
pub fn is_lasting(error: &CdnError) -> bool {
    !matches!(
        error,
        CdnError::Throttled(_) | CdnError::NotSent(_) | CdnError::Unknown(_)
    )
}

/// The invalidations to poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NextPolls {
    /// In this order.
    pub due: Vec<Tracked>,
    /// When to choose again, if nothing is due and something is in progress.
    pub choose_at: Option<Timestamp>,
}

impl NextPolls {
    /// Chooses at most `limit` of those that are due. The reads may not suffice for all, so three of
    /// four go to pools that something waits for, and there to the oldest, which complete first. The
    /// others go to whatever has been due for longest, so that every invalidation has its turn.
    pub fn choose(
        in_progress: Vec<Tracked>,
        awaited: impl Fn(&str) -> bool,
        now: Timestamp,
        limit: usize,
    ) -> Self {
        let mut first = Vec::new();
        let mut others = Vec::new();
        // Something may begin to wait for a pool at any time.
        let mut choose_at = (!in_progress.is_empty()).then(|| now + AWAITED_PAUSE);
        for tracked in in_progress {
            let awaited = awaited(&tracked.distribution_id);
            let at = tracked.due_at(awaited, now);
            if at > now {
                choose_at = choose_at.min(Some(at));
            } else if awaited {
                first.push(tracked);
            } else {
                others.push(tracked);
            }
        }
        first.sort_by_key(|tracked| tracked.submitted_at);
        let share = first.len().min(limit - limit / 4);
        others.extend(first.split_off(share));
        others.sort_by_key(|tracked| tracked.due_at);
        others.truncate(limit - first.len());
        first.append(&mut others);
        Self {
            due: first,
            choose_at,
        }
    }
}

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPoll {
    Completed,
    /// It is in progress or could not be read: poll again at this time.
    Again(Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    /// An invalidation of this age that is due in so many seconds.
    fn tracked(distribution_id: &str, age: i64, due_in: i64) -> Tracked {
        Tracked {
            batch: Uuid::nil(),
            distribution_id: distribution_id.to_owned(),
            cloudfront_id: format!("I{age}"),
            submitted_at: now() - seconds(age),
            due_at: now() + seconds(due_in),
            usage: Usage::default(),
        }
    }

    fn chosen(in_progress: &[Tracked], limit: usize) -> Vec<String> {
        let awaited = |id: &str| id == "full";
        let polls = NextPolls::choose(in_progress.to_vec(), awaited, now(), limit);
        polls.due.into_iter().map(|one| one.cloudfront_id).collect()
    }

    #[test]
    fn what_others_wait_for_is_polled_first_and_nothing_is_left_out() {
        let mut open: Vec<_> = (0..10).map(|at| tracked("full", 100 + at, -at)).collect();
        open.extend([tracked("free", 5, -60), tracked("free", 6, -50)]);
        assert_eq!(chosen(&open, 4), ["I109", "I108", "I107", "I5"]);
        assert_eq!(chosen(&open[..10], 4), ["I109", "I108", "I107", "I106"]);
        assert_eq!(chosen(&open[10..], 4), ["I5", "I6"]);
        assert_eq!(chosen(&open, 100).len(), 12);
    }

    #[test]
    fn a_poll_that_was_put_off_before_the_pool_filled_is_due_at_once() {
        let open = [tracked("full", 400, 100), tracked("full", 30, 15)];
        assert_eq!(chosen(&open, 4), ["I400"]);
        let polls = NextPolls::choose(open[1..].to_vec(), |_| true, now(), 4);
        assert_eq!(polls.choose_at, Some(now() + seconds(15)));
        let polls = NextPolls::choose(vec![tracked("free", 400, 100)], |_| false, now(), 4);
        let soon = Some(now() + AWAITED_PAUSE);
        assert_eq!(polls.choose_at, soon, "the pool may be full by then");
        assert_eq!(
            NextPolls::choose(Vec::new(), |_| true, now(), 4).choose_at,
            None
        );
    }

    #[test]
    fn no_poll_is_due_further_ahead_than_polls_are_put_off() {
        let set_back = tracked("free", -3_600, 3_600);
        assert_eq!(set_back.due_at(false, now()), now());
        assert_eq!(set_back.pause(false, now(), 1.0), SHORTEST_PAUSE);
        let usual = tracked("free", 3_600, 299);
        assert_eq!(usual.due_at(false, now()), usual.due_at);
        assert_eq!(usual.pause(false, now(), 1.0), LONGEST_PAUSE);
        assert_eq!(usual.pause(true, now(), 1.0), AWAITED_PAUSE);
    }

    #[test]
    fn what_cannot_be_seen_is_taken_as_completed_and_what_did_not_answer_is_not() {
        let text = || String::new();
        let old = tracked("E1", 30 * 60, 0);
        for error in [
            CdnError::Denied(text()),
            CdnError::NoSuchDistribution(text()),
            CdnError::Refused("NoSuchInvalidation".to_owned()),
        ] {
            assert!(old.is_taken_as_completed(&error, now()), "{error}");
            let young = tracked("E1", 30 * 60 - 1, 0);
            assert!(!young.is_taken_as_completed(&error, now()), "{error}");
        }
        for error in [
            CdnError::Throttled(text()),
            CdnError::NotSent(text()),
            CdnError::Unknown(text()),
        ] {
            assert!(!old.is_taken_as_completed(&error, now()), "{error}");
        }
    }
}
