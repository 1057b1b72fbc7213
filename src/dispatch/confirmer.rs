//! Confirms subscriptions in the background, until it succeeds or the token expires.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Context, Settings, runner::Worker, status_board::StatusBoard};
use crate::{
    domain::{
        sns_message::TOKEN_LIFETIME,
        subscription::{ConfirmationResult, PendingConfirmation},
    },
    ports::{ConfirmError, StoreError, Wakeup, dispatch::UpkeepStore},
};

pub(super) struct Confirmer {
    context: Context,
    store: Arc<dyn UpkeepStore>,
    board: StatusBoard,
    authenticate_on_unsubscribe: bool,
    random: fastrand::Rng,
    /// Why the last attempt failed, while something is unconfirmed.
    failure: Option<String>,
}

impl Confirmer {
    pub(super) fn new(
        context: &Context,
        settings: &Settings,
        store: Arc<dyn UpkeepStore>,
        board: StatusBoard,
    ) -> Self {
        Self {
            context: context.clone(),
            store,
            board,
            authenticate_on_unsubscribe: settings.authenticate_on_unsubscribe,
            random: fastrand::Rng::with_seed(settings.seed ^ 3),
            failure: None,
        }
    }

    /// Tries to confirm a subscription, and returns when to try again, if needed.
    async fn confirm(
        &mut self,
        pending: &PendingConfirmation,
    ) -> Result<Option<Timestamp>, StoreError> {
        let topic = &pending.topic;
        let expired = self.context.clock.now() > pending.signed_at + TOKEN_LIFETIME;
        let confirmed = if expired {
            Err(ConfirmError::Permanent(
                "its token has expired after two days".to_owned(),
            ))
        } else {
            let authenticate = self.authenticate_on_unsubscribe;
            let trust = &self.context.trust;
            trust
                .confirm_subscription(topic, &pending.token, authenticate)
                .await
        };
        let (outcome, result) = match confirmed {
            Ok(arn) => {
                tracing::info!(%topic, subscription = %arn, "subscription confirmed");
                ("confirmed", ConfirmationResult::Confirmed(arn))
            }
            Err(ConfirmError::Permanent(why)) => {
                tracing::error!(%topic, %why,
                    "the subscription cannot be confirmed: subscribe the endpoint again");
                ("given_up", ConfirmationResult::GivenUp(why))
            }
            Err(ConfirmError::Retry(why)) => {
                let now = self.context.clock.now();
                let due_at = pending.retry_at(now, self.random.f64());
                tracing::warn!(%topic, %why, retry_at = %due_at, "subscription not confirmed yet");
                self.failure = Some(why.clone());
                ("retry", ConfirmationResult::Retry { due_at, why })
            }
        };
        self.context.metrics.confirmation(outcome);
        let due_at = match &result {
            ConfirmationResult::Retry { due_at, .. } => Some(*due_at),
            _ => None,
        };
        self.store.record_confirmation(pending, result).await?;
        Ok(due_at)
    }
}

#[async_trait]
impl Worker for Confirmer {
    fn name(&self) -> &'static str {
        "confirmer"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let mut waiting = Vec::new();
        for pending in self.store.pending_confirmations().await? {
            let now = self.context.clock.now();
            let due_at = if pending.due_at(now) > now {
                Some(pending.due_at)
            } else {
                self.confirm(&pending).await?
            };
            waiting.extend(due_at);
        }
        if waiting.is_empty() {
            self.failure = None;
        }
        let failure = self.failure.clone();
        self.board.update(|status| {
            status.confirmations = waiting.len();
            status.confirmation_failure = failure;
        });
        Ok(waiting.into_iter().min())
    }

    async fn woken(&mut self) {
        let wakeups = &self.context.wakeups;
        wakeups.woken(Wakeup::SubscriptionAccepted).await;
    }
}
