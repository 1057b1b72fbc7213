//! The ledger: how many paths the account pays for this month.

/// The paths that CloudFront bills this month (UTC), as far as purgefront knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Paths that purgefront has sent this month.
    pub own: u64,
    /// Paths of invalidations that others created this month, as far as dispatch has learnt of them: there
    /// may be more.
    pub others: u64,
    /// The paths of both in the last days, this one included,
    pub recent: u64,
    /// and how many days those are: up to seven, or fewer if nothing was recorded before. 0 if there is
    /// nothing at all.
    pub days: u32,
}

/// An invalidation that purgefront did not create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OthersInvalidation {
    pub distribution_id: String,
    pub cloudfront_id: String,
    /// When CloudFront created it.
    pub created_at: jiff::Timestamp,
    /// The number of its items: each is billed as one path.
    pub paths: usize,
}
