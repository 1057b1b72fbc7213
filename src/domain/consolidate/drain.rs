//! How much the limits let through in the time that a backlog may take.

use std::time::Duration;

use super::terms::Ceilings;
use crate::domain::batch::Usage;

/// In what time most invalidations complete, according to AWS.
const PROPAGATION: Duration = Duration::from_secs(25);

/// What the limits let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// `CreateInvalidation` calls.
    pub calls_per_second: f64,
    pub items_per_call: usize,
    /// Exact paths and tags.
    pub paths_per_second: f64,
    pub wildcards_per_second: f64,
    /// What automatic work may have in progress at a distribution.
    pub pool: Usage,
}

/// What may be sent within the longest delay that a backlog is to have. A distribution with more than that has
/// its paths merged further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Exact paths and tags.
    pub paths: usize,
    pub wildcards: usize,
}

impl Drain {
    /// What the limits let through in this time.
    pub fn within(delay: Duration, pace: &Pace) -> Self {
        let whole = |per_second: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "rates are positive, and more than a usize is no limit"
            )]
            let whole = (per_second * delay.as_secs_f64()) as usize;
            whole
        };
        // A pool is filled again when what is in progress has completed.
        let fills = |pool: usize| pool.saturating_mul(1 + whole(1.0 / PROPAGATION.as_secs_f64()));
        // One call may always be made.
        let calls = whole(pace.calls_per_second).max(1);
        let by_calls = calls.saturating_mul(pace.items_per_call);
        let paths = whole(pace.paths_per_second).min(by_calls);
        Self {
            paths: paths.min(fills(pace.pool.paths)),
            wildcards: whole(pace.wildcards_per_second).min(fills(pace.pool.wildcards)),
        }
    }

    /// The ceilings of a plan.
    pub fn ceilings(&self) -> Ceilings {
        Ceilings {
            items: self.paths.saturating_add(self.wildcards),
            wildcards: self.wildcards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_says_what_gets_through() {
        let pace = Pace {
            calls_per_second: 0.5,
            items_per_call: 1_000,
            paths_per_second: 150.0,
            wildcards_per_second: 1.0,
            pool: Usage {
                paths: 2_900,
                wildcards: 13,
            },
        };
        let within = |seconds, pace: &Pace| {
            let drain = Drain::within(Duration::from_secs(seconds), pace);
            (drain.paths, drain.wildcards)
        };
        assert_eq!(within(60, &pace), (3 * 2_900, 3 * 13));
        assert_eq!(within(10, &pace), (1_500, 10));
        let few = Pace {
            items_per_call: 100,
            ..pace
        };
        assert_eq!(within(10, &few), (500, 10));
        assert_eq!(within(1, &few), (100, 1));
        let free = Pace {
            calls_per_second: f64::MAX,
            paths_per_second: f64::MAX,
            wildcards_per_second: f64::MAX,
            pool: Usage {
                paths: usize::MAX,
                wildcards: usize::MAX,
            },
            ..pace
        };
        assert_eq!(within(60, &free), (usize::MAX, usize::MAX));
    }
}
