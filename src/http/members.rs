//! Reads the members of a JSON body, and collects all that is wrong with them.

use axum::http::StatusCode;

use super::problem::{Problem, RequestFault};
use crate::domain::json::{self, JsonFault, Lists, Object, Value};

/// In bytes.
const MAX_REASON: usize = 1_000;
/// In bytes. S3's own limits are stricter, except for old buckets.
const MAX_BUCKET: usize = 255;

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Json(JsonFault),
    Faults(Vec<RequestFault>),
}

impl From<JsonFault> for Unread {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}

impl From<JsonFault> for Problem {
    fn from(fault: JsonFault) -> Self {
        let (slug, detail) = match fault {
            JsonFault::NotJson(why) => ("not-json", format!("the body is not JSON: {why}")),
            JsonFault::DuplicateKey(name) => (
                "duplicate-key",
                format!("the body has a duplicate key, {name}: give each member once"),
            ),
        };
        Self::new(StatusCode::BAD_REQUEST, slug, detail)
    }
}

/// Reads a body that has to be an object. The content type is ignored, because curl -d sends everything as
/// a form.
pub(super) fn read(body: &[u8]) -> Result<Object<'_>, Unread> {
    if let Value::Object(members) = json::read(body, Lists::Kept)? {
        return Ok(members);
    }
    let mut faults = Faults::default();
    faults.add("", "must be a JSON object");
    Err(Unread::Faults(faults.0))
}

/// The value of the member `distribution_id`.
pub(super) fn distribution_id(value: Value, faults: &mut Faults) -> Option<String> {
    match value {
        Value::Text(id) if !id.is_empty() => return Some(id.into_owned()),
        _ => faults.at(
            "distribution_id",
            "must be the id of a distribution, such as \"E2EXAMPLE\"",
        ),
    }
    None
}

/// The value of the member `bucket`.
pub(super) fn bucket(value: Value, faults: &mut Faults) -> Option<String> {
    match value {
        Value::Text(bucket) if (1..=MAX_BUCKET).contains(&bucket.len()) => {
            return Some(bucket.into_owned());
        }
        _ => faults.at(
            "bucket",
            "must be the name of a bucket, such as \"my-bucket\"",
        ),
    }
    None
}

/// Takes the member `reason`.
pub(super) fn reason(members: &mut Object, faults: &mut Faults) -> Option<String> {
    match members.remove("reason") {
        None | Some(Value::Null) => {}
        Some(Value::Text(reason)) if reason.len() <= MAX_REASON => {
            return Some(reason.into_owned());
        }
        Some(_) => faults.at(
            "reason",
            format!("must be a string of at most {MAX_REASON} bytes"),
        ),
    }
    None
}

#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<RequestFault>);

impl Faults {
    pub(super) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(RequestFault {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    /// Adds a fault of a member.
    pub(super) fn at(&mut self, member: &str, detail: impl Into<String>) {
        self.0.push(RequestFault::at(member, detail));
    }

    /// Adds a fault for each member that nothing has taken; `known` lists those that there are.
    pub(super) fn unknown(&mut self, left: Object, known: &str) {
        let mut unknown: Vec<_> = left.into_keys().collect();
        unknown.sort_unstable();
        for name in unknown {
            self.at(&name, format!("unknown: the members are {known}"));
        }
    }
}
