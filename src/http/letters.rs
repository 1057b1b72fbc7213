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
    ports::{StoreError, Wakeup, Wakeups, operations::OperationsStore},
};

const DEFAULT_LIMIT: usize = 100;
pub(super) const MAX_LIMIT: usize = 1_000;
/// Each is a transaction of its own, and a call has a deadline.
pub(super) const REPLAYED_PER_CALL: usize = 100;
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
    let (why, cursor) = choice(query)?;
    let (letters, next_cursor) = chosen(&*store, why.as_deref(), cursor, REPLAYED_PER_CALL).await?;
    let Replayed { replayed, kept } = replay_all(&*store, &*wakeups, &letters).await?;
    Ok(Json(json!({
        "replayed": replayed,
        "kept": kept,
        "next_cursor": next_cursor.map(|cursor| cursor.to_string()),
    })))
}

/// What became of dead letters that were to be replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) replayed: u64,
    /// Those that cannot be replayed.
    pub(super) kept: u64,
}

pub(super) async fn replay_all(
    store: &dyn OperationsStore,
    wakeups: &dyn Wakeups,
    letters: &[DeadLetter],
) -> Result<Replayed, Problem> {
    let mut count = Replayed::default();
    for letter in letters {
        let stays = match replay_one(store, letter).await {
            Ok(()) => false,
            // Unless it was replayed with another one of the same change.
            Err(problem) if problem.slug() == STILL_DEAD => {
                store.dead_letter(letter.id).await?.is_some()
            }
            Err(problem) => return Err(problem),
        };
        if stays {
            count.kept += 1;
        } else {
            count.replayed += 1;
        }
    }
    if count.replayed > 0 {
        wakeups.wake(Wakeup::ChangesAccepted);
        wakeups.wake(Wakeup::OperatorActed);
    }
    Ok(count)
}

/// Deletes many dead letters, one page per call: all, or those whose reason contains a text.
pub(super) async fn drop_many(
    State(store): State<Arc<dyn OperationsStore>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let (why, cursor) = choice(query)?;
    let (letters, next_cursor) = chosen(&*store, why.as_deref(), cursor, MAX_LIMIT).await?;
    let dropped = drop_all(&*store, &letters).await?;
    Ok(Json(json!({
        "dropped": dropped,
        "next_cursor": next_cursor.map(|cursor| cursor.to_string()),
    })))
}

/// Deletes these dead letters, and returns how many there were.
pub(super) async fn drop_all(
    store: &dyn OperationsStore,
    letters: &[DeadLetter],
) -> Result<u64, StoreError> {
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    let dropped = store.drop_dead_letters(&ids).await?;
    if dropped > 0 {
        tracing::warn!(dropped, "dead letters were dropped");
    }
    Ok(dropped)
}

/// Which dead letters a request is about: the text that their reason contains, if not all; and where
/// the page begins.
fn choice(query: RawQuery) -> Result<(Option<String>, Option<i64>), Problem> {
    let mut parameters = Parameters::read(query);
    let all = parameters.flag("all");
    let why = parameters.text("why");
    let cursor = parameters.cursor();
    if all == why.is_some() {
        parameters.refuse("all", "either all=true or why is required");
    }
    parameters.finish()?;
    Ok((why, cursor))
}

/// Those dead letters of a page whose reason contains a text, or all of them, and where the page after
/// it begins.
pub(super) async fn chosen(
    store: &dyn OperationsStore,
    why: Option<&str>,
    cursor: Option<i64>,
    page: usize,
) -> Result<(Vec<DeadLetter>, Option<i64>), StoreError> {
    let mut letters = store.dead_letters(cursor, page).await?;
    let last = letters.last().filter(|_| letters.len() == page);
    let next_cursor = last.map(|last| last.id);
    letters.retain(|letter| why.is_none_or(|why| letter.why.contains(why)));
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
