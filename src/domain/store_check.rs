//! What a look at a store finds: whether it is sound, its version, and what is open in it.

use serde::Serialize;

/// The findings of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreCheck {
    /// What is broken; empty if nothing is.
    pub faults: Vec<String>,
    pub version: StoreVersion,
    /// `None` if the store is too broken to count it.
    pub open: Option<OpenWork>,
}

/// The version of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StoreVersion {
    pub found: i64,
    /// That of this version of purgefront.
    pub current: i64,
}

impl StoreVersion {
    /// Whether the service migrates the store when it starts.
    pub fn is_older(self) -> bool {
        self.found < self.current
    }
}

/// What is accepted and has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OpenWork {
    /// Changes that have not been mapped to all their distributions.
    pub unmapped_changes: i64,
    /// Items that wait for an invalidation.
    pub waiting_items: i64,
    /// Batches without a definite answer from CloudFront.
    pub unresolved_batches: i64,
    /// Invalidations that CloudFront has not completed.
    pub in_progress: i64,
    pub dead_letters: i64,
}
