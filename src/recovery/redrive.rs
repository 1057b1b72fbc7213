//! Takes messages from a dead-letter queue to the service, and deletes those that it has kept.
//!
//! What SNS puts into the queue, no page of AWS says. The best evidence is `LocalStack`, which puts there
//! what it would have posted: the whole signed envelope, or the bare text with raw message delivery. Its
//! tests of this are validated against AWS for subscriptions of queues and functions (2023-08-24:
//! `test_redrive_policy_sqs_queue_subscription`, `test_redrive_policy_lambda_subscription` in
//! `tests/aws/services/sns/test_sns.py`); the one for HTTP never was (`test_dlq_external_http_endpoint`).
//! That one also notes that AWS puts no `UnsubscribeConfirmation` there. Of a `SubscriptionConfirmation`,
//! nothing is known. Should anything else be in the queue, the service refuses it, and it stays.

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;

use crate::ports::{connection::CallError, dead_letter_queue::DeadLetterQueue};

/// The most messages of one receive and one delete.
const BATCH: usize = 10;
/// After so many refusals it stops: what comes back when its timeout is over must be known again.
const MOST_REFUSED: usize = 10_000;
/// The most examples for one reason.
const EXAMPLES: usize = 3;

/// What the service makes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Accepted,
    /// The service had it already.
    Duplicate,
    /// The service does not take it: a short name for the reason, and the reason in words.
    Refused {
        reason: String,
        detail: String,
    },
}

/// What has been done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    pub accepted: u64,
    pub duplicates: u64,
    /// These stay in the queue, by reason.
    pub refused: Vec<Refused>,
    /// Kept by the service, but not deleted from the queue: the next run finds duplicates.
    pub not_deleted: u64,
}

/// The messages that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub reason: String,
    pub detail: String,
    pub count: u64,
    /// SQS's ids of some of them.
    pub examples: Vec<String>,
}

pub struct Redrive {
    queue: Arc<dyn DeadLetterQueue>,
}

impl Redrive {
    pub fn new(queue: Arc<dyn DeadLetterQueue>) -> Self {
        Self { queue }
    }

    /// About how many messages wait.
    pub async fn count(&self) -> Result<u64, CallError> {
        self.queue.count().await
    }

    /// Takes messages until there are no others, or `most` were taken. Stops when `deliver` cannot
    /// reach the service, with its reason.
    pub async fn run(
        &self,
        most: u64,
        mut deliver: impl AsyncFnMut(String) -> Result<Delivery, String>,
    ) -> (Redriven, Result<(), String>) {
        let mut done = Redriven::default();
        let mut refused = HashSet::new();
        let mut left = most;
        while left > 0 {
            if refused.len() >= MOST_REFUSED {
                let why = format!("{MOST_REFUSED} messages were refused; see why before you go on");
                return (done, Err(why));
            }
            let wanted = usize::try_from(left).map_or(BATCH, |left| left.min(BATCH));
            let batch = match self.queue.receive(wanted).await {
                Ok(batch) => batch,
                Err(error) => return (done, Err(error.to_string())),
            };
            let mut kept = Vec::new();
            let mut stopped = Ok(());
            let mut any_new = false;
            for message in batch {
                // It was refused before, and its timeout is over.
                if refused.contains(&message.id) {
                    continue;
                }
                any_new = true;
                left = left.saturating_sub(1);
                match deliver(message.body).await {
                    Ok(Delivery::Accepted) => {
                        done.accepted += 1;
                        kept.push(message.receipt);
                    }
                    Ok(Delivery::Duplicate) => {
                        done.duplicates += 1;
                        kept.push(message.receipt);
                    }
                    Ok(Delivery::Refused { reason, detail }) => {
                        done.refuse(reason, detail, &message.id);
                        refused.insert(message.id);
                    }
                    Err(why) => {
                        stopped = Err(why);
                        break;
                    }
                }
            }
            if let Err(why) = self.delete(&kept, &mut done).await {
                stopped = stopped.and(Err(why));
            }
            if stopped.is_err() || !any_new {
                return (done, stopped);
            }
        }
        (done, Ok(()))
    }

    async fn delete(&self, receipts: &[String], done: &mut Redriven) -> Result<(), String> {
        if receipts.is_empty() {
            return Ok(());
        }
        match self.queue.delete(receipts).await {
            Ok(left) => done.not_deleted += left as u64,
            Err(error) => {
                done.not_deleted += receipts.len() as u64;
                return Err(error.to_string());
            }
        }
        Ok(())
    }
}

impl Redriven {
    fn refuse(&mut self, reason: String, detail: String, id: &str) {
        let known = self.refused.iter().position(|one| one.reason == reason);
        let at = known.unwrap_or_else(|| {
            self.refused.push(Refused {
                reason,
                detail,
                count: 0,
                examples: Vec::new(),
            });
            self.refused.len() - 1
        });
        let group = &mut self.refused[at];
        group.count += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(id.to_owned());
        }
    }
}
