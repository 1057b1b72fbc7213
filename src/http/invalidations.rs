//! GET /invalidations and /invalidations/{id}: shows invalidations and the reasons for their items.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};

use super::{
    auth::Caller,
    problem::{Fault, Problem},
};
use crate::{
    domain::history::{InvalidationDetail, InvalidationQuery, InvalidationSummary},
    ports::history::HistoryStore,
};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InvalidationListQuery {
    distribution_id: Option<String>,
    status: Option<String>,
    limit: Option<usize>,
    cursor: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct InvalidationPage {
    invalidations: Vec<InvalidationSummary>,
    next_cursor: Option<String>,
}

pub(super) async fn list(
    caller: Caller,
    State(history): State<Arc<dyn HistoryStore>>,
    query: Result<Query<InvalidationListQuery>, QueryRejection>,
) -> Result<Json<InvalidationPage>, Problem> {
    let Query(query) = query.map_err(|rejection| invalid("", rejection.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(invalid("limit", format!("between 1 and {MAX_LIMIT}")));
    }
    let status = query.status.map(|status| status.parse()).transpose();
    let status = status.map_err(|unknown| invalid("status", format!("{unknown}")))?;
    let mut invalidations = history
        .invalidations(&InvalidationQuery {
            distributions: visible(&caller, query.distribution_id),
            status,
            before: query.cursor,
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

fn invalid(parameter: &str, detail: String) -> Problem {
    Problem::invalid(vec![Fault {
        pointer: parameter.to_owned(),
        detail,
    }])
}
