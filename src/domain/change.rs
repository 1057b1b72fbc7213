//! Changes as they enter the journal, and as they come back out of it to be mapped.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    mapping::Mapping, path::Item, s3_event::ObjectChange, sns_message::Token, topic::TopicArn,
};

/// A verified SNS message on its way into the journal.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// SNS's id; with `signed_at` it tells a repeat from a new message.
    pub message_id: Uuid,
    /// The signed Timestamp: when the message was published.
    pub signed_at: Timestamp,
    /// The topic that it came by.
    pub topic: TopicArn,
    /// When it is taken in, by our clock.
    pub accepted_at: Timestamp,
    /// What it says.
    pub content: Content,
}

/// What a verified message says.
#[derive(Debug, Clone)]
pub enum Content {
    /// Something was published.
    Notification {
        /// The changes that it reports.
        changes: Vec<ObjectChange>,
        /// The parts of it, or all of it, that mean nothing to us.
        dead: Vec<DeadContent>,
    },
    /// The topic's owner subscribed us; the token confirms it.
    SubscriptionConfirmation(Token),
    /// Somebody ended the subscription.
    UnsubscribeConfirmation,
}

/// Something accepted that can never become a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadContent {
    /// Why not.
    pub why: String,
    /// What it was, as it came.
    pub content: String,
}

/// Whether a message was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is in the journal now.
    New,
    /// It already was: SNS delivers at least once.
    Duplicate,
}

/// A person's request on its way into the journal: each item is one change.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// The request's id.
    pub id: Uuid,
    /// The name of the token that asked for it.
    pub token: String,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// The distribution that it is for.
    pub distribution_id: String,
    /// The paths and tags, each once.
    pub items: Vec<Item>,
    /// When it is taken in, by our clock.
    pub accepted_at: Timestamp,
}

/// A change as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number in the journal: later changes have higher ones.
    pub seq: i64,
    /// When it was taken in.
    pub accepted_at: Timestamp,
    /// What may be stale.
    pub subject: Subject,
    pub source: Source,
}

/// What brought a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The SNS message with this id.
    Message(Uuid),
    /// The request with this id.
    Request(Uuid),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(id) | Self::Request(id) => id.fmt(f),
        }
    }
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An object in a bucket: S3 said so.
    Object {
        /// The bucket's name.
        bucket: String,
        /// The decoded key.
        key: String,
    },
    /// A path or tag of a distribution: a person said so.
    Item {
        /// The distribution's id.
        distribution_id: String,
        /// What to invalidate, exactly as given.
        item: Item,
    },
}

impl Subject {
    /// Whether a person asked for it: such changes go first.
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Item { .. })
    }
}

/// What mapping made of a change.
#[derive(Debug, PartialEq, Eq)]
pub enum MappingOutcome {
    Mapped(Mapping),
    /// The catalogue does not know enough yet: the change waits in the journal.
    Parked,
}

/// A change, and what mapping made of it.
#[derive(Debug, PartialEq, Eq)]
pub struct MappedChange {
    pub change: Change,
    pub outcome: MappingOutcome,
}

/// A distribution that the catalogue turned out not to know, or to know wrongly: what was accepted
/// in the meantime has to be mapped to it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateDistribution {
    pub distribution_id: String,
    /// Changes accepted from here on.
    pub since: Timestamp,
}

/// Changes enter the journal nearly in the order of their times: none is as late as this.
const MOST_DISORDER: SignedDuration = SignedDuration::from_secs(10);

impl LateDistribution {
    /// A search for its changes, in the order of the journal, need not go back before the last one
    /// that is older than this.
    pub fn search_from(&self) -> Timestamp {
        let from = self.since.checked_sub(MOST_DISORDER);
        from.unwrap_or(Timestamp::MIN)
    }
}

/// Changes that are to be mapped again to a late distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    pub distribution_id: String,
    /// Only those accepted from here on.
    pub since: Timestamp,
    /// The changes after this one,
    pub after: i64,
    /// up to this one.
    pub through: i64,
}

/// A change, and what mapping it again gave.
#[derive(Debug, PartialEq, Eq)]
pub struct RemappedChange {
    pub change: Change,
    pub mapping: Mapping,
}

/// Changes that have not been mapped, and since when the oldest has waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmapped {
    pub changes: u64,
    pub oldest: Option<Timestamp>,
}
