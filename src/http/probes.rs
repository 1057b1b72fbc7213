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
    ports::{Clock, Store},
    telemetry::Metrics,
};

/// The name under which dead letters report.
const DEAD_LETTERS: &str = "dead_letters";

/// The process lives.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether the store takes writes. States only: details may name things of the account.
pub(super) async fn ready(
    State(health): State<Health>,
    State(store): State<Arc<dyn Store>>,
) -> Response {
    let checks = checks(&health, &*store).await;
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
    let checks = checks(&health, &*store).await;
    answer(&checks, checks.clone())
}

/// What everybody reported, and whether there are dead letters to look at.
async fn checks(health: &Health, store: &dyn Store) -> BTreeMap<&'static str, Check> {
    match store.count_dead_letters().await {
        Ok(0) => health.ok(DEAD_LETTERS),
        Ok(count) => {
            let text = format!("{count} are kept: purgefront deadletters list shows them");
            health.warn(DEAD_LETTERS, text);
        }
        // The store's own check says more.
        Err(error) => tracing::debug!(%error, "dead letters were not counted"),
    }
    health.checks()
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
    match store.count_dead_letters().await {
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
