//! The operators' endpoints for dead letters.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use serde::Serialize;
use serde_json::json;

use super::{parameters::Parameters, problem::Problem};
use crate::{
    domain::{
        history::DeadLetter,
        s3_event::{self, Notification, ObjectChange},
    },
    ports::{Wakeup, Wakeups, operations::OperationsStore},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;
/// Each is a transaction of its own, and a call has a deadline.
const REPLAYED_PER_CALL: usize = 100;
const STILL_DEAD: &str = "still-dead";

#[derive(Debug, Serialize)]
pub(super) struct DeadLetterPage {
    dead_letters: Vec<DeadLetter>,
    next_cursor: Option<String>,
}

pub(super) async fn list(
    State(store): State<Arc<dyn OperationsStore>>,
    query: RawQuery,
) -> Result<Json<DeadLetterPage>, Problem> {
    let mut parameters = Parameters::read(query);
    let limit = parameters.limit(DEFAULT_LIMIT, MAX_LIMIT);
    let cursor = parameters.cursor();
    parameters.finish()?;
    let mut dead_letters = store.dead_letters(cursor, limit + 1).await?;
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
    replay_one(&*store, &letter).await?;
    wakeups.wake(Wakeup::ChangesAccepted);
    wakeups.wake(Wakeup::OperatorActed);
    Ok(Json(json!({ "replayed": letter.id })))
}

async fn replay_one(store: &dyn OperationsStore, letter: &DeadLetter) -> Result<(), Problem> {
    let replayed = if letter.kind == "record" {
        let change = read_again(letter)?;
        store.replay_record(letter.id, change).await?
    } else {
        store.replay_item(letter.id).await?
    };
    if replayed {
        Ok(())
    } else {
        Err(still_dead("it has no changes that could wait again"))
    }
}

/// Retries many dead letters, one page per call: all, or those whose reason contains a text.
pub(super) async fn replay_many(
    State(store): State<Arc<dyn OperationsStore>>,
    State(wakeups): State<Arc<dyn Wakeups>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let (letters, next_cursor) = chosen(&*store, query, REPLAYED_PER_CALL).await?;
    let (mut replayed, mut kept) = (0, 0);
    for letter in &letters {
        match replay_one(&*store, letter).await {
            Ok(()) => replayed += 1,
            Err(problem) if problem.slug() == STILL_DEAD => kept += 1,
            Err(problem) => return Err(problem),
        }
    }
    if replayed > 0 {
        wakeups.wake(Wakeup::ChangesAccepted);
        wakeups.wake(Wakeup::OperatorActed);
    }
    Ok(Json(
        json!({ "replayed": replayed, "kept": kept, "next_cursor": next_cursor }),
    ))
}

/// Deletes many dead letters, one page per call: all, or those whose reason contains a text.
pub(super) async fn drop_many(
    State(store): State<Arc<dyn OperationsStore>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let (letters, next_cursor) = chosen(&*store, query, MAX_LIMIT).await?;
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    let dropped = store.drop_dead_letters(&ids).await?;
    if dropped > 0 {
        tracing::warn!(dropped, "dead letters were dropped");
    }
    Ok(Json(
        json!({ "dropped": dropped, "next_cursor": next_cursor }),
    ))
}

/// The dead letters on the next page that a request is about, and where the page after it begins.
async fn chosen(
    store: &dyn OperationsStore,
    query: RawQuery,
    page: usize,
) -> Result<(Vec<DeadLetter>, Option<String>), Problem> {
    let mut parameters = Parameters::read(query);
    let all = parameters.flag("all");
    let why = parameters.text("why");
    let cursor = parameters.cursor();
    if all == why.is_some() {
        parameters.refuse("all", "either all=true or why is required");
    }
    parameters.finish()?;
    let mut letters = store.dead_letters(cursor, page).await?;
    let last = letters.last().filter(|_| letters.len() == page);
    let next_cursor = last.map(|last| last.id.to_string());
    letters.retain(|letter| {
        why.as_ref()
            .is_none_or(|why| letter.why.contains(why.as_str()))
    });
    Ok((letters, next_cursor))
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
    let mut read = s3_event::read(content);
    if let Notification::Foreign(_) = read {
        read = s3_event::read(&format!("{{\"Records\": [{content}]}}"));
    }
    match read {
        Notification::Unrelated => {
            Err(still_dead("it is not about a change of an object: drop it"))
        }
        Notification::Records(mut records) if records.len() == 1 => {
            records.remove(0).map_err(|bad| still_dead(&bad.why))
        }
        _ => Err(still_dead(&letter.why)),
    }
}

fn still_dead(why: &str) -> Problem {
    let detail = format!("it cannot be replayed: {why}");
    Problem::new(StatusCode::CONFLICT, STILL_DEAD, detail)
}
