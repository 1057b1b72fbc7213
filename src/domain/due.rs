//! Due times that are kept across restarts and changes of the clock.

use jiff::{SignedDuration, Timestamp};

/// When something is due that was put off until `kept`. It was put off by `longest` at most, so a
/// time further ahead was kept before the clock was set back: it is due now.
pub fn due_at(kept: Timestamp, longest: SignedDuration, now: Timestamp) -> Timestamp {
    // Where the sum is no timestamp, nothing is beyond it.
    let latest = now.checked_add(longest).unwrap_or(Timestamp::MAX);
    if kept > latest { now } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_further_ahead_than_the_longest_wait_is_now() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let minute = SignedDuration::from_mins(1);
        assert_eq!(due_at(now + minute, minute, now), now + minute);
        assert_eq!(due_at(now - minute, minute, now), now - minute);
        assert_eq!(due_at(now + minute * 60, minute, now), now);
        assert_eq!(
            due_at(Timestamp::MAX, SignedDuration::MAX, now),
            Timestamp::MAX
        );
    }
}
