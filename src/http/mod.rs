//! The routes of both listeners, and the layers around them.

mod auth;
mod basic;
mod capacity;
mod changes;
mod connections;
mod distributions;
mod dry_run;
mod guard;
mod heard;
mod holds;
mod idempotency;
mod invalidate;
mod invalidations;
mod letters;
mod members;
mod operate;
mod order;
mod page;
mod parameters;
mod probes;
mod problem;
mod refusals;
mod request_id;
mod requests;
mod sender;
mod sns;

use std::{collections::HashSet, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use axum::{
    Router,
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, FromRef, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

use crate::{
    domain::{
        economy::Economy, mapping::MappingPolicy, s3_event::EventFilter, status::Status,
        topic::TopicArn,
    },
    ports::{
        Clock, FreeSpace, SnsTrust, Wakeups,
        catalogue::{CatalogueHandle, CatalogueWants},
        history::HistoryStore,
        intake::IntakeStore,
        operations::OperationsStore,
    },
    secret::SecretHash,
    telemetry::{Health, Metrics},
};

pub use auth::{ApiToken, Tokens};
pub use capacity::Capacity;
pub use connections::{Connections, serve};
pub use heard::HeardTopics;
use problem::Problem;
pub use problem::SLUGS;
pub use refusals::Refusals;

/// A notification has at most 256 KiB, which JSON escapes may double.
const SNS_BODY: usize = 512 * 1024;
const API_BODY: usize = 1024 * 1024;
const ADMIN_BODY: usize = 4 * 1024;

/// The time limit of a request from its arrival. After it, the response is 503, and the request may
/// or may not have been committed.
const DEADLINE: Duration = Duration::from_secs(10);

/// The state that the handlers share. Each request clones it several times, so it is one reference.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

impl From<Parts> for AppState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What [`AppState`] refers to.
pub struct Parts {
    pub intake: Arc<dyn IntakeStore>,
    pub operations: Arc<dyn OperationsStore>,
    pub history: Arc<dyn HistoryStore>,
    /// What is wanted of the catalogue.
    pub wants: Arc<dyn CatalogueWants>,
    /// `None` if the store is not on this machine.
    pub space: Option<Arc<dyn FreeSpace>>,
    pub trust: Arc<dyn SnsTrust>,
    pub clock: Arc<dyn Clock>,
    pub wakeups: Arc<dyn Wakeups>,
    pub catalogue: CatalogueHandle,
    /// What dry runs map with.
    pub mapping: Arc<MappingPolicy>,
    /// Items a day that automatic work may submit; 0 means no limit.
    pub day_limit: u64,
    /// What the month's budget is, and what it is for.
    pub economy: Economy,
    /// The status of the background work.
    pub status: watch::Receiver<Status>,
    /// The health of the process itself.
    pub health: Health,
    pub metrics: Metrics,
    pub sns: Arc<SnsRules>,
    pub tokens: Arc<Tokens>,
    pub capacity: Capacity,
    /// Cancelled as soon as the service begins to stop.
    pub stopping: CancellationToken,
    pub refusals: Arc<Refusals>,
    pub heard: Arc<HeardTopics>,
}

/// The rules for accepting SNS messages.
#[derive(Debug)]
pub struct SnsRules {
    pub topics: HashSet<TopicArn>,
    /// Older messages are refused.
    pub max_age: Duration,
    /// Messages further in the future are answered with 503, because our clock may be wrong.
    pub max_skew: Duration,
    pub events: EventFilter,
    /// The origin of an emulator whose certificates are trusted in addition to those of SNS.
    pub emulator: Option<String>,
    /// The Basic credentials that SNS has to send, if configured.
    pub basic: Option<SecretHash>,
}

macro_rules! part_of_state {
    ($($field:ident: $part:ty),+ $(,)?) => {$(
        impl FromRef<AppState> for $part {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        }
    )+};
}

part_of_state! {
    operations: Arc<dyn OperationsStore>,
    history: Arc<dyn HistoryStore>,
    clock: Arc<dyn Clock>,
    wakeups: Arc<dyn Wakeups>,
    status: watch::Receiver<Status>,
    health: Health,
    metrics: Metrics,
    tokens: Arc<Tokens>,
    capacity: Capacity,
    catalogue: CatalogueHandle,
}

impl FromRef<AppState> for operate::Operator {
    fn from_ref(state: &AppState) -> Self {
        Self {
            store: Arc::clone(&state.operations),
            wakeups: Arc::clone(&state.wakeups),
            clock: Arc::clone(&state.clock),
            catalogue: state.catalogue.clone(),
            limited: state.day_limit > 0,
        }
    }
}

/// The routes of the public listener: SNS, the API, and probes.
pub fn public(state: AppState) -> Router {
    let places = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_| async { Problem::overloaded() }))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(
            state.capacity.places(),
        ));
    let limited = Router::new()
        .route("/invalidations", get(invalidations::list))
        .route("/invalidations/{id}", get(invalidations::show))
        .route("/changes", get(changes::list))
        .route("/holds", get(holds::list))
        .route("/holds/{id}", get(holds::show).delete(holds::end))
        .route("/distributions", get(distributions::list))
        .layer(places)
        // The following take a place only when their body is complete.
        .route("/invalidate", post(invalidate::create))
        .route("/holds", post(holds::create))
        .layer(middleware::from_fn(deadline));
    let open = Router::new()
        // Takes its place and keeps its deadlines itself, because it may have to wait.
        .route("/requests/{id}", get(requests::show))
        .route("/healthz", get(probes::health))
        .route("/readyz", get(probes::ready))
        .route("/openapi.yaml", get(probes::openapi));
    let elsewhere = middleware::from_fn_with_state(state.clone(), sns::elsewhere);
    let messages = Router::new()
        .route(sns::PATHS[0], post(sns::receive))
        .route(sns::PATHS[1], post(sns::receive))
        .method_not_allowed_fallback(method_not_allowed);
    let others = fallbacks(limited.merge(open)).layer(elsewhere);
    finished(caught(others.merge(messages))).with_state(state)
}

/// The routes of the admin listener, which listens on `address`.
pub fn admin(state: AppState, address: SocketAddr) -> Router {
    let guard = guard::Guard {
        tokens: Arc::clone(&state.tokens),
        metrics: state.metrics.clone(),
        address,
    };
    let guarded = Router::new()
        .route("/pause", post(operate::pause))
        .route("/resume", post(operate::resume))
        .route(
            "/deadletters",
            get(letters::list).delete(letters::drop_many),
        )
        .route("/deadletters/replay", post(letters::replay_many))
        .route("/deadletters/{id}", delete(letters::drop_letter))
        .route("/deadletters/{id}/replay", post(letters::replay))
        .route("/redrive", post(sns::redrive))
        // The status page, at `/`, `/page.css`, `/page.js` and `/page/...`.
        .merge(page::routes())
        .layer(DefaultBodyLimit::max(ADMIN_BODY))
        .layer(middleware::from_fn(deadline))
        .layer(middleware::from_fn_with_state(guard, guard::guard));
    let open = Router::new()
        .route("/metrics", get(probes::metrics))
        .route("/healthz", get(probes::health))
        .route("/readyz", get(probes::ready_in_detail));
    let for_people = middleware::from_fn_with_state(state.clone(), page::for_people);
    finished(caught(fallbacks(guarded.merge(open))).layer(for_people)).with_state(state)
}

/// Adds what every response has: an id, and that no cache may store it, unless the route says otherwise.
fn finished<S>(routes: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let no_store = HeaderValue::from_static("no-store");
    let uncached = SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, no_store);
    request_id::with_request_ids(routes.layer(uncached))
}

/// Answers what no route does.
fn fallbacks<S>(routes: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    routes
        .fallback(|| async { Problem::not_found("there is no such resource") })
        .method_not_allowed_fallback(method_not_allowed)
}

async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}

/// Answers panics, and what fails before a handler runs, in the format of problems.
fn caught<S>(routes: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let layers = ServiceBuilder::new()
        .map_response(problem::instead_of_text)
        .layer(CatchPanicLayer::custom(|_| {
            Problem::internal().into_response()
        }));
    routes.layer(layers)
}

async fn deadline(request: Request, next: Next) -> Response {
    let answered = within_deadline(next.run(request)).await;
    answered.unwrap_or_else(Problem::into_response)
}

/// Waits for an answer until the time limit.
async fn within_deadline<T>(work: impl Future<Output = T>) -> Result<T, Problem> {
    #[expect(
        clippy::disallowed_methods,
        reason = "senders wait in real time, even if the Clock port is simulated"
    )]
    let answered = tokio::time::timeout(DEADLINE, work).await;
    answered.map_err(|_| Problem::not_in_time())
}

/// A time as the store keeps it, so that what is created is shown with the same times at all times.
fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
