//! POST /sns and POST /redrive: verifies a message, reads it, commits it to the journal, and only then answers 2xx.

use std::fmt::Display;

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    AppState, DEADLINE, SNS_BODY, SnsRules,
    capacity::AdmittedBody,
    problem::Problem,
    refusals::WRONG_PATH,
    sender::{MESSAGE_TYPE, Sender},
};
use crate::{
    domain::{
        change::{Acceptance, Content, DeadContent, NewMessage},
        s3_event::{self, Notification},
        sns_message::{MessageKind, Refusal, RefusalClass, SnsMessage},
    },
    ports::Wakeup,
    telemetry::{Metrics, UNREADABLE},
};

/// The paths of [`receive`].
pub(super) const PATHS: [&str; 2] = ["/sns", "/sns/"];

/// Receives a message from SNS. 2xx means that it is committed, or ignored on purpose.
pub(super) async fn receive(
    State(state): State<AppState>,
    sender: Sender,
    headers: HeaderMap,
    body: Result<AdmittedBody<SNS_BODY>, Problem>,
) -> Result<Json<Value>, Problem> {
    let accepted = accept(&state, Way::Posted, &sender, &headers, body).await;
    let received = accepted.map(outcome);
    match &received {
        Ok(outcome) => state.metrics.taken(outcome, state.clock.now()),
        Err(problem) => state.metrics.message(problem.slug()),
    }
    Ok(Json(json!({ "outcome": received? })))
}

/// Receives a message again that SNS has put into a dead-letter queue. Whoever posts it has taken it from
/// there, so a refusal is told to them, and neither counted nor told as one of SNS's.
pub(super) async fn redrive(
    State(state): State<AppState>,
    sender: Sender,
    headers: HeaderMap,
    body: Result<AdmittedBody<SNS_BODY>, Problem>,
) -> Result<Json<Value>, Problem> {
    let outcome = outcome(accept(&state, Way::Redriven, &sender, &headers, body).await?);
    state.metrics.message(outcome);
    Ok(Json(json!({ "outcome": outcome })))
}

fn outcome(acceptance: Acceptance) -> &'static str {
    match acceptance {
        Acceptance::New => "accepted",
        Acceptance::Duplicate => "duplicate",
    }
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From SNS.
    Posted,
    /// From a dead-letter queue.
    Redriven,
}

async fn accept(
    state: &AppState,
    way: Way,
    sender: &Sender,
    headers: &HeaderMap,
    body: Result<AdmittedBody<SNS_BODY>, Problem>,
) -> Result<Acceptance, Problem> {
    let arrived_at = state.clock.now();
    let admitted = body?;
    let raw = headers
        .get("x-amz-sns-rawdelivery")
        .is_some_and(|value| value == "true");
    let message = verify(state, way, &admitted.body, raw, arrived_at + DEADLINE)
        .await
        .map_err(|refusal| refused(state, way, sender, &refusal))?;
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
    // A message from a queue says nothing of what SNS delivers now.
    if way == Way::Posted && *message.kind() == MessageKind::Notification {
        state.heard.heard(message.topic());
        state
            .metrics
            .notified(message.topic().as_str(), state.clock.now());
    }
    if acceptance == Acceptance::New {
        report_accepted(state, &message, &content);
    }
    Ok(acceptance)
}

/// Makes all checks, cheapest first.
async fn verify(
    state: &AppState,
    way: Way,
    body: &[u8],
    raw: bool,
    deadline: jiff::Timestamp,
) -> Result<SnsMessage, Refusal> {
    let message = SnsMessage::parse(body, raw, &state.sns.topics, state.sns.emulator.as_deref())?;
    state.trust.verify(&message, deadline).await?;
    let (now, rules) = (state.clock.now(), &state.sns);
    match way {
        Way::Posted => message.check_age(now, rules.max_age, rules.max_skew)?,
        Way::Redriven => message.check_redriven(now, rules.max_skew)?,
    }
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
        Notification::Unrelated => metrics.records("ignored", 1),
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
            if !dead.is_empty() {
                state.wakeups.wake(Wakeup::NoticesWaiting);
            }
            for letter in dead {
                state.metrics.records("dead", 1);
                state.metrics.failed(UNREADABLE);
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

fn refused(state: &AppState, way: Way, sender: &Sender, refusal: &Refusal) -> Problem {
    let status = match refusal.class() {
        RefusalClass::Malformed => StatusCode::BAD_REQUEST,
        RefusalClass::Forbidden => StatusCode::FORBIDDEN,
        RefusalClass::TryAgain => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reason = refusal.slug();
    match way {
        Way::Posted => log(state, sender, reason, status, refusal),
        Way::Redriven => tracing::info!(reason, %refusal, "redriven message refused"),
    }
    Problem::new(status, reason, refusal.to_string())
}

/// Logs a refusal with the sender's claims, which are unverified.
fn log(
    state: &AppState,
    sender: &Sender,
    reason: &'static str,
    status: StatusCode,
    refusal: &dyn Display,
) {
    let now = state.clock.now();
    let Some(left_out) = state.refusals.note(reason, sender, now) else {
        return;
    };
    tracing::warn!(
        reason,
        status = status.as_u16(),
        %refusal,
        claimed_topic = sender.topic,
        claimed_message_id = sender.message_id,
        sender = sender.address,
        left_out,
        "message refused"
    );
}

/// Refuses SNS's messages on every other path than that of [`receive`]: SNS repeats no message that is
/// answered with 404, nor the only one that could confirm a subscription.
pub(super) async fn elsewhere(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let is_message = request.headers().contains_key(MESSAGE_TYPE);
    if !is_message || PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let sender = Sender::of(request.headers(), request.extensions());
    if let Err(problem) = AdmittedBody::<SNS_BODY>::from_request(request, &state).await {
        return problem.into_response();
    }
    let status = StatusCode::NOT_FOUND;
    let text = "this is not the path for SNS's messages: subscribe https://HOST/sns instead";
    state.metrics.message(WRONG_PATH);
    log(&state, &sender, WRONG_PATH, status, &text);
    Problem::new(status, WRONG_PATH, text).into_response()
}
