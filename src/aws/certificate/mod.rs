//! An SNS signing certificate: parsing, requirements, and checks of a message against it.
//!
//! The chain is not verified, because SNS serves only the leaf certificate. Trust comes from its
//! source: it is fetched over TLS from the SNS host of the topic's region.

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
};
use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::{DecodePem as _, Encode as _, oid::ObjectIdentifier};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use crate::domain::{
    sns_message::{Refusal, SignatureVersion},
    topic::TopicArn,
};

/// The largest accepted PEM file. SNS's certificates have about 2,000 bytes.
pub(super) const MAX_PEM_BYTES: usize = 16 * 1024;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// `rsaEncryption` (RFC 8017, appendix C).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A certificate with an RSA key. Names and dates are checked per message and not when the
/// certificate is read, because one certificate serves many topics and many days.
pub struct SigningCertificate {
    names: Vec<String>,
    /// Unix seconds, both ends inclusive.
    valid: (i64, i64),
    with_sha1: ParsedPublicKey,
    with_sha256: ParsedPublicKey,
}

impl SigningCertificate {
    /// Parses exactly one PEM block and nothing else.
    ///
    /// Official validators used to search the response for a PEM block, until it was shown that the
    /// real SNS host can be made to return a response that contains an attacker's certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Refusal> {
        if pem.len() > MAX_PEM_BYTES {
            return refuse("is larger than 16 KiB");
        }
        let Ok(text) = std::str::from_utf8(pem).map(str::trim_ascii) else {
            return refuse("is not PEM");
        };
        let block = text
            .strip_prefix(BEGIN)
            .and_then(|text| text.strip_suffix(END))
            .is_some_and(|inner| !inner.contains("-----"));
        if !block {
            return refuse("must be one PEM block and nothing else");
        }
        let Ok(certificate) = Certificate::from_pem(text) else {
            return refuse("is not a readable X.509 certificate");
        };
        let key = certificate.tbs_certificate().subject_public_key_info();
        if key.algorithm.oid != RSA {
            return refuse("does not have an RSA key");
        }
        let Ok(key) = key.to_der() else {
            return refuse("has an unreadable key");
        };
        // This also enforces the key sizes.
        if PublicEncryptingKey::from_der(&key).is_err() {
            return refuse("must have an RSA key of 2048 to 8192 bits");
        }
        let (Ok(with_sha1), Ok(with_sha256)) = (
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, &key),
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key),
        ) else {
            return refuse("has an unreadable key");
        };
        let validity = certificate.tbs_certificate().validity();
        Ok(Self {
            names: names(&certificate)?,
            valid: (seconds(validity.not_before), seconds(validity.not_after)),
            with_sha1,
            with_sha256,
        })
    }

    /// Checks that the certificate has one of the names that SNS uses for `topic`.
    pub fn check_name(&self, topic: &TopicArn) -> Result<(), Refusal> {
        let wanted = topic.certificate_names();
        let bears = |name: &String| {
            wanted
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        if self.names.iter().any(bears) {
            Ok(())
        } else {
            refuse(&format!("must be named {}", wanted.join(" or ")))
        }
    }

    /// Checks that the certificate was valid when the message was published. It need not be valid
    /// now: SNS retries messages, and replaces its certificate every year.
    pub fn check_dates(&self, published: Timestamp) -> Result<(), Refusal> {
        let (from, until) = self.valid;
        if (from..=until).contains(&published.as_second()) {
            Ok(())
        } else {
            refuse("was not valid at the message's time")
        }
    }

    /// Checks that `signature` was made with this certificate's key over `signed`.
    pub fn check_signature(
        &self,
        version: SignatureVersion,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Refusal> {
        let key = match version {
            SignatureVersion::V1 => &self.with_sha1,
            SignatureVersion::V2 => &self.with_sha256,
        };
        key.verify_sig(signed, signature)
            .map_err(|_| Refusal::Signature)
    }
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningCertificate")
            .field("names", &self.names)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

/// The DNS names of the subjectAltName; the subject's common name only if there is no
/// subjectAltName (RFC 6125, section 6.4.4).
fn names(certificate: &Certificate) -> Result<Vec<String>, Refusal> {
    let certificate = certificate.tbs_certificate();
    match certificate.get_extension::<SubjectAltName>() {
        Ok(Some((_critical, SubjectAltName(names)))) => Ok(names
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
                _ => None,
            })
            .collect()),
        Ok(None) => match certificate.subject().common_name() {
            Ok(name) => Ok(name.iter().map(|name| name.value().into_owned()).collect()),
            Err(_) => refuse("has an unreadable name"),
        },
        Err(_) => refuse("has an unreadable name"),
    }
}

fn seconds(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

fn refuse<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::Certificate(why.to_owned()))
}
