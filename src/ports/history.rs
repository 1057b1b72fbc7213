//! What the API reads from the store: requests, invalidations, the changes of an
//! object, and ended subscriptions.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{
    history::{InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView},
    propagation::Completion,
    story::{ChangeQuery, StoryPage},
    topic::TopicArn,
};

#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// A request, with its state and invalidations.
    async fn request(&self, id: Uuid) -> Result<Option<RequestView>, StoreError>;

    /// Whether a request has settled: asked again and again while somebody waits. Also true if there is
    /// no such request.
    async fn is_settled(&self, id: Uuid) -> Result<bool, StoreError>;

    /// A page of invalidations, newest first.
    async fn invalidations(
        &self,
        query: &InvalidationQuery,
    ) -> Result<Vec<InvalidationSummary>, StoreError>;

    /// An invalidation, by our id or CloudFront's, with the reasons for each item.
    async fn invalidation(&self, id: &str) -> Result<Option<InvalidationDetail>, StoreError>;

    /// A page of an object's changes, newest first, each with what became of it so far. What is read for
    /// one page is bounded, so it may be short, or empty, although there is another one.
    async fn changes(&self, query: &ChangeQuery) -> Result<StoryPage, StoreError>;

    /// Whether this service has confirmed a subscription to a topic, or the topic is among those of the
    /// last messages.
    async fn has_subscription(&self, topic: &TopicArn) -> Result<bool, StoreError>;

    /// Why the last confirmation of a subscription to a topic was given up, if one was.
    async fn given_up_confirmation(&self, topic: &TopicArn) -> Result<Option<String>, StoreError>;

    /// The topics whose subscription ended and that have sent nothing since.
    async fn ended_subscriptions(&self) -> Result<Vec<String>, StoreError>;

    /// The topics of the last notifications, and when the newest of each was accepted.
    async fn last_notifications(&self) -> Result<Vec<(String, Timestamp)>, StoreError>;

    /// The invalidations of each of these distributions that were completed since a time: the `most`
    /// newest of each.
    async fn completions(
        &self,
        distributions: &[String],
        since: Timestamp,
        most: usize,
    ) -> Result<Vec<Completion>, StoreError>;

    /// When each of these distributions had an invalidation completed last, where one was.
    async fn last_completed(
        &self,
        distributions: &[String],
    ) -> Result<HashMap<String, Timestamp>, StoreError>;

    /// When the newest message was accepted or, if none ever was, when the store was made.
    async fn silent_since(&self) -> Result<Timestamp, StoreError>;
}
