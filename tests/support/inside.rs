//! What tests of the work behind the 2xx share, where it runs in their own process.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use purgefront::{
    dispatch::{self, Context, Dispatch, RunningDispatch, Settings},
    domain::{
        batch::Usage,
        catalogue::{Behaviour, CacheKey, Caching, Details, Distribution, Origin},
        economy::Economy,
        mapping::MappingPolicy,
        sns_message::{Refusal, SnsMessage, Token},
        status::Status,
        topic::TopicArn,
    },
    ports::{
        Cdn, Clock, ConfirmError, SnsTrust, Wakeup, Wakeups as _,
        catalogue::{CatalogueHandle, CataloguePublisher},
        dispatch::{DispatchStore, Epoch, LeaderStore as _},
        key_listing::{KeyListing, KeyListingError, KeyPage},
    },
    shutdown::Tasks,
    store::{self, LocalWakeups, LocalWants},
    telemetry::{Health, Metrics},
    webhook::WebhookSender,
};
use tokio::sync::watch;

use super::{quick_directory, tapped::Tapped};

/// The work behind the 2xx, in this process, with the real store.
pub struct Inside {
    pub store: Tapped,
    /// The handle that tests look through.
    pub leader: Arc<dyn DispatchStore>,
    pub wakeups: Arc<LocalWakeups>,
    pub catalogue: CatalogueHandle,
    pub status: watch::Receiver<Status>,
    pub tasks: Tasks,
    pub dispatch: Dispatch,
    pub running: RunningDispatch,
    pub home: tempfile::TempDir,
}

impl Inside {
    pub async fn start(clock: Arc<dyn Clock>, cdn: Arc<dyn Cdn>, settings: Settings) -> Self {
        Self::start_beside(clock, cdn, Arc::new(NoBuckets), settings).await
    }

    /// With an S3 to list buckets.
    pub async fn start_beside(
        clock: Arc<dyn Clock>,
        cdn: Arc<dyn Cdn>,
        key_listing: Arc<dyn KeyListing>,
        settings: Settings,
    ) -> Self {
        let home = quick_directory();
        let tasks = Tasks::default();
        let path = home.path().join("purgefront.db");
        let health = Health::default();
        let opened = store::open_sqlite(&path, Arc::clone(&clock), health, tasks.apart()).await;
        let store = Tapped::new(opened.unwrap());
        let wakeups = Arc::new(LocalWakeups::default());
        let (publisher, catalogue) = CataloguePublisher::new();
        let context = Context {
            leader_store: Arc::new(store.clone()),
            catalogue_store: Arc::new(store.clone()),
            wants: Arc::new(LocalWants::default()),
            cdn,
            key_listing,
            trust: Arc::new(NoSns),
            notices: Arc::new(WebhookSender::new(Vec::new()).unwrap()),
            clock,
            wakeups: Arc::clone(&wakeups) as _,
            catalogue: catalogue.clone(),
            status: Arc::default(),
            metrics: Metrics::default(),
        };
        let origins = Arc::clone(&settings.origins);
        dispatch::follow_catalogue(&context, origins, publisher, &tasks);
        let status = context.status.subscribe();
        let dispatch = Dispatch { context, settings };
        let running = dispatch.start(&tasks, Epoch(1)).await.unwrap();
        Self {
            leader: store.lead(Epoch(1)),
            store,
            wakeups,
            catalogue,
            status,
            tasks,
            dispatch,
            running,
            home,
        }
    }

    /// Lets everything happen that can happen without time passing.
    pub async fn settle(&self) {
        let mut quiet = 0;
        while quiet < 2 {
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
            if self.store.tap.is_idle() {
                quiet += 1;
            } else {
                quiet = 0;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the store's threads run in real time"
                )]
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
    }

    pub fn wake(&self) {
        self.wakeups.wake(Wakeup::ChangesAccepted);
    }

    /// What readiness would say under this name; empty where all is well.
    pub fn finding(&self, check: &str) -> String {
        let findings = self.status.borrow().findings();
        let finding = findings.into_iter().find(|one| one.check == check);
        finding.unwrap().detail
    }
}

/// A distribution in front of one bucket.
pub fn in_front_of(id: &str, domain: &str) -> Distribution {
    Distribution {
        id: id.to_owned(),
        enabled: true,
        deployed: true,
        aliases: Vec::new(),
        origins: vec![Origin {
            id: "o".to_owned(),
            domain: domain.to_owned(),
            path: String::new(),
        }],
        groups: Vec::new(),
        behaviours: vec![Behaviour {
            pattern: "*".to_owned(),
            target: "o".to_owned(),
            caching: Caching::Inline(CacheKey {
                caches: true,
                query_strings: false,
            }),
            rewrites: false,
            smooth_streaming: false,
        }],
        revision: "1".to_owned(),
        details: Details::Unread,
        ..Distribution::default()
    }
}

/// Nobody may list the buckets.
pub struct NoBuckets;

#[async_trait::async_trait]
impl KeyListing for NoBuckets {
    async fn keys(&self, _: &str, _: &str, _: Option<&str>) -> Result<KeyPage, KeyListingError> {
        let why = "s3:ListBucket is not granted".to_owned();
        Err(KeyListingError::Denied(why))
    }
}

/// Nobody subscribes here.
pub struct NoSns;

#[async_trait::async_trait]
impl SnsTrust for NoSns {
    async fn verify(&self, _: &SnsMessage, _: Timestamp) -> Result<(), Refusal> {
        unreachable!("no message comes by HTTP")
    }

    async fn confirm_subscription(
        &self,
        _: &TopicArn,
        _: &Token,
        _: bool,
    ) -> Result<String, ConfirmError> {
        unreachable!("nothing is to be confirmed")
    }
}

/// The defaults, without the daily stop.
pub fn settings() -> Settings {
    Settings {
        quiet: Duration::from_secs(1),
        max_wait: Duration::from_secs(10),
        window: 100_000,
        calls_per_second: 0.5,
        call_burst: 5,
        reads_per_second: 2.0,
        read_burst: 10,
        items_per_call: 1_000,
        paths_per_second: 150.0,
        wildcards_per_second: 1.0,
        in_progress: Usage {
            paths: 3_000,
            wildcards: 15,
        },
        reserve: Usage {
            paths: 100,
            wildcards: 2,
        },
        paths_per_day: 0,
        economy: Economy::default(),
        shadow: false,
        mapping: Arc::new(MappingPolicy::default()),
        origins: Arc::new([]),
        notify: Arc::new([]),
        keep: Duration::from_hours(24 * 365),
        catalogue_refresh: Duration::from_mins(10),
        authenticate_on_unsubscribe: true,
        token_distributions: Arc::default(),
        seed: 7,
    }
}
