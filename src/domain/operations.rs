//! What holds back sending: pauses, deploy windows, backoffs, and the daily limit.

use std::collections::BTreeSet;

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::Offset,
};

use super::{cdn::CdnError, hold::DeployHold, ledger::Ledger};

/// What operators have paused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Whether sending is paused for all distributions.
    pub all: bool,
    pub distributions: BTreeSet<String>,
}

/// A pause of a distribution after failed attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    pub distribution_id: String,
    /// Failures in a row.
    pub failures: u32,
    pub not_before: Timestamp,
    /// Why the last attempt failed, with a bounded text; `None` if it is not known any more.
    pub error: Option<CdnError>,
    /// Whether an operator has ended the pause since. What failed counts on.
    pub ended: bool,
}

impl Backoff {
    /// The most bytes of the error's text that are kept.
    const MOST_TEXT: usize = 1_000;

    /// The part of an error's text that is kept.
    pub fn kept_text(error: &CdnError) -> &str {
        let text = error.text();
        &text[..text.floor_char_boundary(Self::MOST_TEXT)]
    }
}

/// The spending of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySpending {
    /// Items that were sent for the first time on that day.
    pub items: u64,
    /// Whether an operator has lifted the limit for that day.
    pub lifted: bool,
}

/// Pauses, deploy windows and the day's spending, as read from the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controls {
    pub pauses: Pauses,
    /// Also those that ended a short while ago.
    pub holds: Vec<DeployHold>,
    pub spending: DaySpending,
    pub ledger: Ledger,
}

/// The UTC day of a time. The daily limit counts by it.
pub fn day_of(time: Timestamp) -> Date {
    Offset::UTC.to_datetime(time).date()
}

/// The start of the next UTC day.
pub fn next_day(time: Timestamp) -> Timestamp {
    let midnight = |day: Date| Offset::UTC.to_timestamp(day.to_datetime(Time::midnight()));
    let begins = day_of(time).tomorrow().and_then(midnight);
    begins.unwrap_or(Timestamp::MAX)
}

/// The daily limit of automatic items, which protects against a runaway bill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayBudget {
    /// 0 means no limit.
    pub limit: u64,
    pub spending: DaySpending,
}

impl DayBudget {
    /// How many automatic items may still be sent today.
    pub fn left(&self) -> usize {
        if self.limit == 0 || self.spending.lifted {
            return usize::MAX;
        }
        let left = self.limit.saturating_sub(self.spending.items);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// How much of the limit is spent; 0 if nothing is held once it is spent.
    pub fn share(&self) -> f64 {
        if self.limit == 0 || self.spending.lifted {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share needs no more than 53 bits"
        )]
        let share = self.spending.items as f64 / self.limit as f64;
        share
    }

    /// Counts items that were frozen since the spending was read.
    pub fn spend(&mut self, items: usize) {
        self.spending.items += items as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_long_text_is_kept_in_part() {
        let error = CdnError::Denied("ü".repeat(1_000));
        assert_eq!(Backoff::kept_text(&error), "ü".repeat(500));
        let error = CdnError::Denied("x".to_owned() + &"ü".repeat(1_000));
        assert_eq!(Backoff::kept_text(&error).len(), 999);
        assert_eq!(Backoff::kept_text(&CdnError::Denied("no".into())), "no");
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let late = at("2026-12-31T23:59:59.999Z");
        assert_eq!(day_of(late).to_string(), "2026-12-31");
        assert_eq!(next_day(late), at("2027-01-01T00:00:00Z"));
        let midnight = at("2027-01-01T00:00:00Z");
        assert_eq!(day_of(midnight).to_string(), "2027-01-01");
        assert_eq!(next_day(midnight), at("2027-01-02T00:00:00Z"));
    }

    #[test]
    fn a_budget_ends_unless_it_is_lifted_or_has_no_limit() {
        let budget = |limit, items, lifted| DayBudget {
            limit,
            spending: DaySpending { items, lifted },
        };
        assert_eq!(budget(10, 4, false).left(), 6);
        assert_eq!(budget(10, 12, false).left(), 0);
        assert_eq!(budget(10, 12, true).left(), usize::MAX);
        assert_eq!(budget(0, 12, false).left(), usize::MAX);
        let share = |limit, items, lifted| (budget(limit, items, lifted).share() * 100.0).round();
        assert_eq!(share(10, 8, false).to_string(), "80");
        assert_eq!(share(10, 8, true).to_string(), "0");
        assert_eq!(share(0, 8, false).to_string(), "0");
        let mut spent = budget(10, 4, false);
        spent.spend(5);
        assert_eq!(spent.left(), 1);
    }
}
