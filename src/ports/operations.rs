//! What operators need of the store: pauses, deploy windows, the daily limit, and dead letters.

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::StoreError;
use crate::domain::{
    change::Idempotency,
    history::DeadLetter,
    hold::{DeployHold, HoldAcceptance},
    operations::Controls,
    s3_event::ObjectChange,
};

#[async_trait]
pub trait OperationsStore: Send + Sync + 'static {
    /// Stops or resumes sending, for one distribution or for all.
    async fn set_paused(
        &self,
        distribution_id: Option<&str>,
        paused: bool,
    ) -> Result<(), StoreError>;

    /// Adds a hold, unless its token has [`MOST_OPEN`](crate::domain::hold::MOST_OPEN) open ones, or an
    /// earlier one with the same key is still kept. Once it returns, every plan that begins knows of it.
    async fn create_hold(
        &self,
        hold: DeployHold,
        idempotency: Option<Idempotency>,
    ) -> Result<HoldAcceptance, StoreError>;

    /// All holds, oldest first, also those that ended a short while ago.
    async fn holds(&self) -> Result<Vec<DeployHold>, StoreError>;

    /// Ends a hold. Returns false if there is none or it has ended.
    async fn end_hold(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError>;

    /// The pauses, the holds, the spending of a day (in UTC), and the ledger of its month.
    async fn controls(&self, day: Date) -> Result<Controls, StoreError>;

    /// The items that were sent from one day to another (in UTC, both included), as they count toward the
    /// daily limit.
    async fn spent(&self, first: Date, last: Date) -> Result<u64, StoreError>;

    /// Ends the pauses after failed attempts, of one distribution or of all: each may be tried now.
    async fn end_backoffs(
        &self,
        distribution_id: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Lifts the daily limit for this day (in UTC).
    async fn lift_limit(&self, day: Date) -> Result<(), StoreError>;

    /// The number of dead letters, counted up to `most`.
    async fn count_dead_letters(&self, most: usize) -> Result<u64, StoreError>;

    /// A page of dead letters, newest first, starting before the number `before`.
    async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// The same of those with exactly this reason.
    async fn dead_letters_because(
        &self,
        why: &str,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// The number of dead letters before the number `before` with exactly this reason, counted up to
    /// `most`.
    async fn count_dead_letters_because(
        &self,
        why: &str,
        before: Option<i64>,
        most: usize,
    ) -> Result<u64, StoreError>;

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError>;

    /// Makes an item's changes wait again. Returns false if the dead letter is gone or has no changes
    /// that could wait.
    async fn replay_item(&self, id: i64) -> Result<bool, StoreError>;

    /// Replaces the dead letter of an unreadable record with the change that it now reads as. Returns
    /// false if the dead letter is gone.
    async fn replay_record(&self, id: i64, change: ObjectChange) -> Result<bool, StoreError>;

    /// Deletes these dead letters, and returns how many there were.
    async fn drop_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError>;

    /// Returns false if the dead letter is gone.
    async fn drop_dead_letter(&self, id: i64) -> Result<bool, StoreError>;
}
