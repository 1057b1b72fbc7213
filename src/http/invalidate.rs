//! POST /invalidate: accepts manual requests from people and scripts.

use std::collections::HashSet;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    API_BODY, AppState,
    auth::Caller,
    capacity::AdmittedBody,
    problem::{Fault, Problem},
};
use crate::{
    domain::{
        change::NewRequest,
        history::{RequestState, RequestView},
        path::Item,
    },
    ports::Wakeup,
};

const MAX_ITEMS: usize = 10_000;
const MAX_REASON: usize = 1_000;

/// Accepts a request. 202 means that it is committed.
pub(super) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<AdmittedBody<API_BODY>, Problem>,
) -> Result<Response, Problem> {
    let admitted = body?;
    if headers.contains_key("idempotency-key") {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-unsupported",
            "this version does not support Idempotency-Key: leave it out",
        ));
    }
    // The content type is ignored, because curl -d sends everything as a form.
    let value = serde_json::from_slice(&admitted.body).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "not-json",
            format!("the body is not JSON: {error}"),
        )
    })?;
    let requested = InvalidateBody::read(value).map_err(Problem::invalid)?;
    let Some(catalogue) = state.catalogue.get() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-catalogue",
            "the account's distributions have not been read yet; try again in a moment",
        ));
    };
    let seen = caller.sees(&requested.distribution_id);
    if !seen || catalogue.get(&requested.distribution_id).is_none() {
        // Callers that may not see the distribution must not trigger a refresh either.
        if seen {
            state.wakeups.wake(Wakeup::CatalogueWanted);
        }
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-distribution",
            "the account has no distribution with this id; if it is new, try again in a moment",
        ));
    }
    let id = Uuid::now_v7();
    let accepted_at = state.clock.now();
    let count = requested.items.len();
    state
        .intake
        .accept_request(NewRequest {
            id,
            token: caller.name().to_owned(),
            reason: requested.reason,
            distribution_id: requested.distribution_id,
            items: requested.items,
            accepted_at,
        })
        .await?;
    state.metrics.changes("manual", count);
    state.wakeups.wake(Wakeup::ChangesAccepted);
    tracing::debug!(request = %id, items = count, token = caller.name(), "request accepted");
    let view = RequestView {
        id,
        state: RequestState::Accepted,
        distributions: Vec::new(),
        created_at: accepted_at,
        invalidations: Vec::new(),
        skipped: Vec::new(),
        errors: Vec::new(),
    };
    let location = [(header::LOCATION, format!("/requests/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(view)).into_response())
}

#[derive(Debug, PartialEq, Eq)]
struct InvalidateBody {
    distribution_id: String,
    /// The paths followed by the tags, without duplicates, in the given order.
    items: Vec<Item>,
    reason: Option<String>,
}

impl InvalidateBody {
    /// Reads a body, or returns all of its faults.
    fn read(body: Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let Value::Object(mut members) = body else {
            faults.add("", "must be a JSON object");
            return Err(faults.0);
        };
        let requested = Self {
            distribution_id: read_distribution(&mut members, &mut faults),
            items: read_items(&mut members, &mut faults),
            reason: read_reason(&mut members, &mut faults),
        };
        for unknown in members.keys() {
            let pointer = format!("/{}", unknown.replace('~', "~0").replace('/', "~1"));
            faults.add(
                pointer,
                "unknown: only distribution_id, paths, tags and reason are known",
            );
        }
        if faults.0.is_empty() {
            Ok(requested)
        } else {
            Err(faults.0)
        }
    }
}

fn read_distribution(members: &mut Map<String, Value>, faults: &mut Faults) -> String {
    match members.remove("distribution_id") {
        Some(Value::String(id)) if !id.is_empty() => return id,
        Some(_) => faults.add(
            "/distribution_id",
            "must be a distribution's id, such as \"E2EXAMPLE\"",
        ),
        None => faults.add("/distribution_id", "is required"),
    }
    String::new()
}

fn read_items(members: &mut Map<String, Value>, faults: &mut Faults) -> Vec<Item> {
    let paths = read_texts(members, "paths", faults);
    let tags = read_texts(members, "tags", faults);
    if paths.is_none() && tags.is_none() {
        faults.add("/paths", "paths or tags are required");
        return Vec::new();
    }
    let paths = paths.unwrap_or_default().into_iter().enumerate();
    let tags = tags.unwrap_or_default().into_iter().enumerate();
    let paths =
        paths.map(|(at, text)| (format!("/paths/{at}"), text.map(|text| Item::parse(&text))));
    let tags = tags.map(|(at, text)| (format!("/tags/{at}"), text.map(|text| Item::tag(&text))));
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for (pointer, read) in paths.chain(tags) {
        match read {
            Some(Ok(item)) if seen.insert(item.clone()) => items.push(item),
            Some(Ok(_)) => {}
            Some(Err(illegal)) => faults.add(pointer, illegal.to_string()),
            None => faults.add(pointer, "must be a string"),
        }
    }
    if seen.len() > MAX_ITEMS || (items.is_empty() && faults.0.is_empty()) {
        faults.add(
            "/paths",
            format!("between 1 and {MAX_ITEMS} paths and tags are required"),
        );
    }
    items
}

/// Reads a list of strings, with `None` for elements that are not strings.
fn read_texts(
    members: &mut Map<String, Value>,
    name: &str,
    faults: &mut Faults,
) -> Option<Vec<Option<String>>> {
    match members.remove(name)? {
        Value::Array(values) if values.len() <= MAX_ITEMS => {
            let texts = values.into_iter().map(|value| match value {
                Value::String(text) => Some(text),
                _ => None,
            });
            Some(texts.collect())
        }
        Value::Array(_) => {
            faults.add(
                format!("/{name}"),
                format!("between 1 and {MAX_ITEMS} paths and tags are required"),
            );
            Some(Vec::new())
        }
        _ => {
            faults.add(format!("/{name}"), format!("must be a list of {name}"));
            Some(Vec::new())
        }
    }
}

fn read_reason(members: &mut Map<String, Value>, faults: &mut Faults) -> Option<String> {
    match members.remove("reason") {
        None | Some(Value::Null) => {}
        Some(Value::String(reason)) if reason.len() <= MAX_REASON => return Some(reason),
        Some(_) => faults.add(
            "/reason",
            format!("must be a string of at most {MAX_REASON} bytes"),
        ),
    }
    None
}

#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Fault {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(body: Value) -> Vec<String> {
        let faults = InvalidateBody::read(body).unwrap_err();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn duplicates_are_merged_and_order_is_kept() {
        let body = json!({"distribution_id": "E1", "paths": ["/b", "/a", "/b"], "reason": null});
        let requested = InvalidateBody::read(body).unwrap();
        let items: Vec<_> = requested.items.iter().map(Item::as_str).collect();
        assert_eq!(items, ["/b", "/a"]);
        let body = json!({"distribution_id": "E1", "paths": ["/b"], "tags": ["b", "a:1", "b"]});
        let requested = InvalidateBody::read(body).unwrap();
        let items: Vec<_> = requested.items.iter().map(Item::as_str).collect();
        assert_eq!(items, ["/b", "#b", "#a:1"]);
    }

    #[test]
    fn all_faults_are_returned_at_once() {
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({})), ["/distribution_id", "/paths"]);
        let body = json!({"distribution_id": 1, "paths": ["/a", "b", 3, "/~"], "reason": 4,
            "bucket": "site", "a/b~c": 1, "tags": ["ok", "a,b"]});
        let mut found = pointers(body);
        found.sort();
        let expected = [
            "/a~1b~0c",
            "/bucket",
            "/distribution_id",
            "/paths/1",
            "/paths/2",
            "/paths/3",
            "/reason",
            "/tags/1",
        ];
        assert_eq!(found, expected);
        assert_eq!(
            pointers(json!({"distribution_id": "E1", "paths": []})),
            ["/paths"]
        );
        let many = vec!["/a"; MAX_ITEMS + 1];
        assert_eq!(
            pointers(json!({"distribution_id": "E1", "paths": many})),
            ["/paths"]
        );
    }
}
