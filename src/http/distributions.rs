//! GET /distributions: the account's distributions as purgefront sees them, and how their work stands.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::Serialize;

use super::{AppState, auth::Caller, parameters::Parameters, problem::Problem};
use crate::domain::overview::DistributionView;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

#[derive(Debug, Serialize)]
pub(super) struct DistributionPage {
    distributions: Vec<DistributionView>,
    next_cursor: Option<String>,
    /// When reading the account began.
    read_since: Timestamp,
}

pub(super) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    query: RawQuery,
) -> Result<Json<DistributionPage>, Problem> {
    let mut parameters = Parameters::read(query);
    let limit = parameters.limit(DEFAULT_LIMIT, MAX_LIMIT);
    // An id: it need not be of a distribution that still exists.
    let after = parameters.text("cursor").unwrap_or_default();
    parameters.finish()?;
    let Some(catalogue) = state.catalogue.get() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-catalogue",
            "the account's distributions have not been read yet; try again in a moment",
        ));
    };
    let (audience, now) = (caller.audience(), state.clock.now());
    let status = state.status.borrow();
    // Ordered by id.
    let all = catalogue.snapshot().distributions.iter();
    let mut page = all
        .filter(|one| one.id.as_str() > after.as_str() && caller.sees(&one.id))
        .map(|one| DistributionView::new(one, &catalogue, &state.mapping, &status, audience, now));
    let distributions: Vec<_> = page.by_ref().take(limit).collect();
    let last = distributions.last().filter(|_| page.next().is_some());
    Ok(Json(DistributionPage {
        next_cursor: last.map(|one| one.id.clone()),
        distributions,
        read_since: catalogue.snapshot().read_since,
    }))
}
