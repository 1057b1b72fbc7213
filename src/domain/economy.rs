//! What merging may cost: the configuration's `[economy]`.

use std::time::Duration;

use super::{
    consolidate::EVICTIONS_PER_PATH,
    ledger::{Ledger, share},
};

/// As many evictions as a path is worth once the budget is spent: more objects than any prefix has.
pub const ANY_NUMBER: f64 = 1e9;

/// How paths are merged into wildcards. The guard of what may be merged is part of the mapping's policy, which
/// has to keep to it as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Economy {
    /// How many unchanged objects may be evicted to save one path, before the budget raises it.
    pub evictions_per_path: f64,
    /// Within this time, the limits have to let everything through that waits: otherwise more is merged.
    pub max_delay: Duration,
    /// A wildcard that evicts unchanged objects is not made again within this time of the last.
    pub min_interval: Duration,
    /// Whether buckets are listed, to know which objects there are.
    pub list_objects: bool,
    /// Whether paths may be merged although it is not known which objects there are, if they cannot pass the
    /// limits within `max_delay` otherwise.
    pub widen_unlisted: bool,
    /// The paths that a month may cost (a soft budget); 0 means none.
    pub monthly_paths: u64,
}

impl Default for Economy {
    fn default() -> Self {
        Self {
            evictions_per_path: EVICTIONS_PER_PATH,
            max_delay: Duration::from_mins(1),
            min_interval: Duration::from_mins(1),
            list_objects: true,
            widen_unlisted: false,
            monthly_paths: 0,
        }
    }
}

impl Economy {
    /// How many unchanged objects may be evicted to save one path, in a month that has had these paths.
    ///
    /// While the budget runs out, it rises to [`ANY_NUMBER`]: what is left of the budget has to last for
    /// more, so that each of its paths is worth as much more as there is less of it. Without a budget, and
    /// before anything is spent, it is the configured one.
    ///
    /// A multiple of 0 is 0, which would leave the budget without any power. So from its middle on, it has
    /// a price of its own, which begins at 0 and is never more than a configured 1 would have come to.
    pub fn evictions_per_path_at(&self, ledger: &Ledger) -> f64 {
        let base = self.evictions_per_path;
        let used = share(ledger.paths(), self.monthly_paths);
        if used >= 1.0 {
            return base.max(ANY_NUMBER);
        }
        let left = 1.0 - used;
        let risen = (base / left).max((2.0 * used - 1.0) / left);
        // No less than what is configured, however large that is.
        risen.min(ANY_NUMBER).max(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: [f64; 8] = [0.0, 1e-3, 0.5, 1.0, 20.0, 12_500.0, 1e9, 1e300];
    const BUDGETS: [u64; 7] = [1, 2, 3, 1_000, 99_991, 1_000_000, u64::MAX];

    fn price(base: f64, budget: u64, paths: u64) -> f64 {
        let economy = Economy {
            evictions_per_path: base,
            monthly_paths: budget,
            ..Economy::default()
        };
        let ledger = Ledger {
            own: paths / 3,
            others: paths - paths / 3,
            ..Ledger::default()
        };
        economy.evictions_per_path_at(&ledger)
    }

    fn is(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted.abs() * 1e-9
    }

    #[test]
    fn a_path_is_worth_as_much_more_as_less_of_the_budget_is_left() {
        for (paths, wanted) in [
            (0, 20.0),
            (2_000, 25.0),
            (5_000, 40.0),
            (8_000, 100.0),
            (9_000, 200.0),
            (9_900, 2_000.0),
            (9_999, 200_000.0),
            (10_000, ANY_NUMBER),
            (12_000, ANY_NUMBER),
        ] {
            let found = price(20.0, 10_000, paths);
            assert!(is(found, wanted), "{paths}: {found}");
        }
    }

    #[test]
    fn a_budget_has_power_over_those_who_evict_nothing() {
        for (paths, wanted) in [
            (0, 0.0),
            (5_000, 0.0),
            (6_000, 0.5),
            (7_500, 2.0),
            (9_000, 8.0),
            (9_900, 98.0),
            (10_000, ANY_NUMBER),
        ] {
            let found = price(0.0, 10_000, paths);
            assert!((found - wanted).abs() < 1e-9, "{paths}: {found}");
        }
    }

    #[test]
    fn without_a_budget_nothing_changes() {
        for base in BASES {
            assert!(is(price(base, 0, 0), base) && is(price(base, 0, u64::MAX), base));
        }
    }

    /// Over all bases and budgets, and over their shares from nothing to far beyond.
    #[test]
    fn the_price_is_finite_and_never_falls() {
        let mut random = fastrand::Rng::with_seed(18);
        for base in BASES {
            for budget in BUDGETS {
                let mut spent: Vec<_> = (0..500)
                    .map(|_| random.u64(0..=budget.saturating_mul(2)))
                    .collect();
                spent.extend([0, budget - 1, budget, u64::MAX]);
                spent.sort_unstable();
                let prices: Vec<_> = spent.iter().map(|at| price(base, budget, *at)).collect();
                assert!(is(prices[0], base), "{base} of {budget}: {}", prices[0]);
                for (pair, at) in prices.windows(2).zip(&spent) {
                    let (before, after) = (pair[0], pair[1]);
                    assert!(after.is_finite(), "{base} of {budget} at {at}");
                    assert!(before <= after, "{base} of {budget} at {at}: {pair:?}");
                }
                // The larger the base, the larger the price.
                for at in &spent {
                    let of_bases = BASES.map(|base| price(base, budget, *at));
                    assert!(of_bases.is_sorted(), "{budget} at {at}: {of_bases:?}");
                }
                assert!(is(price(base, budget, budget), base.max(ANY_NUMBER)));
            }
        }
    }

    /// Up to where little is left, one path more does not change the price by much.
    #[test]
    fn the_price_has_no_steps() {
        let budget = 1_000_000;
        for base in [0.0, 1e-3, 0.5, 1.0, 20.0] {
            for paths in (0..900_000).step_by(97) {
                let step = price(base, budget, paths + 1) - price(base, budget, paths);
                assert!(step <= (base + 1.0) * 2e-4, "{base} at {paths}: {step}");
            }
        }
    }
}
