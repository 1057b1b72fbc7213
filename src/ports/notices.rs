//! Delivering notices: the outbox, which the store fills in the transactions that notices are about, and
//! the way to their targets.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::notice::{NotDelivered, Notice, NoticeTarget, Undelivered, WaitingNotices};

#[async_trait]
pub trait NoticeStore: Send + Sync + 'static {
    /// Sets who is told from now on. Deletes what waits for others, and returns how much that was.
    async fn set_notice_targets(&self, targets: &[NoticeTarget]) -> Result<u64, StoreError>;

    /// Notices to a target that are due, the longest due first.
    async fn due_notices(
        &self,
        target: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError>;

    /// When the next notice to a target is due, if none is now.
    async fn next_notice(
        &self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Deletes a notice that was delivered.
    async fn notice_delivered(&self, seq: i64) -> Result<(), StoreError>;

    /// Puts a notice off after a failure.
    async fn notice_failed(&self, seq: i64, due_at: Timestamp) -> Result<(), StoreError>;

    /// What waits for any target.
    async fn waiting_notices(&self) -> Result<WaitingNotices, StoreError>;

    /// Deletes what is too old, and the oldest of what is too much for a target.
    async fn drop_undelivered(&self, now: Timestamp) -> Result<Undelivered, StoreError>;
}

/// Sends notices to their targets.
#[async_trait]
pub trait NoticeSender: Send + Sync + 'static {
    /// Makes one attempt, which is signed with the time `at`.
    async fn send(&self, notice: &Notice, at: Timestamp) -> Result<(), NotDelivered>;
}
