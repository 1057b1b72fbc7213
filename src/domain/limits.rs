//! Rate limits and backoff, as pure functions of the current time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A token bucket that refills at a constant rate.
///
/// It reads no clock: every call passes the current time, so tests can simulate hours in
/// microseconds. If the clock steps back, nothing is added or lost.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Timestamp,
}

impl TokenBucket {
    /// An empty bucket. This is the safe choice at startup, when it is unknown how many tokens were
    /// used just before.
    pub fn empty(per_second: f64, burst: u32, now: Timestamp) -> Self {
        Self {
            per_second,
            burst: f64::from(burst).max(1.0),
            tokens: 0.0,
            at: now,
        }
    }

    /// A bucket with a full burst.
    pub fn full(per_second: f64, burst: u32, now: Timestamp) -> Self {
        let mut bucket = Self::empty(per_second, burst, now);
        bucket.tokens = bucket.burst;
        bucket
    }

    /// Takes a token, or returns the time at which one will be available.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let at = self.next(now);
        if at > now {
            return Err(at);
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Takes a token, on credit if the bucket is empty, and returns the time from which it may be
    /// used. Callers that wait until then proceed in the order of their reservations.
    pub fn reserve(&mut self, now: Timestamp) -> Timestamp {
        let at = self.next(now);
        self.tokens -= 1.0;
        at
    }

    /// The time at which the next token is available: `now` or later.
    pub fn next(&mut self, now: Timestamp) -> Timestamp {
        self.refill(now);
        let missing = 1.0 - self.tokens;
        if missing <= EPSILON {
            return now;
        }
        now.saturating_add(seconds(missing / self.per_second))
            .unwrap_or(Timestamp::MAX)
    }

    /// How many tokens there are at `now`.
    pub fn available(&mut self, now: Timestamp) -> usize {
        self.refill(now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the burst, which is a u32"
        )]
        let whole = (self.tokens + EPSILON).floor().max(0.0) as usize;
        whole
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.duration_since(self.at).as_secs_f64();
        if passed > 0.0 {
            self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        }
        self.at = now;
    }
}

/// A call rate that adapts to throttling: each throttled call halves it, and each success raises
/// it a little, up to the configured rate.
#[derive(Debug, Clone)]
pub struct CallRate {
    bucket: TokenBucket,
    configured: f64,
}

/// The fraction of the configured rate that each success restores.
const REGAINED: f64 = 1.0 / 16.0;
/// The lowest fraction of the configured rate. It is above zero because only further calls can
/// show when throttling has ended.
const NEVER_LOST: f64 = 1.0 / 16.0;

impl CallRate {
    /// See [`TokenBucket::empty`].
    pub fn empty(per_second: f64, burst: u32, now: Timestamp) -> Self {
        Self {
            bucket: TokenBucket::empty(per_second, burst, now),
            configured: per_second,
        }
    }

    /// Takes a call, or returns the time at which one will be allowed.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.bucket.take(now)
    }

    /// When the next call may be made: `now`, or later.
    pub fn next(&mut self, now: Timestamp) -> Timestamp {
        self.bucket.next(now)
    }

    /// How many calls could be made at `now`.
    pub fn available(&mut self, now: Timestamp) -> usize {
        self.bucket.available(now)
    }

    /// Records that CloudFront throttled a call. Also discards the accumulated burst.
    pub fn refused(&mut self, now: Timestamp) {
        self.bucket.refill(now);
        self.bucket.tokens = self.bucket.tokens.min(0.0);
        let least = self.configured * NEVER_LOST;
        self.bucket.per_second = (self.bucket.per_second / 2.0).max(least);
    }

    /// Records that CloudFront accepted a call.
    pub fn accepted(&mut self, now: Timestamp) {
        self.bucket.refill(now);
        let regained = self.bucket.per_second + self.configured * REGAINED;
        self.bucket.per_second = regained.min(self.configured);
    }

    /// The current rate.
    pub fn per_second(&self) -> f64 {
        self.bucket.per_second
    }
}

/// An item rate that a single call may overdraw; the next call waits until the debt is repaid.
/// At most one second's worth accumulates.
#[derive(Debug, Clone)]
pub struct ItemRate {
    per_second: f64,
    balance: f64,
    at: Timestamp,
}

impl ItemRate {
    /// A rate with nothing accumulated, as at startup.
    pub fn empty(per_second: f64, now: Timestamp) -> Self {
        Self {
            per_second,
            balance: 0.0,
            at: now,
        }
    }

    /// The time at which the next call may be sent: `now` or later.
    pub fn next(&mut self, now: Timestamp) -> Timestamp {
        let passed = now.duration_since(self.at).as_secs_f64();
        if passed > 0.0 {
            self.balance = (self.balance + passed * self.per_second).min(self.per_second);
        }
        self.at = now;
        if self.balance >= -EPSILON {
            return now;
        }
        now.saturating_add(seconds(-self.balance / self.per_second))
            .unwrap_or(Timestamp::MAX)
    }

    /// Records that a call with `items` items is sent at `now`.
    pub fn spend(&mut self, items: usize, now: Timestamp) {
        self.next(now);
        self.balance -= as_f64(items);
    }

    /// Records that a call with `items` items has turned out not to count.
    pub fn give_back(&mut self, items: usize, now: Timestamp) {
        self.next(now);
        self.balance = (self.balance + as_f64(items)).min(self.per_second);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of items are far below 2^52"
)]
fn as_f64(items: usize) -> f64 {
    items as f64
}

/// Rounding errors can leave a bucket short of a whole token by less than this.
const EPSILON: f64 = 1e-6;

/// Rounds up to a whole microsecond, so that waiting that long is always enough. Capped at a year.
fn seconds(wait: f64) -> SignedDuration {
    let micros = (wait * 1e6).ceil();
    if micros >= 1e15 {
        return SignedDuration::from_hours(24 * 365);
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    SignedDuration::from_micros(micros as i64)
}

/// The delay before attempt number `failures + 1`: exponential backoff with full jitter. It is
/// the fraction `random` (in `0.0..1.0`) of a span that doubles from `first` up to `longest`.
pub fn backoff(failures: u32, first: Duration, longest: Duration, random: f64) -> Duration {
    let span = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    span.min(longest).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn an_empty_bucket_earns_its_first_token() {
        let mut bucket = TokenBucket::empty(0.5, 5, at(0));
        assert_eq!(bucket.take(at(0)), Err(at(2_000)));
        assert_eq!(bucket.take(at(1_999)), Err(at(2_000)));
        assert_eq!(bucket.take(at(2_000)), Ok(()));
        assert_eq!(bucket.take(at(2_000)), Err(at(4_000)));
    }

    #[test]
    fn the_burst_is_the_most_it_saves_up() {
        let mut bucket = TokenBucket::full(0.5, 5, at(0));
        let burst = (0..100)
            .filter(|_| bucket.take(at(3_600_000)).is_ok())
            .count();
        assert_eq!(burst, 5);
    }

    #[test]
    fn reservations_stand_in_a_row() {
        let mut bucket = TokenBucket::full(10.0, 1, at(0));
        let turns: Vec<_> = (0..4).map(|_| bucket.reserve(at(0))).collect();
        assert_eq!(turns, [at(0), at(100), at(200), at(300)]);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut bucket = TokenBucket::full(1.0, 1, at(10_000));
        assert_eq!(bucket.take(at(10_000)), Ok(()));
        assert!(bucket.take(at(5_000)).is_err());
        assert!(bucket.take(at(5_500)).is_err());
        assert_eq!(bucket.take(at(6_000)), Ok(()));
    }

    #[test]
    fn a_refusal_halves_the_rate_and_successes_bring_it_back() {
        let mut rate = CallRate::empty(0.5, 5, at(0));
        assert_eq!(rate.take(at(10_000)), Ok(()));
        rate.refused(at(10_000));
        // The burst is gone, and the next call takes twice as long.
        assert_eq!(rate.take(at(10_000)), Err(at(14_000)));
        for _ in 0..100 {
            rate.refused(at(14_000));
        }
        assert!((rate.per_second() - 0.5 / 16.0).abs() < 1e-9);
        for _ in 0..16 {
            rate.accepted(at(14_000));
        }
        assert!((rate.per_second() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn one_call_may_overdraw_what_then_has_to_be_earned_back() {
        let mut rate = ItemRate::empty(150.0, at(0));
        assert_eq!(rate.next(at(0)), at(0));
        rate.spend(1_000, at(0));
        assert_eq!(
            rate.next(at(0)),
            at(6_667)
                .saturating_sub(SignedDuration::from_micros(333))
                .unwrap()
        );
        assert_eq!(rate.next(at(6_667)), at(6_667));
        // At most one second's worth accumulates, however long the idle time.
        rate.spend(150, at(3_600_000));
        assert_eq!(rate.next(at(3_600_000)), at(3_600_000));
        rate.spend(150, at(3_600_000));
        assert_eq!(rate.next(at(3_600_000)), at(3_601_000));
    }

    #[test]
    fn what_a_refused_call_spent_is_given_back() {
        let mut rate = ItemRate::empty(150.0, at(0));
        rate.spend(1_000, at(0));
        rate.give_back(1_000, at(1_000));
        assert_eq!(rate.next(at(1_000)), at(1_000));
        // Never more than one second's worth, whatever is given back.
        rate.give_back(1_000, at(1_000));
        rate.spend(300, at(1_000));
        assert_eq!(rate.next(at(1_000)), at(2_000));
    }

    #[test]
    fn backoff_doubles_up_to_its_longest() {
        let s = Duration::from_secs;
        let span = |failures| backoff(failures, s(1), s(900), 1.0);
        assert_eq!([span(1), span(2), span(3)], [s(1), s(2), s(4)]);
        assert_eq!(span(11), s(900));
        assert_eq!(span(u32::MAX), s(900));
        assert_eq!(backoff(5, s(1), s(900), 0.0), s(0));
    }
}
