//! POST /sns: verifies a message, reads it, commits it to the journal, and only then answers 2xx.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde_json::{Value, json};

use super::{AppState, DEADLINE, SNS_BODY, SnsRules, capacity::AdmittedBody, problem::Problem};
use crate::{
    domain::{
        change::{Acceptance, Content, DeadContent, NewMessage},
        s3_event::{self, Notification},
        sns_message::{MessageKind, Refusal, RefusalClass, SnsMessage},
    },
    ports::Wakeup,
    telemetry::Metrics,
};

/// Receives a message from SNS. 2xx means that it is committed, or ignored on purpose.
pub(super) async fn receive(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<AdmittedBody<SNS_BODY>, Problem>,
) -> Result<Json<Value>, Problem> {
    let received = accept(&state, &headers, body).await;
    match &received {
        Ok(Acceptance::New) => state.metrics.message("accepted"),
        Ok(Acceptance::Duplicate) => state.metrics.message("duplicate"),
        Err(problem) => state.metrics.message(problem.slug()),
    }
    let outcome = match received? {
        Acceptance::New => "accepted",
        Acceptance::Duplicate => "duplicate",
    };
    Ok(Json(json!({ "outcome": outcome })))
}

async fn accept(
    state: &AppState,
    headers: &HeaderMap,
    body: Result<AdmittedBody<SNS_BODY>, Problem>,
) -> Result<Acceptance, Problem> {
    let arrived_at = state.clock.now();
    let admitted = body?;
    let raw = headers
        .get("x-amz-sns-rawdelivery")
        .is_some_and(|value| value == "true");
    let message = verify(state, &admitted.body, raw, arrived_at + DEADLINE)
        .await
        .map_err(|refusal| refused(state, &refusal))?;
    let content = read(&message, &state.sns, &state.metrics);
    let acceptance = state
        .intake
        .accept_message(NewMessage {
            message_id: message.message_id(),
            signed_at: message.timestamp(),
            topic: message.topic().clone(),
            accepted_at: state.clock.now(),
            content: content.clone(),
        })
        .await?;
    if acceptance == Acceptance::New {
        report_accepted(state, &message, &content);
    }
    Ok(acceptance)
}

/// Makes all checks, cheapest first.
async fn verify(
    state: &AppState,
    body: &[u8],
    raw: bool,
    deadline: jiff::Timestamp,
) -> Result<SnsMessage, Refusal> {
    let message = SnsMessage::parse(body, raw, &state.sns.topics, state.sns.emulator.as_deref())?;
    state.trust.verify(&message, deadline).await?;
    message.check_age(state.clock.now(), state.sns.max_age, state.sns.max_skew)?;
    Ok(message)
}

/// Reads a verified message. What cannot be read becomes a dead letter, because a retry would not
/// help.
fn read(message: &SnsMessage, rules: &SnsRules, metrics: &Metrics) -> Content {
    match message.kind() {
        MessageKind::SubscriptionConfirmation { token, .. } => {
            return Content::SubscriptionConfirmation(token.clone());
        }
        MessageKind::UnsubscribeConfirmation { .. } => return Content::UnsubscribeConfirmation,
        MessageKind::Notification => {}
    }
    let mut changes = Vec::new();
    let mut dead = Vec::new();
    match s3_event::read(message.text()) {
        Notification::Records(records) => {
            for record in records {
                match record {
                    Ok(change) if rules.events.lets_through(&change.event) => changes.push(change),
                    Ok(_) => metrics.records("ignored", 1),
                    Err(bad) => dead.push(DeadContent {
                        why: bad.why,
                        content: bad.record.to_string(),
                    }),
                }
            }
        }
        Notification::Test { bucket } => {
            tracing::info!(%bucket, topic = %message.topic(), "s3:TestEvent received: the connection works");
            metrics.records("test", 1);
        }
        Notification::Foreign(why) => dead.push(DeadContent {
            why: format!("the message has no S3 event: {why}"),
            content: message.text().to_owned(),
        }),
    }
    Content::Notification { changes, dead }
}

/// Counts and logs a newly accepted message, and wakes the workers.
fn report_accepted(state: &AppState, message: &SnsMessage, content: &Content) {
    match content {
        Content::Notification { changes, dead } => {
            state.metrics.records("accepted", changes.len());
            state.metrics.changes("event", changes.len());
            tracing::debug!(
                message_id = %message.message_id(),
                topic = %message.topic(),
                changes = changes.len(),
                "message accepted"
            );
            if !changes.is_empty() {
                state.wakeups.wake(Wakeup::ChangesAccepted);
            }
            for letter in dead {
                state.metrics.records("dead", 1);
                tracing::warn!(
                    message_id = %message.message_id(),
                    topic = %message.topic(),
                    why = ?letter.why,
                    "a record was kept as a dead letter"
                );
            }
        }
        Content::SubscriptionConfirmation(_) => {
            tracing::info!(topic = %message.topic(), "subscription confirmation received");
            state.wakeups.wake(Wakeup::SubscriptionAccepted);
        }
        Content::UnsubscribeConfirmation => {
            tracing::warn!(
                topic = %message.topic(),
                "the subscription was ended: no more messages will come from this topic"
            );
        }
    }
}

fn refused(state: &AppState, refusal: &Refusal) -> Problem {
    let status = match refusal.class() {
        RefusalClass::Malformed => StatusCode::BAD_REQUEST,
        RefusalClass::Forbidden => StatusCode::FORBIDDEN,
        RefusalClass::TryAgain => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reason = refusal.slug();
    if let Some(left_out) = state.refusals.line(reason, state.clock.now()) {
        tracing::warn!(reason, status = status.as_u16(), %refusal, left_out, "message refused");
    }
    Problem::new(status, reason, refusal.to_string())
}
