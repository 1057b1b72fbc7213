//! What `doctor` reads, beside the port of `connect` and [`Cdn`](super::Cdn). Nothing of it changes
//! anything.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::connection::{CallError, ConnectionPoints};
use crate::domain::{
    catalogue::Catalogue,
    cdn::CdnError,
    connection::Bucket,
    doctor::{credentials::Identity, permission::Probe, store::SeenStore},
    topic::TopicArn,
};

/// S3, SNS, SQS and STS in each region.
pub trait Regions: Send + Sync + 'static {
    fn points(&self, region: &str) -> Arc<dyn DoctorPoints>;
}

#[async_trait]
pub trait DoctorPoints: ConnectionPoints {
    /// Whose the credentials are. Needs no permission.
    async fn identity(&self) -> Result<Identity, CallError>;

    /// The names of the enabled lifecycle rules that expire current objects.
    async fn expiring_rules(&self, bucket: &Bucket) -> Result<Vec<String>, CallError>;

    /// Tries to confirm a subscription with a token that cannot be valid.
    async fn try_confirm(&self, topic: &TopicArn, authenticate_on_unsubscribe: bool) -> Probe;
}

/// Tries `CreateInvalidation` by a call that is refused.
#[async_trait]
pub trait InvalidationProbe: Send + Sync + 'static {
    async fn try_create_invalidation(&self, distribution_id: &str) -> Probe;
}

/// The ids of cache policies that could not be read for another reason than a denial, and why.
pub type UnreadPolicies = BTreeMap<String, String>;

/// Reads the account's distributions.
#[async_trait]
pub trait AccountSource: Send + Sync + 'static {
    /// With the details of those that serve one of the buckets.
    async fn read(&self, buckets: &[String]) -> Result<(Catalogue, UnreadPolicies), CdnError>;
}

/// Looks at the store from outside.
#[async_trait]
pub trait StoreSource: Send + Sync + 'static {
    async fn look(&self) -> SeenStore;
}
