//! What the commands need that run without a service.

use std::{io, sync::Arc, time::Duration};

use anyhow::Context as _;
use aws_config::BehaviorVersion;
use jiff::Timestamp;

use super::{SystemClock, token_distributions};
use crate::{
    aws::{
        AwsConnectionPoints, AwsRegions, CloudFront, S3KeyListing, S3ObjectListing,
        SqsDeadLetterQueue,
    },
    config::Config,
    connect::Connector,
    dispatch::{self, AccountReader, AccountReading, CommandAccount, Looked, ReadScope},
    doctor::{self, Doctor},
    domain::{queue::QueueAddress, s3_event::EventFilter, survey::Survey},
    ports::{Clock, connection::CallError, key_listing::KeyListing},
    recovery::{Redrive, Resync},
    store,
};

/// Reads the account's distributions once, without a service.
pub fn read_account(config: &Config, scope: &ReadScope) -> anyhow::Result<AccountReading> {
    block_on(async {
        let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let reader = AccountReader::for_command(
            Arc::new(CloudFront::new(&sdk)),
            Arc::new(SystemClock),
            config.limits.reads_per_second,
            config.limits.read_burst,
        );
        let origins = config.mapping.origins.clone().into();
        reader
            .read(scope, origins)
            .await
            .context("the account's distributions cannot be read")
    })?
}

/// Lists what these surveys ask for, one after another, each for as long as the service would.
pub fn look(surveys: Vec<Survey>) -> anyhow::Result<Vec<Looked>> {
    let looked = block_on(async {
        let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let listing: Arc<dyn KeyListing> = Arc::new(S3KeyListing::new(&sdk));
        let mut all = Vec::new();
        for survey in surveys {
            let (listing, clock) = (Arc::clone(&listing), Arc::new(SystemClock));
            all.push(dispatch::look(listing, clock, survey).await);
        }
        all
    })?;
    Ok(looked)
}

/// What connects buckets of this region, or of the default one. The endpoint's credentials, as
/// `user:password`, are for SNS alone.
pub async fn connector(region: Option<&str>, credentials: Option<&str>) -> Connector {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let aws = AwsConnectionPoints::new(&sdk, region, credentials);
    Connector::new(Arc::new(aws), Arc::new(SystemClock))
}

/// What looks at everything between S3 and CloudFront, by a configuration. Looks at these buckets and
/// this endpoint, or else at those that it finds.
pub async fn doctor(
    config: Config,
    file: Option<String>,
    buckets: Vec<String>,
    endpoint: Option<String>,
) -> Doctor {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cloudfront = Arc::new(CloudFront::new(&sdk));
    let reader = AccountReader::for_command(
        Arc::clone(&cloudfront) as _,
        Arc::clone(&clock),
        config.limits.reads_per_second,
        config.limits.read_burst,
    );
    Doctor {
        regions: Arc::new(AwsRegions::new(sdk)),
        cdn: Arc::clone(&cloudfront) as _,
        invalidations: cloudfront,
        account: Arc::new(CommandAccount {
            reader,
            origins: config.mapping.origins.clone().into(),
        }),
        store: store::inspector(&config.store.location),
        clock,
        settings: doctor::Settings {
            tokens: token_distributions(&config).to_vec(),
            topics: config.sns.topics,
            max_skew: config.sns.max_skew,
            authenticate_on_unsubscribe: config.sns.authenticate_on_unsubscribe,
            password: config.sns.basic_auth.is_some(),
            emulated: config.sns.emulator.is_some(),
            events: EventFilter::new(config.events.invalidate_on),
            mapping: config.mapping.policy,
            origins: config.mapping.origins,
            warnings: config.warnings,
            config: file,
            buckets,
            endpoint,
        },
    }
}

/// What takes the messages of a dead-letter queue.
pub async fn redrive(queue: &QueueAddress) -> Result<Redrive, CallError> {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let queue = SqsDeadLetterQueue::open(&sdk, queue).await?;
    Ok(Redrive::new(Arc::new(queue)))
}

/// What finds stale objects in a bucket, by the history in the store of a service that may run.
pub async fn resync(
    config: &Config,
    bucket: &str,
    prefix: &str,
    since: Timestamp,
) -> anyhow::Result<Resync> {
    let coverage = store::coverage(&config.store.location, bucket, since).await?;
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let listing = S3ObjectListing::open(&sdk, bucket).await?;
    Ok(Resync {
        listing: Arc::new(listing),
        coverage,
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        since,
    })
}

/// Runs a command's async work.
pub fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

/// Waits, for commands.
pub async fn pause(span: Duration) {
    SystemClock.sleep_until(now() + span).await;
}

/// The current time, for commands.
pub fn now() -> Timestamp {
    SystemClock.now()
}
