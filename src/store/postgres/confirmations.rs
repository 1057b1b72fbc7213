//! SQL for subscriptions: unconfirmed ones and ended ones.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::columns::{Text, micros, number, optional_text, parsed, read_all, text, time};
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
    let pending = |row: &PgRow| {
        Ok(PendingConfirmation {
            topic: parsed(&text(row, "topic")?)?,
            token: Token::new(text(row, "token")?).ok_or_else(not_a_token)?,
            signed_at: time(row.try_get("signed_at")?)?,
            failures: number(row, "failures")?,
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
        let newest = [(&confirmation.topic, confirmation.signed_at)];
        continue_all(connection, &newest).await?;
    }
    let (state, due_at, detail) = match result {
        ConfirmationResult::Confirmed(arn) => ("confirmed", confirmation.due_at, arn),
        ConfirmationResult::GivenUp(why) => ("given_up", confirmation.due_at, why),
        ConfirmationResult::Retry { due_at, why } => ("pending", due_at, why),
    };
    let update = "UPDATE confirmations SET state = $1, due_at = $2, detail = $3, \
                  failures = failures + ($1 = 'pending')::int WHERE topic = $4 AND token = $5";
    sqlx::query(update)
        .bind(state)
        .bind(micros(due_at))
        .bind(Text::from(detail))
        .bind(Text::new(confirmation.topic.as_str()))
        .bind(Text::new(confirmation.token.expose()))
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that the subscription to a topic has ended.
pub(super) async fn end(connection: &mut PgConnection, message: &NewMessage) -> sqlx::Result<()> {
    let insert = "INSERT INTO ended_subscriptions AS ended (topic, signed_at) VALUES ($1, $2) \
                  ON CONFLICT (topic) DO UPDATE \
                  SET signed_at = greatest(ended.signed_at, excluded.signed_at)";
    sqlx::query(insert)
        .bind(Text::new(message.topic.as_str()))
        .bind(micros(message.signed_at))
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the ended subscriptions of topics of which a message was published and received after the end.
pub(super) async fn continue_all(
    connection: &mut PgConnection,
    newest: &[(&TopicArn, Timestamp)],
) -> sqlx::Result<()> {
    if newest.is_empty() {
        return Ok(());
    }
    let delete = "DELETE FROM ended_subscriptions AS ended \
                  USING unnest($1::text[], $2::bigint[]) AS newest (topic, signed_at) \
                  WHERE ended.topic = newest.topic AND ended.signed_at < newest.signed_at";
    let topics = newest.iter().map(|(topic, _)| Text::new(topic.as_str()));
    let times = newest.iter().map(|(_, at)| micros(*at));
    sqlx::query(delete)
        .bind(topics.collect::<Vec<_>>())
        .bind(times.collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn ended(readers: &PgPool) -> sqlx::Result<Vec<String>> {
    let select = "SELECT topic FROM ended_subscriptions ORDER BY topic";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    rows.iter().map(|row| text(row, "topic")).collect()
}

/// Looks at a bounded number of messages: they have no index by topic.
pub(super) async fn has_subscription(readers: &PgPool, topic: &TopicArn) -> sqlx::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM confirmations WHERE topic = $1 AND state = 'confirmed') \
                  OR EXISTS (SELECT 1 FROM (SELECT topic, kind FROM messages ORDER BY seq DESC \
                  LIMIT 10000) AS latest WHERE topic = $1 AND kind = 'notification')";
    let select = sqlx::query_scalar(select).bind(Text::new(topic.as_str()));
    select.fetch_one(readers).await
}

pub(super) async fn given_up(readers: &PgPool, topic: &TopicArn) -> sqlx::Result<Option<String>> {
    let select = "SELECT detail FROM confirmations WHERE topic = $1 AND state = 'given_up' \
                  ORDER BY due_at DESC LIMIT 1";
    let row = sqlx::query(select)
        .bind(Text::new(topic.as_str()))
        .fetch_optional(readers)
        .await?;
    let detail = row.map(|row| optional_text(&row, "detail"));
    Ok(detail.transpose()?.flatten())
}

fn not_a_token() -> sqlx::Error {
    sqlx::Error::Decode("it is not a token".into())
}
