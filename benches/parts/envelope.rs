//! Parsing a body of SNS's, and putting the signed text together.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use crate::{parse, signed_body, support::signer::Signer, topics};

/// A body has 1.7 KB.
const BODY: std::ops::Range<usize> = 1_600..1_800;

pub fn bench(criterion: &mut Criterion) {
    let body = signed_body(&Signer::new(), "2");
    assert!(BODY.contains(&body.len()), "{} bytes", body.len());
    let topics = topics();
    let message = parse(&body, &topics);
    let signed = message.string_to_sign();
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parse(black_box(&body), &topics));
    });
    group.throughput(Throughput::Bytes(signed.len() as u64));
    group.bench_function("string_to_sign", |bencher| {
        bencher.iter(|| black_box(&message).string_to_sign());
    });
    group.finish();
}
