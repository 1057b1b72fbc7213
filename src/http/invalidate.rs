//! POST /invalidate: accepts manual requests from people and scripts.

use std::collections::{BTreeSet, HashSet};

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
    dry_run,
    order::{self, At, Order, Unread},
    problem::{Problem, RequestFault},
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

/// In bytes.
const MAX_IDEMPOTENCY_KEY: usize = 255;
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Accepts a request. 202 means that it is committed.
pub(super) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<AdmittedBody<API_BODY>, Problem>,
) -> Result<Response, Problem> {
    let admitted = body?;
    let (order, key) = read(&caller, &headers, &admitted.body)?;
    let Some(catalogue) = state.catalogue.get() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-catalogue",
            "the account's distributions have not been read yet; try again in a moment",
        ));
    };
    let asked = asked(&state, &caller, &catalogue, order.asked)?;
    if order.dry_run {
        return dry_run::show(&state, catalogue, &asked).await;
    }
    let (id, accepted_at) = (Uuid::now_v7(), state.clock.now());
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
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "idempotency-key-reused",
                "this Idempotency-Key belongs to an earlier request with another body: send exactly \
                 that body, or another key",
            ));
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
        held_by: Vec::new(),
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

/// Reads the body and the key, or returns all faults of both.
fn read(
    caller: &Caller,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Order, Option<String>), Problem> {
    let key = idempotency_key(headers);
    match (Order::read(body, caller.may_use_wildcards()), key) {
        (Ok(order), Ok(key)) => Ok((order, key)),
        (Err(Unread::Json(fault)), _) => Err(fault.into()),
        (Err(Unread::Faults(mut faults)), key) => {
            faults.extend(key.err());
            Err(Problem::invalid(faults))
        }
        (Ok(_), Err(fault)) => Err(Problem::invalid(vec![fault])),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, RequestFault> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (first, second) = (given.next(), given.next());
    let Some(key) = first else {
        return Ok(None);
    };
    let visible = |text: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.to_str().ok().filter(visible) {
        Some(key) if second.is_none() => Ok(Some(key.to_owned())),
        _ => Err(RequestFault {
            pointer: IDEMPOTENCY_KEY.to_owned(),
            detail: format!(
                "must be one header of 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters, such as \
                 a UUID"
            ),
        }),
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
                distributions: caller.limited_to().map(sorted),
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
            Err(Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-distribution",
                unknown.detail,
            ))
        }
    }
}

fn sorted(ids: &HashSet<String>) -> Vec<String> {
    let mut ids: Vec<_> = ids.iter().cloned().collect();
    ids.sort_unstable();
    ids
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
                    detail: "the account has no distribution with this id; if it is new, try again \
                             in a moment",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_one_visible_word() {
        let read = |keys: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                let value = header::HeaderValue::from_bytes(key).unwrap();
                headers.append(IDEMPOTENCY_KEY, value);
            }
            idempotency_key(&headers).map_err(|fault| fault.pointer)
        };
        let fault = Err(IDEMPOTENCY_KEY.to_owned());
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"\"a-1\""]), Ok(Some("\"a-1\"".to_owned())));
        assert_eq!(read(&[&[b'a'; 255]]), Ok(Some("a".repeat(255))));
        for wrong in [&b""[..], b"a b", "\u{e4}".as_bytes(), &[b'a'; 256]] {
            assert_eq!(read(&[wrong]), fault, "{wrong:?}");
        }
        assert_eq!(read(&[b"a", b"a"]), fault);
    }
}
