//! Invalidations that are followed until CloudFront calls them completed.

use jiff::Timestamp;
use uuid::Uuid;

use super::batch::Usage;

/// An invalidation in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The batch that it was made of.
    pub batch: Uuid,
    pub distribution_id: String,
    pub cloudfront_id: String,
    /// When CloudFront made it.
    pub submitted_at: Timestamp,
    pub usage: Usage,
    /// When the oldest change that it covers was accepted.
    pub oldest: Timestamp,
}

/// Which invalidations to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DuePolls {
    pub due: Vec<Tracked>,
    /// When the first of the others is due.
    pub next_at: Option<Timestamp>,
}

/// What a look at an invalidation showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPoll {
    Completed,
    /// It is in progress or could not be seen: look again at this time.
    Again(Timestamp),
}
