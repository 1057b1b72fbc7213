//! `[limits]`: what `CloudFront` lets through, and what the bill may be.

use super::{Reader, at_least_one};

/// `CloudFront`'s own limit.
const MOST_ITEMS: usize = 3_000;

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// `CreateInvalidation` calls a second,
    pub calls_per_second: f64,
    /// and how many at once after a pause.
    pub call_burst: u32,
    /// Get and List calls a second,
    pub reads_per_second: f64,
    /// and how many at once after a pause.
    pub read_burst: u32,
    /// Items in one call, at most.
    pub items_per_call: usize,
    /// Exact paths a second, over all calls.
    pub paths_per_second: f64,
    /// Wildcards a second, over all calls.
    pub wildcards_per_second: f64,
    /// Exact paths in progress at a distribution,
    pub paths_in_progress: usize,
    /// wildcards in progress there,
    pub wildcards_in_progress: usize,
    /// and how much of both is for people alone.
    pub reserve_paths: usize,
    /// See `reserve_paths`.
    pub reserve_wildcards: usize,
    /// Items a day without anybody asking for them; 0: no limit.
    pub paths_per_day: u64,
}

impl Limits {
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
                    format!("leaves nothing of limits.{kind}_in_progress ({pool}): give less"),
                );
            }
        }
        if limits.items_per_call > MOST_ITEMS {
            reader.refuse(
                "limits.items_per_call",
                format!("CloudFront takes at most {MOST_ITEMS} items in a call: give no more"),
            );
        }
        limits
    }
}

fn rate(reader: &mut Reader, key: &str, default: f64) -> f64 {
    let rate: f64 = reader.take(key, "a number above 0", default);
    if !(rate.is_finite() && rate > 0.0) {
        reader.refuse(key, "not above 0: it would stop everything");
    }
    rate
}
