//! The days whose sums the ledger is made of, in every kind of store.

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};

use crate::domain::operations::day_of;

/// How much longer than history the sums of days are kept, and by what others' invalidations are known again: at
/// least until the next month is over.
const KEPT_LONGER: SignedDuration = SignedDuration::from_hours(62 * 24);

/// The most days that tell how much is spent in a day.
const RECENT: i64 = 7;

pub(in crate::store) struct LedgerDays {
    pub(in crate::store) first_of_month: Date,
    pub(in crate::store) last_of_month: Date,
    pub(in crate::store) first_recent: Date,
    pub(in crate::store) day: Date,
}

impl LedgerDays {
    pub(in crate::store) fn of(day: Date) -> Self {
        Self {
            first_of_month: day.first_of_month(),
            last_of_month: day.last_of_month(),
            first_recent: day.saturating_sub((RECENT - 1).days()),
            day,
        }
    }

    /// The first of all of them.
    pub(in crate::store) fn first(&self) -> Date {
        self.first_of_month.min(self.first_recent)
    }

    /// How many of the recent days there are if this is the first that anything was recorded on.
    pub(in crate::store) fn recent_since(&self, recorded: Option<Date>) -> u32 {
        let days = recorded.map(|first| first.duration_until(self.day).as_hours() / 24 + 1);
        u32::try_from(days.unwrap_or(0).clamp(0, RECENT)).unwrap_or(0)
    }
}

/// The first day whose sum is kept while history from before `cutoff` is deleted; `None` if all are.
pub(in crate::store) fn first_kept(cutoff: Timestamp) -> Option<Date> {
    cutoff.checked_sub(KEPT_LONGER).ok().map(day_of)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_days_are_those_of_the_month_and_of_the_last_week() {
        let days = LedgerDays::of(date(2028, 2, 3));
        assert_eq!(days.first_of_month, date(2028, 2, 1));
        assert_eq!(days.last_of_month, date(2028, 2, 29));
        assert_eq!(days.first_recent, date(2028, 1, 28));
        assert_eq!(days.first(), date(2028, 1, 28));
        let late = LedgerDays::of(date(2028, 2, 29));
        assert_eq!(late.first(), date(2028, 2, 1));
    }

    #[test]
    fn recent_days_are_seven_or_as_many_as_there_are() {
        let days = LedgerDays::of(date(2028, 3, 1));
        let since = |recorded| days.recent_since(recorded);
        assert_eq!(since(None), 0);
        assert_eq!(since(Some(date(2028, 3, 2))), 0);
        assert_eq!(since(Some(date(2028, 3, 1))), 1);
        assert_eq!(since(Some(date(2028, 2, 29))), 2);
        assert_eq!(since(Some(date(2028, 2, 24))), 7);
        assert_eq!(since(Some(date(2027, 1, 1))), 7);
    }

    /// A cutoff is at least a day ago.
    #[test]
    fn a_month_is_kept_until_the_next_one_is_over() {
        let cutoff = "2028-08-31T00:00:00Z".parse().unwrap();
        assert!(first_kept(cutoff).unwrap() <= date(2028, 7, 1));
        assert_eq!(first_kept(Timestamp::MIN), None);
    }
}
