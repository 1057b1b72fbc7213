//! Looks at everything between S3 and CloudFront, without changing anything, and has it judged.
//!
//! What can be looked at although another look failed is looked at; the rest says why it was skipped.

mod account;
mod buckets;
mod endpoint;
mod topics;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    domain::{
        catalogue::Catalogue,
        doctor::{
            Check, Finding, Seen, Unseen, catalogue as judge_catalogue,
            credentials::{self, Comparison, Identity},
            endpoint as judge_endpoint, settle, store as judge_store,
            store::SeenStore,
        },
        mapping::MappingPolicy,
        origin::OriginOverride,
        s3_event::EventFilter,
        topic::TopicArn,
    },
    ports::{
        Cdn, Clock,
        connection::CallError,
        doctor::{AccountSource, InvalidationProbe, Regions, StoreSource, UnreadPolicies},
    },
};

/// What is looked at with, and by which configuration.
pub struct Doctor {
    pub regions: Arc<dyn Regions>,
    pub cdn: Arc<dyn Cdn>,
    pub invalidations: Arc<dyn InvalidationProbe>,
    pub account: Arc<dyn AccountSource>,
    pub store: Arc<dyn StoreSource>,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
}

/// What the configuration and the command line say.
#[derive(Debug, Clone)]
pub struct Settings {
    pub topics: Vec<TopicArn>,
    pub max_skew: Duration,
    pub authenticate_on_unsubscribe: bool,
    /// Whether SNS has to send a password.
    pub password: bool,
    /// Whether SNS is an emulator.
    pub emulated: bool,
    pub events: EventFilter,
    pub mapping: MappingPolicy,
    pub origins: Vec<OriginOverride>,
    /// Pairs of the names of API tokens and of the distributions that they are limited to.
    pub tokens: Vec<(String, String)>,
    /// What looks like a setting, and is ignored.
    pub warnings: Vec<String>,
    /// The buckets to look at; if empty, those that are found.
    pub buckets: Vec<String>,
    /// The configuration file that was named, for commands that read it as well.
    pub config: Option<String>,
    /// Where SNS posts to; if not given, what is subscribed.
    pub endpoint: Option<String>,
}

/// The region that is asked where nothing names one.
const ANY_REGION: &str = "us-east-1";

impl Doctor {
    /// All findings, in the order of the checks.
    pub async fn examine(&self) -> Vec<Finding> {
        let region = self.settings.topics.first();
        let region = region.map_or(ANY_REGION, TopicArn::region);
        let identity = self.regions.points(region).identity().await;
        let identity: Seen<Identity> = identity.map_err(seen);
        let date = identity.as_ref().ok().and_then(|identity| identity.date);
        let by_aws = date.map(|theirs| self.compare(theirs, "AWS"));
        let store = self.store.look().await;
        let mut findings = vec![
            judge_catalogue::environment(&self.settings.warnings),
            credentials::credentials(&identity),
        ];
        let mut endpoints: Vec<_> = self.settings.endpoint.iter().cloned().collect();
        if let Ok(identity) = &identity {
            let topics = &self.settings.topics;
            findings.push(credentials::account(identity, topics));
            findings.extend(self.of_aws(identity, &mut endpoints, &store).await);
        } else {
            let checks = [Check::Account, Check::Region].into_iter();
            findings.extend(checks.chain(Check::of_aws()).map(|check| {
                let why = "skipped, because the credentials do not work";
                Finding::skipped(check, "AWS", why)
            }));
        }
        findings.extend(self.of_endpoints(&endpoints, by_aws).await);
        findings.extend(judge_store::findings(&store));
        settle(&mut findings);
        findings.sort_by_key(|finding| finding.check);
        findings
    }

    /// Everything that AWS has to tell. Finds the endpoints if none is given.
    async fn of_aws(
        &self,
        identity: &Identity,
        endpoints: &mut Vec<String>,
        store: &SeenStore,
    ) -> Vec<Finding> {
        let topics = self.look_at_topics().await;
        if endpoints.is_empty() {
            *endpoints = topics::endpoints(&topics);
        }
        let mut connected: Vec<_> = topics.iter().flat_map(topics::Topic::buckets).collect();
        connected.sort();
        connected.dedup();
        let known = store.catalogue();
        let (account, buckets) = self.look_at_account(&connected, known).await;
        let catalogue = account.as_ref().ok().map(|(catalogue, _)| catalogue);
        let endpoint = topics::only(endpoints);
        let mut findings = vec![credentials::region(account.as_ref().err())];
        findings.extend(
            self.of_permissions(identity, &account, &buckets, &topics)
                .await,
        );
        findings.extend(self.of_topics(&topics, &buckets, endpoints).await);
        findings.extend(
            self.of_buckets(identity, &topics, &buckets, catalogue, endpoint)
                .await,
        );
        findings.extend(self.of_catalogue(&account, &buckets));
        findings
    }

    async fn of_endpoints(&self, endpoints: &[String], by_aws: Option<Comparison>) -> Vec<Finding> {
        let settings = &self.settings;
        if endpoints.is_empty() {
            let checks = [Check::EndpointReachable, Check::EndpointPurgefront];
            let unknown = checks.map(|check| {
                let why = "skipped, because the endpoint is not known: give --endpoint URL";
                Finding::skipped(check, "endpoint", why)
            });
            let clock = credentials::clock(by_aws, settings.max_skew);
            return unknown.into_iter().chain([clock]).collect();
        }
        let mut findings = Vec::new();
        let mut compared = by_aws;
        for endpoint in endpoints {
            let asked = endpoint::ask(endpoint, || self.clock.now()).await;
            compared = compared.or(asked.date.map(|(ours, theirs)| Comparison {
                ours,
                theirs,
                whose: "the endpoint",
            }));
            findings.extend([
                judge_endpoint::reachable(endpoint, settings.emulated, &asked.reached),
                judge_endpoint::is_purgefront(endpoint, &asked.answer),
            ]);
        }
        findings.push(credentials::clock(compared, settings.max_skew));
        findings
    }

    fn compare(&self, theirs: Timestamp, whose: &'static str) -> Comparison {
        let ours = self.clock.now();
        Comparison {
            ours,
            theirs,
            whose,
        }
    }
}

/// Why a call showed nothing.
fn seen(error: CallError) -> Unseen {
    match error {
        CallError::Denied(text) => Unseen::Denied(text),
        CallError::Credentials(text) => Unseen::Credentials(text),
        CallError::Missing(text) => Unseen::Missing(text),
        CallError::Elsewhere(region) => Unseen::Elsewhere(region),
        CallError::Destination(text) | CallError::NoAnswer(text) | CallError::Failed(text) => {
            Unseen::Failed(text)
        }
    }
}

type Account = Result<(Catalogue, UnreadPolicies), crate::domain::cdn::CdnError>;
