//! SQL for the journal: adding messages and requests.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::{
    columns::{decode, micros, signed},
    confirmations,
};
use crate::domain::{
    change::{Acceptance, Content, DeadContent, NewMessage, NewRequest},
    path::Item,
    s3_event::ObjectChange,
    sns_message::Token,
    topic::TopicArn,
};

/// The most rows in one INSERT: SQLite permits 32,766 bound values.
pub(super) const ROWS: usize = 2_000;

/// An entry for the journal.
pub(super) enum Intake {
    Message(NewMessage),
    Request(NewRequest),
}

/// Adds all `intakes`, and returns for each whether it was new.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
    intakes: &[Intake],
) -> sqlx::Result<Vec<Acceptance>> {
    let mut acceptances = Vec::with_capacity(intakes.len());
    let mut new = NewRows::default();
    let mut messages = insert_messages(connection, intakes).await?;
    let mut requests = insert_requests(connection, intakes).await?.into_iter();
    for intake in intakes {
        acceptances.push(match intake {
            // Removed from the map, so that a second copy in the same group is a duplicate.
            Intake::Message(message) => match messages.remove(&identity(message)) {
                Some(seq) => {
                    new.add_message(seq, message);
                    Acceptance::New
                }
                None => Acceptance::Duplicate,
            },
            Intake::Request(request) => {
                if let Some(seq) = requests.next() {
                    let change = |item| NewChange::Item(seq, request, item);
                    new.changes.extend(request.items.iter().map(change));
                }
                Acceptance::New
            }
        });
    }
    new.insert(connection).await?;
    Ok(acceptances)
}

type Identity = (i64, Uuid);

fn identity(message: &NewMessage) -> Identity {
    (micros(message.signed_at), message.message_id)
}

/// Inserts the messages that are new, and returns their numbers.
async fn insert_messages(
    connection: &mut SqliteConnection,
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
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO messages (signed_at, message_id, kind, topic, accepted_at) ",
        );
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

/// Inserts the requests one by one (there are few), and returns their numbers in order.
async fn insert_requests(
    connection: &mut SqliteConnection,
    intakes: &[Intake],
) -> sqlx::Result<Vec<i64>> {
    let mut seqs = Vec::new();
    for intake in intakes {
        let Intake::Request(request) = intake else {
            continue;
        };
        let insert = "INSERT INTO requests (id, token, reason, accepted_at) \
                      VALUES (?, ?, ?, ?) RETURNING seq";
        let seq = sqlx::query_scalar(insert)
            .bind(request.id.to_string())
            .bind(&request.token)
            .bind(&request.reason)
            .bind(micros(request.accepted_at))
            .fetch_one(&mut *connection)
            .await?;
        seqs.push(seq);
    }
    Ok(seqs)
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
    Item(i64, &'a NewRequest, &'a Item),
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

    async fn insert(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        for chunk in self.changes.chunks(ROWS) {
            insert_changes(connection, chunk).await?;
        }
        for (message_seq, message, dead) in &self.dead {
            let insert = "INSERT INTO dead_letters (kind, why, content, message, created_at) \
                          VALUES ('record', ?, ?, ?, ?)";
            sqlx::query(insert)
                .bind(&dead.why)
                .bind(&dead.content)
                .bind(message_seq)
                .bind(micros(message.accepted_at))
                .execute(&mut *connection)
                .await?;
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
    connection: &mut SqliteConnection,
    changes: &[NewChange<'_>],
) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO changes (seq, message, request, bucket, object_key, event, event_time, \
         distribution_id, path, accepted_at) ",
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
                .push_bind(micros(message.accepted_at)),
            NewChange::Item(seq, request, item) => row
                .push_bind(None::<i64>)
                .push_bind(*seq)
                .push_bind(None::<&str>)
                .push_bind(None::<&str>)
                .push_bind(None::<&str>)
                .push_bind(None::<i64>)
                .push_bind(request.distribution_id.as_str())
                .push_bind(item.as_str())
                .push_bind(micros(request.accepted_at)),
        };
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// Takes numbers for new changes, and returns the first. A number is never taken twice, even if its
/// change has been deleted: what was accepted after a change has a higher number.
pub(super) async fn take_numbers(
    connection: &mut SqliteConnection,
    count: usize,
) -> sqlx::Result<i64> {
    let update = "UPDATE journal \
                  SET last = max(last, coalesce((SELECT max(seq) FROM changes), 0)) + ?1 \
                  RETURNING last - ?1 + 1";
    sqlx::query_scalar(update)
        .bind(signed(count))
        .fetch_one(connection)
        .await
}

/// The number of the last change.
pub(super) async fn end(readers: &SqlitePool) -> sqlx::Result<i64> {
    let select = "SELECT max(last, coalesce((SELECT max(seq) FROM changes), 0)) FROM journal";
    sqlx::query_scalar(select).fetch_one(readers).await
}
