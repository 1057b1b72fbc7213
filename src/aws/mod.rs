//! The ports' AWS implementations: CloudFront, SNS, SNS signing certificates, what connects a bucket,
//! dead-letter queues, and listings of buckets.

mod certificate;
mod cloudfront;
mod connection;
mod dead_letter_queue;
mod key_listing;
mod object_listing;
mod refused_call;
mod sns;
mod trust;

use std::error::Error;

pub use self::{
    certificate::SigningCertificate,
    cloudfront::CloudFront,
    connection::{AwsConnectionPoints, AwsRegions},
    dead_letter_queue::SqsDeadLetterQueue,
    key_listing::S3KeyListing,
    object_listing::S3ObjectListing,
    sns::AwsSnsTrust,
    trust::{Fetch, FetchLimits, HttpFetch, SigningCertificates},
};

/// An error and its causes on one line. The SDK's `DisplayErrorContext` gives the same line and then
/// the error's `Debug` form, with the body of an unreadable response: too much to store and show.
fn with_causes(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

fn has_cause<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<T>)
}

/// The error and its causes, from the outside in.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let source = |cause: &&'a (dyn Error + 'static)| (*cause).source();
    std::iter::successors(Some(error), source)
}
