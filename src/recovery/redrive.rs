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
use tokio_util::sync::CancellationToken;

use crate::ports::{connection::CallError, dead_letter_queue::DeadLetterQueue};

/// The most messages of one receive and one delete.
const BATCH: usize = 10;
/// After so many refusals it stops: what comes back when its timeout is over must be known again.
const MOST_REFUSED: usize = 10_000;
const INTERRUPTED: &str = "interrupted";
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
    /// Not taken, but invisible for a while, since the queue could not be told that they were not taken.
    pub hidden: u64,
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

    /// Takes messages until there are no others, or `most` were taken. Stops with `stop`, and when
    /// `deliver` cannot reach the service, with its reason; then others can receive at once what was not
    /// taken.
    pub async fn run(
        &self,
        most: u64,
        stop: &CancellationToken,
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
            if stop.is_cancelled() {
                return (done, Err(INTERRUPTED.to_owned()));
            }
            let wanted = usize::try_from(left).map_or(BATCH, |left| left.min(BATCH));
            let batch = match self.queue.receive(wanted).await {
                Ok(batch) => batch,
                Err(error) => return (done, Err(error.to_string())),
            };
            let mut kept = Vec::new();
            let mut stopped = Ok(());
            let mut any_new = false;
            let mut batch = batch.into_iter();
            let mut untaken = Vec::new();
            for message in batch.by_ref() {
                // It was refused before, and its timeout is over.
                if refused.contains(&message.id) {
                    continue;
                }
                any_new = true;
                left = left.saturating_sub(1);
                let delivered = stop.run_until_cancelled(deliver(message.body)).await;
                match delivered.unwrap_or_else(|| Err(INTERRUPTED.to_owned())) {
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
                        untaken.push(message.receipt);
                        break;
                    }
                }
            }
            if let Err(why) = self.delete(&kept, &mut done).await {
                stopped = stopped.and(Err(why));
            }
            // Those that were refused stay invisible.
            let rest = batch.filter(|one| !refused.contains(&one.id));
            untaken.extend(rest.map(|one| one.receipt));
            done.hidden += self.release(&untaken).await;
            if stopped.is_err() || !any_new {
                return (done, stopped);
            }
        }
        (done, Ok(()))
    }

    /// With how many this failed, they are invisible for a while; nothing else comes of it.
    async fn release(&self, receipts: &[String]) -> u64 {
        if receipts.is_empty() {
            return 0;
        }
        let failed = self.queue.release(receipts).await;
        failed.unwrap_or(receipts.len()) as u64
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
    /// How many were posted.
    pub fn taken(&self) -> u64 {
        self.accepted + self.duplicates + self.all_refused()
    }

    /// How many stay in the queue, as far as this run knows.
    pub fn staying(&self) -> u64 {
        self.all_refused() + self.not_deleted
    }

    fn all_refused(&self) -> u64 {
        self.refused.iter().map(|group| group.count).sum()
    }

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
