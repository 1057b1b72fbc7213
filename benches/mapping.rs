//! Measures the time to map a key in an account at AWS's quotas.
//!
//! There are 500 distributions with 75 behaviours each, and two of them serve the bucket. The last
//! behaviour decides, so every pattern is tried.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and prints results"
)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use purgefront::domain::{
    catalogue::{Behaviour, CacheKey, Caching, Catalogue, Details, Distribution, Origin, Snapshot},
    change::Effect,
    mapping::{MappingPolicy, map_object},
};

const DISTRIBUTIONS: usize = 500;
const BEHAVIOURS: usize = 75;
const ROUNDS: usize = 20;
const KEYS: usize = 5_000;

fn main() {
    let snapshot = Snapshot {
        distributions: (0..DISTRIBUTIONS).map(distribution).map(Arc::new).collect(),
        ..Snapshot::default()
    };
    let mut indexing = Vec::new();
    for _ in 0..ROUNDS {
        let snapshot = snapshot.clone();
        let begin = Instant::now();
        black_box(Catalogue::new(snapshot, Arc::new([])));
        indexing.push(begin.elapsed());
    }
    let catalogue = Catalogue::new(snapshot, Arc::new([]));
    let policy = MappingPolicy::default();
    let keys: Vec<_> = (0..KEYS)
        .map(|at| format!("prod/assets/2026/11/some page {at}.html"))
        .collect();
    let mut mapping = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for key in &keys {
            let mapping = map_object(&catalogue, &policy, "shared", key, Effect::Appears).unwrap();
            assert_eq!(black_box(mapping).targets.len(), 2);
        }
        mapping.push(begin.elapsed() / u32::try_from(KEYS).unwrap());
    }
    println!(
        "{DISTRIBUTIONS} distributions of {BEHAVIOURS} behaviours: indexed in {}; \
         a key behind two of them mapped in {}",
        range(indexing),
        range(mapping)
    );
}

/// The median, the minimum and the maximum.
fn range(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let median = times[times.len() / 2];
    format!(
        "{:.1?} (min {:.1?}, max {:.1?})",
        median,
        times[0],
        times[times.len() - 1]
    )
}

fn distribution(at: usize) -> Distribution {
    let bucket = if at < 2 {
        "shared".to_owned()
    } else {
        format!("bucket-{at}")
    };
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
    let ordered = (1..BEHAVIOURS).map(|one| behaviour(format!("/section-{one}/*/page-*.html")));
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
