//! Connects and disconnects buckets: looks, and then carries out what was planned and agreed to.
//!
//! S3 has no conditional write of notifications, so whoever writes last wins. What was shown is
//! therefore compared with what is there just before the write, and what was written just after it.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    domain::{
        connection::{
            Bucket, Seen, SeenSubscription, SeenTopic,
            notification::{Line, Notification},
            plan::{self, Action, Connect, Plan, Refusal},
            undo::{self, Disconnect},
        },
        topic::TopicArn,
    },
    ports::{
        Clock,
        connection::{CallError, ConnectionPoints},
    },
};

/// The pauses, in seconds, while S3 may not know yet that it may publish to a topic that has just got its
/// policy.
const SETTLING: [u64; 4] = [2, 4, 8, 16];
/// The pauses, in seconds, while what was written may not be read yet.
const VISIBLE: [u64; 5] = [0, 1, 2, 4, 8];

/// What a person asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    Connect(Connect),
    Disconnect(Disconnect),
}

impl Wish {
    pub fn plan(&self, seen: &Seen) -> Result<Plan, Refusal> {
        match self {
            Self::Connect(wanted) => plan::connect(wanted, seen),
            Self::Disconnect(wanted) => undo::disconnect(wanted, seen),
        }
    }

    fn bucket(&self) -> &Bucket {
        match self {
            Self::Connect(wanted) => &wanted.bucket,
            Self::Disconnect(wanted) => &wanted.bucket,
        }
    }

    fn topic(&self) -> Option<&TopicArn> {
        match self {
            Self::Connect(wanted) => Some(&wanted.topic),
            Self::Disconnect(wanted) => wanted.topic.as_ref(),
        }
    }

    fn creates_topic(&self) -> bool {
        matches!(self, Self::Connect(wanted) if wanted.create_topic)
    }

    fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Connect(wanted) => wanted.endpoint.as_deref(),
            Self::Disconnect(wanted) => wanted.endpoint.as_deref(),
        }
    }

    fn queue(&self) -> &str {
        match self {
            Self::Connect(wanted) => &wanted.queue,
            Self::Disconnect(wanted) => &wanted.queue,
        }
    }
}

/// A step that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    Done(&'a Action),
    /// A failure that often passes: tried again, or looked at again.
    Waiting(&'a str),
    /// What was written was read back.
    Checked,
}

/// Why it was not, or not completely, carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(
        "the bucket {bucket} is in {region}, or S3 says so: it notifies only topics of its own region; \
         use a topic in {region}"
    )]
    Elsewhere { bucket: String, region: String },
    #[error(
        "our entry of the bucket notifies {0}, which is not the ARN of a standard topic: remove the \
         entry in the S3 console"
    )]
    NoTopic(String),
    #[error(
        "the topic {topic} does not exist, and SNS creates topics only in the account of the \
         credentials, which is {own}: check the ARN, or use credentials of the topic's account"
    )]
    OtherAccount { topic: TopicArn, own: String },
    #[error("{0}")]
    Call(String),
    #[error(
        "somebody has changed something since it was shown here; nothing was written: run it again"
    )]
    Meanwhile,
    #[error(
        "somebody else has written the bucket's notifications at the same time: S3 does not have \
         what was written here. Agree with them, and run it again"
    )]
    Race(Vec<Line>),
    #[error(
        "S3 still returns the notifications of before; run it again in some minutes to see whether \
         they were saved"
    )]
    NotVisible,
}

/// Connects and disconnects buckets of one region.
pub struct Connector {
    aws: Arc<dyn ConnectionPoints>,
    clock: Arc<dyn Clock>,
}

impl Connector {
    pub fn new(aws: Arc<dyn ConnectionPoints>, clock: Arc<dyn Clock>) -> Self {
        Self { aws, clock }
    }

    /// The account of the credentials.
    pub async fn account(&self) -> Result<String, Error> {
        let account = self.aws.account().await;
        account.map_err(call)
    }

    /// The topic that our entry of the bucket notifies.
    pub async fn connected_topic(&self, bucket: &Bucket) -> Result<Option<String>, Error> {
        let notification = self.notification(bucket).await?;
        Ok(notification.ours().map(|ours| ours.target.clone()))
    }

    /// Reads what is there.
    pub async fn look(&self, wish: &Wish) -> Result<Seen, Error> {
        let mut seen = Seen {
            notification: self.notification(wish.bucket()).await?,
            ..Seen::default()
        };
        let Some(topic) = wish.topic() else {
            return Ok(seen);
        };
        seen.topic = self.aws.topic(topic).await.map_err(call)?;
        if seen.topic.is_none() && wish.creates_topic() {
            let own = self.account().await?;
            if own != topic.account() {
                let topic = topic.clone();
                return Err(Error::OtherAccount { topic, own });
            }
        }
        if seen.topic.is_some() {
            let all = self.aws.subscriptions(topic).await.map_err(call)?;
            for (endpoint, arn) in all {
                if wish.endpoint() != Some(endpoint.as_str()) {
                    seen.other_endpoints.push(endpoint);
                    continue;
                }
                seen.subscription = Some(match arn {
                    Some(arn) => self.aws.subscription(&arn).await.map_err(call)?,
                    None => SeenSubscription {
                        arn: None,
                        attributes: BTreeMap::new(),
                    },
                });
            }
        }
        if wish.endpoint().is_some() {
            let queue = self.aws.queue(topic, wish.queue()).await;
            seen.queue = queue.map_err(call)?;
        }
        Ok(seen)
    }

    /// Carries out a plan that was shown. Fails before the first write if what is there has
    /// changed since.
    pub async fn carry_out(
        &self,
        wish: &Wish,
        shown: &Plan,
        tell: &mut (dyn FnMut(Step<'_>) + Send),
    ) -> Result<(), Error> {
        let mut seen = self.look(wish).await?;
        let mut plan = wish.plan(&seen)?;
        if plan != *shown {
            return Err(Error::Meanwhile);
        }
        if plan.actions.first() == Some(&Action::CreateTopic) {
            self.act(wish, &Action::CreateTopic).await?;
            tell(Step::Done(&Action::CreateTopic));
            // It has a policy of its own now, to which ours is added.
            seen.topic = Some(self.created_topic(wish).await?);
            plan = wish.plan(&seen)?;
        }
        for action in &plan.actions {
            if let Action::PutNotification(next) = action {
                let no_answer = self.put(wish, action, tell).await?;
                match &no_answer {
                    Some(why) => tell(Step::Waiting(why)),
                    None => tell(Step::Done(action)),
                }
                let bucket = wish.bucket();
                let read = self.read_back(bucket, &seen.notification, next).await;
                read.map_err(|error| match no_answer {
                    Some(why) if error == Error::NotVisible => Error::Call(why),
                    _ => error,
                })?;
                tell(Step::Checked);
            } else {
                self.act(wish, action).await?;
                tell(Step::Done(action));
            }
        }
        Ok(())
    }

    async fn created_topic(&self, wish: &Wish) -> Result<SeenTopic, Error> {
        let topic = wish.topic();
        for pause in VISIBLE {
            self.pause(pause).await;
            if let Some(topic) = topic
                && let Some(seen) = self.aws.topic(topic).await.map_err(call)?
            {
                return Ok(seen);
            }
        }
        let why = "SNS does not show the topic that it has created; run it again in a minute";
        Err(Error::Call(why.to_owned()))
    }

    /// Writes notifications. If there is no answer, so that it may have been done, says why.
    async fn put(
        &self,
        wish: &Wish,
        action: &Action,
        tell: &mut (dyn FnMut(Step<'_>) + Send),
    ) -> Result<Option<String>, Error> {
        for pause in SETTLING {
            match self.try_to(wish, action).await {
                Ok(()) => return Ok(None),
                Err(CallError::Destination(why)) => tell(Step::Waiting(&why)),
                Err(CallError::NoAnswer(why)) => return Ok(Some(why)),
                Err(error) => return Err(named(error, wish.bucket())),
            }
            self.pause(pause).await;
        }
        match self.try_to(wish, action).await {
            Ok(()) => Ok(None),
            Err(CallError::NoAnswer(why)) => Ok(Some(why)),
            Err(CallError::Destination(why)) => Err(Error::Call(format!(
                "{why}; S3 tests all destinations of the bucket when it saves them, also those of \
                 others: who owns the one that fails has to repair or remove it"
            ))),
            Err(error) => Err(named(error, wish.bucket())),
        }
    }

    async fn read_back(
        &self,
        bucket: &Bucket,
        before: &Notification,
        written: &Notification,
    ) -> Result<(), Error> {
        for pause in VISIBLE {
            self.pause(pause).await;
            let there = self.notification(bucket).await?;
            if there.same(written) {
                return Ok(());
            }
            if !there.same(before) {
                return Err(Error::Race(written.difference(&there)));
            }
        }
        Err(Error::NotVisible)
    }

    async fn notification(&self, bucket: &Bucket) -> Result<Notification, Error> {
        let notification = self.aws.notification(bucket).await;
        notification.map_err(|error| named(error, bucket))
    }

    async fn act(&self, wish: &Wish, action: &Action) -> Result<(), Error> {
        let result = self.try_to(wish, action).await;
        result.map_err(|error| named(error, wish.bucket()))
    }

    async fn try_to(&self, wish: &Wish, action: &Action) -> Result<(), CallError> {
        // Where no topic is known, nothing is planned.
        let Some(topic) = wish.topic() else {
            return Ok(());
        };
        self.aws.act(wish.bucket(), topic, action).await
    }

    async fn pause(&self, seconds: u64) {
        if seconds > 0 {
            let until = self.clock.now() + Duration::from_secs(seconds);
            self.clock.sleep_until(until).await;
        }
    }
}

fn call(error: CallError) -> Error {
    match error {
        CallError::Elsewhere(_) => Error::Call(error.to_string()),
        CallError::Destination(why)
        | CallError::NoAnswer(why)
        | CallError::Denied(why)
        | CallError::Credentials(why)
        | CallError::Missing(why)
        | CallError::Failed(why) => Error::Call(why),
    }
}

fn named(error: CallError, bucket: &Bucket) -> Error {
    match error {
        CallError::Elsewhere(region) => Error::Elsewhere {
            bucket: bucket.name.clone(),
            region,
        },
        other => call(other),
    }
}
