//! What operators need of the store: pauses, the day's limit, and dead letters.

use async_trait::async_trait;
use jiff::civil::Date;

use super::StoreError;
use crate::domain::{history::DeadLetter, s3_event::ObjectChange};

#[async_trait]
pub trait OperationsStore: Send + Sync + 'static {
    /// Stops or starts sending, for one distribution or for all.
    async fn set_paused(
        &self,
        distribution_id: Option<&str>,
        paused: bool,
    ) -> Result<(), StoreError>;

    /// Lifts the limit of a day (in UTC) for the rest of it.
    async fn lift_limit(&self, day: Date) -> Result<(), StoreError>;

    /// How many dead letters are kept, counted up to `most`.
    async fn count_dead_letters(&self, most: usize) -> Result<u64, StoreError>;

    /// A page of dead letters, the newest first: those before the one with this number.
    async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError>;

    /// Lets an item's changes wait again. False where the letter is gone, or nothing behind it
    /// could wait.
    async fn replay_item(&self, id: i64) -> Result<bool, StoreError>;

    /// Makes a change of a record that could not be read before. False where it is gone.
    async fn replay_record(&self, id: i64, change: ObjectChange) -> Result<bool, StoreError>;

    /// Drops a dead letter. False where it is gone.
    async fn drop_dead_letter(&self, id: i64) -> Result<bool, StoreError>;
}
