//! GET /requests/{id}: shows the state of a manual request.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::{auth::Caller, problem::Problem};
use crate::{domain::history::RequestView, ports::history::HistoryStore};

pub(super) async fn show(
    caller: Caller,
    State(history): State<Arc<dyn HistoryStore>>,
    Path(id): Path<String>,
) -> Result<Json<RequestView>, Problem> {
    let known = match id.parse() {
        Ok(id) => history.request(id).await?,
        Err(_) => None,
    };
    known
        .filter(|request| caller.sees_all(request.distributions.as_deref()))
        .map(Json)
        .ok_or_else(|| Problem::not_found("there is no request with this id"))
}
