//! GET /invalidations and /invalidations/{id}: shows invalidations and the reasons for their items.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use serde::Serialize;

use super::{auth::Caller, parameters::Parameters, problem::Problem};
use crate::{
    domain::history::{InvalidationDetail, InvalidationQuery, InvalidationSummary},
    ports::history::HistoryStore,
};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Serialize)]
pub(super) struct InvalidationPage {
    invalidations: Vec<InvalidationSummary>,
    next_cursor: Option<String>,
}

pub(super) async fn list(
    caller: Caller,
    State(history): State<Arc<dyn HistoryStore>>,
    query: RawQuery,
) -> Result<Json<InvalidationPage>, Problem> {
    let mut parameters = Parameters::read(query);
    let distribution_id = parameters.text("distribution_id");
    let status = parameters.text("status").map(|status| status.parse());
    let status = status.transpose().unwrap_or_else(|unknown| {
        parameters.refuse("status", format!("{unknown}"));
        None
    });
    let limit = parameters.limit(DEFAULT_LIMIT, MAX_LIMIT);
    let cursor = parameters.cursor();
    parameters.finish()?;
    let mut invalidations = history
        .invalidations(&InvalidationQuery {
            distributions: visible(&caller, distribution_id),
            status,
            before: cursor,
            limit: limit + 1,
        })
        .await?;
    let more = invalidations.len() > limit;
    invalidations.truncate(limit);
    let last = invalidations.last().filter(|_| more);
    let next_cursor = last.map(|last| last.seq.to_string());
    Ok(Json(InvalidationPage {
        invalidations,
        next_cursor,
    }))
}

pub(super) async fn show(
    caller: Caller,
    State(history): State<Arc<dyn HistoryStore>>,
    Path(id): Path<String>,
) -> Result<Json<InvalidationDetail>, Problem> {
    let known = history.invalidation(&id).await?;
    known
        .filter(|one| caller.sees(&one.summary.distribution_id))
        .map(Json)
        .ok_or_else(|| Problem::not_found("there is no invalidation with this id"))
}

/// The distributions to list invalidations of; `None` means all.
fn visible(caller: &Caller, only: Option<String>) -> Option<Vec<String>> {
    match (only, caller.limited_to()) {
        (Some(id), _) => Some(if caller.sees(&id) {
            vec![id]
        } else {
            Vec::new()
        }),
        (None, Some(ids)) => Some(ids.iter().cloned().collect()),
        (None, None) => None,
    }
}
