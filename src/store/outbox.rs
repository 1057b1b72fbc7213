//! What every kind of store puts into the outbox of notices, and when.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::notice::{self, KEPT, LONGEST_PUT_OFF, NoticeKind, NoticeTarget};

/// How many notices one statement inserts.
pub(in crate::store) const ROWS: usize = 500;

/// A notice that is not in the outbox yet.
pub(in crate::store) struct NewNotice<'a> {
    pub(in crate::store) target: &'a str,
    pub(in crate::store) body: String,
}

/// The notices for those of the targets that want to be told of this.
pub(in crate::store) fn notices<'a>(
    targets: &'a [NoticeTarget],
    kind: NoticeKind,
    distribution_id: Option<&str>,
    data: &impl Serialize,
    now: Timestamp,
) -> serde_json::Result<Vec<NewNotice<'a>>> {
    let told = targets.iter();
    let told = told.filter(|target| target.wants(kind, distribution_id));
    let new = told.map(|target| {
        Ok(NewNotice {
            target: &target.key,
            body: notice::body(kind, now, data)?,
        })
    });
    new.collect()
}

/// A notice that is due later than this was put off by a clock that was set back since: it is due now.
pub(in crate::store) fn furthest(now: Timestamp) -> Timestamp {
    let longest = SignedDuration::try_from(LONGEST_PUT_OFF).unwrap_or(SignedDuration::MAX);
    now.checked_add(longest).unwrap_or(Timestamp::MAX)
}

/// Notices from before this time are given up.
pub(in crate::store) fn too_old(now: Timestamp) -> Timestamp {
    // Where the difference is no timestamp, nothing is older.
    now.checked_sub(KEPT).unwrap_or(Timestamp::MIN)
}
