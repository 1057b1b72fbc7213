//! Mapping keys, in the smallest account and in one at AWS's quotas; and indexing the latter.
//!
//! The large account has 500 distributions with 75 behaviours each, and two of them serve the
//! bucket. The last behaviour decides, so every pattern is tried.

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput};
use purgefront::domain::{
    catalogue::{Behaviour, CacheKey, Caching, Catalogue, Details, Distribution, Origin, Snapshot},
    change::Effect,
    mapping::{MappingPolicy, map_object},
};

use crate::page;

const DISTRIBUTIONS: usize = 500;
const BEHAVIOURS: usize = 75;
const KEYS: usize = 5_000;

pub fn bench(criterion: &mut Criterion) {
    let distributions = (0..DISTRIBUTIONS).map(|at| {
        let bucket = if at < 2 {
            "shared".to_owned()
        } else {
            format!("bucket-{at}")
        };
        distribution(at, &bucket, BEHAVIOURS)
    });
    let large = snapshot(distributions);
    let small = snapshot([distribution(0, "site", 1)]);
    let keys: Vec<_> = (0..KEYS).map(|at| format!("prod/{}", page(at))).collect();
    let policy = MappingPolicy::default();
    let mut group = criterion.benchmark_group("mapping");
    group.sample_size(20);
    group.throughput(Throughput::Elements(KEYS as u64));
    for (name, snapshot, bucket, targets) in [
        ("1 distribution of 1 behaviour", &small, "site", 1),
        ("500 distributions of 75 behaviours", &large, "shared", 2),
    ] {
        let catalogue = indexed(snapshot.clone());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for key in &keys {
                    let mapping = map_object(&catalogue, &policy, bucket, key, Effect::Appears);
                    assert_eq!(black_box(mapping).unwrap().targets.len(), targets);
                }
            });
        });
    }
    group.throughput(Throughput::Elements(DISTRIBUTIONS as u64));
    group.bench_function("indexing 500 distributions", |bencher| {
        bencher.iter_batched(|| large.clone(), indexed, BatchSize::LargeInput);
    });
    group.finish();
}

fn snapshot(distributions: impl IntoIterator<Item = Distribution>) -> Snapshot {
    Snapshot {
        distributions: distributions.into_iter().map(Arc::new).collect(),
        ..Snapshot::default()
    }
}

fn indexed(snapshot: Snapshot) -> Catalogue {
    Catalogue::new(snapshot, Arc::new([]))
}

fn distribution(at: usize, bucket: &str, behaviours: usize) -> Distribution {
    let behaviour = |pattern: String| Behaviour {
        pattern,
        target: "site".to_owned(),
        caching: Caching::Inline(CacheKey {
            caches: true,
            query_strings: false,
        }),
        rewrites: false,
        smooth_streaming: false,
    };
    let ordered = (1..behaviours).map(|one| behaviour(format!("/section-{one}/*/page-*.html")));
    Distribution {
        id: format!("E{at}"),
        enabled: true,
        aliases: Vec::new(),
        origins: vec![Origin {
            id: "site".to_owned(),
            domain: format!("{bucket}.s3.us-east-1.amazonaws.com"),
            path: "/prod".to_owned(),
        }],
        groups: Vec::new(),
        behaviours: ordered.chain([behaviour("*".to_owned())]).collect(),
        revision: "1".to_owned(),
        details: Details::Read {
            revision: "1".to_owned(),
            root: Some("index.html".to_owned()),
            cache_tags: false,
            groups: Some(Vec::new()),
        },
        ..Distribution::default()
    }
}
