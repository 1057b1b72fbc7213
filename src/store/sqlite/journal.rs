//! SQL for the journal: adding messages and requests.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    columns::{ROWS, decode, micros, uuid},
    confirmations, notices,
    numbers::take_numbers,
};
pub(super) use crate::store::intake::{Accepted, Intake};
use crate::{
    domain::change::{
        Acceptance, IDEMPOTENCY_KEPT, Idempotency, NewMessage, NewRequest, RequestAcceptance,
    },
    store::intake::{NewChange, NewRows, kind, only_at},
};

/// Adds all `intakes`, and returns what became of each.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
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
    insert_rows(connection, &new).await?;
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
pub(super) use message_rows;

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
        let mut insert = QueryBuilder::<Sqlite>::new(message_rows!(""));
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

/// What became of a request.
enum Inserted {
    /// It has this number.
    As(i64),
    /// Its key was known.
    Not(RequestAcceptance),
}

/// Inserts the requests one by one (there are few), and returns what became of them, in order.
async fn insert_requests(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
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

async fn insert_request(
    connection: &mut SqliteConnection,
    request: &NewRequest,
) -> sqlx::Result<i64> {
    let distributions = only_at(request).map_err(decode)?;
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

async fn insert_rows(connection: &mut SqliteConnection, new: &NewRows<'_>) -> sqlx::Result<()> {
    for chunk in new.changes.chunks(ROWS) {
        insert_changes(connection, chunk).await?;
    }
    for (message_seq, message, dead) in &new.dead {
        let insert = "INSERT INTO dead_letters (kind, why, content, message, created_at) \
                          VALUES ('record', ?, ?, ?, ?)";
        let inserted = sqlx::query(insert)
            .bind(&dead.why)
            .bind(&dead.content)
            .bind(message_seq)
            .bind(micros(message.accepted_at))
            .execute(&mut *connection)
            .await?;
        let letter = inserted.last_insert_rowid();
        notices::of_dead_letters(connection, &[letter], message.accepted_at).await?;
    }
    for (message, token) in &new.confirmations {
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
    for message in &new.ends {
        confirmations::end(connection, message).await?;
    }
    for (topic, signed_at) in &new.newest {
        confirmations::continues(connection, topic, *signed_at).await?;
    }
    Ok(())
}

async fn insert_changes(
    connection: &mut SqliteConnection,
    changes: &[NewChange<'_>],
) -> sqlx::Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO changes (seq, message, request, bucket, object_key, event, event_time, \
         distribution_id, path, accepted_at, sequencer, object_hash) ",
    );
    let first = take_numbers(connection, changes.len()).await?;
    insert.push_values((first..).zip(changes), |mut row, (seq, change)| {
        row.push_bind(seq)
            .push_bind(change.message)
            .push_bind(change.request)
            .push_bind(change.bucket)
            .push_bind(change.key)
            .push_bind(change.event)
            .push_bind(change.event_time.map(micros))
            .push_bind(change.distribution_id)
            .push_bind(change.path)
            .push_bind(micros(change.accepted_at))
            .push_bind(change.sequencer)
            .push_bind(change.object_hash());
    });
    insert.build().execute(connection).await?;
    Ok(())
}
