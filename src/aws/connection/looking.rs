//! The `DoctorPoints` port: what is read for a diagnosis alone.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::{error::ProvideErrorMetadata as _, types::ExpirationStatus};
use aws_sdk_sns::operation::confirm_subscription::ConfirmSubscriptionError;
use aws_sdk_sts::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::BeforeDeserializationInterceptorContextRef,
};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use super::{AwsConnectionPoints, Patience, bucket, errors::failed};
use crate::domain::{
    connection::Bucket,
    doctor::{credentials::Identity, permission::Probe},
    topic::TopicArn,
};
use crate::ports::{
    connection::CallError,
    doctor::{DoctorPoints, Regions},
};

/// Not the hexadecimal digits that tokens of SNS are made of.
const NO_TOKEN: &str = "purgefront-doctor";

/// Clients for each region that is asked for.
pub struct AwsRegions(SdkConfig);

impl AwsRegions {
    pub fn new(sdk: SdkConfig) -> Self {
        Self(sdk)
    }
}

impl Regions for AwsRegions {
    fn points(&self, region: &str) -> Arc<dyn DoctorPoints> {
        let (sdk, region) = (&self.0, Some(region));
        Arc::new(AwsConnectionPoints::patient(
            sdk,
            region,
            None,
            Patience::SHORT,
        ))
    }
}

#[async_trait]
impl DoctorPoints for AwsConnectionPoints {
    async fn identity(&self) -> Result<Identity, CallError> {
        let date = SeenDate::default();
        let call = self.sts.get_caller_identity().customize();
        let answer = call.interceptor(date.clone()).send().await;
        let answer = answer.map_err(|error| failed("sts:GetCallerIdentity", error))?;
        let account = answer.account.unwrap_or_default();
        Ok(Identity {
            arn: answer
                .arn
                .unwrap_or_else(|| format!("arn:aws:iam::{account}:unknown")),
            account,
            date: *date.0.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    async fn expiring_rules(&self, bucket: &Bucket) -> Result<Vec<String>, CallError> {
        let answer = self
            .s3
            .get_bucket_lifecycle_configuration()
            .bucket(&bucket.name)
            .expected_bucket_owner(&bucket.owner)
            .send()
            .await;
        let rules = match answer {
            Ok(answer) => answer.rules.unwrap_or_default(),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|said| said.code() == Some("NoSuchLifecycleConfiguration")) =>
            {
                Vec::new()
            }
            Err(error) => {
                return Err(bucket::failed(
                    &self.s3,
                    "s3:GetLifecycleConfiguration",
                    error,
                ));
            }
        };
        let expires = rules.into_iter().filter(|rule| {
            let expiration = rule.expiration.as_ref();
            rule.status == ExpirationStatus::Enabled
                && expiration.is_some_and(|one| one.days.is_some() || one.date.is_some())
        });
        Ok(expires.map(|rule| rule.id.unwrap_or_default()).collect())
    }

    async fn try_confirm(&self, topic: &TopicArn, authenticate_on_unsubscribe: bool) -> Probe {
        // As the service calls it, since without it SNS asks for no permission.
        let authenticate = authenticate_on_unsubscribe.then(|| "true".to_owned());
        let answer = self
            .sns
            .confirm_subscription()
            .topic_arn(topic.as_str())
            .token(NO_TOKEN)
            .set_authenticate_on_unsubscribe(authenticate)
            .send()
            .await;
        match answer {
            Ok(_) => Probe::Unclear(
                "a token that cannot be valid was accepted: this is an emulator".to_owned(),
            ),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(ConfirmSubscriptionError::is_invalid_parameter_exception) =>
            {
                Probe::Permitted
            }
            Err(error) => match failed("sns:ConfirmSubscription", error) {
                CallError::Denied(text) => Probe::Denied(text),
                other => Probe::Unclear(other.to_string()),
            },
        }
    }
}

/// AWS's time, from the header of an answer.
#[derive(Debug, Clone, Default)]
struct SeenDate(Arc<Mutex<Option<Timestamp>>>);

impl Intercept for SeenDate {
    fn name(&self) -> &'static str {
        "SeenDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_sts::error::BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
