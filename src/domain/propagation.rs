//! How long CloudFront takes to complete invalidations: figures of the last day, for people.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// For how many hours figures are made.
pub const HOURS: usize = 24;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A completed invalidation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub distribution_id: String,
    /// When CloudFront accepted it.
    pub submitted_at: Timestamp,
    /// When it was seen as completed.
    pub completed_at: Timestamp,
}

/// The times from submitted to completed of some invalidations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How many invalidations there are; never 0.
    pub count: usize,
    /// Of an even number, the greater of the two in the middle.
    pub median: SignedDuration,
    pub longest: SignedDuration,
}

impl Times {
    /// `None` if there are no invalidations.
    fn of(mut spans: Vec<SignedDuration>) -> Option<Self> {
        spans.sort_unstable();
        Some(Self {
            count: spans.len(),
            median: *spans.get(spans.len() / 2)?,
            longest: *spans.last()?,
        })
    }
}

/// The times of a distribution's last day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propagation {
    pub day: Times,
    /// By the hour of completion, the oldest first; the last hour ends now.
    pub hours: [Option<Times>; HOURS],
}

/// When the last day began.
pub fn day_before(now: Timestamp) -> Timestamp {
    let hours = i64::try_from(HOURS).unwrap_or(24);
    let begins = now.checked_sub(SignedDuration::from_hours(hours));
    begins.unwrap_or(Timestamp::MIN)
}

/// The figures of each distribution that has completed invalidations in the day before `now`.
pub fn by_distribution(
    completions: impl IntoIterator<Item = Completion>,
    now: Timestamp,
) -> BTreeMap<String, Propagation> {
    let mut spans: BTreeMap<String, [Vec<SignedDuration>; HOURS]> = BTreeMap::new();
    for one in completions {
        let age = now.duration_since(one.completed_at);
        // A clock that was set back makes some look as if they were yet to come.
        let age = age.max(SignedDuration::ZERO);
        let Ok(hours) = usize::try_from(age.as_secs() / HOUR.as_secs()) else {
            continue;
        };
        if hours >= HOURS {
            continue;
        }
        let span = one.completed_at.duration_since(one.submitted_at);
        let of_it = spans.entry(one.distribution_id).or_default();
        of_it[HOURS - 1 - hours].push(span.max(SignedDuration::ZERO));
    }
    let figures = spans.into_iter().filter_map(|(id, hours)| {
        let day = Times::of(hours.iter().flatten().copied().collect())?;
        let hours = hours.map(Times::of);
        Some((id, Propagation { day, hours }))
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-04T12:00:00Z".parse().unwrap()
    }

    fn completion(id: &str, minutes_ago: i64, seconds: i64) -> Completion {
        let completed_at = now() - SignedDuration::from_mins(minutes_ago);
        Completion {
            distribution_id: id.to_owned(),
            submitted_at: completed_at - SignedDuration::from_secs(seconds),
            completed_at,
        }
    }

    #[test]
    fn each_distribution_has_the_times_of_its_day_and_of_each_hour() {
        let completions = [
            completion("E1", 0, 10),
            completion("E1", 59, 30),
            completion("E1", 60, 20),
            completion("E1", 24 * 60 - 1, 90),
            completion("E1", 24 * 60, 500),
            completion("E2", 5, 7),
        ];
        let figures = by_distribution(completions, now());
        let first = &figures["E1"];
        assert_eq!(
            first.day.count, 4,
            "what is older than a day does not count"
        );
        assert_eq!(first.day.median, SignedDuration::from_secs(30));
        assert_eq!(first.day.longest, SignedDuration::from_secs(90));
        let counts = first.hours.map(|hour| hour.map_or(0, |times| times.count));
        let mut expected = [0; HOURS];
        (expected[23], expected[22], expected[0]) = (2, 1, 1);
        assert_eq!(counts, expected);
        assert_eq!(figures["E2"].day.count, 1);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_negative_times() {
        let mut odd = completion("E1", -10, 5);
        odd.submitted_at = now() + SignedDuration::from_mins(20);
        let figures = by_distribution([odd], now());
        assert_eq!(figures["E1"].day.median, SignedDuration::ZERO);
        assert!(figures["E1"].hours[23].is_some());
        assert!(by_distribution([], now()).is_empty());
    }
}
