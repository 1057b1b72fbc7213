//! SQL for the journal: adding messages and requests, reading changes, and recording their mapping.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    backlogs::{self, Counts},
    columns::{decode, micros, optional_time, read_all, signed, time, unsigned, uuid},
    confirmations,
};
use crate::{
    domain::{
        change::{
            Acceptance, Change, Content, DeadContent, MappedChange, MappingOutcome, NewMessage,
            NewRequest, Source, Subject, Unmapped,
        },
        mapping::Mapping,
        path::Item,
        s3_event::ObjectChange,
        sns_message::Token,
        topic::TopicArn,
    },
    ports::StoreError,
};

/// The most rows in one INSERT: SQLite permits 32,766 bound values.
const ROWS: usize = 2_000;

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
        "INSERT INTO changes (message, request, bucket, object_key, event, event_time, \
         distribution_id, path, accepted_at) ",
    );
    insert.push_values(changes, |mut row, change| {
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

/// Selects changes with the ids of their messages and requests. Callers append the conditions.
pub(super) fn select_changes() -> QueryBuilder<Sqlite> {
    QueryBuilder::new(
        "SELECT changes.seq, changes.accepted_at, bucket, object_key, distribution_id, path, \
         messages.message_id, requests.id AS request_id FROM changes \
         LEFT JOIN messages ON messages.seq = changes.message \
         LEFT JOIN requests ON requests.seq = changes.request ",
    )
}

pub(super) async fn unseen(readers: &SqlitePool, limit: usize) -> Result<Vec<Change>, StoreError> {
    let mut select = select_changes();
    // SQLite uses a partial index only if the query repeats the index's condition.
    select
        .push("WHERE state = 0 AND state < 2 ORDER BY request IS NULL, changes.seq LIMIT ")
        .push_bind(signed(limit));
    let rows = select.build().fetch_all(readers).await?;
    read_all("changes", "seq", &rows, change)
}

pub(super) async fn parked(
    readers: &SqlitePool,
    after: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let mut select = select_changes();
    select
        .push("WHERE state = 1 AND state < 2 AND request IS NULL = 1 AND changes.seq > ")
        .push_bind(after)
        .push(" ORDER BY changes.seq LIMIT ")
        .push_bind(signed(limit));
    let rows = select.build().fetch_all(readers).await?;
    read_all("changes", "seq", &rows, change)
}

pub(super) async fn unmapped(readers: &SqlitePool) -> Result<Unmapped, StoreError> {
    let count = "SELECT count(*) FROM changes WHERE state < 2";
    let count: i64 = sqlx::query_scalar(count).fetch_one(readers).await?;
    if count == 0 {
        return Ok(Unmapped::default());
    }
    // The first of each kind: within a kind, numbers grow with time.
    let oldest = "SELECT min(accepted_at) FROM changes WHERE seq IN \
                  (SELECT min(seq) FROM changes WHERE state < 2 GROUP BY state, request IS NULL)";
    let oldest = sqlx::query_scalar(oldest).fetch_one(readers).await?;
    Ok(Unmapped {
        changes: unsigned(count),
        oldest: optional_time(oldest)?,
    })
}

pub(super) fn change(row: &SqliteRow) -> sqlx::Result<Change> {
    let subject = match row.try_get::<Option<String>, _>("path")? {
        Some(path) => Subject::Item {
            distribution_id: row.try_get("distribution_id")?,
            item: Item::read(&path).map_err(decode)?,
        },
        None => Subject::Object {
            bucket: row.try_get("bucket")?,
            key: row.try_get("object_key")?,
        },
    };
    let source = match row.try_get::<Option<String>, _>("request_id")? {
        Some(id) => Source::Request(uuid(&id)?),
        None => Source::Message(Uuid::from_slice(row.try_get("message_id")?).map_err(decode)?),
    };
    Ok(Change {
        seq: row.try_get("seq")?,
        accepted_at: time(row.try_get("accepted_at")?)?,
        subject,
        source,
    })
}

pub(super) async fn record_mapping(
    connection: &mut SqliteConnection,
    changes: Vec<MappedChange>,
) -> sqlx::Result<()> {
    let mut parked = Vec::new();
    let mut mapped = Vec::new();
    for MappedChange { change, outcome } in changes {
        match outcome {
            MappingOutcome::Parked => parked.push(change.seq),
            MappingOutcome::Mapped(mapping) => mapped.push((change, mapping)),
        }
    }
    set_state(connection, 1, &parked).await?;
    let seqs: Vec<_> = mapped.iter().map(|(change, _)| change.seq).collect();
    set_state(connection, 2, &seqs).await?;
    insert_mapped(connection, &mapped).await
}

/// Inserts the targets, skips and dead letters of mapped changes.
pub(super) async fn insert_mapped(
    connection: &mut SqliteConnection,
    mapped: &[(Change, Mapping)],
) -> sqlx::Result<()> {
    insert_targets(connection, mapped).await?;
    insert_skips(connection, mapped).await
}

async fn set_state(
    connection: &mut SqliteConnection,
    state: i64,
    seqs: &[i64],
) -> sqlx::Result<()> {
    if seqs.is_empty() {
        return Ok(());
    }
    let update = "UPDATE changes SET state = ? WHERE seq IN (SELECT value FROM json_each(?))";
    let seqs = serde_json::to_string(seqs).map_err(decode)?;
    sqlx::query(update)
        .bind(state)
        .bind(seqs)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_targets(
    connection: &mut SqliteConnection,
    mapped: &[(Change, Mapping)],
) -> sqlx::Result<()> {
    let targets: Vec<_> = mapped
        .iter()
        .flat_map(|(change, mapping)| mapping.targets.iter().map(move |target| (change, target)))
        .collect();
    for chunk in targets.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO targets \
             (change, distribution_id, item, wildcard, because, manual, accepted_at) ",
        );
        insert.push_values(chunk, |mut row, (change, target)| {
            row.push_bind(change.seq)
                .push_bind(target.distribution_id.as_str())
                .push_bind(target.item.as_str())
                .push_bind(target.item.is_wildcard())
                .push_bind(target.because.as_str())
                .push_bind(change.subject.is_manual())
                .push_bind(micros(change.accepted_at));
        });
        insert.build().execute(&mut *connection).await?;
    }
    let mut counts = Counts::default();
    for (change, target) in &targets {
        let wildcard = target.item.is_wildcard();
        counts.count(
            &target.distribution_id,
            wildcard,
            change.subject.is_manual(),
        );
    }
    backlogs::add(connection, &counts).await
}

async fn insert_skips(
    connection: &mut SqliteConnection,
    mapped: &[(Change, Mapping)],
) -> sqlx::Result<()> {
    for (change, mapping) in mapped {
        for skip in &mapping.skipped {
            sqlx::query("INSERT INTO skips (change, distribution_id, why) VALUES (?, ?, ?)")
                .bind(change.seq)
                .bind(&skip.distribution_id)
                .bind(&skip.why)
                .execute(&mut *connection)
                .await?;
        }
        for dead in &mapping.dead {
            let insert = "INSERT INTO dead_letters (kind, why, change, distribution_id, created_at) \
                          VALUES ('item', ?, ?, ?, ?)";
            sqlx::query(insert)
                .bind(&dead.why)
                .bind(change.seq)
                .bind(&dead.distribution_id)
                .bind(micros(change.accepted_at))
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}
