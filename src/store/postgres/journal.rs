//! SQL for the journal: adding messages and requests.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::{
    columns::{ROWS, decode, micros, object_hash, uuid},
    confirmations, notices,
    numbers::take_numbers,
};
use crate::domain::{
    change::{
        Acceptance, Asked, Content, DeadContent, IDEMPOTENCY_KEPT, Idempotency, NewMessage,
        NewRequest, RequestAcceptance,
    },
    path::Item,
    s3_event::ObjectChange,
    sns_message::Token,
    topic::TopicArn,
};

/// An entry for the journal.
pub(super) enum Intake {
    Message(NewMessage),
    Request(NewRequest),
}

/// What became of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Accepted {
    Message(Acceptance),
    Request(RequestAcceptance),
}

impl From<Acceptance> for Accepted {
    fn from(acceptance: Acceptance) -> Self {
        Self::Message(acceptance)
    }
}

/// Adds all `intakes`, and returns what became of each.
pub(super) async fn accept(
    connection: &mut PgConnection,
    intakes: &[Intake],
) -> sqlx::Result<Vec<Accepted>> {
    let mut accepted = Vec::with_capacity(intakes.len());
    let mut new = NewRows::default();
    let mut messages = insert_messages(connection, intakes).await?;
    let mut requests = insert_requests(connection, intakes).await?.into_iter();
    for intake in intakes {
        accepted.push(match intake {
            // Removed from the map, so that a second copy in the same group is a duplicate.
            Intake::Message(message) => {
                Accepted::Message(match messages.remove(&identity(message)) {
                    Some(seq) => {
                        new.add_message(seq, message);
                        Acceptance::New
                    }
                    None => Acceptance::Duplicate,
                })
            }
            Intake::Request(request) => match requests.next() {
                Some(Inserted::As(seq)) => {
                    new.add_request(seq, request);
                    Accepted::Request(RequestAcceptance::New)
                }
                Some(Inserted::Not(why)) => Accepted::Request(why),
                None => return Err(sqlx::Error::RowNotFound),
            },
        });
    }
    new.insert(connection).await?;
    Ok(accepted)
}

type Identity = (i64, Uuid);

fn identity(message: &NewMessage) -> Identity {
    (micros(message.signed_at), message.message_id)
}

/// Inserts rows of messages.
macro_rules! message_rows {
    ($rows:literal) => {
        concat!(
            "INSERT INTO messages (signed_at, message_id, kind, topic, accepted_at) ",
            $rows
        )
    };
}

/// Inserts the messages that are new, and returns their numbers.
async fn insert_messages(
    connection: &mut PgConnection,
    intakes: &[Intake],
) -> sqlx::Result<HashMap<Identity, i64>> {
    let messages: Vec<_> = intakes
        .iter()
        .filter_map(|intake| match intake {
            Intake::Message(message) => Some(message),
            Intake::Request(_) => None,
        })
        .collect();
    let mut seqs = HashMap::with_capacity(messages.len());
    for chunk in messages.chunks(ROWS) {
        let mut insert = QueryBuilder::<Postgres>::new(message_rows!(""));
        insert.push_values(chunk, |mut row, message| {
            row.push_bind(micros(message.signed_at))
                .push_bind(message.message_id.as_bytes().as_slice())
                .push_bind(kind(&message.content))
                .push_bind(message.topic.as_str())
                .push_bind(micros(message.accepted_at));
        });
        insert.push(" ON CONFLICT DO NOTHING RETURNING seq, signed_at, message_id");
        for row in insert.build().fetch_all(&mut *connection).await? {
            let message_id = Uuid::from_slice(row.try_get("message_id")?).map_err(decode)?;
            seqs.insert((row.try_get("signed_at")?, message_id), row.try_get("seq")?);
        }
    }
    Ok(seqs)
}

fn kind(content: &Content) -> &'static str {
    match content {
        Content::Notification { .. } => "notification",
        Content::SubscriptionConfirmation(_) => "subscription_confirmation",
        Content::UnsubscribeConfirmation => "unsubscribe_confirmation",
    }
}

/// What became of a request.
enum Inserted {
    /// It has this number.
    As(i64),
    /// Its key was known.
    Not(RequestAcceptance),
}

/// Inserts the requests one by one (there are few), and returns what became of them, in order.
async fn insert_requests(
    connection: &mut PgConnection,
    intakes: &[Intake],
) -> sqlx::Result<Vec<Inserted>> {
    let mut inserted = Vec::new();
    for intake in intakes {
        let Intake::Request(request) = intake else {
            continue;
        };
        let known = match &request.idempotency {
            Some(idempotency) => earlier(connection, request, idempotency).await?,
            None => None,
        };
        inserted.push(match known {
            Some(known) => Inserted::Not(known),
            None => Inserted::As(insert_request(connection, request).await?),
        });
    }
    Ok(inserted)
}

/// What a request's key says of it, if the token has used the key before. There is one writer, so nobody
/// inserts the same meanwhile.
async fn earlier(
    connection: &mut PgConnection,
    request: &NewRequest,
    idempotency: &Idempotency,
) -> sqlx::Result<Option<RequestAcceptance>> {
    // A clock that was set back must not make a key of the future last for longer than others.
    let select = "SELECT id, body FROM requests \
                  WHERE token = ? AND idempotency_key = ? AND accepted_at > ? AND accepted_at < ? \
                  ORDER BY seq DESC LIMIT 1";
    let row = sqlx::query(select)
        .bind(&request.token)
        .bind(&idempotency.key)
        .bind(micros(request.accepted_at - IDEMPOTENCY_KEPT))
        .bind(micros(request.accepted_at + IDEMPOTENCY_KEPT))
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let body: Vec<u8> = row.try_get("body")?;
    Ok(Some(if body == idempotency.body {
        RequestAcceptance::Repeated(uuid(row.try_get("id")?)?)
    } else {
        RequestAcceptance::OtherBody
    }))
}

async fn insert_request(connection: &mut PgConnection, request: &NewRequest) -> sqlx::Result<i64> {
    let distributions = match &request.asked {
        Asked::Keys {
            distributions: Some(ids),
            ..
        } => Some(serde_json::to_string(ids).map_err(decode)?),
        Asked::Keys { .. } | Asked::Items { .. } => None,
    };
    let idempotency = request.idempotency.as_ref();
    let insert = "INSERT INTO requests \
                  (id, token, reason, accepted_at, distributions, idempotency_key, body) \
                  VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING seq";
    sqlx::query_scalar(insert)
        .bind(request.id.to_string())
        .bind(&request.token)
        .bind(&request.reason)
        .bind(micros(request.accepted_at))
        .bind(distributions)
        .bind(idempotency.map(|one| one.key.as_str()))
        .bind(idempotency.map(|one| one.body.as_slice()))
        .fetch_one(connection)
        .await
}

/// The rows that follow from new messages and requests.
#[derive(Default)]
struct NewRows<'a> {
    changes: Vec<NewChange<'a>>,
    dead: Vec<(i64, &'a NewMessage, &'a DeadContent)>,
    confirmations: Vec<(&'a NewMessage, &'a Token)>,
    ends: Vec<&'a NewMessage>,
    /// When the newest notification of each topic was published.
    newest: HashMap<&'a TopicArn, Timestamp>,
}

enum NewChange<'a> {
    Event(i64, &'a NewMessage, &'a ObjectChange),
    Item(i64, &'a NewRequest, &'a str, &'a Item),
    Key(i64, &'a NewRequest, &'a str, &'a str),
}

impl<'a> NewRows<'a> {
    fn add_message(&mut self, seq: i64, message: &'a NewMessage) {
        match &message.content {
            Content::Notification { changes, dead } => {
                let event = |change| NewChange::Event(seq, message, change);
                self.changes.extend(changes.iter().map(event));
                self.dead.extend(dead.iter().map(|one| (seq, message, one)));
                let newest = self.newest.entry(&message.topic);
                let newest = newest.or_insert(message.signed_at);
                *newest = message.signed_at.max(*newest);
            }
            Content::SubscriptionConfirmation(token) => self.confirmations.push((message, token)),
            Content::UnsubscribeConfirmation => self.ends.push(message),
        }
    }

    fn add_request(&mut self, seq: i64, request: &'a NewRequest) {
        match &request.asked {
            Asked::Items {
                distribution_id,
                items,
            } => {
                let change = |item| NewChange::Item(seq, request, distribution_id, item);
                self.changes.extend(items.iter().map(change));
            }
            Asked::Keys { bucket, keys, .. } => {
                let change = |key: &'a String| NewChange::Key(seq, request, bucket, key);
                self.changes.extend(keys.iter().map(change));
            }
        }
    }

    async fn insert(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        for chunk in self.changes.chunks(ROWS) {
            insert_changes(connection, chunk).await?;
        }
        for (message_seq, message, dead) in &self.dead {
            let insert = "INSERT INTO dead_letters (kind, why, content, message, created_at) \
                          VALUES ('record', ?, ?, ?, ?)";
            let inserted = sqlx::query(insert)
                .bind(&dead.why)
                .bind(&dead.content)
                .bind(message_seq)
                .bind(micros(message.accepted_at))
                .execute(&mut *connection)
                .await?;
            let letter = i64::try_from(inserted.rows_affected()).unwrap_or(0);
            notices::of_dead_letters(connection, &[letter], message.accepted_at).await?;
        }
        for (message, token) in &self.confirmations {
            let insert = "INSERT INTO confirmations (topic, token, signed_at, due_at) \
                          VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
            sqlx::query(insert)
                .bind(message.topic.as_str())
                .bind(token.expose())
                .bind(micros(message.signed_at))
                .bind(micros(message.accepted_at))
                .execute(&mut *connection)
                .await?;
        }
        for message in &self.ends {
            confirmations::end(connection, message).await?;
        }
        for (topic, signed_at) in &self.newest {
            confirmations::continues(connection, topic, *signed_at).await?;
        }
        Ok(())
    }
}

async fn insert_changes(
    connection: &mut PgConnection,
    changes: &[NewChange<'_>],
) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Postgres>::new(
        "INSERT INTO changes (seq, message, request, bucket, object_key, event, event_time, \
         distribution_id, path, accepted_at, sequencer, object_hash) ",
    );
    let first = take_numbers(connection, changes.len()).await?;
    insert.push_values((first..).zip(changes), |mut row, (seq, change)| {
        row.push_bind(seq);
        match change {
            NewChange::Event(seq, message, change) => row
                .push_bind(*seq)
                .push_bind(None::<i64>)
                .push_bind(change.bucket.as_str())
                .push_bind(change.key.as_str())
                .push_bind(change.event.as_str())
                .push_bind(change.time.map(micros))
                .push_bind(None::<&str>)
                .push_bind(None::<&str>)
                .push_bind(micros(message.accepted_at))
                .push_bind(change.sequencer.as_deref())
                .push_bind(Some(object_hash(&change.bucket, &change.key))),
            NewChange::Key(seq, request, bucket, key) => row
                .push_bind(None::<i64>)
                .push_bind(*seq)
                .push_bind(*bucket)
                .push_bind(*key)
                .push_bind(None::<&str>)
                .push_bind(None::<i64>)
                .push_bind(None::<&str>)
                .push_bind(None::<&str>)
                .push_bind(micros(request.accepted_at))
                .push_bind(None::<&str>)
                .push_bind(Some(object_hash(bucket, key))),
            NewChange::Item(seq, request, distribution_id, item) => row
                .push_bind(None::<i64>)
                .push_bind(*seq)
                .push_bind(None::<&str>)
                .push_bind(None::<&str>)
                .push_bind(None::<&str>)
                .push_bind(None::<i64>)
                .push_bind(*distribution_id)
                .push_bind(item.as_str())
                .push_bind(micros(request.accepted_at))
                .push_bind(None::<&str>)
                .push_bind(None::<i64>),
        };
    });
    insert.build().execute(connection).await?;
    Ok(())
}
