//! GET /requests/{id}: shows the state of a manual request, at once or when it has settled.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use uuid::Uuid;

use super::{AppState, auth::Caller, parameters::Parameters, problem::Problem, within_deadline};
use crate::domain::history::RequestView;

/// The longest wait. Load balancers give up after a minute.
const MAX_WAIT: Duration = Duration::from_secs(50);
/// The times between two looks at the store: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Json<RequestView>, Problem> {
    let mut parameters = Parameters::read(query);
    let wait = parameters.seconds("wait", MAX_WAIT);
    parameters.finish()?;
    let unknown = || Problem::not_found("there is no request with this id");
    let id = id.parse().map_err(|_| unknown())?;
    let read = async || {
        let known = within_deadline(state.history.request(id)).await??;
        known
            .filter(|request| caller.sees_all(request.distributions.as_deref()))
            .ok_or_else(unknown)
    };
    let mut view = {
        let _place = state.capacity.take_place()?;
        read().await?
    };
    if !wait.is_zero() && !view.state.is_settled() {
        let _waiter = state.capacity.take_waiter()?;
        settles(&state, id, wait).await?;
        view = read().await?;
    }
    let (audience, now) = (caller.audience(), state.clock.now());
    Ok(Json(view.with_holds(&state.status.borrow(), audience, now)))
}

/// Returns when the request has settled, the time is up, or the service begins to stop.
async fn settles(state: &AppState, id: Uuid, wait: Duration) -> Result<(), Problem> {
    let until = state.clock.now() + wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let now = state.clock.now();
        // A clock that is set back does not prolong the wait.
        let is_over = now >= until || now + wait < until;
        if is_over || state.stopping.is_cancelled() {
            return Ok(());
        }
        let next = (now + pause).min(until);
        let slept = state.clock.sleep_until(next);
        state.stopping.run_until_cancelled(slept).await;
        if within_deadline(state.history.is_settled(id)).await?? {
            return Ok(());
        }
        pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
    }
}
