//! POST /sns and POST /redrive: verifies a message, reads it, commits it to the journal, and only then answers 2xx.

use std::fmt::Display;

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{
    AppState, DEADLINE, SNS_BODY, SnsRules, basic,
    capacity::AdmittedBody,
    problem::Problem,
    refusals::WRONG_PATH,
    sender::{MESSAGE_TYPE, Sender},
    within_deadline,
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

/// What is answered with 2xx.
#[derive(Serialize)]
pub(super) struct Received {
    outcome: &'static str,
}

/// Receives a message from SNS. 2xx means that it is committed, or ignored on purpose. Nothing is wrapped
/// around it but what every response needs, because it is called for each changed object.
pub(super) async fn receive(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Received>, Problem> {
    let (parts, body) = request.into_parts();
    let work = async {
        basic::check(&state, &parts)?;
        let body = AdmittedBody::read(body, &state.capacity).await?;
        accept(&state, Way::Posted, &parts, body).await
    };
    let received = within_deadline(work).await.flatten().map(outcome);
    match &received {
        Ok(outcome) => state.metrics.taken(outcome, state.clock.now()),
        Err(problem) => state.metrics.message(problem.slug()),
    }
    let outcome = received?;
    Ok(Json(Received { outcome }))
}

/// Receives a message again that SNS has put into a dead-letter queue. Whoever posts it has taken it from
/// there, so a refusal is told to them, and neither counted nor told as one of SNS's.
pub(super) async fn redrive(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Received>, Problem> {
    let (parts, body) = request.into_parts();
    let body = AdmittedBody::read(body, &state.capacity).await?;
    let outcome = outcome(accept(&state, Way::Redriven, &parts, body).await?);
    state.metrics.message(outcome);
    Ok(Json(Received { outcome }))
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
    parts: &Parts,
    admitted: AdmittedBody<SNS_BODY>,
) -> Result<Acceptance, Problem> {
    let raw = parts
        .headers
        .get("x-amz-sns-rawdelivery")
        .is_some_and(|value| value == "true");
    let deadline = state.clock.now() + DEADLINE;
    let message = verify(state, way, &admitted.body, raw, deadline)
        .await
        .map_err(|refusal| refused(state, way, parts, &refusal))?;
    let content = read(&message, &state.sns, &state.metrics);
    let summary = Summary::of(&content);
    let acceptance = state
        .intake
        .accept_message(NewMessage {
            message_id: message.message_id(),
            signed_at: message.timestamp(),
            topic: message.topic().clone(),
            accepted_at: state.clock.now(),
            content,
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
        report_accepted(state, &message, &summary);
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
                        content: bad.record,
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

/// What is reported of a message once it is committed.
struct Summary {
    changes: usize,
    /// Why records, or the whole message, could not be read.
    dead: Vec<String>,
}

impl Summary {
    fn of(content: &Content) -> Self {
        match content {
            Content::Notification { changes, dead } => Self {
                changes: changes.len(),
                dead: dead.iter().map(|letter| letter.why.clone()).collect(),
            },
            Content::SubscriptionConfirmation(_) | Content::UnsubscribeConfirmation => Self {
                changes: 0,
                dead: Vec::new(),
            },
        }
    }
}

/// Counts and logs a newly accepted message, and wakes the workers.
fn report_accepted(state: &AppState, message: &SnsMessage, summary: &Summary) {
    match message.kind() {
        MessageKind::Notification => {
            let Summary { changes, dead } = summary;
            state.metrics.records("accepted", *changes);
            state.metrics.changes("event", *changes);
            tracing::debug!(
                message_id = %message.message_id(),
                topic = %message.topic(),
                changes,
                "message accepted"
            );
            if *changes > 0 {
                state.wakeups.wake(Wakeup::ChangesAccepted);
            }
            if !dead.is_empty() {
                state.wakeups.wake(Wakeup::NoticesWaiting);
            }
            for why in dead {
                state.metrics.records("dead", 1);
                state.metrics.failed(UNREADABLE);
                tracing::warn!(
                    message_id = %message.message_id(),
                    topic = %message.topic(),
                    ?why,
                    "a record was kept as a dead letter"
                );
            }
        }
        MessageKind::SubscriptionConfirmation { .. } => {
            tracing::info!(topic = %message.topic(), "subscription confirmation received");
            state.wakeups.wake(Wakeup::SubscriptionAccepted);
        }
        MessageKind::UnsubscribeConfirmation { .. } => {
            tracing::warn!(
                topic = %message.topic(),
                "the subscription was ended: no more messages will come from this topic"
            );
        }
    }
}

fn refused(state: &AppState, way: Way, parts: &Parts, refusal: &Refusal) -> Problem {
    let status = match refusal.class() {
        RefusalClass::Malformed => StatusCode::BAD_REQUEST,
        RefusalClass::Forbidden => StatusCode::FORBIDDEN,
        RefusalClass::TryAgain => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reason = refusal.slug();
    match way {
        Way::Posted => log(state, &Sender::of(parts), reason, status, refusal),
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
    if !is_message {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    if let Err(problem) = AdmittedBody::<SNS_BODY>::read(body, &state.capacity).await {
        return problem.into_response();
    }
    let status = StatusCode::NOT_FOUND;
    let text = "this is not the path for SNS's messages: subscribe https://HOST/sns instead";
    state.metrics.message(WRONG_PATH);
    log(&state, &Sender::of(&parts), WRONG_PATH, status, &text);
    Problem::new(status, WRONG_PATH, text).into_response()
}
