//! Confirms subscriptions in the background, for as long as their tokens live.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Context, POLL, STORE_PAUSE, Settings};
use crate::{
    domain::limits::backoff,
    ports::{ConfirmError, ConfirmationResult, PendingConfirmation, StoreError},
};

/// The name under which confirmations report their health.
const HEALTH: &str = "subscriptions";
/// SNS API Reference, Subscribe: "Confirmation tokens are valid for two days."
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(48);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The worker that confirms.
pub(super) struct Confirmer {
    context: Context,
    authenticate_on_unsubscribe: bool,
    random: fastrand::Rng,
}

impl Confirmer {
    pub(super) fn new(context: Context, settings: &Settings) -> Self {
        Self {
            context,
            authenticate_on_unsubscribe: settings.authenticate_on_unsubscribe,
            random: fastrand::Rng::with_seed(settings.seed ^ 3),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(async move {
            loop {
                let next_at = match self.confirm_due().await {
                    Ok(next_at) => next_at,
                    Err(error) => {
                        tracing::warn!(%error, "subscriptions wait to be confirmed");
                        Some(self.context.clock.now() + STORE_PAUSE)
                    }
                };
                let Context { clock, signals, .. } = &self.context;
                let poll_at = clock.now() + POLL;
                let next_at = next_at.map_or(poll_at, |next_at| next_at.min(poll_at));
                tokio::select! {
                    () = signals.confirmation.notified() => {}
                    () = clock.sleep_until(next_at) => {}
                }
            }
        })
        .await;
    }

    /// Tries all that are due; says when the next one is.
    async fn confirm_due(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let mut waiting = 0_usize;
        let mut next_at: Option<Timestamp> = None;
        for pending in self.context.store.pending_confirmations().await? {
            let due_at = if pending.due_at > self.context.clock.now() {
                Some(pending.due_at)
            } else {
                self.confirm(&pending).await?
            };
            if let Some(due_at) = due_at {
                waiting += 1;
                next_at = Some(next_at.map_or(due_at, |next| next.min(due_at)));
            }
        }
        if waiting == 0 {
            self.context.health.ok(HEALTH);
        } else {
            let text = format!(
                "{waiting} wait to be confirmed; this needs sns:ConfirmSubscription on the topic \
                 and a way to SNS's API, and is tried until the token is two days old"
            );
            self.context.health.warn(HEALTH, text);
        }
        Ok(next_at)
    }

    /// Tries one; says when to try again, if so.
    async fn confirm(
        &mut self,
        pending: &PendingConfirmation,
    ) -> Result<Option<Timestamp>, StoreError> {
        let topic = &pending.topic;
        let expired = self.context.clock.now() > pending.signed_at + TOKEN_LIFE;
        let confirmed = if expired {
            Err(ConfirmError::Permanent(
                "its token is two days old".to_owned(),
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
                    "subscription not confirmed, and never will be: subscribe the endpoint again");
                ("given_up", ConfirmationResult::GivenUp(why))
            }
            Err(ConfirmError::Retry(why)) => {
                let failures = pending.failures + 1;
                let pause = backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, self.random.f64());
                let due_at = self.context.clock.now() + pause;
                tracing::warn!(%topic, %why, retry_at = %due_at, "subscription not confirmed yet");
                ("retry", ConfirmationResult::Again { due_at, why })
            }
        };
        self.context.metrics.confirmation(outcome);
        let due_at = match &result {
            ConfirmationResult::Again { due_at, .. } => Some(*due_at),
            _ => None,
        };
        self.context
            .store
            .record_confirmation(pending, result)
            .await?;
        Ok(due_at)
    }
}
