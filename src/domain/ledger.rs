//! The ledger: how many paths the account pays for this month, what they cost, and where that leads.

use jiff::{Timestamp, civil::Time, tz::Offset};

use super::{economy::Economy, operations::day_of};

/// CloudFront's price per path after the first 1,000 of a month, in thousandths of a US dollar.
/// Source: CloudFront Developer Guide, "Pay for file invalidation".
const MILLS_PER_PATH: f64 = 5.0;

/// How many paths an account may invalidate in a month without charge. The same source.
pub const FREE_PATHS: u64 = 1_000;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// The price of so many paths, if the month's first 1,000 are spent.
pub fn price(paths: usize) -> String {
    dollars(price_usd(paths))
}

/// The same as a number of US dollars.
pub fn price_usd(paths: usize) -> f64 {
    number(paths as u64) * MILLS_PER_PATH / 1_000.0
}

/// An amount as it is shown.
pub fn dollars(amount: f64) -> String {
    format!("${amount:.3}")
}

/// What all paths of a month cost together: the first 1,000 nothing.
pub fn month_price_usd(paths: u64) -> f64 {
    number(paths.saturating_sub(FREE_PATHS)) * MILLS_PER_PATH / 1_000.0
}

/// The paths that CloudFront bills this month (UTC), as far as purgefront knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Paths that purgefront has sent this month.
    pub own: u64,
    /// Paths of invalidations that others created this month, as far as dispatch has learnt of them: there
    /// may be more.
    pub others: u64,
    /// The paths of both in the last days, this one included,
    pub recent: u64,
    /// and how many days those are: up to seven, or fewer if nothing was recorded before. 0 if there is
    /// nothing at all.
    pub days: u32,
}

impl Ledger {
    /// All paths of this month. At least: others may have sent more.
    pub fn paths(&self) -> u64 {
        self.own.saturating_add(self.others)
    }

    /// What they cost, at least.
    pub fn price_usd(&self) -> f64 {
        month_price_usd(self.paths())
    }

    /// How many paths the month will have at its end, if the rest of it is like the last days.
    pub fn forecast(&self, now: Timestamp) -> u64 {
        if self.days == 0 {
            return self.paths();
        }
        let a_day = number(self.recent) / f64::from(self.days);
        self.paths().saturating_add(whole(a_day * days_left(now)))
    }

    /// Counts paths that were sent since the ledger was read.
    pub fn spend(&mut self, paths: usize) {
        self.own = self.own.saturating_add(paths as u64);
        self.recent = self.recent.saturating_add(paths as u64);
        self.days = self.days.max(1);
    }
}

/// How the month stands: the ledger, and what follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MonthStatus {
    pub ledger: Ledger,
    /// How many paths the month will have at its end.
    pub forecast: u64,
    /// `economy.monthly_paths`; 0 means none.
    pub budget: u64,
    /// How many evictions a path is worth before the budget raises it, and now.
    pub base_evictions_per_path: f64,
    pub evictions_per_path: f64,
}

impl MonthStatus {
    /// `ledger` is that of the month which `now` is in.
    pub fn of(ledger: Ledger, economy: &Economy, now: Timestamp) -> Self {
        Self {
            ledger,
            forecast: ledger.forecast(now),
            budget: economy.monthly_paths,
            base_evictions_per_path: economy.evictions_per_path,
            evictions_per_path: economy.evictions_per_path_at(&ledger),
        }
    }

    /// How much of the budget is spent; 0 if there is none.
    pub fn spent_share(&self) -> f64 {
        share(self.ledger.paths(), self.budget)
    }

    /// How much of the budget the month will have spent at its end; 0 if there is none.
    pub fn forecast_share(&self) -> f64 {
        share(self.forecast, self.budget)
    }

    /// How far the budget is spent: 0 hardly, or there is none; 1 from four fifths, 2 completely.
    pub fn stage(&self) -> u8 {
        let (paths, budget) = (u128::from(self.ledger.paths()), u128::from(self.budget));
        match paths {
            _ if budget == 0 => 0,
            paths if paths >= budget => 2,
            paths if paths * 10 >= budget * 8 => 1,
            _ => 0,
        }
    }
}

/// Paths as a share of a budget; 0 if there is none.
pub(super) fn share(paths: u64, budget: u64) -> f64 {
    if budget == 0 {
        return 0.0;
    }
    number(paths) / number(budget)
}

/// An invalidation that purgefront did not create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OthersInvalidation {
    pub distribution_id: String,
    pub cloudfront_id: String,
    /// When CloudFront created it.
    pub created_at: jiff::Timestamp,
    /// The number of its items: each is billed as one path.
    pub paths: usize,
}

/// The days until the UTC month is over, with the rest of this day.
fn days_left(now: Timestamp) -> f64 {
    let next = day_of(now).last_of_month().tomorrow();
    let next = next.map(|day| day.to_datetime(Time::midnight()));
    let next = next.and_then(|midnight| Offset::UTC.to_timestamp(midnight));
    let next = next.unwrap_or(Timestamp::MAX);
    next.duration_since(now).as_secs_f64() / SECONDS_PER_DAY
}

#[expect(
    clippy::cast_precision_loss,
    reason = "prices and averages need no more than 53 bits"
)]
fn number(paths: u64) -> f64 {
    paths as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a larger number than there are stays the largest"
)]
fn whole(paths: f64) -> u64 {
    paths.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cents(amount: f64) -> String {
        format!("{amount:.4}")
    }

    #[test]
    fn the_first_thousand_paths_of_a_month_are_free() {
        let ledger = |own, others| Ledger {
            own,
            others,
            ..Ledger::default()
        };
        for (own, others, price) in [
            (0, 0, "0.0000"),
            (1_000, 0, "0.0000"),
            (600, 400, "0.0000"),
            (1_001, 0, "0.0050"),
            (600, 401, "0.0050"),
            (200_000, 1_000, "1000.0000"),
        ] {
            assert_eq!(cents(ledger(own, others).price_usd()), price);
        }
        assert_eq!(ledger(u64::MAX, 1).paths(), u64::MAX);
        assert_eq!(price(7), "$0.035");
    }

    #[test]
    fn the_forecast_goes_on_like_the_last_days_until_the_month_is_over() {
        let ledger = Ledger {
            own: 900,
            others: 100,
            recent: 700,
            days: 7,
        };
        for (now, forecast) in [
            // The month's whole length before it begins to be spent,
            ("2026-06-01T00:00:00Z", 1_000 + 100 * 30),
            ("2026-07-01T00:00:00Z", 1_000 + 100 * 31),
            ("2026-02-01T00:00:00Z", 1_000 + 100 * 28),
            ("2028-02-01T00:00:00Z", 1_000 + 100 * 29),
            // the rest of a day in part,
            ("2026-06-30T00:00:00Z", 1_000 + 100),
            ("2026-06-30T12:00:00Z", 1_000 + 50),
            ("2026-06-29T18:00:00Z", 1_000 + 125),
            // and nothing at the very end, not even that of a year.
            ("2026-06-30T23:59:59.999Z", 1_000),
            ("2026-12-31T23:59:59.999Z", 1_000),
        ] {
            assert_eq!(ledger.forecast(at(now)), forecast, "{now}");
        }
    }

    #[test]
    fn a_young_ledger_has_the_days_that_it_has() {
        let noon = at("2026-06-30T12:00:00Z");
        assert_eq!(Ledger::default().forecast(noon), 0);
        let mut ledger = Ledger::default();
        ledger.spend(10);
        assert_eq!((ledger.own, ledger.recent, ledger.days), (10, 10, 1));
        assert_eq!(ledger.forecast(noon), 15);
        // A new month: what it is like is known from the last one.
        let ledger = Ledger {
            recent: 300,
            days: 3,
            ..Ledger::default()
        };
        assert_eq!(ledger.forecast(at("2026-07-01T00:00:00Z")), 3_100);
    }

    #[test]
    fn the_forecast_of_the_largest_numbers_is_one() {
        let ledger = Ledger {
            own: u64::MAX,
            others: u64::MAX,
            recent: u64::MAX,
            days: 1,
        };
        assert_eq!(ledger.forecast(Timestamp::MIN), u64::MAX);
        assert_eq!(ledger.forecast(Timestamp::MAX), u64::MAX);
    }

    #[test]
    fn a_budget_is_near_from_four_fifths() {
        let month = |own, budget| MonthStatus {
            ledger: Ledger {
                own,
                ..Ledger::default()
            },
            forecast: own * 2,
            budget,
            ..MonthStatus::default()
        };
        let stages = [(79, 100), (80, 100), (99, 100), (100, 100), (101, 100)];
        let stages = stages.map(|(own, budget)| month(own, budget).stage());
        assert_eq!(stages, [0, 1, 1, 2, 2]);
        assert_eq!(month(u64::MAX / 2, u64::MAX).stage(), 0);
        let shares = |month: MonthStatus| {
            let (spent, forecast) = (month.spent_share(), month.forecast_share());
            (cents(spent), cents(forecast))
        };
        assert_eq!(shares(month(80, 100)), ("0.8000".into(), "1.6000".into()));
        assert_eq!(shares(month(80, 0)), ("0.0000".into(), "0.0000".into()));
        assert_eq!(month(80, 0).stage(), 0);
    }
}
