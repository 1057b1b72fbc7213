//! SQL for subscriptions: unconfirmed ones and ended ones.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _};

use super::columns::{decode, micros, parsed, read_all, time};
use crate::{
    domain::{
        change::NewMessage,
        sns_message::Token,
        subscription::{ConfirmationResult, PendingConfirmation},
        topic::TopicArn,
    },
    ports::StoreError,
};

pub(super) async fn pending(readers: &PgPool) -> Result<Vec<PendingConfirmation>, StoreError> {
    let select = "SELECT topic, token, signed_at, failures, due_at FROM confirmations \
                  WHERE state = 'pending' ORDER BY due_at";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    let pending = |row: &sqlx::postgres::PgRow| {
        Ok(PendingConfirmation {
            topic: parsed(row.try_get("topic")?)?,
            token: Token::new(row.try_get("token")?).ok_or_else(not_a_token)?,
            signed_at: time(row.try_get("signed_at")?)?,
            failures: u32::try_from(row.try_get::<i64, _>("failures")?).map_err(decode)?,
            due_at: time(row.try_get("due_at")?)?,
        })
    };
    read_all("confirmations", "topic", &rows, pending)
}

pub(super) async fn record(
    connection: &mut PgConnection,
    confirmation: PendingConfirmation,
    result: ConfirmationResult,
) -> sqlx::Result<()> {
    if matches!(result, ConfirmationResult::Confirmed(_)) {
        continues(connection, &confirmation.topic, confirmation.signed_at).await?;
    }
    let (state, due_at, detail) = match result {
        ConfirmationResult::Confirmed(arn) => ("confirmed", confirmation.due_at, arn),
        ConfirmationResult::GivenUp(why) => ("given_up", confirmation.due_at, why),
        ConfirmationResult::Retry { due_at, why } => ("pending", due_at, why),
    };
    let update = "UPDATE confirmations SET state = ?, due_at = ?, detail = ?, \
                  failures = failures + (? = 'pending') WHERE topic = ? AND token = ?";
    sqlx::query(update)
        .bind(state)
        .bind(micros(due_at))
        .bind(detail)
        .bind(state)
        .bind(confirmation.topic.as_str())
        .bind(confirmation.token.expose())
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the subscription to a topic has ended.
pub(super) async fn end(connection: &mut PgConnection, message: &NewMessage) -> sqlx::Result<()> {
    let insert = "INSERT INTO ended_subscriptions (topic, signed_at) VALUES (?, ?) \
                  ON CONFLICT DO UPDATE SET signed_at = max(signed_at, excluded.signed_at)";
    sqlx::query(insert)
        .bind(message.topic.as_str())
        .bind(micros(message.signed_at))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) const CONTINUES: &str =
    "DELETE FROM ended_subscriptions WHERE topic = ? AND signed_at < ?";

/// Removes a topic's ended subscription if a message was published and received after its end.
pub(super) async fn continues(
    connection: &mut PgConnection,
    topic: &TopicArn,
    signed_at: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(CONTINUES)
        .bind(topic.as_str())
        .bind(micros(signed_at))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn ended(readers: &PgPool) -> sqlx::Result<Vec<String>> {
    let select = "SELECT topic FROM ended_subscriptions ORDER BY topic";
    sqlx::query_scalar(select).fetch_all(readers).await
}

/// Looks at a bounded number of messages: they have no index by topic.
pub(super) async fn has_subscription(readers: &PgPool, topic: &TopicArn) -> sqlx::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM confirmations WHERE topic = ?1 AND state = 'confirmed') \
                  OR EXISTS (SELECT 1 FROM (SELECT topic, kind FROM messages ORDER BY seq DESC \
                  LIMIT 10000) WHERE topic = ?1 AND kind = 'notification')";
    let select = sqlx::query_scalar(select).bind(topic.as_str());
    select.fetch_one(readers).await
}

pub(super) async fn given_up(readers: &PgPool, topic: &TopicArn) -> sqlx::Result<Option<String>> {
    let select = "SELECT detail FROM confirmations WHERE topic = ? AND state = 'given_up' \
                  ORDER BY due_at DESC LIMIT 1";
    let select = sqlx::query_scalar(select).bind(topic.as_str());
    Ok(select.fetch_optional(readers).await?.flatten())
}

fn not_a_token() -> sqlx::Error {
    sqlx::Error::Decode("it is not a token".into())
}
