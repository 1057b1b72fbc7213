//! The operators' endpoints for sending: pause and resume.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    ADMIN_BODY,
    problem::{Problem, RequestFault},
};
use crate::{
    domain::operations::{Controls, day_of},
    ports::{Clock, Wakeup, Wakeups, catalogue::CatalogueHandle, operations::OperationsStore},
};

/// What to pause or resume: one distribution, or all.
#[derive(Debug, Default, PartialEq, Eq)]
struct PauseScope {
    distribution_id: Option<String>,
    /// Whether a distribution that the catalogue does not have is meant.
    force: bool,
}

/// What holds sending after a pause or a resumption.
#[derive(Debug, Serialize)]
pub(super) struct Sending {
    paused_for_all: bool,
    /// Distributions that are paused by themselves.
    paused: BTreeSet<String>,
    /// Whether there is a daily limit, and it was lifted for today.
    daily_limit_lifted: bool,
}

/// What the handlers use.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) store: Arc<dyn OperationsStore>,
    pub(super) wakeups: Arc<dyn Wakeups>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalogue: CatalogueHandle,
    /// Whether there is a daily limit.
    pub(super) limited: bool,
}

impl PauseScope {
    fn read(body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(ADMIN_BODY),
            _ => Problem::not_read(),
        })?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        let wanted = "send no body, or {\"distribution_id\": \"...\"}";
        let not_json = |_| Problem::new(StatusCode::BAD_REQUEST, "not-json", wanted);
        let Value::Object(members) = serde_json::from_slice(&body).map_err(not_json)? else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "not-json", wanted));
        };
        let mut scope = Self::default();
        let mut faults = Vec::new();
        for (name, value) in members {
            let detail = match (name.as_str(), value) {
                ("distribution_id", Value::Null) => continue,
                ("distribution_id", Value::String(id)) if id.is_empty() => {
                    "the distribution_id is empty: leave it out to mean all distributions"
                }
                ("distribution_id", Value::String(id)) => {
                    scope.distribution_id = Some(id);
                    continue;
                }
                ("distribution_id", _) => "must be a string",
                ("force", Value::Bool(force)) => {
                    scope.force = force;
                    continue;
                }
                ("force", _) => "must be true or false",
                _ => "unknown: only distribution_id and force are known",
            };
            faults.push(RequestFault::at(&name, detail));
        }
        if faults.is_empty() {
            Ok(scope)
        } else {
            Err(Problem::invalid(faults))
        }
    }
}

impl Operator {
    async fn scope(&self, body: Result<Bytes, BytesRejection>) -> Result<PauseScope, Problem> {
        let scope = PauseScope::read(body)?;
        let paused = self.controls().await?.pauses.distributions;
        self.check(&scope, &paused)?;
        Ok(scope)
    }

    /// Refuses an id that nothing knows: it is probably misspelt, and nobody would notice.
    fn check(&self, scope: &PauseScope, paused: &BTreeSet<String>) -> Result<(), Problem> {
        let Some(id) = scope.distribution_id.as_deref().filter(|_| !scope.force) else {
            return Ok(());
        };
        if paused.contains(id) {
            return Ok(());
        }
        match self.catalogue.get() {
            Some(catalogue) if catalogue.get(id).is_some() => Ok(()),
            Some(_) => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-distribution",
                "the account has no distribution with this id, as far as it has been read; to use the \
                 id all the same, send \"force\": true (--force)",
            )),
            None => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-catalogue",
                "the account's distributions have not been read yet, so the id cannot be checked; to \
                 use it all the same, send \"force\": true (--force)",
            )),
        }
    }

    async fn controls(&self) -> Result<Controls, Problem> {
        Ok(self.store.controls(day_of(self.clock.now())).await?)
    }

    /// Tells the workers, and what now holds sending.
    async fn acted(&self) -> Result<Json<Sending>, Problem> {
        self.wakeups.wake(Wakeup::OperatorActed);
        let Controls {
            pauses, spending, ..
        } = self.controls().await?;
        Ok(Json(Sending {
            paused_for_all: pauses.all,
            paused: pauses.distributions,
            daily_limit_lifted: spending.lifted && self.limited,
        }))
    }
}

/// Stops sending. Intake continues.
pub(super) async fn pause(
    State(operator): State<Operator>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Sending>, Problem> {
    let scope = operator.scope(body).await?;
    let id = scope.distribution_id.as_deref();
    operator.store.set_paused(id, true).await?;
    tracing::warn!(
        distribution_id = id,
        all = id.is_none(),
        "sending is paused"
    );
    operator.acted().await
}

/// Resumes sending, and tries what was refused now. Without a distribution, it also lifts the daily
/// limit for the rest of the day.
pub(super) async fn resume(
    State(operator): State<Operator>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Sending>, Problem> {
    let scope = operator.scope(body).await?;
    let id = scope.distribution_id.as_deref();
    operator.store.set_paused(id, false).await?;
    let now = operator.clock.now();
    operator.store.end_backoffs(id, now).await?;
    if id.is_none() {
        operator.store.lift_limit(day_of(now)).await?;
    }
    let sending = operator.acted().await?;
    tracing::warn!(
        distribution_id = id,
        all = id.is_none(),
        paused_for_all = sending.paused_for_all,
        still_paused = ?sending.paused,
        daily_limit_lifted = sending.daily_limit_lifted,
        "sending is resumed"
    );
    Ok(sending)
}
