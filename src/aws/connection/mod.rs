//! The `ConnectionPoints` port: S3, SNS, SQS and STS in one region.

pub(super) mod bucket;
pub(super) mod errors;
mod looking;
pub(super) mod queue;
mod topic;

use std::time::Duration;

use async_trait::async_trait;
use aws_config::{Region, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use secrecy::SecretString;

use self::errors::failed;
use crate::domain::{
    connection::{
        Bucket, SeenQueue, SeenSubscription, SeenTopic, notification::Notification, plan::Action,
    },
    topic::TopicArn,
};
use crate::ports::connection::{CallError, ConnectionPoints, Subscriptions};

pub use looking::AwsRegions;

/// The timeout of one attempt and of a whole call with the SDK's retries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    attempt: Duration,
    operation: Duration,
}

impl Patience {
    /// S3 sends test messages before it saves notifications.
    pub(super) const LONG: Self = Self {
        attempt: Duration::from_secs(30),
        operation: Duration::from_secs(90),
    };
    /// For calls that only read.
    pub(super) const SHORT: Self = Self {
        attempt: Duration::from_secs(5),
        operation: Duration::from_secs(15),
    };

    /// For a call that is not repeated.
    pub(super) const ONCE: Self = Self {
        attempt: Duration::from_secs(5),
        operation: Duration::from_secs(5),
    };

    pub(super) fn timeouts(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }
}

const CONNECT: Duration = Duration::from_secs(5);

/// The clients.
pub struct AwsConnectionPoints {
    s3: aws_sdk_s3::Client,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
    sts: aws_sdk_sts::Client,
    /// What SNS has to send to the endpoint, as `user:password`.
    credentials: Option<SecretString>,
}

/// Where S3 tells in which region a bucket is, if no region is configured.
pub(super) const ANY_REGION: &str = "us-east-1";

impl AwsConnectionPoints {
    /// Takes credentials, endpoints and retries from `sdk`, and its region unless one is given.
    pub fn new(sdk: &SdkConfig, region: Option<&str>, credentials: Option<&str>) -> Self {
        Self::patient(sdk, region, credentials, Patience::LONG)
    }

    fn patient(
        sdk: &SdkConfig,
        region: Option<&str>,
        credentials: Option<&str>,
        patience: Patience,
    ) -> Self {
        let default = sdk.region().map_or(ANY_REGION, Region::as_ref);
        let region = Region::new(region.unwrap_or(default).to_owned());
        let sdk = sdk
            .to_builder()
            .timeout_config(patience.timeouts())
            // An answer may be slow, since S3 sends test messages: the timeouts are enough.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .region(region)
            .build();
        Self {
            s3: aws_sdk_s3::Client::new(&sdk),
            sns: aws_sdk_sns::Client::new(&sdk),
            sqs: aws_sdk_sqs::Client::new(&sdk),
            sts: aws_sdk_sts::Client::new(&sdk),
            credentials: credentials.map(Into::into),
        }
    }
}

#[async_trait]
impl ConnectionPoints for AwsConnectionPoints {
    async fn account(&self) -> Result<String, CallError> {
        let identity = self.sts.get_caller_identity().send().await;
        let identity = identity.map_err(|error| failed("sts:GetCallerIdentity", error))?;
        identity
            .account
            .ok_or_else(|| CallError::Failed("STS named no account; give --account".to_owned()))
    }

    async fn notification(&self, bucket: &Bucket) -> Result<Notification, CallError> {
        bucket::get(&self.s3, bucket).await
    }

    async fn topic(&self, topic: &TopicArn) -> Result<Option<SeenTopic>, CallError> {
        topic::get(&self.sns, topic).await
    }

    async fn subscriptions(&self, topic: &TopicArn) -> Result<Subscriptions, CallError> {
        topic::subscriptions(&self.sns, topic).await
    }

    async fn subscription(&self, arn: &str) -> Result<SeenSubscription, CallError> {
        topic::subscription(&self.sns, arn).await
    }

    async fn queue(&self, topic: &TopicArn, name: &str) -> Result<Option<SeenQueue>, CallError> {
        queue::get(&self.sqs, topic, name).await
    }

    async fn act(
        &self,
        bucket: &Bucket,
        topic: &TopicArn,
        action: &Action,
    ) -> Result<(), CallError> {
        match action {
            Action::PutNotification(notification) => {
                bucket::put(&self.s3, bucket, notification).await
            }
            Action::CreateQueue { queue, policy } => queue::create(&self.sqs, queue, policy).await,
            Action::SetQueuePolicy { queue, policy } => {
                queue::set_policy(&self.sqs, topic, queue, policy).await
            }
            Action::DeleteQueue { queue } => queue::delete(&self.sqs, topic, queue).await,
            Action::CreateTopic => topic::create(&self.sns, topic).await,
            Action::SetTopic { name, value } => topic::set(&self.sns, topic, name, value).await,
            Action::Subscribe {
                endpoint,
                attributes,
            } => {
                let credentials = self.credentials.as_ref();
                topic::subscribe(&self.sns, topic, endpoint, credentials, attributes).await
            }
            Action::AskAgain {
                endpoint,
                attributes,
            } => {
                let credentials = self.credentials.as_ref();
                topic::ask_again(&self.sns, topic, endpoint, credentials, attributes).await
            }
            Action::SetSubscription { arn, name, value } => {
                topic::set_subscription(&self.sns, arn, name, value).await
            }
            Action::Unsubscribe { arn } => topic::unsubscribe(&self.sns, arn).await,
            Action::DeleteTopic => topic::delete(&self.sns, topic).await,
        }
    }
}
