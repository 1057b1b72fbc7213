//! The dry run of POST /invalidate: what a request would send. It sends and keeps nothing.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::{AppState, problem::Problem};
use crate::{
    domain::{
        catalogue::Catalogue,
        change::{Asked, Effect},
        preview::{self, Missing, Preview},
    },
    ports::Wakeup,
};

/// How long to wait for what the catalogue lacks: less than a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows what `asked` would send. Waits a while for what no change has needed yet, so that nobody has
/// read it.
pub(super) async fn show(
    state: &AppState,
    catalogue: Arc<Catalogue>,
    asked: &Asked,
) -> Result<Response, Problem> {
    let until = state.clock.now() + PATIENCE;
    let mut handle = state.catalogue.clone();
    let mut catalogue = catalogue;
    loop {
        handle.take_changed();
        catalogue = handle.get().unwrap_or(catalogue);
        let missing = match preview(state, &catalogue, asked) {
            Ok(preview) => return Ok(Json(preview).into_response()),
            Err(missing) => missing,
        };
        state.wants.want(missing).await?;
        state.wakeups.wake(Wakeup::CatalogueWanted);
        tokio::select! {
            () = handle.changed() => {}
            () = state.clock.sleep_until(until) => return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-catalogue",
                "some details of the distributions have not been read yet; try again in a moment",
            )),
        }
    }
}

fn preview(state: &AppState, catalogue: &Catalogue, asked: &Asked) -> Result<Preview, Missing> {
    match asked {
        Asked::Items {
            distribution_id,
            items,
        } => Ok(preview::of_items(catalogue.get(distribution_id), items)),
        Asked::Keys {
            bucket,
            keys,
            distributions,
        } => {
            if catalogue.serving(bucket).is_empty() {
                // A distribution of this bucket may be new.
                state.wakeups.wake(Wakeup::CatalogueWanted);
            }
            let only_at = distributions.as_deref();
            // Whoever gives a key does not say what became of its object.
            let effect = Effect::Appears;
            // Thousands of keys take a while, in which others must not wait.
            tokio::task::block_in_place(|| {
                preview::of_keys(catalogue, &state.mapping, bucket, keys, effect, only_at)
            })
        }
    }
}
