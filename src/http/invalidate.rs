//! POST /invalidate: accepts manual requests from people and scripts.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use uuid::Uuid;

use super::{
    API_BODY, AppState,
    auth::Caller,
    capacity::AdmittedBody,
    dry_run, idempotency,
    order::{self, At, Order},
    problem::Problem,
    whole_micros,
};
use crate::{
    domain::{
        catalogue::Catalogue,
        change::{Asked, Idempotency, NewRequest, RequestAcceptance},
        history::{OpenWork, RequestState, RequestView},
    },
    ports::Wakeup,
    secret::sha256,
};

/// Accepts a request. 202 means that it is committed.
pub(super) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<AdmittedBody<API_BODY>, Problem>,
) -> Result<Response, Problem> {
    let admitted = body?;
    let order = Order::read(&admitted.body, caller.may_use_wildcards());
    let (order, key) = idempotency::with_key(order, &headers)?;
    let catalogue = state.catalogue.get().ok_or_else(Problem::no_catalogue)?;
    let asked = asked(&state, &caller, &catalogue, order.asked)?;
    if order.dry_run {
        return dry_run::show(&state, catalogue, &asked).await;
    }
    let (id, accepted_at) = (Uuid::now_v7(), whole_micros(state.clock.now()));
    let count = match &asked {
        Asked::Items { items, .. } => items.len(),
        Asked::Keys { keys, .. } => keys.len(),
    };
    let distributions = match &asked {
        Asked::Items {
            distribution_id, ..
        } => BTreeSet::from([distribution_id.clone()]),
        Asked::Keys { .. } => BTreeSet::new(),
    };
    let request = NewRequest {
        id,
        token: caller.name().to_owned(),
        reason: order.reason,
        asked,
        idempotency: key.map(|key| Idempotency {
            key,
            body: sha256(&admitted.body),
        }),
        accepted_at,
    };
    match state.intake.accept_request(request).await? {
        RequestAcceptance::New => {}
        RequestAcceptance::Repeated(id) => return repeated(&state, &caller, id).await,
        RequestAcceptance::OtherBody => {
            return Err(idempotency::other_body());
        }
    }
    state.metrics.changes("manual", count);
    state.wakeups.wake(Wakeup::ChangesAccepted);
    tracing::debug!(request = %id, changes = count, token = caller.name(), "request accepted");
    let view = RequestView {
        id,
        state: RequestState::Accepted,
        // Not shown.
        distributions: None,
        created_at: accepted_at,
        invalidations: Vec::new(),
        skipped: Vec::new(),
        errors: Vec::new(),
        held_by: Some(Vec::new()),
        open: OpenWork {
            unseen: true,
            distributions,
            ..OpenWork::default()
        },
    };
    Ok(accepted(&state, &caller, view))
}

fn accepted(state: &AppState, caller: &Caller, view: RequestView) -> Response {
    let (audience, now) = (caller.audience(), state.clock.now());
    let view = view.with_holds(&state.status.borrow(), audience, now);
    let location = [(header::LOCATION, format!("/requests/{}", view.id))];
    (StatusCode::ACCEPTED, location, Json(view)).into_response()
}

/// Answers a repeat with the request as it is now.
async fn repeated(state: &AppState, caller: &Caller, id: Uuid) -> Result<Response, Problem> {
    match state.history.request(id).await? {
        Some(view) => Ok(accepted(state, caller, view)),
        // A request stays for longer than its key is good for.
        None => Err(Problem::not_found("there is no request with this id")),
    }
}

/// Finds the distribution that is meant, if one is, among those of the caller.
fn asked(
    state: &AppState,
    caller: &Caller,
    catalogue: &Catalogue,
    asked: order::Asked,
) -> Result<Asked, Problem> {
    let (found, items) = match asked {
        order::Asked::Keys { bucket, keys } => {
            return Ok(Asked::Keys {
                bucket,
                keys,
                distributions: caller.limit(),
            });
        }
        order::Asked::Items { at, items } => (find(caller, catalogue, &at), items),
    };
    match found {
        Ok(distribution_id) => Ok(Asked::Items {
            distribution_id,
            items,
        }),
        Err(unknown) => {
            if unknown.may_be_new {
                state.wakeups.wake(Wakeup::CatalogueWanted);
            }
            Err(Problem::unknown_distribution(unknown.detail))
        }
    }
}

/// Why a distribution is not found.
struct Unknown {
    detail: &'static str,
    /// Whether reading the account again may help. It is not done for what others than the caller see.
    may_be_new: bool,
}

fn find(caller: &Caller, catalogue: &Catalogue, at: &At) -> Result<String, Unknown> {
    match at {
        At::Id(id) => {
            let seen = caller.sees(id);
            match catalogue.get(id).filter(|_| seen) {
                Some(distribution) => Ok(distribution.id.clone()),
                None => Err(Unknown {
                    detail: Problem::NO_SUCH_ID,
                    may_be_new: seen,
                }),
            }
        }
        At::Alias(alias) => {
            let all = catalogue.with_alias(alias).count();
            let mut seen = catalogue
                .with_alias(alias)
                .filter(|one| caller.sees(&one.id));
            match (seen.next(), seen.next()) {
                (Some(distribution), None) => Ok(distribution.id.clone()),
                (Some(_), Some(_)) => Err(Unknown {
                    detail: "several distributions have this alias: give the distribution_id of one",
                    may_be_new: false,
                }),
                (None, _) => Err(Unknown {
                    detail: "the account has no distribution with exactly this alias (a wildcard \
                             such as *.example.com is found by its own text); if it is new, try \
                             again in a moment",
                    may_be_new: all == 0,
                }),
            }
        }
    }
}
