//! How every kind of store writes what changes wait for.

use crate::domain::wait::Wait;

/// The columns `kind`, `distribution_id` and `name`.
pub(in crate::store) fn columns(wait: &Wait) -> (&'static str, &str, &str) {
    match wait {
        Wait::Bucket(bucket) => ("bucket", "", bucket),
        Wait::Details(id) => ("details", id, ""),
        Wait::Policy {
            distribution_id,
            policy_id,
        } => ("policy", distribution_id, policy_id),
        Wait::Again(id) => ("again", id, ""),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown wait {0:?}")]
pub(in crate::store) struct UnknownWait(String);

/// The wait of these columns.
pub(in crate::store) fn of(
    kind: &str,
    distribution_id: String,
    name: String,
) -> Result<Wait, UnknownWait> {
    Ok(match kind {
        "bucket" => Wait::Bucket(name),
        "details" => Wait::Details(distribution_id),
        "policy" => Wait::Policy {
            distribution_id,
            policy_id: name,
        },
        "again" => Wait::Again(distribution_id),
        other => return Err(UnknownWait(other.to_owned())),
    })
}
