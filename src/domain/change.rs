//! Changes: how they enter the journal, and how they are read from it and mapped.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    catalogue::Revision, mapping::Mapping, path::Item, s3_event::ObjectChange, sns_message::Token,
    topic::TopicArn,
};

/// A verified SNS message for the journal.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// SNS's id. Together with `signed_at`, it identifies duplicates.
    pub message_id: Uuid,
    /// The signed Timestamp: when the message was published.
    pub signed_at: Timestamp,
    pub topic: TopicArn,
    /// By our clock.
    pub accepted_at: Timestamp,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Notification {
        changes: Vec<ObjectChange>,
        /// Records, or the whole message, that could not be read.
        dead: Vec<DeadContent>,
    },
    /// The topic's owner subscribed the endpoint; the token confirms it.
    SubscriptionConfirmation(Token),
    /// The subscription was ended.
    UnsubscribeConfirmation,
}

/// An accepted record or message that can never become a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadContent {
    pub why: String,
    /// Its JSON text, as received.
    pub content: String,
}

/// Whether a message was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It has been added to the journal.
    New,
    /// It was already in the journal: SNS delivers at least once.
    Duplicate,
}

/// A manual request for the journal. Each item or key is one change.
#[derive(Debug, Clone)]
pub struct NewRequest {
    pub id: Uuid,
    /// The name of the caller's token.
    pub token: String,
    /// The caller's reason.
    pub reason: Option<String>,
    pub asked: Asked,
    /// Makes a repeat of the request harmless.
    pub idempotency: Option<Idempotency>,
    /// By our clock.
    pub accepted_at: Timestamp,
}

/// What a manual request asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Paths and tags of a distribution, without duplicates.
    Items {
        distribution_id: String,
        items: Vec<Item>,
    },
    /// Objects of a bucket, wherever they are served.
    Keys {
        bucket: String,
        /// Without duplicates.
        keys: Vec<String>,
        /// The only distributions that they are mapped to; `None` means all.
        distributions: Option<Vec<String>>,
    },
}

/// What a caller sends to repeat a request safely. The same token and key mean the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// The SHA-256 of the body.
    pub body: [u8; 32],
}

impl Idempotency {
    /// What a key is, in words that follow "must be".
    pub const KEY: &str = "1 to 255 visible ASCII characters, such as a UUID";

    /// Whether text can be a key.
    pub fn is_key(text: &str) -> bool {
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// How long a key is remembered.
pub const IDEMPOTENCY_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What became of a manual request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestAcceptance {
    /// It has been added to the journal.
    New,
    /// Its key is that of this earlier request, with the same body.
    Repeated(Uuid),
    /// Its key is that of an earlier request with another body.
    OtherBody,
}

/// A change as read from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number in the journal, which grows.
    pub seq: i64,
    pub accepted_at: Timestamp,
    pub subject: Subject,
    pub source: Source,
    /// The only distributions that it is mapped to; `None` means all. So it is with the keys of a caller
    /// who may see only some.
    pub only_at: Option<Vec<String>>,
}

impl Change {
    /// Whether it comes from a manual request. Such changes take precedence.
    pub fn is_manual(&self) -> bool {
        matches!(self.source, Source::Request(_))
    }

    /// Whether it may be mapped to a distribution.
    pub fn concerns(&self, distribution_id: &str) -> bool {
        let only = self.only_at.as_ref();
        only.is_none_or(|ids| ids.iter().any(|id| id == distribution_id))
    }
}

/// Where a change came from.
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

/// What may be stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An object in a bucket, from an S3 event or a manual request.
    Object {
        bucket: String,
        /// URL-decoded.
        key: String,
        effect: Effect,
    },
    /// A path or tag at a distribution, from a manual request.
    Item {
        distribution_id: String,
        /// Exactly as given.
        item: Item,
    },
}

/// The result of mapping a change.
#[derive(Debug, PartialEq, Eq)]
pub struct MappedChange {
    pub change: Change,
    /// The only distribution that it was mapped to; `None` if it was mapped to all.
    pub only: Option<String>,
    pub mapping: Mapping,
}

/// A note of changes that have to be mapped again: a reading of the account showed distributions that
/// were missing or different in the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    pub distributions: Vec<String>,
    /// Only changes after this number: the others were accepted before the earlier reading.
    pub after: i64,
    /// Only changes that were mapped with a catalogue before this one, the first that has the
    /// distributions as they are.
    pub revision: Revision,
}

/// The changes that have not been mapped, or not to all their distributions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmapped {
    pub changes: u64,
    /// When the oldest was accepted.
    pub oldest: Option<Timestamp>,
}

/// What an event does to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It may be readable now where it was not before: viewers may have got an error in its place.
    Appears,
    /// It is gone or unreadable.
    Disappears,
}

impl Effect {
    /// The effect of an event, by its name without `s3:`.
    pub fn of(event: &str) -> Self {
        let disappears = [
            "ObjectRemoved:",
            "LifecycleExpiration:",
            "ReducedRedundancyLostObject",
            "ObjectRestore:Delete",
            "LifecycleTransition",
            "IntelligentTiering",
        ];
        if disappears.iter().any(|stem| event.starts_with(stem)) {
            Self::Disappears
        } else {
            Self::Appears
        }
    }
}
