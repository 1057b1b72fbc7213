//! Planning one call for the items that wait at a distribution, and merging paths into wildcards.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use jiff::Timestamp;
use purgefront::domain::{
    consolidate::{
        Allowance, Caps, Ceilings, EVICTIONS_PER_PATH, Guard, Headroom, Known, Merging, Open,
        Prices, Waiting, Wanted, plan,
    },
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
    merge(criterion);
}

/// A tenth of all keys has changed.
fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merging");
    for (name, keys) in [
        ("1,000 changed of 10,000 keys", 10_000),
        ("10,000 changed of 100,000 keys", 100_000),
        ("100,000 changed of 1,000,000 keys", 1_000_000),
    ] {
        let mut keys: Vec<_> = (0..keys).map(|at| key(at, keys)).collect();
        let changed = keys.iter().enumerate().filter(|(at, _)| has_changed(*at));
        let changed: Vec<_> = changed.map(|(_, key)| Item::parse(key).unwrap()).collect();
        fastrand::Rng::with_seed(18).shuffle(&mut keys);
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let pool = Ceilings {
            wildcards: 15,
            ..Ceilings::NONE
        };
        group.sample_size(10);
        group.throughput(Throughput::Elements(keys.len() as u64));
        for (ceilings, how) in [(Ceilings::NONE, ""), (pool, ", with 15 wildcards")] {
            group.bench_function(format!("{name}{how}"), |bencher| {
                bencher.iter(|| {
                    let wanted = Wanted::new(black_box(&changed), []);
                    let known = Known::all(black_box(&keys).clone());
                    let merging = Merging::new(wanted, known, &Guard::NONE);
                    merging.cheapest(&Prices::per_path(EVICTIONS_PER_PATH), ceilings)
                });
            });
        }
    }
    group.finish();
}

/// A path of a site with so many, in folders of 1,000.
fn key(at: usize, of: usize) -> String {
    let folder = at / 1_000;
    let year = 2_000 + folder * 27 / of.div_ceil(1_000);
    format!(
        "/assets/{year}/section-{folder}/page-{:03}.html",
        at % 1_000
    )
}

/// Whole series of pages in some folders, and a few pages in the others.
fn has_changed(at: usize) -> bool {
    let (folder, page) = (at / 1_000, at % 1_000);
    if folder.is_multiple_of(3) {
        page / 100 % 4 == 1 || page == 7
    } else {
        page % 97 == folder % 97
    }
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
    }
}
