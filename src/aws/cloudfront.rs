//! The `Cdn` port for CloudFront: API calls, and the classification of their errors.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudfront::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata, SdkError},
    primitives::DateTime,
    types::{
        CachePolicyQueryStringBehavior, ConnectionMode, CustomErrorResponse, DistributionSummary,
        EventType, ForwardedValues, FunctionAssociations, InvalidationBatch,
        LambdaFunctionAssociations, OriginGroups, Paths,
    },
};
use jiff::Timestamp;

use super::{causes, has_cause, with_causes};
use crate::{
    domain::{
        batch::Batch,
        catalogue::{
            Behaviour, CacheKey, Caching, CustomError, Details, Distribution, Origin, OriginGroup,
        },
        cdn::{
            CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
            ListedInvalidation, Missing, SeenInvalidation,
        },
        path::Item,
    },
    ports::Cdn,
};

/// The timeout of a whole call. Successful calls are slow, but finish well within this.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of CloudFront's API.
#[derive(Debug, Clone)]
pub struct CloudFront {
    pub(super) client: Client,
}

impl CloudFront {
    /// Creates a client with the credentials and endpoints of `config`.
    ///
    /// The SDK's retries are disabled: every call has to pass our rate limits, and every
    /// `CreateInvalidation` has to be recorded before it is sent.
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
    async fn list_distributions(&self, marker: Option<&str>) -> Result<DistributionPage, CdnError> {
        let output = self
            .client
            .list_distributions()
            .set_marker(marker.map(str::to_owned))
            .send()
            .await
            .map_err(classify)?;
        let Some(list) = output.distribution_list else {
            return Ok(DistributionPage::default());
        };
        let summaries = list.items.unwrap_or_default();
        Ok(DistributionPage {
            distributions: summaries.into_iter().map(distribution).collect(),
            next_marker: list.next_marker.filter(|_| list.is_truncated),
        })
    }

    async fn details(&self, distribution_id: &str) -> Result<DistributionDetails, CdnError> {
        let output = self
            .client
            .get_distribution_config()
            .id(distribution_id)
            .send()
            .await
            .map_err(classify)?;
        let config = output.distribution_config;
        let config = config.ok_or_else(|| CdnError::Unknown("the response is empty".to_owned()))?;
        Ok(DistributionDetails {
            default_root_object: config.default_root_object.filter(|name| !name.is_empty()),
            cache_tags: config
                .cache_tag_config
                .is_some_and(|tags| !tags.header_name.is_empty()),
            groups: groups(config.origin_groups),
        })
    }

    async fn cache_policy(&self, id: &str) -> Result<CacheKey, CdnError> {
        let output = self
            .client
            .get_cache_policy()
            .id(id)
            .send()
            .await
            .map_err(classify)?;
        let config = output
            .cache_policy
            .and_then(|policy| policy.cache_policy_config);
        let config = config.ok_or_else(|| CdnError::Unknown("the response is empty".to_owned()))?;
        let query_strings = config
            .parameters_in_cache_key_and_forwarded_to_origin
            .and_then(|key| key.query_strings_config)
            .map(|query_strings| query_strings.query_string_behavior);
        Ok(CacheKey {
            caches: config.max_ttl != Some(0),
            query_strings: query_strings
                .is_some_and(|behavior| behavior != CachePolicyQueryStringBehavior::None),
        })
    }

    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        let unbuilt = |error| CdnError::Refused(format!("the request cannot be built: {error}"));
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
            .map_err(classify)?;
        let invalidation = output
            .invalidation
            .ok_or_else(|| CdnError::Unknown("the response has no invalidation".to_owned()))?;
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
            .map_err(classify)?;
        let unseen = || CdnError::Unknown("the response has no invalidation".to_owned());
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
        marker: Option<&str>,
    ) -> Result<InvalidationPage, CdnError> {
        let output = self
            .client
            .list_invalidations()
            .distribution_id(distribution_id)
            .set_marker(marker.map(str::to_owned))
            .send()
            .await
            .map_err(classify)?;
        let empty = || CdnError::Unknown("the response has no list".to_owned());
        let list = output.invalidation_list.ok_or_else(empty)?;
        let summaries = list.items.unwrap_or_default().into_iter();
        let invalidations = summaries.map(|one| ListedInvalidation {
            completed: is_completed(&one.status),
            cloudfront_id: one.id,
            created_at: timestamp(one.create_time),
        });
        Ok(InvalidationPage {
            invalidations: invalidations.collect(),
            next_marker: list.next_marker.filter(|_| list.is_truncated),
        })
    }
}

/// AWS returns `InProgress` or `Completed`; emulators differ in case.
fn is_completed(status: &str) -> bool {
    status.eq_ignore_ascii_case("Completed")
}

/// A time that is no timestamp counts as the newest: a search does not stop there.
fn timestamp(time: DateTime) -> Timestamp {
    Timestamp::from_second(time.secs()).unwrap_or(Timestamp::MAX)
}

#[expect(deprecated, reason = "behaviours without a cache policy still exist")]
fn distribution(summary: DistributionSummary) -> Distribution {
    let changed = summary.last_modified_time.as_secs_f64();
    let revision = format!("{} {changed}", summary.e_tag.unwrap_or_default());
    let origins = summary.origins.map(|origins| origins.items);
    let origins = origins.unwrap_or_default().into_iter().map(|one| Origin {
        id: one.id,
        domain: one.domain_name,
        path: one.origin_path.unwrap_or_default(),
    });
    let ordered = summary.cache_behaviors.and_then(|all| all.items);
    let ordered = ordered
        .unwrap_or_default()
        .into_iter()
        .map(|one| Behaviour {
            caching: caching(one.cache_policy_id, one.forwarded_values, one.max_ttl),
            rewrites: rewrites(one.lambda_function_associations, one.function_associations),
            smooth_streaming: one.smooth_streaming.unwrap_or_default(),
            pattern: one.path_pattern,
            target: one.target_origin_id,
        });
    let default = summary.default_cache_behavior.map(|one| Behaviour {
        caching: caching(one.cache_policy_id, one.forwarded_values, one.max_ttl),
        rewrites: rewrites(one.lambda_function_associations, one.function_associations),
        smooth_streaming: one.smooth_streaming.unwrap_or_default(),
        pattern: "*".to_owned(),
        target: one.target_origin_id,
    });
    let errors = summary.custom_error_responses.and_then(|all| all.items);
    let errors = errors.unwrap_or_default().into_iter();
    Distribution {
        id: summary.id,
        enabled: summary.enabled,
        tenants_only: summary.connection_mode == Some(ConnectionMode::TenantOnly),
        deployed: summary.status.eq_ignore_ascii_case("Deployed"),
        aliases: summary
            .aliases
            .and_then(|all| all.items)
            .unwrap_or_default(),
        origins: origins.collect(),
        groups: groups(summary.origin_groups),
        behaviours: ordered.chain(default).collect(),
        custom_errors: errors.filter_map(custom_error).collect(),
        rerouted: None,
        revision,
        details: Details::Unread,
    }
}

fn groups(groups: Option<OriginGroups>) -> Vec<OriginGroup> {
    let groups = groups.and_then(|groups| groups.items).unwrap_or_default();
    let group = |one: aws_sdk_cloudfront::types::OriginGroup| OriginGroup {
        id: one.id,
        members: one.members.map_or_else(Vec::new, |members| {
            members.items.into_iter().map(|one| one.origin_id).collect()
        }),
    };
    groups.into_iter().map(group).collect()
}

/// Without an `ErrorCachingMinTTL`, CloudFront keeps errors for 10 seconds. Source: CloudFront Developer
/// Guide, "Control how long CloudFront caches errors".
fn custom_error(one: CustomErrorResponse) -> Option<CustomError> {
    let min_ttl = one.error_caching_min_ttl.unwrap_or(10);
    Some(CustomError {
        status: u16::try_from(one.error_code).ok()?,
        page: one.response_page_path.filter(|path| !path.is_empty()),
        min_ttl: u64::try_from(min_ttl).unwrap_or(0),
    })
}

/// A behaviour either names a cache policy or has legacy settings of its own. Legacy behaviours cache
/// unless their `MaxTTL` is present and 0: some emulators return none.
fn caching(
    policy: Option<String>,
    forwarded: Option<ForwardedValues>,
    max_ttl: Option<i64>,
) -> Caching {
    match policy.filter(|id| !id.is_empty()) {
        Some(id) => Caching::Policy(id),
        None => Caching::Inline(CacheKey {
            caches: max_ttl != Some(0),
            query_strings: forwarded.is_some_and(|values| values.query_string),
        }),
    }
}

/// Whether a function may request another path than the viewer did. Only functions that run on
/// requests can.
fn rewrites(
    lambda: Option<LambdaFunctionAssociations>,
    functions: Option<FunctionAssociations>,
) -> bool {
    let lambda = lambda.and_then(|all| all.items).unwrap_or_default();
    let functions = functions.and_then(|all| all.items).unwrap_or_default();
    let lambda = lambda.into_iter().map(|one| one.event_type);
    let functions = functions.into_iter().map(|one| one.event_type);
    lambda
        .chain(functions)
        .any(|event| matches!(event, EventType::ViewerRequest | EventType::OriginRequest))
}

/// Classifies an error. Codes: CloudFront API Reference, "Common errors", and the errors of each
/// operation.
pub(super) fn classify<E>(error: SdkError<E>) -> CdnError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let answer = match &error {
        SdkError::ServiceError(answer) => answer,
        _ if has_cause::<CredentialsError>(&error) => {
            return CdnError::NotConfigured {
                missing: Missing::Credentials,
                text: with_causes(error),
            };
        }
        _ if lacks_region(&error) => {
            return CdnError::NotConfigured {
                missing: Missing::Region,
                text: with_causes(error),
            };
        }
        // Nothing was sent: the request could not be built.
        SdkError::ConstructionFailure(_) => return CdnError::NotSent(with_causes(error)),
        SdkError::DispatchFailure(_) if never_connected(&error) => {
            return CdnError::NotSent(with_causes(error));
        }
        _ => return CdnError::Unknown(with_causes(error)),
    };
    let status = answer.raw().status().as_u16();
    let code = answer.err().code().unwrap_or("no code");
    let message = answer.err().message().unwrap_or("no message");
    let text = format!("{code}: {message}");
    match code {
        "Throttling" | "ThrottlingException" | "TooManyRequestsException" => {
            CdnError::Throttled(text)
        }
        "TooManyInvalidationsInProgress" => CdnError::full_pool(text),
        "BatchTooLarge" => CdnError::TooLarge(text),
        "NoSuchDistribution" => CdnError::NoSuchDistribution(text),
        "InvalidationBatchAlreadyExists" => CdnError::ReferenceConflict(text),
        // The documented code for a conflict is the one above, but the live service has been
        // seen to return this one, with the conflict named in the text.
        "InvalidArgument" if message.to_ascii_lowercase().contains("caller reference") => {
            CdnError::ReferenceConflict(text)
        }
        "InvalidArgument" => CdnError::Invalid(text),
        _ if status >= 500 => CdnError::Unknown(text),
        _ if status == 429 => CdnError::Throttled(text),
        // Expired or unknown credentials are reported as 401 or 403 under many codes.
        _ if status == 401 || status == 403 => CdnError::Denied(text),
        _ => CdnError::Refused(text),
    }
}

/// Whether the endpoint is unknown for lack of a region. The SDK's error for it has no public type.
fn lacks_region(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.to_string().contains("Missing Region"))
}

/// Whether no connection was made, so that nothing of the request can have arrived. A connection
/// that was kept open and then broke is another matter.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>())
        .any(hyper_util::client::legacy::Error::is_connect)
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::credential_fn::provide_credentials_fn;
    use aws_sdk_cloudfront::config::{Credentials, SharedCredentialsProvider};
    use tokio::net::TcpListener;

    use super::*;

    async fn call(endpoint: &str, with_credentials: bool) -> CdnError {
        let credentials = provide_credentials_fn(move || async move {
            if with_credentials {
                Ok(Credentials::new("id", "secret", None, None, "test"))
            } else {
                Err(CredentialsError::not_loaded("there are none"))
            }
        });
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        let batch = Batch::new("E1", vec![Item::parse("/a").unwrap()]);
        let client = CloudFront::new(&sdk);
        client.create_invalidation(&batch).await.unwrap_err()
    }

    /// An endpoint that takes a connection, reads something, and hangs up.
    async fn hanging_up() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.readable().await.unwrap();
            }
        });
        endpoint
    }

    #[tokio::test]
    async fn what_never_left_the_process_is_not_in_doubt() {
        // A port that nobody listens on.
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let refused = call(&endpoint, true).await;
        assert!(matches!(refused, CdnError::NotSent(_)), "{refused:?}");
        let nowhere = call("http://no-such-host.invalid", true).await;
        assert!(matches!(nowhere, CdnError::NotSent(_)), "{nowhere:?}");
        let anonymous = call(&endpoint, false).await;
        assert_eq!(anonymous.label(), "no_credentials", "{anonymous:?}");
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let placeless = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let client = CloudFront::new(&placeless);
        let placeless = client.list_distributions(None).await.unwrap_err();
        assert_eq!(placeless.label(), "no_region", "{placeless:?}");
        let lost = call(&hanging_up().await, true).await;
        assert!(matches!(lost, CdnError::Unknown(_)), "{lost:?}");
    }

    #[test]
    fn p5_legacy_behaviours_with_a_longest_time_of_nothing_never_cache() {
        let caches = |max_ttl| match caching(None, None, max_ttl) {
            Caching::Inline(key) => key.caches,
            Caching::Policy(_) => unreachable!("it names none"),
        };
        assert!(!caches(Some(0)));
        assert!(caches(Some(1)) && caches(None));
        let policy = caching(Some("p".to_owned()), None, Some(0));
        assert_eq!(policy, Caching::Policy("p".to_owned()));
    }
}
