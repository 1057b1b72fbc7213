//! Connecting a bucket: what its changes need on their way to purgefront.
//!
//! S3 publishes the changes of a bucket where its [`notification`] configuration says, which all
//! destinations of the bucket share, so ours is merged into it. Two entries must not [`overlap`].
//! The topic's [`policy`] lets S3 publish, by our statement or by one of others that [`permit`]s the same;
//! and the subscription's [`delivery`] decides how long SNS
//! tries and where it puts what it could not deliver. The [`plan`] is what is missing of all this.

pub mod advice;
pub mod delivery;
pub mod notification;
pub mod overlap;
pub mod permit;
pub mod plan;
pub mod policy;
pub mod undo;

/// A bucket, and the account that must own it: S3 refuses the call if another account does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    pub owner: String,
}

/// The events that the default of `events.invalidate_on` needs.
pub const EVENTS: [&str; 7] = [
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:LifecycleExpiration:*",
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ObjectAcl:Put",
];

/// What is there before anything is changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub notification: notification::Notification,
    /// None if the topic does not exist.
    pub topic: Option<SeenTopic>,
    /// The endpoint's subscription to the topic.
    pub subscription: Option<SeenSubscription>,
    /// The endpoints of all other subscriptions to the topic.
    pub other_endpoints: Vec<String>,
    /// The dead-letter queue.
    pub queue: Option<SeenQueue>,
}

impl Seen {
    /// Where else the topic's messages are posted to. Without the path and the query, which can be
    /// secret.
    pub fn other_http_endpoint(&self) -> Option<&str> {
        let mut others = self.other_endpoints.iter();
        let url = others.find(|endpoint| endpoint.starts_with("http"))?;
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find(['/', '?', '#']);
        Some(end.map_or(url, |end| &url[..host + end]))
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenTopic {
    pub policy: Option<String>,
    pub signature_version: Option<String>,
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SeenSubscription {
    /// None while the subscription is not confirmed: SNS does not list it then.
    pub arn: Option<String>,
    pub attributes: delivery::Attributes,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenQueue {
    pub url: String,
    pub policy: Option<String>,
    /// About how many messages it holds.
    pub messages: u64,
}
