//! Verifying a message's signature with a key that has been parsed before.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use purgefront::aws::SigningCertificate;

use crate::{parse, signed_body, support::signer::Signer, topics};

pub fn bench(criterion: &mut Criterion) {
    let signer = Signer::new();
    let certificate = SigningCertificate::from_pem(signer.certificate_pem.as_bytes()).unwrap();
    let mut group = criterion.benchmark_group("signature");
    group.throughput(Throughput::Elements(1));
    for (name, version) in [("version 2, SHA-256", "2"), ("version 1, SHA-1", "1")] {
        let message = parse(&signed_body(&signer, version), &topics());
        let text = message.string_to_sign();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let checked = certificate.check_signature(
                    message.signature_version(),
                    black_box(text.as_bytes()),
                    message.signature(),
                );
                assert!(checked.is_ok());
            });
        });
    }
    group.finish();
}
