//! A `CreateInvalidation` call that CloudFront refuses, which shows whether it is permitted.

use async_trait::async_trait;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};

use super::{CloudFront, cloudfront::classify};
use crate::{
    domain::{cdn::CdnError, doctor::permission::Probe},
    ports::doctor::InvalidationProbe,
};

/// One path, which has a raw `~`: CloudFront does not invalidate such paths.
const ITEM: &str = "/purgefront-doctor~";
/// More than there are. CloudFront refuses that with `InconsistentQuantities`.
const QUANTITY: i32 = 2;

#[async_trait]
impl InvalidationProbe for CloudFront {
    /// Creates and bills nothing, for two reasons of which each is enough: the quantity does not
    /// match the paths (CloudFront API Reference, `CreateInvalidation`: `InconsistentQuantities`), and
    /// the path is illegal (CloudFront Developer Guide, "Specify the objects to invalidate": `~`). If
    /// an emulator that checks neither takes it, it drops no object, since none has that path.
    ///
    /// AWS does not document that permissions are checked before the batch is, but denied calls have
    /// been seen to be answered with `AccessDenied` even for distributions that do not exist.
    async fn try_create_invalidation(&self, distribution_id: &str) -> Probe {
        let paths = Paths::builder().quantity(QUANTITY).items(ITEM).build();
        let batch = paths.and_then(|paths| {
            InvalidationBatch::builder()
                .paths(paths)
                .caller_reference("purgefront-doctor")
                .build()
        });
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Probe::Unclear(error.to_string()),
        };
        let answer = self
            .client
            .create_invalidation()
            .distribution_id(distribution_id)
            .invalidation_batch(batch)
            .send()
            .await
            .map_err(classify);
        match answer {
            Err(CdnError::Invalid(_)) => Probe::Permitted,
            Err(CdnError::Refused(text)) if text.starts_with("InconsistentQuantities") => {
                Probe::Permitted
            }
            Err(CdnError::Denied(text)) => Probe::Denied(text),
            Err(error) => Probe::Unclear(error.to_string()),
            Ok(_) => Probe::Unclear(
                "a call that CloudFront always refuses was accepted: this is an emulator"
                    .to_owned(),
            ),
        }
    }
}
