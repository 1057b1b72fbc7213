//! Parses the input as a signing certificate, in PEM and as the DER inside: only a single block is
//! accepted, and no signature verifies.
#![no_main]

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use purgefront::{aws::SigningCertificate, domain::sns_message::SignatureVersion};

fn check(pem: &[u8]) {
    let certificate = match SigningCertificate::from_pem(pem) {
        Ok(certificate) => certificate,
        Err(refusal) => return assert_eq!(refusal.slug(), "certificate"),
    };
    let topic = "arn:aws:sns:us-east-1:123456789012:site-changes";
    let _ = certificate.check_name(&topic.parse().expect("a topic's ARN"));
    let _ = certificate.check_dates(Timestamp::UNIX_EPOCH);
    for version in [SignatureVersion::V1, SignatureVersion::V2] {
        assert!(certificate.check_signature(version, b"text", pem).is_err());
    }
    for (before, behind) in [(pem, pem), (b"x", b""), (b"", b"x"), (b"-----", b"")] {
        let more = [before, pem, behind].concat();
        assert!(
            SigningCertificate::from_pem(&more).is_err(),
            "more than one block was accepted"
        );
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in BASE64_STANDARD.encode(data).as_bytes().chunks(64) {
        pem.extend([line, b"\n"].concat());
    }
    pem.extend(b"-----END CERTIFICATE-----\n");
    check(&pem);
});
