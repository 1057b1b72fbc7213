//! Which certificates are accepted, and which are refused.

use super::testing::{Issued, TOPIC, sign};
use super::*;
use rcgen::KeyPair;

/// Named like SNS's certificates, but with a 1,024-bit key, which rcgen cannot generate.
const SMALL: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIICFDCCAX2gAwIBAgIUbvuWe98usUewolTBjqPTlobUe3kwDQYJKoZIhvcNAQEL\n\
BQAwHDEaMBgGA1UEAwwRc25zLmFtYXpvbmF3cy5jb20wHhcNMjYxMTIzMTQ1MjIz\n\
WhcNMzYxMTIwMTQ1MjIzWjAcMRowGAYDVQQDDBFzbnMuYW1hem9uYXdzLmNvbTCB\n\
nzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAtUprYDtQLW3LmP+axn4f70iZEzy9\n\
0vjae866RGNfsjFtkKtFMOihee8x9z5jeHGJEnlC2hL6Cy3NWClIdu7w+JaVK5eZ\n\
V2fX7ORd+ixze3vfiWHoznY+IDPqSsHJVvFzGSfAQlCQ28Kn8Znq05lhPb8R9qK5\n\
sssGgWap4qldwAkCAwEAAaNTMFEwHQYDVR0OBBYEFJGiytkvBU8KpHYr7MRr8aX+\n\
VTB0MB8GA1UdIwQYMBaAFJGiytkvBU8KpHYr7MRr8aX+VTB0MA8GA1UdEwEB/wQF\n\
MAMBAf8wDQYJKoZIhvcNAQELBQADgYEAAwaNfJIAbYw0I48VdlhTz6u+4NwIDFoP\n\
u0RskC+qLpLYkxNVogX6cnyOq1jdQE0m/R8Ikbu5+xqkZHYXqbZ1FdwSPa36DfV7\n\
mIcTVJgZUTgyD+BbG4d4ftetfGHPC04m5TaMkuVWbrTXm5D7sJx4iqxZKeGJzFlJ\n\
CepcTovP4q0=\n\
-----END CERTIFICATE-----\n";

fn read(pem: &str) -> SigningCertificate {
    SigningCertificate::from_pem(pem.as_bytes()).unwrap()
}

fn fault(pem: impl AsRef<[u8]>) -> String {
    match SigningCertificate::from_pem(pem.as_ref()) {
        Err(Refusal::Certificate(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn named(dns_names: &[&str], common_name: &str, topic: &str) -> bool {
    let issued = Issued {
        dns_names,
        common_name,
        ..Issued::default()
    };
    let topic = topic.parse().unwrap();
    read(&issued.pem()).check_name(&topic).is_ok()
}

#[test]
fn one_pem_block_is_read_with_blank_space_around_it() {
    let pem = Issued::default().pem();
    let certificate = read(&format!("\n\r\n {pem}\n\n"));
    assert_eq!(certificate.names, ["sns.amazonaws.com"]);
    read(&pem.replace('\n', "\r\n"));
    read(pem.trim_end());
}

#[test]
fn anything_around_the_block_is_refused() {
    let pem = Issued::default().pem();
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for text in [
        String::new(),
        "<html></html>".into(),
        format!("{pem}{pem}"),
        format!("{pem}x"),
        format!("x{pem}"),
        format!("<ErrorResponse>{pem}</ErrorResponse>"),
        format!("{key}{pem}"),
        format!("{pem}{key}"),
        key.into(),
        pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
    ] {
        let why = fault(&text);
        assert_eq!(why, "must be one PEM block and nothing else", "{text}");
    }
    let folded = "-----BEGIN CERTIFICATE-----END CERTIFICATE-----";
    assert_eq!(fault(folded), "must be one PEM block and nothing else");
}

#[test]
fn too_large_broken_or_binary_certificates_are_refused() {
    let pem = Issued::default().pem();
    assert_eq!(
        fault(pem.clone() + &" ".repeat(MAX_PEM_BYTES)),
        "is larger than 16 KiB"
    );
    assert_eq!(fault(b"\xff\xfe"), "is not PEM");
    let unreadable = "is not a readable X.509 certificate";
    assert_eq!(fault(format!("{BEGIN}\n{END}\n")), unreadable);
    assert_eq!(fault(format!("{BEGIN}\nAAAA\n{END}\n")), unreadable);
    let middle = pem.len() / 2;
    assert_eq!(
        fault(format!("{}*{}", &pem[..middle], &pem[middle + 1..])),
        unreadable
    );
}

#[test]
fn only_rsa_keys_of_a_good_size_are_taken() {
    let elliptic = KeyPair::generate().unwrap();
    assert_eq!(
        fault(Issued::default().pem_by(&elliptic)),
        "does not have an RSA key"
    );
    assert_eq!(fault(SMALL), "must have an RSA key of 2048 to 8192 bits");
}

#[test]
fn its_name_must_be_one_that_sns_has_for_the_topic() {
    let sns = "sns.amazonaws.com";
    assert!(named(&[sns], sns, TOPIC));
    assert!(named(&["other.example", "SNS.amazonaws.com"], "x", TOPIC));
    for foreign in [
        "evil.example",
        "*.amazonaws.com",
        "s3.amazonaws.com",
        "sns.amazonaws.com.evil.example",
        "sns.us-east-1.amazonaws.com",
        "sns-signing.ap-east-1.amazonaws.com",
    ] {
        assert!(!named(&[foreign], foreign, TOPIC), "{foreign}");
    }
    let signing = "sns-signing.ap-east-1.amazonaws.com";
    assert!(named(
        &[signing],
        signing,
        &TOPIC.replace("us-east-1", "ap-east-1")
    ));
    let china = "arn:aws-cn:sns:cn-north-1:123456789012:t";
    assert!(named(&["sns-cn-north-1.amazonaws.com.cn"], "x", china));
    assert!(!named(&[sns], sns, china));
    let government = "arn:aws-us-gov:sns:us-gov-east-1:123456789012:t";
    assert!(named(&["sns-us-gov-west-1.amazonaws.com"], "x", government));
}

#[test]
fn the_common_name_counts_only_without_a_subject_alt_name() {
    assert!(named(&[], "sns.amazonaws.com", TOPIC));
    assert!(!named(&[], "evil.example", TOPIC));
    assert!(!named(&["evil.example"], "sns.amazonaws.com", TOPIC));
    // A subjectAltName that has no DNS name.
    assert!(!named(&["10.0.0.1"], "sns.amazonaws.com", TOPIC));
}

#[test]
fn its_dates_must_span_the_messages_own_time() {
    let certificate = read(&Issued::default().pem());
    let ok = |time: &str| certificate.check_dates(time.parse().unwrap()).is_ok();
    assert!(!ok("2025-12-31T23:59:59.999Z"));
    assert!(ok("2026-01-01T00:00:00.000Z"));
    assert!(ok("2027-01-01T00:00:00.999Z"));
    assert!(!ok("2027-01-01T00:00:01.000Z"));
}

#[test]
fn a_signature_is_its_own_over_these_bytes_in_this_version() {
    let certificate = read(&Issued::default().pem());
    let signature = sign("text");
    let check = |version, text: &str, signature: &[u8]| {
        certificate.check_signature(version, text.as_bytes(), signature)
    };
    assert_eq!(check(SignatureVersion::V2, "text", &signature), Ok(()));
    let refused = Err(Refusal::Signature);
    assert_eq!(check(SignatureVersion::V1, "text", &signature), refused);
    assert_eq!(check(SignatureVersion::V2, "Text", &signature), refused);
    assert_eq!(
        check(SignatureVersion::V2, "text", &signature[1..]),
        refused
    );
    assert_eq!(check(SignatureVersion::V2, "text", b""), refused);
}
