//! Planning one call for the items that wait at a distribution.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use jiff::Timestamp;
use purgefront::domain::{
    consolidate::{Allowance, Caps, Headroom, Open, Waiting, plan},
    path::Item,
};

use crate::page;

/// The default of `limits.items_per_call`.
const ITEMS_PER_CALL: usize = 1_000;

pub fn bench(criterion: &mut Criterion) {
    let caps = caps();
    let mut group = criterion.benchmark_group("consolidation");
    // 100,000 is the default of `planning.window`.
    for (name, items) in [
        ("1,000 items", 1_000),
        ("10,000 items", 10_000),
        ("100,000 items", 100_000),
    ] {
        let waiting: Vec<_> = (0..items).map(waiting).collect();
        assert!(!plan(&waiting, &[], &caps).items.is_empty());
        group.sample_size(if items == 100_000 { 20 } else { 100 });
        group.throughput(Throughput::Elements(items as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(black_box(&waiting), &[], &caps));
        });
    }
    group.finish();
}

/// Of a thousand items, one is a wildcard, which covers nothing else, and one in ten repeats an
/// earlier one.
fn waiting(at: usize) -> Waiting {
    let text = match at % 1_000 {
        500 => format!("/sections/{at}/*"),
        last if last % 10 == 9 => format!("/{}", page(at - 9)),
        _ => format!("/{}", page(at)),
    };
    let number = i64::try_from(at).unwrap() + 1;
    Waiting {
        target: number,
        change: number,
        item: Item::parse(&text).unwrap(),
        manual: false,
        accepted_at: Timestamp::UNIX_EPOCH,
    }
}

/// The default limits, with nothing in progress, less the reserve of manual requests.
fn caps() -> Caps {
    Caps {
        items: ITEMS_PER_CALL,
        allowance: Allowance {
            manual: Headroom {
                paths: 3_000,
                wildcards: 15,
            },
            automatic: Headroom {
                paths: 2_900,
                wildcards: 13,
            },
        },
        automatic_items: 200_000,
        open: Open {
            paths: true,
            wildcards: true,
        },
        made: 0,
        patient: false,
    }
}
