//! AWS behind the ports.

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

/// An error and its causes on one line. The SDK's own `DisplayErrorContext` says the same and then
/// dumps the error, with the answer's body where it holds one: too much for what is kept and shown.
fn with_causes(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
