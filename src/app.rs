//! The composition root: from a configuration to a running service.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_trait::async_trait;
use aws_config::BehaviorVersion;
use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::{
    aws::{AwsSnsTrust, CloudFront, FetchLimits, HttpFetch, SigningCertificates},
    config::{Config, Server},
    dispatch::{self, Scope, Settings, Survey},
    domain::{batch::Usage, catalogue::Catalogue, s3_event::EventFilter},
    health::Health,
    http::{self, ApiToken, AppState, Capacity, Connections, SnsRules, Tokens},
    ports::{CertificateCache, Clock, Store, StoreError},
    shutdown::{self, Ending, Shutdown},
    signals::Signals,
    store::{self, OpenError, SqliteStore},
    telemetry::Metrics,
};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that is set while somebody sleeps is noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

#[async_trait]
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the Clock port gets its time from"
)]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Never longer than it seemed at first: a clock that is set back holds nobody up.
    async fn sleep_until(&self, at: Timestamp) {
        let left = || Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        let (begun, whole) = (Instant::now(), left());
        loop {
            let left = left().min(whole.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store again, when it was read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// A listener's address.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Trusted roots, or a proxy's address.
    #[error("the client that fetches signing certificates cannot be made")]
    Client(#[from] reqwest::Error),
}

/// A service that is put together and holds its listeners, but does not run yet.
pub struct App {
    config: Config,
    shutdown: Shutdown,
    store: Arc<SqliteStore>,
    context: dispatch::Context,
    public: (TcpListener, Router),
    admin: (TcpListener, Router),
}

impl App {
    /// Opens the store and the listeners and makes everything else. Asks nothing of AWS, so
    /// that a start without AWS works.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let health = Health::default();
        let metrics = Metrics::default();
        let signals = Arc::new(Signals::default());
        let public = listen("server.listen", config.server.listen).await?;
        let admin = listen("server.admin_listen", config.server.admin_listen).await?;
        let store = store::open(&config.store.path, Arc::clone(&clock), health.clone()).await?;
        let store = Arc::new(store);
        let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let emulator = config.sns.emulator.as_ref();
        if let Some(emulator) = emulator {
            let text = format!(
                "messages with certificates from {} are believed (sns.emulator): never in production",
                emulator.origin
            );
            tracing::warn!("{text}");
            health.warn("emulator", text);
        }
        let pinned = emulator.map(|one| (one.host.as_str(), one.addresses.as_slice()));
        let certificates = SigningCertificates::new(
            HttpFetch::new(pinned)?,
            Arc::clone(&store) as Arc<dyn CertificateCache>,
            Arc::clone(&clock),
            FetchLimits {
                per_minute: config.sns.cert_fetches_per_minute,
                burst: config.sns.cert_fetch_burst,
                most: config.server.max_requests / 4,
            },
        );
        let context = dispatch::Context {
            store: Arc::clone(&store) as Arc<dyn Store>,
            cdn: Arc::new(CloudFront::new(&sdk)),
            trust: Arc::new(AwsSnsTrust::new(
                certificates,
                &sdk,
                emulator.map(|one| one.origin.as_str()),
            )),
            clock,
            signals,
            health,
            metrics,
        };
        let state = state(&config, &context);
        Ok(Self {
            public: (public, http::public(state.clone())),
            admin: (admin, http::admin(state, config.server.admin_listen)),
            config,
            shutdown: Shutdown::default(),
            store,
            context,
        })
    }

    /// Runs until it is told to stop, lets what is in hand end, and closes the store.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self {
            config,
            shutdown,
            store,
            context,
            public,
            admin,
        } = self;
        let mut signals = shutdown::Signals::new().context("signals cannot be received")?;
        let health = context.health.clone();
        let settings = settings(&config);
        dispatch::start(context, &settings, shutdown.tasks(), shutdown.stop()).await?;
        let connections = Connections {
            most: config.server.max_connections,
            idle: config.server.idle_timeout,
        };
        serve(&shutdown, "server.listen", public, connections)?;
        serve(&shutdown, "server.admin_listen", admin, connections)?;
        shutdown.wanted(&mut signals).await;
        health.fail("shutdown", "the service is stopping");
        let Server { drain, grace, .. } = config.server;
        match shutdown.finish(&mut signals, drain, grace).await {
            Ending::Clean => {}
            ending => tracing::warn!(
                ?ending,
                "not all in hand ended; what was accepted is safe and goes on at the next start"
            ),
        }
        if let Some(store) = Arc::into_inner(store) {
            store.close().await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Reads the account's distributions once, without a service.
pub fn survey(config: &Config, scope: &Scope) -> anyhow::Result<(Catalogue, Vec<String>)> {
    block_on(async {
        let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let survey = Survey {
            cdn: Arc::new(CloudFront::new(&sdk)),
            clock: Arc::new(SystemClock),
            reads_per_second: config.limits.reads_per_second,
            read_burst: config.limits.read_burst,
            origins: config.mapping.origins.clone().into(),
        };
        survey
            .read(scope)
            .await
            .context("the account's distributions cannot be read")
    })?
}

/// Runs what a command waits for.
pub fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

/// What time it is, for a command.
pub fn now() -> Timestamp {
    SystemClock.now()
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, BuildError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BuildError::Listen {
            key,
            address,
            source,
        })
}

fn serve(
    shutdown: &Shutdown,
    key: &'static str,
    (listener, routes): (TcpListener, Router),
    connections: Connections,
) -> anyhow::Result<()> {
    tracing::info!(key, address = %listener.local_addr()?, "listening");
    let stop = shutdown.stop().clone();
    let served = http::serve(listener, routes, connections, stop);
    shutdown.tasks().spawn(served);
    Ok(())
}

fn state(config: &Config, context: &dispatch::Context) -> AppState {
    let tokens = config.api.tokens.iter().map(|token| ApiToken {
        name: token.name.clone(),
        sha256: token.sha256,
        distributions: token.distributions.clone().map(HashSet::from_iter),
    });
    AppState {
        store: Arc::clone(&context.store),
        trust: Arc::clone(&context.trust),
        clock: Arc::clone(&context.clock),
        signals: Arc::clone(&context.signals),
        health: context.health.clone(),
        metrics: context.metrics.clone(),
        sns: Arc::new(SnsRules {
            topics: config.sns.topics.iter().cloned().collect(),
            max_age: config.sns.max_age,
            max_skew: config.sns.max_skew,
            events: EventFilter::new(config.events.invalidate_on.iter().cloned()),
            emulator: config.sns.emulator.as_ref().map(|one| one.origin.clone()),
            basic: config.sns.basic_auth,
        }),
        tokens: Arc::new(Tokens::new(tokens.collect())),
        capacity: Capacity::new(config.server.max_requests),
        refusals: Arc::default(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        quiet: config.batching.quiet,
        max_wait: config.batching.max_wait,
        window: config.planning.window,
        calls_per_second: config.limits.calls_per_second,
        call_burst: config.limits.call_burst,
        reads_per_second: config.limits.reads_per_second,
        read_burst: config.limits.read_burst,
        items_per_call: config.limits.items_per_call,
        paths_per_second: config.limits.paths_per_second,
        wildcards_per_second: config.limits.wildcards_per_second,
        in_progress: Usage {
            paths: config.limits.paths_in_progress,
            wildcards: config.limits.wildcards_in_progress,
        },
        reserve: Usage {
            paths: config.limits.reserve_paths,
            wildcards: config.limits.reserve_wildcards,
        },
        paths_per_day: config.limits.paths_per_day,
        shadow: config.dispatch.shadow,
        mapping: Arc::new(config.mapping.policy.clone()),
        origins: config.mapping.origins.clone().into(),
        keep: config.store.keep,
        catalogue_refresh: config.catalogue.refresh,
        authenticate_on_unsubscribe: config.sns.authenticate_on_unsubscribe,
        seed: fastrand::u64(..),
    }
}
