//! CloudFront behind the Cdn port, and what its errors mean.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_cloudfront::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata, SdkError},
    types::{DistributionSummary, InvalidationBatch, Paths},
};

use super::with_causes;
use crate::{
    domain::{
        batch::Batch,
        catalogue::{Distribution, Origin, RootObject},
        path::Item,
    },
    ports::{Cdn, CdnError, CreatedInvalidation, SeenInvalidation},
};

/// `CloudFront` is slow to say yes, but not that slow.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `CloudFront`'s API by the AWS SDK.
#[derive(Debug, Clone)]
pub struct CloudFront {
    client: Client,
}

impl CloudFront {
    /// A client with the account's credentials and endpoints.
    ///
    /// The SDK's own retries are off for every call: each passes the limits first, and each
    /// `CreateInvalidation` is recorded before it leaves.
    pub fn new(config: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let config = Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Self {
            client: Client::from_conf(config),
        }
    }
}

#[async_trait]
impl Cdn for CloudFront {
    async fn list_distributions(
        &self,
        marker: Option<&str>,
    ) -> Result<(Vec<Distribution>, Option<String>), CdnError> {
        let output = self
            .client
            .list_distributions()
            .set_marker(marker.map(str::to_owned))
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let Some(list) = output.distribution_list else {
            return Ok((Vec::new(), None));
        };
        let next = list.next_marker.filter(|_| list.is_truncated);
        let summaries = list.items.unwrap_or_default();
        Ok((summaries.into_iter().map(distribution).collect(), next))
    }

    async fn root_object(&self, distribution_id: &str) -> Result<Option<String>, CdnError> {
        let output = self
            .client
            .get_distribution_config()
            .id(distribution_id)
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let root = output
            .distribution_config
            .and_then(|config| config.default_root_object);
        Ok(root.filter(|name| !name.is_empty()))
    }

    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        let unbuilt = |error| CdnError::Refused(format!("the call cannot be built: {error}"));
        let items = batch.items.iter().map(Item::to_string).collect();
        let paths = Paths::builder()
            .quantity(i32::try_from(batch.items.len()).unwrap_or(i32::MAX))
            .set_items(Some(items))
            .build()
            .map_err(unbuilt)?;
        let invalidation_batch = InvalidationBatch::builder()
            .paths(paths)
            .caller_reference(&batch.caller_reference)
            .build()
            .map_err(unbuilt)?;
        let output = self
            .client
            .create_invalidation()
            .distribution_id(&batch.distribution_id)
            .invalidation_batch(invalidation_batch)
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let invalidation = output
            .invalidation
            .ok_or_else(|| CdnError::Unknown("the answer names no invalidation".to_owned()))?;
        Ok(CreatedInvalidation {
            completed: is_completed(&invalidation.status),
            cloudfront_id: invalidation.id,
        })
    }

    async fn invalidation(
        &self,
        distribution_id: &str,
        id: &str,
    ) -> Result<SeenInvalidation, CdnError> {
        let output = self
            .client
            .get_invalidation()
            .distribution_id(distribution_id)
            .id(id)
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let unseen = || CdnError::Unknown("the answer names no invalidation".to_owned());
        let seen = output.invalidation.ok_or_else(unseen)?;
        let batch = seen.invalidation_batch;
        let paths = batch.as_ref().and_then(|batch| batch.paths.clone());
        Ok(SeenInvalidation {
            completed: is_completed(&seen.status),
            caller_reference: batch
                .map(|batch| batch.caller_reference)
                .unwrap_or_default(),
            items: paths.and_then(|paths| paths.items).unwrap_or_default(),
        })
    }

    async fn newest_invalidations(
        &self,
        distribution_id: &str,
    ) -> Result<Vec<(String, bool)>, CdnError> {
        let output = self
            .client
            .list_invalidations()
            .distribution_id(distribution_id)
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let list = output.invalidation_list.and_then(|list| list.items);
        let summaries = list.unwrap_or_default().into_iter();
        Ok(summaries
            .map(|one| (one.id, is_completed(&one.status)))
            .collect())
    }
}

/// AWS says `InProgress` and `Completed`; emulators are less careful with capitals.
fn is_completed(status: &str) -> bool {
    status.eq_ignore_ascii_case("Completed")
}

fn distribution(summary: DistributionSummary) -> Distribution {
    let changed = summary.last_modified_time.as_secs_f64();
    let origins = summary.origins.map(|origins| origins.items);
    Distribution {
        id: summary.id,
        enabled: summary.enabled,
        origins: origins
            .unwrap_or_default()
            .into_iter()
            .map(|origin| Origin {
                id: origin.id,
                domain: origin.domain_name,
                path: origin.origin_path.unwrap_or_default(),
            })
            .collect(),
        revision: format!("{} {changed}", summary.e_tag.unwrap_or_default()),
        root: RootObject::Unread,
    }
}

/// What an error means for what was asked. Codes: CloudFront API Reference, "Common errors",
/// and each operation's own.
fn classify<E>(error: &SdkError<E>) -> CdnError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        return classify_unanswered(error);
    };
    let status = answer.raw().status().as_u16();
    let code = answer.err().code().unwrap_or("no code");
    let message = answer.err().message().unwrap_or("no message");
    let text = format!("{code}: {message}");
    match code {
        "Throttling" | "ThrottlingException" | "TooManyRequestsException" => {
            CdnError::Throttled(text)
        }
        "TooManyInvalidationsInProgress" => CdnError::TooManyInProgress {
            // The text alone tells which pool is full.
            wildcards: message.contains("wildcard"),
            text,
        },
        "BatchTooLarge" => CdnError::TooLarge(text),
        "NoSuchDistribution" => CdnError::NoSuchDistribution(text),
        "InvalidationBatchAlreadyExists" => CdnError::ReferenceConflict(text),
        // The documented code for a conflict is the one above; the live service was seen to
        // say so in the text of this one.
        "InvalidArgument" if message.to_ascii_lowercase().contains("caller reference") => {
            CdnError::ReferenceConflict(text)
        }
        "InvalidArgument" => CdnError::Invalid(text),
        _ if status >= 500 => CdnError::Unknown(text),
        _ if status == 429 => CdnError::Throttled(text),
        // Expired or unknown credentials come as 403 or 401 under many codes.
        _ if status == 401 || status == 403 => CdnError::Denied(text),
        _ => CdnError::Refused(text),
    }
}

fn classify_unanswered<E>(error: &SdkError<E>) -> CdnError
where
    E: std::error::Error + 'static,
{
    let text = with_causes(error);
    match error {
        // Nothing left: the request could not even be built or signed.
        SdkError::ConstructionFailure(_) => CdnError::Denied(text),
        _ => CdnError::Unknown(text),
    }
}
