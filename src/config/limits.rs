//! `[limits]`: CloudFront's quotas, and a daily cap on what automatic work may cost.

use super::{Reader, at_least_one};
use crate::domain::{batch::Usage, consolidate::Pace};

/// CloudFront's limit on the items in one `CreateInvalidation` call.
const MOST_ITEMS: usize = 3_000;

/// `[limits]`
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// `CreateInvalidation` calls.
    pub calls_per_second: f64,
    pub call_burst: u32,
    /// Get and List calls.
    pub reads_per_second: f64,
    pub read_burst: u32,
    pub items_per_call: usize,
    /// Exact paths, over all calls.
    pub paths_per_second: f64,
    /// Wildcards, over all calls.
    pub wildcards_per_second: f64,
    /// Exact paths in progress per distribution.
    pub paths_in_progress: usize,
    /// Wildcards in progress per distribution.
    pub wildcards_in_progress: usize,
    /// The part of `paths_in_progress` that only manual requests may use.
    pub reserve_paths: usize,
    /// The part of `wildcards_in_progress` that only manual requests may use.
    pub reserve_wildcards: usize,
    /// Items that automatic work may submit in a day; 0 means no limit.
    pub paths_per_day: u64,
}

impl LimitsConfig {
    /// What automatic work may do.
    pub fn pace(&self) -> Pace {
        let pool = Usage {
            paths: self.paths_in_progress,
            wildcards: self.wildcards_in_progress,
        };
        let reserve = Usage {
            paths: self.reserve_paths,
            wildcards: self.reserve_wildcards,
        };
        Pace {
            calls_per_second: self.calls_per_second,
            items_per_call: self.items_per_call,
            paths_per_second: self.paths_per_second,
            wildcards_per_second: self.wildcards_per_second,
            pool: pool.minus(reserve),
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let limits = Self {
            calls_per_second: rate(reader, "limits.calls_per_second", 0.5),
            call_burst: at_least_one(reader, "limits.call_burst", 5),
            reads_per_second: rate(reader, "limits.reads_per_second", 2.0),
            read_burst: at_least_one(reader, "limits.read_burst", 10),
            items_per_call: at_least_one(reader, "limits.items_per_call", 1_000),
            paths_per_second: rate(reader, "limits.paths_per_second", 150.0),
            wildcards_per_second: rate(reader, "limits.wildcards_per_second", 1.0),
            paths_in_progress: at_least_one(reader, "limits.paths_in_progress", 3_000),
            wildcards_in_progress: at_least_one(reader, "limits.wildcards_in_progress", 15),
            reserve_paths: reader.take("limits.reserve_paths", "a whole number", 100),
            reserve_wildcards: reader.take("limits.reserve_wildcards", "a whole number", 2),
            paths_per_day: reader.take("limits.paths_per_day", "a whole number", 200_000),
        };
        for (kind, reserve, pool) in [
            ("paths", limits.reserve_paths, limits.paths_in_progress),
            (
                "wildcards",
                limits.reserve_wildcards,
                limits.wildcards_in_progress,
            ),
        ] {
            if reserve >= pool {
                reader.refuse(
                    &format!("limits.reserve_{kind}"),
                    format!("must be less than limits.{kind}_in_progress ({pool})"),
                );
            }
        }
        if limits.items_per_call > MOST_ITEMS {
            reader.refuse(
                "limits.items_per_call",
                format!("CloudFront accepts at most {MOST_ITEMS} items per call"),
            );
        }
        limits
    }
}

fn rate(reader: &mut Reader, key: &str, default: f64) -> f64 {
    let rate: f64 = reader.take(key, "a number greater than 0", default);
    if !(rate.is_finite() && rate > 0.0) {
        reader.refuse(key, "must be greater than 0");
    }
    rate
}
