//! What a redrive needs of SQS.

use async_trait::async_trait;

use super::connection::CallError;

/// One queue with the messages that SNS could not deliver.
#[async_trait]
pub trait DeadLetterQueue: Send + Sync + 'static {
    /// About how many messages it has, with those that somebody has received and not deleted.
    async fn count(&self) -> Result<u64, CallError>;

    /// At most ten messages. They stay in the queue, but others do not receive them for a while.
    async fn receive(&self, most: usize) -> Result<Vec<QueuedMessage>, CallError>;

    /// Deletes at most ten received messages, and returns how many could not be deleted.
    async fn delete(&self, receipts: &[String]) -> Result<usize, CallError>;

    /// Lets others receive at most ten received messages at once, and returns with how many this failed.
    async fn release(&self, receipts: &[String]) -> Result<usize, CallError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// SQS's id, which is not SNS's.
    pub id: String,
    /// What deletes it.
    pub receipt: String,
    pub body: String,
}
