//! Liveness, readiness, metrics, and the API description.

use std::{collections::BTreeMap, time::Duration};

use super::{AppState, problem::Problem};
use crate::{
    domain::status::{Finding, Severity},
    ports::StoreError,
    telemetry::{Check, CheckState},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

/// The names of checks that read the store.
const DEAD_LETTERS: &str = "dead_letters";
pub(super) const UNSUBSCRIBED: &str = "unsubscribed";
pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
const REFUSED: &str = "refused_messages";
/// The store's own check.
const STORE: &str = "store";
/// How long they may take together. Whoever probes waits for a few seconds at most.
const READS: Duration = Duration::from_secs(1);

/// Liveness.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Public readiness, without details, because they may name resources of the account.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
    let (status, checks, _) = checks(&state, 1).await;
    let shown = checks.iter().map(|(part, check)| (*part, check.state));
    let shown: BTreeMap<_, _> = shown.collect();
    answer(status, &checks, shown)
}

/// Readiness with details, for operators.
pub(super) async fn ready_in_detail(State(state): State<AppState>) -> Response {
    let (status, checks, _) = checks(&state, usize::MAX).await;
    answer(status, &checks, checks.clone())
}

/// All checks: the health of the process, the status of the background work, dead letters (counted up
/// to `most`), and ended subscriptions.
///
/// Returns the number of dead letters as well, if it could be read.
///
/// The service is ready as long as it can accept requests. Problems of the background work are shown,
/// but are no reason to send SNS's messages elsewhere.
pub(super) async fn checks(
    state: &AppState,
    most: usize,
) -> (StatusCode, BTreeMap<&'static str, Check>, Option<u64>) {
    let mut checks = state.health.checks();
    let failed = checks.values().any(|check| check.state == CheckState::Fail);
    let status = if failed {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let findings = state.status.borrow().findings();
    checks.extend(findings.into_iter().map(check));
    // What is known to be away is not asked, and who probes does not wait for long.
    let reads = async {
        tokio::join!(
            state.operations.count_dead_letters(most),
            state.history.ended_subscriptions(),
            state.heard.warning(&state.sns.topics, &*state.history),
        )
    };
    let is_away = checks
        .get(STORE)
        .is_some_and(|store| store.state == CheckState::Fail);
    let (letters, ended, heard) = tokio::select! {
        biased;
        () = std::future::ready(()), if is_away => (Err(away()), Err(away()), Err(away())),
        found = reads => found,
        () = state.clock.sleep_until(state.clock.now() + READS) => (Err(away()), Err(away()), Err(away())),
    };
    let mut add = |part, found: Result<Option<String>, StoreError>| match found {
        Ok(None) => drop(checks.insert(part, Check::ok())),
        Ok(Some(text)) => drop(checks.insert(part, Check::warn(text))),
        // The store's own check reports the reason.
        Err(error) => tracing::debug!(%error, part, "the store could not be read for a check"),
    };
    let counted = letters.as_ref().ok().copied();
    let show = |count| format!("there are {count}: purgefront deadletters list shows them");
    add(
        DEAD_LETTERS,
        letters.map(|count| (count > 0).then(|| show(count))),
    );
    let show = |topics: String| format!("the subscription to {topics} has ended; subscribe again");
    add(
        UNSUBSCRIBED,
        ended.map(|topics| (!topics.is_empty()).then(|| show(topics.join(" and ")))),
    );
    match heard {
        // What the status says of an unconfirmed subscription is more precise.
        Ok(Some(text))
            if checks
                .get(SUBSCRIPTIONS)
                .is_none_or(|check| *check == Check::ok()) =>
        {
            checks.insert(SUBSCRIPTIONS, Check::warn(text));
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "topics could not be looked up for a check"),
    }
    let refused = state.refusals.warning(state.clock.now());
    checks.insert(REFUSED, refused.map_or_else(Check::ok, Check::warn));
    (status, checks, counted)
}

fn away() -> StoreError {
    StoreError::unavailable("the store does not answer")
}

fn check(finding: Finding) -> (&'static str, Check) {
    let state = match finding.severity {
        Severity::Ok => CheckState::Ok,
        Severity::Warn => CheckState::Warn,
        Severity::Fail => CheckState::Fail,
    };
    let detail = finding.detail;
    (finding.check, Check { state, detail })
}

fn answer(
    status: StatusCode,
    checks: &BTreeMap<&'static str, Check>,
    shown: impl Serialize,
) -> Response {
    #[derive(Serialize)]
    struct ReadinessBody<T> {
        state: CheckState,
        checks: T,
    }
    let worst = checks.values().map(|check| check.state).max();
    let body = ReadinessBody {
        state: worst.unwrap_or(CheckState::Ok),
        checks: shown,
    };
    (status, Json(body)).into_response()
}

/// Everything that readiness tells is a metric as well, so that alerts can tell it.
pub(super) async fn metrics(State(state): State<AppState>) -> Result<Response, Problem> {
    let (_, checks, letters) = checks(&state, usize::MAX).await;
    // The other metrics matter most while the store has problems.
    if let Some(count) = letters {
        state.metrics.dead_letters(count);
    }
    let space = state.space.as_ref();
    state
        .metrics
        .free_bytes(space.and_then(|space| space.free_bytes()));
    let status = state.status.borrow().clone();
    let text = state
        .metrics
        .encode(state.clock.now(), &checks, &status)
        .map_err(|_| Problem::internal())?;
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, format)], text).into_response())
}

pub(super) async fn openapi() -> impl axum::response::IntoResponse {
    let yaml = include_str!("../../openapi.yaml");
    ([(header::CONTENT_TYPE, "application/yaml")], yaml)
}
