//! What `connect` and `disconnect` need of S3, SNS, SQS and STS.

use async_trait::async_trait;

use crate::domain::{
    connection::{
        Bucket, SeenQueue, SeenSubscription, SeenTopic, notification::Notification, plan::Action,
    },
    topic::TopicArn,
};

/// AWS in one region: S3 notifies only topics of the bucket's own region.
#[async_trait]
pub trait ConnectionPoints: Send + Sync + 'static {
    /// The account of the credentials.
    async fn account(&self) -> Result<String, CallError>;

    async fn notification(&self, bucket: &Bucket) -> Result<Notification, CallError>;

    /// None if it does not exist.
    async fn topic(&self, topic: &TopicArn) -> Result<Option<SeenTopic>, CallError>;

    async fn subscriptions(&self, topic: &TopicArn) -> Result<Subscriptions, CallError>;

    async fn subscription(&self, arn: &str) -> Result<SeenSubscription, CallError>;

    /// A queue in the topic's account. None if it does not exist.
    async fn queue(&self, topic: &TopicArn, name: &str) -> Result<Option<SeenQueue>, CallError>;

    /// Makes one call of a plan for this bucket and topic.
    async fn act(
        &self,
        bucket: &Bucket,
        topic: &TopicArn,
        action: &Action,
    ) -> Result<(), CallError>;
}

/// All subscriptions of a topic: the endpoint, and the ARN if it is confirmed.
pub type Subscriptions = Vec<(String, Option<String>)>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The bucket is in this region.
    #[error("the bucket is in {0}")]
    Elsewhere(String),
    /// S3 may not publish to a destination, or does not know yet that it may.
    #[error("{0}")]
    Destination(String),
    /// There was no answer to a write, so whether it was done is not known.
    #[error("{0}")]
    NoAnswer(String),
    /// The credentials lack the permission that the text names.
    #[error("{0}")]
    Denied(String),
    /// There are no credentials, or AWS refuses them.
    #[error("{0}")]
    Credentials(String),
    /// There is no such bucket.
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Failed(String),
}
