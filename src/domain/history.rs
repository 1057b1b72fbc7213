//! The API's JSON representation of requests, invalidations and dead letters.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    batch::{BatchStatus, Merges},
    status::{Audience, HeldBy, Status},
    wait::Wait,
};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestView {
    pub id: Uuid,
    /// The state of its slowest change.
    pub state: RequestState,
    /// The distributions that it may reach; `None` means all. Decides which callers may see it.
    #[serde(skip)]
    pub distributions: Option<Vec<String>>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The invalidations that contain its changes.
    pub invalidations: Vec<RequestInvalidation>,
    /// Distributions where nothing was invalidated, and why.
    pub skipped: Vec<Skipped>,
    /// Why parts of it can never be done.
    pub errors: Vec<String>,
    /// Why it does not move, if it does not; `None` (null) if only another replica knows.
    pub held_by: Option<Vec<HeldBy>>,
    /// What is still to be done for it.
    #[serde(skip)]
    pub open: OpenWork,
}

/// The work that a request still has, as far as others may hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenWork {
    /// Whether some changes have not been mapped at all.
    pub unseen: bool,
    /// What changes wait for before they can be mapped.
    pub waits: Vec<Wait>,
    /// The distributions with waiting items, or with batches that CloudFront has not accepted.
    pub distributions: BTreeSet<String>,
}

impl RequestView {
    /// Adds what holds its open work now.
    #[must_use]
    pub fn with_holds(mut self, status: &Status, audience: Audience, now: Timestamp) -> Self {
        self.held_by = self.open.held_by(status, audience, now);
        self
    }
}

impl OpenWork {
    fn held_by(&self, status: &Status, audience: Audience, now: Timestamp) -> Option<Vec<HeldBy>> {
        let mut held = Vec::new();
        if self.unseen || !self.waits.is_empty() {
            held.extend(status.held_unmapped(&self.waits, audience)?);
        }
        for id in &self.distributions {
            held.extend(status.held_at(id, audience, now)?);
        }
        Some(held)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// In the journal.
    Accepted,
    /// Completely frozen into batches.
    Planned,
    /// Completely accepted by CloudFront.
    Submitted,
    /// Planned in shadow mode, and never sent.
    Shadowed,
    Completed,
    /// Finished, but some of it can never be done.
    Failed,
}

impl RequestState {
    /// Whether nothing more will happen.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Shadowed | Self::Completed | Self::Failed)
    }

    /// The state of the slowest change. A failure is reported only when everything else has finished.
    ///
    /// `waiting`: some changes have not been mapped or frozen into a batch.
    pub fn of(waiting: bool, invalidations: &[RequestInvalidation], failed: bool) -> Self {
        if waiting {
            return Self::Accepted;
        }
        let slowest = invalidations.iter().map(|one| match one.status {
            BatchStatus::Pending => Self::Planned,
            BatchStatus::InProgress => Self::Submitted,
            BatchStatus::Shadowed => Self::Shadowed,
            BatchStatus::Completed | BatchStatus::Replaced => Self::Completed,
            BatchStatus::Failed => Self::Failed,
        });
        match slowest.min().unwrap_or(Self::Completed) {
            Self::Completed | Self::Shadowed if failed => Self::Failed,
            state => state,
        }
    }
}

/// An invalidation of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestInvalidation {
    /// Our id.
    pub id: Uuid,
    pub distribution_id: String,
    /// CloudFront's id, once there is one.
    pub cloudfront_id: Option<String>,
    pub status: BatchStatus,
}

/// A distribution where a request invalidates nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    /// `None` (null) if the reason applies to all distributions.
    pub distribution_id: Option<String>,
    pub why: String,
}

/// What is said after the reason of a failure when nobody can replay it any more.
pub const DROPPED: &str = "; its dead letter was dropped";

/// How many errors of a request are shown, and how many items of each.
pub const MAX_ERRORS: usize = 100;
pub const MAX_EXAMPLES: usize = 3;

/// Why some of a request's items could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    pub why: String,
    /// How many items it is about.
    pub items: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

impl RequestError {
    /// One line each, at most [`MAX_ERRORS`] of them.
    pub fn list(errors: &[Self]) -> Vec<String> {
        let mut lines: Vec<_> = errors.iter().take(MAX_ERRORS).map(Self::line).collect();
        if errors.len() > MAX_ERRORS {
            lines.push("and further errors: the dead letters have all of them".to_owned());
        }
        lines
    }

    fn line(&self) -> String {
        let Self {
            why,
            items,
            examples,
        } = self;
        match examples.as_slice() {
            [item] if *items == 1 => format!("{item}: {why}"),
            items_shown => format!(
                "{why} ({items} items, for example {})",
                items_shown.join(", ")
            ),
        }
    }
}

/// Selects invalidations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvalidationQuery {
    /// The distributions; `None` means all.
    pub distributions: Option<Vec<String>>,
    pub status: Option<BatchStatus>,
    /// Only invalidations before this number.
    pub before: Option<i64>,
    pub limit: usize,
}

/// An invalidation in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InvalidationSummary {
    /// Its number in the store, for the cursor.
    #[serde(skip)]
    pub seq: i64,
    /// Our id.
    pub id: Uuid,
    pub distribution_id: String,
    /// CloudFront's id, once there is one.
    pub cloudfront_id: Option<String>,
    pub status: BatchStatus,
    pub item_count: u64,
    /// The number of changes that the items cover.
    pub change_count: u64,
    /// When its batch was frozen.
    pub created_at: Timestamp,
    /// When CloudFront accepted it.
    pub submitted_at: Option<Timestamp>,
    /// When it was seen as completed.
    pub completed_at: Option<Timestamp>,
    /// The batches that took its place, if it was split. None did if its changes wait again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced_by: Vec<Uuid>,
}

/// An invalidation with its items and the reasons for each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InvalidationDetail {
    #[serde(flatten)]
    pub summary: InvalidationSummary,
    /// In sending order.
    pub items: Vec<ItemDetail>,
    /// Wildcards that would have cost less, and what forbids them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prevented: Vec<String>,
}

impl InvalidationDetail {
    /// Adds what merging did to it.
    #[must_use]
    pub fn with_merges(mut self, merges: Merges) -> Self {
        let made = merges.made.into_iter().map(|one| {
            let saving = Merged {
                replaces: one.replaces,
                evictions: one.evictions,
            };
            (String::from(one.item), saving)
        });
        let mut made: HashMap<_, _> = made.collect();
        for item in &mut self.items {
            item.merged = made.remove(&item.item);
        }
        self.prevented = merges.prevented;
        self
    }
}

/// An item, and the changes behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemDetail {
    pub item: String,
    /// The first changes that it covers, at most [`MAX_WHYS`].
    pub why: Vec<Why>,
    /// The number of all changes that it covers.
    pub why_total: u64,
    /// Set for a wildcard that nobody asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
}

/// What a wildcard saves that purgefront made by itself, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// How many different items it replaces.
    pub replaces: usize,
    /// How many unchanged objects it evicts; `None` (null) if that is not known.
    pub evictions: Option<usize>,
}

/// The most changes that are shown for one item.
pub const MAX_WHYS: usize = 100;

/// A change behind an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Why {
    /// An S3 event.
    Event {
        bucket: String,
        /// URL-decoded.
        key: String,
        /// The event's name.
        event: String,
        /// SNS's id of the message.
        message_id: Uuid,
        /// S3's sequencer, if the event had one.
        sequencer: Option<String>,
        /// The event's time if it has one, else when it was accepted.
        time: Timestamp,
        /// When it was accepted.
        accepted_at: Timestamp,
        /// How the key led to this item.
        because: String,
        /// What the change needed, if the item is a wildcard that covers it with others.
        #[serde(skip_serializing_if = "Option::is_none")]
        asked: Option<String>,
    },
    /// A manual request.
    Manual {
        request_id: Uuid,
        /// The name of the caller's token.
        token: String,
        /// The caller's reason.
        reason: Option<String>,
        /// The object, if the caller gave its key.
        #[serde(skip_serializing_if = "Option::is_none")]
        bucket: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// When it was accepted.
        time: Timestamp,
        /// How the path led to this item.
        because: String,
        /// What was asked for, if the item is a wildcard that covers it with others.
        #[serde(skip_serializing_if = "Option::is_none")]
        asked: Option<String>,
    },
}

/// Accepted work that can never succeed, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    pub id: i64,
    /// `record` (a record of a message) or `item`.
    pub kind: String,
    /// Why it cannot succeed.
    pub why: String,
    /// The record as received, or the item.
    pub content: Option<String>,
    pub distribution_id: Option<String>,
    /// The changed object's bucket and key, if there is one.
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{batch::MadeWildcard, path::Item};

    use BatchStatus::{Completed, Failed, InProgress, Pending, Shadowed};

    #[test]
    fn equal_errors_are_one_line_and_the_lines_are_bounded() {
        let error = |items: u64, examples: &[&str]| RequestError {
            why: "invalid".to_owned(),
            items,
            examples: examples.iter().map(ToString::to_string).collect(),
        };
        let lines = RequestError::list(&[error(1, &["/a"]), error(9, &["/a", "/b", "/c"])]);
        assert_eq!(
            lines,
            ["/a: invalid", "invalid (9 items, for example /a, /b, /c)"]
        );
        let lines = RequestError::list(&vec![error(1, &["/a"]); 101]);
        assert_eq!(lines.len(), 101);
        assert!(lines[100].starts_with("and further"));
    }

    #[test]
    fn what_merging_did_is_shown_where_it_did_something() {
        let item = |text: &str| ItemDetail {
            item: text.to_owned(),
            why: Vec::new(),
            why_total: 0,
            merged: None,
        };
        let detail = InvalidationDetail {
            summary: InvalidationSummary {
                seq: 1,
                id: Uuid::nil(),
                distribution_id: "E1".to_owned(),
                cloudfront_id: None,
                status: Pending,
                item_count: 3,
                change_count: 0,
                created_at: Timestamp::UNIX_EPOCH,
                submitted_at: None,
                completed_at: None,
                replaced_by: Vec::new(),
            },
            items: ["/img/*", "/css/*", "/a"].map(item).to_vec(),
            prevented: Vec::new(),
        };
        let made = |text, evictions| MadeWildcard {
            item: Item::read(text).unwrap(),
            replaces: 2,
            evictions,
        };
        let merges = Merges {
            made: vec![made("/css/*", None), made("/img/*", Some(3))],
            prevented: vec!["/* is not allowed".to_owned()],
        };
        let plain = serde_json::to_value(&detail).unwrap();
        assert_eq!(plain.get("prevented"), None);
        let shown = serde_json::to_value(detail.with_merges(merges)).unwrap();
        assert_eq!(shown["prevented"][0], "/* is not allowed");
        let item = |at: usize| shown["items"][at].get("merged");
        let saving =
            |evictions: Option<u64>| serde_json::json!({ "replaces": 2, "evictions": evictions });
        assert_eq!(item(0), Some(&saving(Some(3))));
        assert_eq!(item(1), Some(&saving(None)), "null, not absent");
        assert_eq!(item(2), None);
    }

    #[test]
    fn a_request_has_the_state_of_its_slowest_change() {
        let state = |waiting, statuses: &[BatchStatus], failed| {
            let invalidations: Vec<_> = statuses
                .iter()
                .map(|status| RequestInvalidation {
                    id: Uuid::nil(),
                    distribution_id: "E1".to_owned(),
                    cloudfront_id: None,
                    status: *status,
                })
                .collect();
            RequestState::of(waiting, &invalidations, failed)
        };
        assert_eq!(state(true, &[Completed], false), RequestState::Accepted);
        assert_eq!(
            state(false, &[Completed, Pending, InProgress], true),
            RequestState::Planned
        );
        assert_eq!(
            state(false, &[InProgress, Completed, Failed], true),
            RequestState::Submitted,
            "a failure is reported when everything has finished"
        );
        assert_eq!(
            state(false, &[Completed, Failed], true),
            RequestState::Failed
        );
        assert_eq!(
            state(false, &[Shadowed, Completed], false),
            RequestState::Shadowed
        );
        assert_eq!(state(false, &[], false), RequestState::Completed);
        assert_eq!(state(false, &[], true), RequestState::Failed);
    }
}
