//! Accepting notifications.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::{
    columns::{micros, object_hash, signed},
    confirmations::CONTINUES,
    journal::message_rows,
    numbers::TAKE,
};
use crate::domain::{
    change::{Acceptance, Content, NewMessage},
    s3_event::ObjectChange,
    topic::TopicArn,
};

const INSERT_MESSAGE: &str =
    message_rows!("VALUES (?, ?, 'notification', ?, ?) ON CONFLICT DO NOTHING");
const INSERT_CHANGE: &str = "INSERT INTO changes \
    (seq, message, bucket, object_key, event, event_time, accepted_at, sequencer, object_hash) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Whether [`accept`] takes it: a notification without dead letters, as nearly all are.
pub(in crate::store::sqlite) fn is_plain(message: &NewMessage) -> bool {
    matches!(&message.content, Content::Notification { dead, .. } if dead.is_empty())
}

/// Adds notifications, and returns what became of each.
pub(super) fn accept(
    transaction: &Connection,
    messages: &[NewMessage],
) -> rusqlite::Result<Vec<Acceptance>> {
    let mut accepted = Vec::with_capacity(messages.len());
    let mut changes = Vec::with_capacity(messages.len());
    // When the newest notification of each topic was published.
    let mut newest: HashMap<&TopicArn, Timestamp> = HashMap::new();
    let mut insert = transaction.prepare_cached(INSERT_MESSAGE)?;
    for message in messages {
        let inserted = insert.execute(params![
            micros(message.signed_at),
            message.message_id.as_bytes(),
            message.topic.as_str(),
            micros(message.accepted_at),
        ])?;
        if inserted == 0 {
            accepted.push(Acceptance::Duplicate);
            continue;
        }
        accepted.push(Acceptance::New);
        let seq = transaction.last_insert_rowid();
        if let Content::Notification { changes: new, .. } = &message.content {
            changes.extend(new.iter().map(|change| (seq, message, change)));
        }
        let newest = newest.entry(&message.topic).or_insert(message.signed_at);
        *newest = message.signed_at.max(*newest);
    }
    drop(insert);
    insert_changes(transaction, &changes)?;
    let mut continues = transaction.prepare_cached(CONTINUES)?;
    for (topic, signed_at) in newest {
        continues.execute(params![topic.as_str(), micros(signed_at)])?;
    }
    Ok(accepted)
}

/// Inserts changes, each with its message and that message's number.
fn insert_changes(
    connection: &Connection,
    changes: &[(i64, &NewMessage, &ObjectChange)],
) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let first: i64 = connection
        .prepare_cached(TAKE)?
        .query_row([signed(changes.len())], |row| row.get(0))?;
    let mut insert = connection.prepare_cached(INSERT_CHANGE)?;
    for (seq, (message_seq, message, change)) in (first..).zip(changes) {
        insert.execute(params![
            seq,
            message_seq,
            change.bucket.as_str(),
            change.key.as_str(),
            change.event.as_str(),
            change.time.map(micros),
            micros(message.accepted_at),
            change.sequencer.as_deref(),
            object_hash(&change.bucket, &change.key),
        ])?;
    }
    Ok(())
}
