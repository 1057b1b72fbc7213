//! The operators' endpoints: pause, resume, and dead letters.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::{Problem, RequestFault};
use crate::{
    domain::{
        history::DeadLetter,
        operations::day_of,
        s3_event::{self, Notification, ObjectChange},
    },
    ports::{Clock, Wakeup, Wakeups, operations::OperationsStore},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// What to pause or resume: one distribution, or all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseScope {
    distribution_id: Option<String>,
}

impl PauseScope {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let scope: Self = serde_json::from_slice(body).map_err(|error| {
            let detail = format!("send no body, or {{\"distribution_id\": \"...\"}}: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "not-json", detail)
        })?;
        if scope.distribution_id.as_deref() == Some("") {
            let detail = "the distribution_id is empty: leave it out to mean all distributions";
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                detail,
            ));
        }
        Ok(scope)
    }
}

/// Stops sending. Intake continues.
pub(super) async fn pause(
    State(store): State<Arc<dyn OperationsStore>>,
    State(wakeups): State<Arc<dyn Wakeups>>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let scope = PauseScope::read(&body)?;
    store
        .set_paused(scope.distribution_id.as_deref(), true)
        .await?;
    tracing::warn!(distribution_id = scope.distribution_id, "sending is paused");
    wakeups.wake(Wakeup::OperatorActed);
    Ok(StatusCode::NO_CONTENT)
}

/// Resumes sending. Without a distribution, it also lifts the daily limit for the rest of the day.
pub(super) async fn resume(
    State(store): State<Arc<dyn OperationsStore>>,
    State(wakeups): State<Arc<dyn Wakeups>>,
    State(clock): State<Arc<dyn Clock>>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let scope = PauseScope::read(&body)?;
    store
        .set_paused(scope.distribution_id.as_deref(), false)
        .await?;
    if scope.distribution_id.is_none() {
        store.lift_limit(day_of(clock.now())).await?;
    }
    tracing::warn!(
        distribution_id = scope.distribution_id,
        "sending is resumed"
    );
    wakeups.wake(Wakeup::OperatorActed);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetterListQuery {
    limit: Option<usize>,
    cursor: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct DeadLetterPage {
    dead_letters: Vec<DeadLetter>,
    next_cursor: Option<String>,
}

pub(super) async fn list(
    State(store): State<Arc<dyn OperationsStore>>,
    query: Result<Query<DeadLetterListQuery>, QueryRejection>,
) -> Result<Json<DeadLetterPage>, Problem> {
    let invalid = |pointer: &str, detail: String| {
        Problem::invalid(vec![RequestFault {
            pointer: pointer.to_owned(),
            detail,
        }])
    };
    let Query(query) = query.map_err(|rejection| invalid("", rejection.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(invalid("limit", format!("between 1 and {MAX_LIMIT}")));
    }
    let mut dead_letters = store.dead_letters(query.cursor, limit + 1).await?;
    let more = dead_letters.len() > limit;
    dead_letters.truncate(limit);
    let last = dead_letters.last().filter(|_| more);
    let next_cursor = last.map(|last| last.id.to_string());
    Ok(Json(DeadLetterPage {
        dead_letters,
        next_cursor,
    }))
}

pub(super) async fn replay(
    State(store): State<Arc<dyn OperationsStore>>,
    State(wakeups): State<Arc<dyn Wakeups>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let letter = find(&*store, &id).await?;
    let replayed = if letter.kind == "record" {
        let change = read_again(&letter)?;
        store.replay_record(letter.id, change).await?
    } else {
        store.replay_item(letter.id).await?
    };
    if !replayed {
        return Err(still_dead("it has no changes that could wait again"));
    }
    wakeups.wake(Wakeup::ChangesAccepted);
    wakeups.wake(Wakeup::OperatorActed);
    Ok(Json(json!({ "replayed": letter.id })))
}

pub(super) async fn drop_letter(
    State(store): State<Arc<dyn OperationsStore>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let letter = find(&*store, &id).await?;
    store.drop_dead_letter(letter.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(store: &dyn OperationsStore, id: &str) -> Result<DeadLetter, Problem> {
    let letter = match id.parse() {
        Ok(id) => store.dead_letter(id).await?,
        Err(_) => None,
    };
    letter.ok_or_else(|| Problem::not_found("there is no dead letter with this id"))
}

/// A newer version may be able to read the record.
fn read_again(letter: &DeadLetter) -> Result<ObjectChange, Problem> {
    let content = letter.content.as_deref().unwrap_or_default();
    match s3_event::read(&format!("{{\"Records\": [{content}]}}")) {
        Notification::Records(mut records) if records.len() == 1 => {
            records.remove(0).map_err(|bad| still_dead(&bad.why))
        }
        _ => Err(still_dead(&letter.why)),
    }
}

fn still_dead(why: &str) -> Problem {
    let detail = format!("it cannot be replayed: {why}");
    Problem::new(StatusCode::CONFLICT, "still-dead", detail)
}
