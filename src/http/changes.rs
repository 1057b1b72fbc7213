//! GET /changes: shows what became of the changes of one object.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;
use tokio::sync::watch;

use super::{auth::Caller, parameters::Parameters, problem::Problem};
use crate::{
    domain::{
        status::Status,
        story::{ChangeQuery, ChangeView, Viewer},
    },
    ports::{Clock, catalogue::CatalogueHandle, history::HistoryStore},
};

const DEFAULT_LIMIT: usize = 20;
/// Lower than that of other lists: a change can have an item at each distribution.
const MAX_LIMIT: usize = 100;

#[derive(Debug, Serialize)]
pub(super) struct ChangePage {
    changes: Vec<ChangeView>,
    next_cursor: Option<String>,
}

pub(super) async fn list(
    caller: Caller,
    State(history): State<Arc<dyn HistoryStore>>,
    State(catalogue): State<CatalogueHandle>,
    State(status): State<watch::Receiver<Status>>,
    State(clock): State<Arc<dyn Clock>>,
    query: RawQuery,
) -> Result<Json<ChangePage>, Problem> {
    let mut parameters = Parameters::read(query);
    let bucket = parameters.required("bucket");
    let key = parameters.required("key");
    let limit = parameters.limit(DEFAULT_LIMIT, MAX_LIMIT);
    let before = parameters.cursor();
    parameters.finish()?;
    let page = history
        .changes(&ChangeQuery {
            viewer: viewer(&caller, &catalogue, &bucket)?,
            bucket,
            key,
            before,
            limit,
        })
        .await?;
    let next_cursor = page.next.map(|next| next.to_string());
    let (audience, now) = (caller.audience(), clock.now());
    let status = status.borrow();
    let stories = page.changes.into_iter();
    let changes = stories.map(|story| story.told(&status, audience, now));
    Ok(Json(ChangePage {
        changes: changes.collect(),
        next_cursor,
    }))
}

/// Who asks; `None` if the caller may see everything. What another may see depends on the catalogue.
fn viewer(
    caller: &Caller,
    catalogue: &CatalogueHandle,
    bucket: &str,
) -> Result<Option<Viewer>, Problem> {
    let Some(distributions) = caller.limited_to() else {
        return Ok(None);
    };
    let catalogue = catalogue.get().ok_or_else(Problem::no_catalogue)?;
    let mut serving = catalogue.serving(bucket).iter();
    Ok(Some(Viewer {
        serves: serving.any(|one| caller.sees(&one.distribution.id)),
        distributions: distributions.iter().cloned().collect(),
    }))
}
