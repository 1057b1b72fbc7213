//! What load balancers, Prometheus and newcomers ask: liveness, readiness, metrics, the API.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::problem::Problem;
use crate::{
    health::{Check, Health, State as CheckState},
    ports::{Clock, Store, StoreError},
    telemetry::Metrics,
};

/// The names of what is looked up in the store.
const DEAD_LETTERS: &str = "dead_letters";
const UNSUBSCRIBED: &str = "unsubscribed";

/// The process lives.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether the store takes writes. States only: details may name things of the account.
pub(super) async fn ready(
    State(health): State<Health>,
    State(store): State<Arc<dyn Store>>,
) -> Response {
    let checks = checks(&health, &*store, 1).await;
    let states: BTreeMap<_, _> = checks
        .iter()
        .map(|(part, check)| (*part, check.state))
        .collect();
    answer(&checks, states)
}

/// The same for operators, with the details.
pub(super) async fn ready_in_detail(
    State(health): State<Health>,
    State(store): State<Arc<dyn Store>>,
) -> Response {
    let checks = checks(&health, &*store, usize::MAX).await;
    answer(&checks, checks.clone())
}

/// What everybody reported, and what in the store somebody should look at: dead letters, counted
/// up to `most`, and subscriptions that ended.
async fn checks(health: &Health, store: &dyn Store, most: usize) -> BTreeMap<&'static str, Check> {
    let mut checks = health.checks();
    let mut add = |part, found: Result<Option<String>, StoreError>| match found {
        Ok(None) => drop(checks.insert(part, Check::ok())),
        Ok(Some(text)) => drop(checks.insert(part, Check::warn(text))),
        // The store's own check says more.
        Err(error) => tracing::debug!(%error, part, "not looked up"),
    };
    let letters = store.count_dead_letters(most).await;
    let show = |count| format!("{count} are kept: purgefront deadletters list shows them");
    add(
        DEAD_LETTERS,
        letters.map(|count| (count > 0).then(|| show(count))),
    );
    let ended = store.ended_subscriptions().await;
    let show = |topics: String| format!("the subscription to {topics} was ended; subscribe again");
    add(
        UNSUBSCRIBED,
        ended.map(|topics| (!topics.is_empty()).then(|| show(topics.join(" and ")))),
    );
    checks
}

fn answer(checks: &BTreeMap<&'static str, Check>, shown: impl Serialize) -> Response {
    #[derive(Serialize)]
    struct Body<T> {
        state: CheckState,
        checks: T,
    }
    let state = checks
        .values()
        .map(|check| check.state)
        .max()
        .unwrap_or(CheckState::Ok);
    let status = match state {
        CheckState::Ok | CheckState::Warn => StatusCode::OK,
        CheckState::Fail => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = Body {
        state,
        checks: shown,
    };
    (status, Json(body)).into_response()
}

/// Everything that is counted, for Prometheus.
pub(super) async fn metrics(
    State(metrics): State<Metrics>,
    State(store): State<Arc<dyn Store>>,
    State(clock): State<Arc<dyn Clock>>,
) -> Result<Response, Problem> {
    match store.count_dead_letters(usize::MAX).await {
        Ok(count) => metrics.dead_letters(count),
        // The other metrics matter most while the store is in trouble.
        Err(error) => tracing::warn!(%error, "dead letters were not counted"),
    }
    let text = metrics
        .encode(clock.now())
        .map_err(|_| Problem::internal())?;
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, format)], text).into_response())
}

/// The API's description.
pub(super) async fn openapi() -> impl axum::response::IntoResponse {
    let yaml = include_str!("../../openapi.yaml");
    ([(header::CONTENT_TYPE, "application/yaml")], yaml)
}
