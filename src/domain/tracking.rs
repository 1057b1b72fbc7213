//! Invalidations that are tracked until CloudFront reports them as completed.

use jiff::Timestamp;
use uuid::Uuid;

use super::batch::Usage;

/// An invalidation in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The batch's id, which is also our id of the invalidation.
    pub batch: Uuid,
    pub distribution_id: String,
    pub cloudfront_id: String,
    /// When CloudFront created it.
    pub submitted_at: Timestamp,
    pub usage: Usage,
    /// When the oldest change that it covers was accepted.
    pub oldest: Timestamp,
}

/// The invalidations to poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DuePolls {
    pub due: Vec<Tracked>,
    /// When the next of the others is due.
    pub next_at: Option<Timestamp>,
}

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPoll {
    Completed,
    /// It is in progress or could not be read: poll again at this time.
    Again(Timestamp),
}
