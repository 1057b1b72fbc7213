//! What every kind of store makes of accepted messages and requests: the rows of the journal.

use std::collections::HashMap;

use jiff::Timestamp;

use super::object_hash::object_hash;
use crate::domain::{
    change::{Acceptance, Asked, Content, DeadContent, NewMessage, NewRequest, RequestAcceptance},
    s3_event::ObjectChange,
    sns_message::Token,
    topic::TopicArn,
};

/// An entry for the journal.
pub(in crate::store) enum Intake {
    Message(NewMessage),
    Request(NewRequest),
}

/// What became of an entry.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Accepted {
    Message(Acceptance),
    Request(RequestAcceptance),
}

impl From<Acceptance> for Accepted {
    fn from(acceptance: Acceptance) -> Self {
        Self::Message(acceptance)
    }
}

/// The column `kind` of a message.
pub(in crate::store) fn kind(content: &Content) -> &'static str {
    match content {
        Content::Notification { .. } => "notification",
        Content::SubscriptionConfirmation(_) => "subscription_confirmation",
        Content::UnsubscribeConfirmation => "unsubscribe_confirmation",
    }
}

/// The column `distributions` of a request: a JSON list.
pub(in crate::store) fn only_at(request: &NewRequest) -> serde_json::Result<Option<String>> {
    match &request.asked {
        Asked::Keys {
            distributions: Some(ids),
            ..
        } => serde_json::to_string(ids).map(Some),
        Asked::Keys { .. } | Asked::Items { .. } => Ok(None),
    }
}

/// The rows that follow from new messages and requests.
#[derive(Default)]
pub(in crate::store) struct NewRows<'a> {
    pub(in crate::store) changes: Vec<NewChange<'a>>,
    /// Each with its message and that message's number.
    pub(in crate::store) dead: Vec<(i64, &'a NewMessage, &'a DeadContent)>,
    pub(in crate::store) confirmations: Vec<(&'a NewMessage, &'a Token)>,
    pub(in crate::store) ends: Vec<&'a NewMessage>,
    /// When the newest notification of each topic was published.
    pub(in crate::store) newest: HashMap<&'a TopicArn, Timestamp>,
}

/// A row of the journal: an S3 record (`message` set), or a key or a path of a request.
pub(in crate::store) struct NewChange<'a> {
    pub(in crate::store) message: Option<i64>,
    pub(in crate::store) request: Option<i64>,
    pub(in crate::store) bucket: Option<&'a str>,
    pub(in crate::store) key: Option<&'a str>,
    pub(in crate::store) event: Option<&'a str>,
    pub(in crate::store) event_time: Option<Timestamp>,
    pub(in crate::store) distribution_id: Option<&'a str>,
    pub(in crate::store) path: Option<&'a str>,
    pub(in crate::store) accepted_at: Timestamp,
    pub(in crate::store) sequencer: Option<&'a str>,
}

impl<'a> NewChange<'a> {
    fn of_event(seq: i64, message: &NewMessage, change: &'a ObjectChange) -> Self {
        Self {
            message: Some(seq),
            request: None,
            bucket: Some(&change.bucket),
            key: Some(&change.key),
            event: Some(&change.event),
            event_time: change.time,
            distribution_id: None,
            path: None,
            accepted_at: message.accepted_at,
            sequencer: change.sequencer.as_deref(),
        }
    }

    fn of_request(seq: i64, request: &NewRequest) -> Self {
        Self {
            message: None,
            request: Some(seq),
            bucket: None,
            key: None,
            event: None,
            event_time: None,
            distribution_id: None,
            path: None,
            accepted_at: request.accepted_at,
            sequencer: None,
        }
    }

    pub(in crate::store) fn object_hash(&self) -> Option<i64> {
        Some(object_hash(self.bucket?, self.key?))
    }
}

impl<'a> NewRows<'a> {
    pub(in crate::store) fn add_message(&mut self, seq: i64, message: &'a NewMessage) {
        match &message.content {
            Content::Notification { changes, dead } => {
                let event = |change| NewChange::of_event(seq, message, change);
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

    pub(in crate::store) fn add_request(&mut self, seq: i64, request: &'a NewRequest) {
        match &request.asked {
            Asked::Items {
                distribution_id,
                items,
            } => self.changes.extend(items.iter().map(|item| NewChange {
                distribution_id: Some(distribution_id),
                path: Some(item.as_str()),
                ..NewChange::of_request(seq, request)
            })),
            Asked::Keys { bucket, keys, .. } => {
                self.changes.extend(keys.iter().map(|key| NewChange {
                    bucket: Some(bucket),
                    key: Some(key),
                    ..NewChange::of_request(seq, request)
                }));
            }
        }
    }
}
