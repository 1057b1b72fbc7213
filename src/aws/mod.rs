//! The ports' AWS implementations: CloudFront, SNS, and SNS signing certificates.

mod certificate;
mod cloudfront;
mod sns;
mod trust;

pub use self::{
    certificate::SigningCertificate,
    cloudfront::CloudFront,
    sns::AwsSnsTrust,
    trust::{Fetch, FetchLimits, HttpFetch, SigningCertificates},
};

/// An error and its causes on one line. The SDK's errors say little without their causes.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
