//! /holds: deploy windows, which gather the changes of a deployment so that they are sent as one.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::{
    API_BODY, AppState,
    auth::Caller,
    capacity::AdmittedBody,
    idempotency,
    members::{self, Faults, Unread},
    parameters::Parameters,
    problem::Problem,
    whole_micros,
};
use crate::{
    domain::{
        catalogue::Catalogue,
        change::Idempotency,
        hold::{DeployHold, HoldAcceptance, LONGEST, MOST_OPEN, Place},
        json::{Object, Value},
    },
    ports::Wakeup,
    secret::sha256,
};

const MEMBERS: &str = "distribution_id, bucket, ttl and reason";

/// What a caller asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    address: Address,
    ttl: SignedDuration,
    reason: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Distribution(String),
    Bucket(String),
}

/// A hold as callers see it.
#[derive(Debug, Serialize)]
struct HoldView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    /// What it holds now.
    distributions: Vec<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    reason: Option<String>,
    token: String,
}

#[derive(Debug, Serialize)]
pub(super) struct HoldList {
    holds: Vec<HoldView>,
}

impl Wanted {
    /// Reads a body, or returns all of its faults.
    fn read(body: &[u8]) -> Result<Self, Unread> {
        let mut members = members::read(body)?;
        let mut faults = Faults::default();
        let address = read_address(&mut members, &mut faults);
        let ttl = read_ttl(&mut members, &mut faults);
        let reason = members::reason(&mut members, &mut faults);
        faults.unknown(members, MEMBERS);
        match (address, ttl) {
            (Some(address), Some(ttl)) if faults.0.is_empty() => Ok(Self {
                address,
                ttl,
                reason,
            }),
            _ => Err(Unread::Faults(faults.0)),
        }
    }
}

fn read_address(members: &mut Object, faults: &mut Faults) -> Option<Address> {
    match (members.remove("distribution_id"), members.remove("bucket")) {
        (Some(id), None) => members::distribution_id(id, faults).map(Address::Distribution),
        (None, Some(bucket)) => members::bucket(bucket, faults).map(Address::Bucket),
        (Some(_), Some(_)) => {
            for name in ["distribution_id", "bucket"] {
                faults.at(name, "give only one of distribution_id and bucket");
            }
            None
        }
        (None, None) => {
            faults.at(
                "distribution_id",
                "one of distribution_id and bucket is required",
            );
            None
        }
    }
}

fn read_ttl(members: &mut Object, faults: &mut Faults) -> Option<SignedDuration> {
    let ttl = match members.remove("ttl") {
        None => {
            faults.at(
                "ttl",
                "is required: for how long at most, such as \"10m\" (up to 1h)",
            );
            return None;
        }
        Some(Value::Text(text)) => duration(&text),
        Some(Value::Whole(seconds)) => i64::try_from(seconds).ok().map(SignedDuration::from_secs),
        Some(_) => None,
    };
    let ttl = ttl.filter(|ttl| ttl.is_positive() && *ttl <= LONGEST);
    if ttl.is_none() {
        faults.at(
            "ttl",
            "must be more than 0 and at most 1h: a whole number with a unit, such as \"500ms\", \"90s\", \
             \"10m\" or \"1h\", or a number of seconds such as 600",
        );
    }
    ttl
}

/// A whole number with one unit: what can be described in one line.
fn duration(text: &str) -> Option<SignedDuration> {
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: i32 = number.parse().ok().filter(|_| !number.starts_with('0'))?;
    let unit = match unit {
        "ms" => SignedDuration::from_millis(1),
        "s" => SignedDuration::from_secs(1),
        "m" => SignedDuration::from_mins(1),
        "h" => SignedDuration::from_hours(1),
        _ => return None,
    };
    unit.checked_mul(number)
}

impl HoldView {
    fn of(hold: DeployHold, catalogue: Option<&Catalogue>) -> Self {
        let ids = catalogue.map(|catalogue| hold.distributions(catalogue));
        let ids = ids.into_iter().flatten().map(str::to_owned);
        let distributions = ids.collect();
        let (distribution_id, bucket) = match hold.place {
            Place::Distribution(id) => (Some(id), None),
            Place::Bucket { bucket, .. } => (None, Some(bucket)),
        };
        Self {
            id: hold.id,
            distribution_id,
            bucket,
            distributions,
            created_at: hold.created_at,
            expires_at: hold.expires_at,
            reason: hold.reason,
            token: hold.token,
        }
    }
}

/// Begins a deploy window. After the 201, nothing that is accepted later is sent before its end: the
/// submitter reads the holds between planning and sending.
pub(super) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    query: RawQuery,
    headers: HeaderMap,
    body: Result<AdmittedBody<API_BODY>, Problem>,
) -> Result<Response, Problem> {
    Parameters::read(query).finish()?;
    let admitted = body?;
    let (wanted, key) = idempotency::with_key(Wanted::read(&admitted.body), &headers)?;
    let body = sha256(&admitted.body);
    let idempotency = key.map(|key| Idempotency { key, body });
    let catalogue = state.catalogue.get().ok_or_else(Problem::no_catalogue)?;
    let place = find(&state, &caller, &catalogue, wanted.address)?;
    let now = state.clock.now();
    let hold = DeployHold {
        id: Uuid::now_v7(),
        place,
        token: caller.name().to_owned(),
        reason: wanted.reason,
        created_at: whole_micros(now),
        expires_at: whole_micros(now + wanted.ttl),
        ended_at: None,
    };
    let accepted = state.operations.create_hold(hold.clone(), idempotency);
    match accepted.await? {
        HoldAcceptance::New => {}
        HoldAcceptance::Repeated(known) if known.is_open(now) => {
            return Ok(created(&HoldView::of(known, Some(&catalogue))));
        }
        HoldAcceptance::Repeated(_) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "idempotency-key-reused",
                "the hold that was begun with this Idempotency-Key has ended: send another key",
            ));
        }
        HoldAcceptance::OtherBody => return Err(idempotency::other_body()),
        HoldAcceptance::TooMany => {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-holds",
                format!(
                    "{MOST_OPEN} holds of this token are open: end those that nobody needs (GET \
                     /holds, DELETE /holds/ID), or let some expire"
                ),
            ));
        }
    }
    state.wakeups.wake(Wakeup::ItemsWaiting);
    let view = HoldView::of(hold, Some(&catalogue));
    tracing::info!(
        hold = %view.id,
        distributions = ?view.distributions,
        bucket = view.bucket,
        token = view.token,
        until = %view.expires_at,
        "a deploy window begins"
    );
    Ok(created(&view))
}

fn created(view: &HoldView) -> Response {
    let location = [(header::LOCATION, format!("/holds/{}", view.id))];
    (StatusCode::CREATED, location, Json(view)).into_response()
}

/// Finds what is to be held, among the distributions of the caller.
fn find(
    state: &AppState,
    caller: &Caller,
    catalogue: &Catalogue,
    address: Address,
) -> Result<Place, Problem> {
    match address {
        Address::Distribution(id) => {
            let seen = caller.sees(&id);
            if seen && catalogue.get(&id).is_some() {
                return Ok(Place::Distribution(id));
            }
            if seen {
                state.wakeups.wake(Wakeup::CatalogueWanted);
            }
            Err(Problem::unknown_distribution(Problem::NO_SUCH_ID))
        }
        Address::Bucket(bucket) => {
            let serving = catalogue.serving(&bucket);
            if serving.iter().any(|one| caller.sees(&one.distribution.id)) {
                let only = caller.limit();
                return Ok(Place::Bucket { bucket, only });
            }
            if serving.is_empty() {
                state.wakeups.wake(Wakeup::CatalogueWanted);
            }
            Err(Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-bucket",
                "the account has no distribution with this bucket as an origin; if it is new, try \
                 again in a moment",
            ))
        }
    }
}

/// Shows the holds that are open, oldest first.
pub(super) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    query: RawQuery,
) -> Result<Json<HoldList>, Problem> {
    Parameters::read(query).finish()?;
    let catalogue = state.catalogue.get();
    let open = open(&caller, &state).await?;
    let holds = open.map(|hold| HoldView::of(hold, catalogue.as_deref()));
    Ok(Json(HoldList {
        holds: holds.collect(),
    }))
}

pub(super) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let catalogue = state.catalogue.get();
    let hold = one(&caller, &state, &id).await?;
    Ok(Json(HoldView::of(hold, catalogue.as_deref())).into_response())
}

/// Ends a deploy window.
pub(super) async fn end(
    caller: Caller,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let hold = one(&caller, &state, &id).await?;
    let now = state.clock.now();
    if !state.operations.end_hold(hold.id, now).await? {
        return Err(not_found());
    }
    state.wakeups.wake(Wakeup::ItemsWaiting);
    tracing::info!(hold = %hold.id, token = caller.name(), "a deploy window was ended");
    Ok(StatusCode::NO_CONTENT)
}

/// The open holds that concern none but the caller's distributions.
async fn open(
    caller: &Caller,
    state: &AppState,
) -> Result<impl Iterator<Item = DeployHold>, Problem> {
    let now = state.clock.now();
    let holds = state.operations.holds().await?.into_iter();
    let open = holds.filter(move |hold| hold.is_open(now));
    Ok(open.filter(|hold| caller.sees_all(hold.limited_to())))
}

async fn one(caller: &Caller, state: &AppState, id: &str) -> Result<DeployHold, Problem> {
    let id: Uuid = id.parse().map_err(|_| not_found())?;
    let mut open = open(caller, state).await?;
    open.find(|hold| hold.id == id).ok_or_else(not_found)
}

fn not_found() -> Problem {
    Problem::not_found("there is no hold with this id, or it has ended")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn read(body: &Json) -> Result<Wanted, Vec<String>> {
        Wanted::read(body.to_string().as_bytes()).map_err(|unread| match unread {
            Unread::Faults(faults) => faults.into_iter().map(|one| one.pointer).collect(),
            Unread::Json(fault) => panic!("{fault:?}"),
        })
    }

    #[test]
    fn a_ttl_is_a_duration_or_a_number_of_seconds() {
        for (ttl, millis) in [
            (json!("500ms"), 500),
            (json!("1h"), 3_600_000),
            (json!("90s"), 90_000),
            (json!(600), 600_000),
            (json!(3_600), 3_600_000),
            (json!(3_600.0), 3_600_000),
        ] {
            let wanted = Wanted {
                address: Address::Bucket("site".to_owned()),
                ttl: SignedDuration::from_millis(millis),
                reason: None,
            };
            assert_eq!(read(&json!({"bucket": "site", "ttl": ttl})), Ok(wanted));
        }
        for ttl in [
            json!("0s"),
            json!("1ns"),
            json!("61m"),
            json!("10"),
            json!("010s"),
            json!("1m 30s"),
            json!("1 minute"),
            json!("1m\n"),
            json!("99999999999h"),
            json!("-5m"),
            json!(0),
            json!(3_601),
            json!(-1),
            json!(1.5),
            json!(u64::MAX),
            json!(null),
            json!(["10m"]),
        ] {
            let faults = read(&json!({"bucket": "site", "ttl": ttl}));
            assert_eq!(faults, Err(vec!["/ttl".to_owned()]), "{ttl}");
        }
    }

    #[test]
    fn all_faults_are_returned_at_once() {
        let faults = |body: Json| read(&body).unwrap_err();
        assert_eq!(faults(json!([])), [""]);
        assert_eq!(faults(json!({})), ["/distribution_id", "/ttl"]);
        assert_eq!(
            faults(
                json!({"distribution_id": "E1", "bucket": "b", "ttl": "2h", "reason": 1, "x": 2})
            ),
            ["/distribution_id", "/bucket", "/ttl", "/reason", "/x"]
        );
        assert_eq!(
            faults(json!({"distribution_id": "", "ttl": "1m"})),
            ["/distribution_id"]
        );
        assert_eq!(
            faults(json!({"bucket": "x".repeat(256), "ttl": "1m"})),
            ["/bucket"]
        );
        let twice = Wanted::read(br#"{"bucket": "a", "bucket": "b", "ttl": "1m"}"#);
        assert!(matches!(twice, Err(Unread::Json(_))));
    }
}
