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

/// An error and its causes on one line. The SDK's `DisplayErrorContext` gives the same line and then
/// the error's `Debug` form, with the body of an unreadable response: too much to store and show.
fn with_causes(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
