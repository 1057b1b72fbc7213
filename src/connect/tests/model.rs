//! AWS as a value, with others who write, answers that are lost, and a clock that does not wait.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    connect::Connector,
    domain::{
        connection::{
            Bucket, Seen, SeenQueue, SeenSubscription, SeenTopic,
            notification::Notification,
            plan::{self, Action, testing::connect},
        },
        topic::TopicArn,
    },
    ports::{
        Clock,
        connection::{CallError, ConnectionPoints, Subscriptions},
    },
};

/// What SNS gives to a topic.
pub(super) const OWNERS: &str =
    r#"{"Version":"2008-10-17","Statement":[{"Sid":"__default_statement_ID"}]}"#;

/// AWS with one bucket, one topic and one queue.
#[derive(Default)]
pub(super) struct Model(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    pub(super) seen: Seen,
    /// All calls that write, in order.
    pub(super) acts: Vec<Action>,
    /// Happens after the next write of notifications.
    pub(super) race: Option<Notification>,
    /// What is still read for some time after a write.
    pub(super) stale: Vec<Notification>,
    /// How often S3 cannot publish yet.
    pub(super) unsettled: usize,
    /// Whether there is no answer to the write of notifications, and whether it is done.
    pub(super) lost: Option<bool>,
}

impl Model {
    pub(super) fn of(seen: Seen) -> Arc<Self> {
        let model = Self::default();
        model.0.lock().unwrap().seen = seen;
        Arc::new(model)
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    pub(super) fn seen(&self) -> Seen {
        self.0.lock().unwrap().seen.clone()
    }

    pub(super) fn acts(&self) -> Vec<Action> {
        self.0.lock().unwrap().acts.clone()
    }
}

#[async_trait]
impl ConnectionPoints for Model {
    async fn account(&self) -> Result<String, CallError> {
        Ok("123456789012".to_owned())
    }

    async fn notification(&self, _: &Bucket) -> Result<Notification, CallError> {
        let mut state = self.0.lock().unwrap();
        let old = state.stale.pop();
        Ok(old.unwrap_or_else(|| state.seen.notification.clone()))
    }

    async fn topic(&self, _: &TopicArn) -> Result<Option<SeenTopic>, CallError> {
        Ok(self.seen().topic)
    }

    async fn subscriptions(&self, _: &TopicArn) -> Result<Subscriptions, CallError> {
        let seen = self.seen();
        let others = seen.other_endpoints.into_iter().map(|other| (other, None));
        let endpoint = connect().endpoint.unwrap();
        let ours = seen.subscription.map(|ours| (endpoint, ours.arn));
        Ok(others.chain(ours).collect())
    }

    async fn subscription(&self, _: &str) -> Result<SeenSubscription, CallError> {
        Ok(self.seen().subscription.unwrap())
    }

    async fn queue(&self, _: &TopicArn, _: &str) -> Result<Option<SeenQueue>, CallError> {
        Ok(self.seen().queue)
    }

    async fn act(&self, _: &Bucket, _: &TopicArn, action: &Action) -> Result<(), CallError> {
        let mut state = self.0.lock().unwrap();
        state.acts.push(action.clone());
        let State {
            seen,
            race,
            unsettled,
            lost,
            ..
        } = &mut *state;
        match action.clone() {
            Action::CreateTopic => {
                seen.topic = Some(SeenTopic {
                    policy: Some(OWNERS.to_owned()),
                    ..SeenTopic::default()
                });
            }
            Action::SetTopic { name, value } => {
                let topic = seen.topic.as_mut().unwrap();
                match name {
                    plan::POLICY => topic.policy = Some(value),
                    _ => topic.signature_version = Some(value),
                }
            }
            Action::CreateQueue { policy, .. } | Action::SetQueuePolicy { policy, .. } => {
                seen.queue = Some(SeenQueue {
                    url: String::new(),
                    policy: Some(policy),
                    messages: 0,
                });
            }
            Action::Subscribe { attributes, .. } => {
                seen.subscription = Some(SeenSubscription {
                    arn: Some("arn:subscription".to_owned()),
                    attributes,
                });
            }
            Action::AskAgain { .. } => {}
            Action::SetSubscription { name, value, .. } => {
                let ours = seen.subscription.as_mut().unwrap();
                ours.attributes.insert(name, value);
            }
            Action::PutNotification(_) if *unsettled > 0 => {
                *unsettled -= 1;
                return Err(CallError::Destination("not yet".to_owned()));
            }
            Action::PutNotification(next) => {
                if *lost != Some(false) {
                    seen.notification = race.take().unwrap_or(next);
                }
                if lost.is_some() {
                    return Err(CallError::NoAnswer("no answer".to_owned()));
                }
            }
            Action::Unsubscribe { .. } => seen.subscription = None,
            Action::DeleteQueue { .. } => seen.queue = None,
            Action::DeleteTopic => seen.topic = None,
        }
        Ok(())
    }
}

/// A clock on which no sleep lasts.
struct Sleepless(Mutex<Timestamp>);

#[async_trait]
impl Clock for Sleepless {
    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, at: Timestamp) {
        *self.0.lock().unwrap() = at;
    }
}

pub(super) fn connector(model: &Arc<Model>) -> Connector {
    let clock = Arc::new(Sleepless(Mutex::new(Timestamp::UNIX_EPOCH)));
    Connector::new(Arc::clone(model) as _, clock)
}
