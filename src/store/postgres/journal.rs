//! SQL for the journal: adding messages and requests.

use std::collections::HashMap;

use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{
    columns::{Text, decode, micros, optional, signed},
    confirmations, notices,
    numbers::taken_numbers,
};
pub(super) use crate::store::intake::{Accepted, Intake};
use crate::{
    domain::change::{
        Acceptance, IDEMPOTENCY_KEPT, Idempotency, NewMessage, NewRequest, RequestAcceptance,
    },
    store::intake::{NewChange, NewRows, kind, only_at},
};

/// Adds all `intakes`, and returns what became of each. The transaction has the journal's row.
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
    insert_rows(connection, &new).await?;
    Ok(accepted)
}

type Identity = (i64, Uuid);

fn identity(message: &NewMessage) -> Identity {
    (micros(message.signed_at), message.message_id)
}

/// Inserts the messages that are new, and returns their numbers.
async fn insert_messages(
    connection: &mut PgConnection,
    intakes: &[Intake],
) -> sqlx::Result<HashMap<Identity, i64>> {
    let (mut signed_at, mut ids, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut topics, mut accepted_at) = (Vec::new(), Vec::new());
    for intake in intakes {
        if let Intake::Message(message) = intake {
            signed_at.push(micros(message.signed_at));
            ids.push(message.message_id);
            kinds.push(kind(&message.content));
            topics.push(Text::new(message.topic.as_str()));
            accepted_at.push(micros(message.accepted_at));
        }
    }
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let insert = "INSERT INTO messages (signed_at, message_id, kind, topic, accepted_at) \
                  SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[]) \
                  ON CONFLICT DO NOTHING RETURNING seq, signed_at, message_id";
    let rows = sqlx::query(insert)
        .bind(signed_at)
        .bind(ids)
        .bind(kinds)
        .bind(topics)
        .bind(accepted_at)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let identity = (row.try_get("signed_at")?, row.try_get("message_id")?);
            Ok((identity, row.try_get("seq")?))
        })
        .collect()
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

/// What a request's key says of it, if the token has used the key before. Nobody inserts the same meanwhile:
/// the transaction has the journal's row.
async fn earlier(
    connection: &mut PgConnection,
    request: &NewRequest,
    idempotency: &Idempotency,
) -> sqlx::Result<Option<RequestAcceptance>> {
    // A clock that was set back must not make a key of the future last for longer than others.
    let select = "SELECT id, body FROM requests \
                  WHERE token = $1 AND idempotency_key = $2 AND accepted_at > $3 AND accepted_at < $4 \
                  ORDER BY seq DESC LIMIT 1";
    let row = sqlx::query(select)
        .bind(Text::new(&request.token))
        .bind(Text::new(&idempotency.key))
        .bind(micros(request.accepted_at - IDEMPOTENCY_KEPT))
        .bind(micros(request.accepted_at + IDEMPOTENCY_KEPT))
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let body: &[u8] = row.try_get("body")?;
    Ok(Some(if body == idempotency.body {
        RequestAcceptance::Repeated(row.try_get("id")?)
    } else {
        RequestAcceptance::OtherBody
    }))
}

async fn insert_request(connection: &mut PgConnection, request: &NewRequest) -> sqlx::Result<i64> {
    let idempotency = request.idempotency.as_ref();
    let insert = "INSERT INTO requests \
                  (id, token, reason, accepted_at, distributions, idempotency_key, body) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING seq";
    sqlx::query_scalar(insert)
        .bind(request.id)
        .bind(Text::new(&request.token))
        .bind(optional(request.reason.as_deref()))
        .bind(micros(request.accepted_at))
        .bind(only_at(request).map_err(decode)?.map(Text::from))
        .bind(idempotency.map(|one| Text::new(&one.key)))
        .bind(idempotency.map(|one| one.body.as_slice()))
        .fetch_one(connection)
        .await
}

async fn insert_rows(connection: &mut PgConnection, new: &NewRows<'_>) -> sqlx::Result<()> {
    if !new.changes.is_empty() {
        insert_changes(connection, &new.changes).await?;
    }
    // What a group has was accepted at the same time, nearly.
    let same_time = new
        .dead
        .chunk_by(|(_, one, _), (_, next, _)| one.accepted_at == next.accepted_at);
    for letters in same_time {
        insert_letters(connection, letters).await?;
    }
    for (message, token) in &new.confirmations {
        let insert = "INSERT INTO confirmations (topic, token, signed_at, due_at) \
                      VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        sqlx::query(insert)
            .bind(Text::new(message.topic.as_str()))
            .bind(Text::new(token.expose()))
            .bind(micros(message.signed_at))
            .bind(micros(message.accepted_at))
            .execute(&mut *connection)
            .await?;
    }
    for message in &new.ends {
        confirmations::end(connection, message).await?;
    }
    // After the ends: if a notification of the same group came after the end of its subscription, the
    // subscription continues.
    let newest = new.newest.iter();
    let newest: Vec<_> = newest.map(|(topic, at)| (*topic, *at)).collect();
    confirmations::continue_all(connection, &newest).await
}

/// Inserts dead letters of messages that were accepted at the same time.
async fn insert_letters(
    connection: &mut PgConnection,
    letters: &[(i64, &NewMessage, &crate::domain::change::DeadContent)],
) -> sqlx::Result<()> {
    let Some((_, first, _)) = letters.first() else {
        return Ok(());
    };
    let insert = "INSERT INTO dead_letters (kind, why, content, message, created_at) \
                  SELECT 'record', why, content, message, $4 \
                  FROM unnest($1::text[], $2::text[], $3::bigint[]) AS dead (why, content, message) \
                  RETURNING seq";
    let whys = letters.iter().map(|(_, _, dead)| Text::new(&dead.why));
    let contents = letters.iter().map(|(_, _, dead)| Text::new(&dead.content));
    let messages = letters.iter().map(|(seq, _, _)| *seq);
    let seqs: Vec<i64> = sqlx::query_scalar(insert)
        .bind(whys.collect::<Vec<_>>())
        .bind(contents.collect::<Vec<_>>())
        .bind(messages.collect::<Vec<_>>())
        .bind(micros(first.accepted_at))
        .fetch_all(&mut *connection)
        .await?;
    notices::of_dead_letters(connection, &seqs, first.accepted_at).await
}

/// Takes numbers for the changes and inserts them.
const INSERT_CHANGES: &str = concat!(
    "WITH taken AS MATERIALIZED (SELECT ",
    taken_numbers!(),
    " AS before) \
    INSERT INTO changes (seq, message, request, bucket, object_key, event, event_time, \
    distribution_id, path, accepted_at, sequencer, object_hash) \
    SELECT before + nth, message, request, bucket, object_key, event, event_time, \
    distribution_id, path, accepted_at, sequencer, object_hash \
    FROM taken, unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], \
    $8::text[], $9::text[], $10::bigint[], $11::text[], $12::bigint[]) WITH ORDINALITY AS new \
    (message, request, bucket, object_key, event, event_time, distribution_id, path, accepted_at, \
    sequencer, object_hash, nth)"
);

async fn insert_changes(
    connection: &mut PgConnection,
    changes: &[NewChange<'_>],
) -> sqlx::Result<()> {
    /// A column of all changes.
    fn all<'a, T>(changes: &'a [NewChange<'a>], of: impl Fn(&NewChange<'a>) -> T) -> Vec<T> {
        changes.iter().map(of).collect()
    }
    sqlx::query(INSERT_CHANGES)
        .bind(signed(changes.len()))
        .bind(all(changes, |one| one.message))
        .bind(all(changes, |one| one.request))
        .bind(all(changes, |one| optional(one.bucket)))
        .bind(all(changes, |one| optional(one.key)))
        .bind(all(changes, |one| optional(one.event)))
        .bind(all(changes, |one| one.event_time.map(micros)))
        .bind(all(changes, |one| optional(one.distribution_id)))
        .bind(all(changes, |one| optional(one.path)))
        .bind(all(changes, |one| micros(one.accepted_at)))
        .bind(all(changes, |one| optional(one.sequencer)))
        .bind(all(changes, NewChange::object_hash))
        .execute(connection)
        .await?;
    Ok(())
}
