//! What people are shown of requests and invalidations: the JSON shapes of the API.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::batch::BatchStatus;

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestView {
    /// Its id.
    pub id: Uuid,
    /// Where it stands, by its slowest change.
    pub state: RequestState,
    /// The distributions that it is for: who may see it depends on them.
    #[serde(skip)]
    pub distributions: Vec<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What its changes became part of.
    pub invalidations: Vec<RequestInvalidation>,
    /// What was left alone, and why.
    pub skipped: Vec<Skipped>,
    /// What could not be done.
    pub errors: Vec<String>,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// In the journal.
    Accepted,
    /// All of it frozen into batches.
    Planned,
    /// All of it taken by `CloudFront`.
    Submitted,
    /// Planned in shadow mode, and never meant to be sent.
    Shadowed,
    /// All of it done.
    Completed,
    /// All of it has settled, and some of it can never be done.
    Failed,
}

impl RequestState {
    /// A request stands where its slowest change does; that some of it failed is told when all of
    /// it has settled.
    ///
    /// `waiting`: something of it has not been mapped or frozen into a batch.
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

/// An invalidation as a request shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestInvalidation {
    /// Our id.
    pub id: Uuid,
    /// The distribution.
    pub distribution_id: String,
    /// `CloudFront`'s id, once it has one.
    pub cloudfront_id: Option<String>,
    /// Where it stands.
    pub status: BatchStatus,
}

/// A distribution that a request leaves alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    /// The distribution; null where it is about all of them.
    pub distribution_id: Option<String>,
    /// The reason.
    pub why: String,
}

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

/// Which invalidations are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvalidationQuery {
    /// Only those of these distributions; `None`: of all.
    pub distributions: Option<Vec<String>>,
    /// Only those that stand there.
    pub status: Option<BatchStatus>,
    /// Only those older than the one with this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// An invalidation in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InvalidationSummary {
    /// Its number, for the cursor.
    #[serde(skip)]
    pub seq: i64,
    /// Our id.
    pub id: Uuid,
    /// The distribution.
    pub distribution_id: String,
    /// `CloudFront`'s id, once it has one.
    pub cloudfront_id: Option<String>,
    /// Where it stands.
    pub status: BatchStatus,
    /// How many items it has.
    pub item_count: u64,
    /// How many changes they cover.
    pub change_count: u64,
    /// When its batch was frozen.
    pub created_at: Timestamp,
    /// When `CloudFront` took it.
    pub submitted_at: Option<Timestamp>,
    /// When it was seen to be done.
    pub completed_at: Option<Timestamp>,
}

/// An invalidation by itself: with its items, and why each is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InvalidationDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: InvalidationSummary,
    /// Its items, in the order in which they were sent.
    pub items: Vec<ItemDetail>,
    /// What took its place, where it was split.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced_by: Vec<Uuid>,
}

/// An item, and the changes behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemDetail {
    /// The item.
    pub item: String,
    /// The first changes that it covers, at most [`MAX_WHYS`].
    pub why: Vec<Why>,
    /// How many there are.
    pub why_total: u64,
}

/// How many changes are shown for one item.
pub const MAX_WHYS: usize = 100;

/// A change behind an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Why {
    /// S3 said so.
    Event {
        /// The bucket.
        bucket: String,
        /// The decoded key.
        key: String,
        /// The event's name.
        event: String,
        /// SNS's id of the message.
        message_id: Uuid,
        /// When S3 says it happened, else when it was accepted.
        time: Timestamp,
        /// How the key led to this item.
        because: String,
    },
    /// A person said so.
    Manual {
        /// The request.
        request_id: Uuid,
        /// The name of the token that asked.
        token: String,
        /// Why, in the person's words.
        reason: Option<String>,
        /// When it was accepted.
        time: Timestamp,
        /// How the path led to this item.
        because: String,
    },
}

/// Something accepted that can never succeed, kept with the reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// What it is: a `record` of a message, or an `item`.
    pub kind: String,
    /// Why it cannot succeed.
    pub why: String,
    /// What it was: the record as it came, or the item.
    pub content: Option<String>,
    /// The distribution, where it is about one.
    pub distribution_id: Option<String>,
    /// The object behind it, where there is one.
    pub bucket: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// When it was kept.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_request_stands_where_its_slowest_change_does() {
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
            "a failure is told when all has settled"
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
