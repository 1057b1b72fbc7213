//! The composition root: builds the service from its configuration and runs it.

mod commands;

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    aws::{AwsSnsTrust, CloudFront, FetchLimits, HttpFetch, S3KeyListing, SigningCertificates},
    config::{Config, ServerConfig},
    dispatch::{self, Dispatch, Leadership, Settings},
    domain::{batch::Usage, mapping::MappingPolicy, notice::NoticeTarget, s3_event::EventFilter},
    http::{self, ApiToken, AppState, Capacity, Connections, Parts, SnsRules, Tokens},
    ports::{
        CertificateCache, Clock, StoreError, catalogue::CataloguePublisher, dispatch::Epoch,
        history::HistoryStore, leadership::Leading,
    },
    shutdown::{self, Ending, StopCause, StopSignals, Tasks},
    store::{self, OpenError, OpenStore},
    telemetry::{Health, Metrics},
    webhook::{WebhookSender, WebhookTarget},
};

pub use crate::shutdown::interruption;
pub use commands::{block_on, connector, doctor, look, now, pause, read_account, redrive, resync};

#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// How soon a sleep notices that the clock was set.
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

    fn monotonic(&self) -> Duration {
        // Not `Instant`, which stands still while a virtual machine is suspended.
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(since).unwrap_or_default()
    }

    /// Never sleeps longer than the initial difference, even if the clock is set back.
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

/// Why the service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(
        "cannot listen on {address} ({key}): another program does; stop it, or set {key} to another \
         address (`ss -ltnp` shows who listens)"
    )]
    AddressInUse {
        /// The configuration's key.
        key: &'static str,
        address: SocketAddr,
    },
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    /// For example because of the trusted roots or a proxy's address.
    #[error("the HTTP client for signing certificates or for notices cannot be created")]
    Client(#[from] reqwest::Error),
}

/// A service that has its store and listeners open, but does not run yet.
pub struct App {
    config: Config,
    tasks: Tasks,
    health: Health,
    store: OpenStore,
    leading: Leading,
    dispatch: Dispatch,
    catalogue: CataloguePublisher,
    stopping: CancellationToken,
    public: Listener,
    admin: Listener,
}

struct Listener {
    /// The configuration's key.
    key: &'static str,
    socket: TcpListener,
    routes: Router,
}

impl App {
    /// Opens the store and the listeners. Makes no AWS calls, so that the service starts without AWS.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::default();
        let health = Health::default();
        if !config.warnings.is_empty() {
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            health.warn("environment", config.warnings.join("; "));
        }
        let public = listen("server.listen", config.server.listen).await?;
        let admin = listen("server.admin_listen", config.server.admin_listen).await?;
        let leading = Leading::default();
        let store = store::open(
            &config.store.location,
            Arc::clone(&clock),
            health.clone(),
            // The store stops last, so that it commits what the others have handed to it.
            tasks.apart(),
            &leading,
        );
        let store = store.await?;
        let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let certificates = Arc::clone(&store.certificates);
        let trust = sns_trust(&config, &sdk, certificates, &clock, &health)?;
        let (publisher, catalogue) = CataloguePublisher::new();
        let metrics = Metrics::default();
        let history = &*store.history;
        metrics.start(clock.now(), silent_since(history, clock.now()).await);
        tell_last_notifications(&config, history, &metrics).await;
        let context = dispatch::Context {
            leader_store: Arc::clone(&store.leader),
            catalogue_store: Arc::clone(&store.catalogue),
            wants: Arc::clone(&store.wants),
            cdn: Arc::new(CloudFront::new(&sdk)),
            key_listing: Arc::new(S3KeyListing::new(&sdk)),
            trust: Arc::new(trust),
            notices: Arc::new(notice_sender(&config)?),
            clock,
            wakeups: Arc::clone(&store.wakeups),
            catalogue,
            status: Arc::default(),
            metrics,
        };
        let settings = settings(&config);
        let mapping = Arc::clone(&settings.mapping);
        let stopping = CancellationToken::new();
        let state = AppState::from(Parts {
            stopping: stopping.clone(),
            ..state(&config, &context, &store, &health, mapping)
        });
        Ok(Self {
            public: Listener {
                key: "server.listen",
                socket: public,
                routes: http::public(state.clone()),
            },
            admin: Listener {
                key: "server.admin_listen",
                socket: admin,
                routes: http::admin(state, config.server.admin_listen),
            },
            tasks,
            health,
            store,
            leading,
            catalogue: publisher,
            stopping,
            dispatch: Dispatch { context, settings },
            config,
        })
    }

    /// The long-lived tasks. If one ends before it is told to, the service stops.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.socket.local_addr()
    }

    /// Runs until it is told to stop, lets running work finish, and closes the store. Fails if a
    /// long-lived task ended before it was told to.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut signals = StopSignals::new().context("signals cannot be received")?;
        let Self {
            config,
            tasks,
            health,
            store,
            leading,
            dispatch,
            catalogue,
            stopping,
            public,
            admin,
        } = self;
        let origins = Arc::clone(&dispatch.settings.origins);
        dispatch::follow_catalogue(&dispatch.context, origins, catalogue, &tasks);
        lead(dispatch, &store, leading, &stopping, &tasks).await?;
        let connections = Connections {
            most: config.server.max_connections,
            idle: config.server.idle_timeout,
        };
        serve(&tasks, "public listener", public, connections)?;
        serve(&tasks, "admin listener", admin, connections)?;
        match shutdown::wanted(&tasks, &mut signals).await {
            StopCause::Signal(name) => {
                tracing::info!("{name}: stopping");
                health.fail("shutdown", "the service is stopping");
            }
            StopCause::TaskEnded(name) => health.fail(
                "shutdown",
                format!("the {name} ended before it was told to: the service stops; see its log"),
            ),
        }
        // Nobody's wait delays the stop.
        stopping.cancel();
        let ServerConfig { drain, grace, .. } = config.server;
        match shutdown::finish(&tasks, &mut signals, drain, grace).await {
            Ending::Clean => store.close().await,
            ending => tracing::warn!(
                why = ending.reason(),
                "not all running work finished; accepted work is safe and continues at the next start"
            ),
        }
        tracing::info!("stopped");
        match tasks.failed() {
            Some(name) => bail!("the {name} ended before it was told to"),
            None => Ok(()),
        }
    }
}

/// Leads, if no other process can; otherwise tries to until the service stops.
async fn lead(
    dispatch: Dispatch,
    store: &OpenStore,
    leading: Leading,
    stopping: &CancellationToken,
    tasks: &Tasks,
) -> Result<(), StoreError> {
    let Some(leases) = &store.leases else {
        leading.set(true);
        dispatch.start(tasks, Epoch(1)).await?;
        return Ok(());
    };
    let leadership = Leadership {
        dispatch,
        leases: Arc::clone(leases),
        holder: holder(),
        leading,
        stopping: stopping.clone(),
    };
    leadership.start(tasks);
    Ok(())
}

/// How this process is called as the leader. The name of a pod or a container is its host's name.
fn holder() -> String {
    let host = rustix::system::uname();
    format!(
        "{}:{}",
        host.nodename().to_string_lossy(),
        std::process::id()
    )
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, BuildError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BuildError::AddressInUse { key, address },
        _ => BuildError::Listen {
            key,
            address,
            source,
        },
    })
}

/// Since when nothing has come from SNS. It is for alerts only, so the service starts without it.
async fn silent_since(history: &dyn HistoryStore, now: Timestamp) -> Timestamp {
    history.silent_since().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the time of the last message cannot be read: its age begins now");
        now
    })
}

/// Tells when each configured topic last sent something. It is for alerts only, as above.
async fn tell_last_notifications(config: &Config, history: &dyn HistoryStore, metrics: &Metrics) {
    match history.last_notifications().await {
        Ok(last) => {
            for (topic, at) in last {
                if config.sns.topics.iter().any(|one| one.as_str() == topic) {
                    metrics.notified(&topic, at);
                }
            }
        }
        Err(error) => tracing::warn!(%error, "the topics' last messages cannot be read"),
    }
}

fn serve(
    tasks: &Tasks,
    name: &'static str,
    listener: Listener,
    connections: Connections,
) -> anyhow::Result<()> {
    let Listener {
        key,
        socket,
        routes,
    } = listener;
    tracing::info!(key, address = %socket.local_addr()?, "listening");
    let stop = tasks.stop().clone();
    tasks.spawn(name, http::serve(socket, routes, connections, stop));
    Ok(())
}

fn sns_trust(
    config: &Config,
    sdk: &SdkConfig,
    certificates: Arc<dyn CertificateCache>,
    clock: &Arc<dyn Clock>,
    health: &Health,
) -> Result<AwsSnsTrust, BuildError> {
    let emulator = config.sns.emulator.as_ref();
    if let Some(emulator) = emulator {
        let text = format!(
            "messages with certificates from {} are trusted (sns.emulator): never in production",
            emulator.origin
        );
        tracing::warn!("{text}");
        health.warn("emulator", text);
    }
    let pinned = emulator.map(|one| (one.host.as_str(), one.addresses.as_slice()));
    let certificates = SigningCertificates::new(
        HttpFetch::new(pinned)?,
        certificates,
        Arc::clone(clock),
        FetchLimits {
            per_minute: config.sns.cert_fetches_per_minute,
            burst: config.sns.cert_fetch_burst,
            most: config.server.max_requests / 4,
        },
    );
    let origin = emulator.map(|one| one.origin.as_str());
    Ok(AwsSnsTrust::new(certificates, sdk, origin))
}

fn notice_sender(config: &Config) -> Result<WebhookSender, reqwest::Error> {
    let targets = config.notify.iter().map(|one| WebhookTarget {
        key: one.key.clone(),
        url: one.url.clone(),
        host: one.host.clone(),
        secrets: one.secrets.clone(),
        allow_private: one.allow_private,
    });
    WebhookSender::new(targets.collect())
}

fn notice_targets(config: &Config) -> Arc<[NoticeTarget]> {
    let targets = config.notify.iter().map(|one| NoticeTarget {
        key: one.key.clone(),
        origin: one.origin.clone(),
        kinds: one.events.clone(),
        distributions: one.distributions.clone(),
    });
    targets.collect()
}

fn state(
    config: &Config,
    context: &dispatch::Context,
    store: &OpenStore,
    health: &Health,
    mapping: Arc<MappingPolicy>,
) -> Parts {
    let tokens = config.api.tokens.iter().map(|token| ApiToken {
        name: token.name.clone(),
        sha256: token.sha256,
        distributions: token.distributions.clone().map(HashSet::from_iter),
        wildcards: token.wildcards,
    });
    Parts {
        intake: Arc::clone(&store.intake),
        operations: Arc::clone(&store.operations),
        history: Arc::clone(&store.history),
        wants: Arc::clone(&store.wants),
        space: store.space.clone(),
        trust: Arc::clone(&context.trust),
        clock: Arc::clone(&context.clock),
        wakeups: Arc::clone(&context.wakeups),
        catalogue: context.catalogue.clone(),
        mapping,
        day_limit: config.limits.paths_per_day,
        economy: config.economy.clone(),
        status: context.status.subscribe(),
        health: health.clone(),
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
        stopping: CancellationToken::new(),
        refusals: Arc::default(),
        heard: Arc::default(),
    }
}

fn token_distributions(config: &Config) -> Arc<[(String, String)]> {
    let tokens = config.api.tokens.iter().flat_map(|token| {
        let limited = token.distributions.iter().flatten();
        limited.map(|id| (token.name.clone(), id.clone()))
    });
    tokens.collect()
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
        economy: config.economy.clone(),
        shadow: config.dispatch.shadow,
        mapping: Arc::new(config.mapping.policy.clone()),
        origins: config.mapping.origins.clone().into(),
        token_distributions: token_distributions(config),
        notify: notice_targets(config),
        keep: config.store.keep,
        catalogue_refresh: config.catalogue.refresh,
        authenticate_on_unsubscribe: config.sns.authenticate_on_unsubscribe,
        seed: fastrand::u64(..),
    }
}
