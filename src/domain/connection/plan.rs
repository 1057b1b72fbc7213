//! What is missing for a bucket's changes to reach purgefront, as AWS calls in their order.

use std::fmt;

use serde_json::Value;

use super::{
    Bucket, EVENTS, Seen, SeenTopic, advice,
    delivery::{self, Attributes},
    notification::{Entry, Kind, Line, Notification, OUR_ID},
    overlap::{missing_events, overlaps},
    permit,
    policy::{self, BadPolicy},
};
use crate::domain::topic::TopicArn;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    pub bucket: Bucket,
    pub topic: TopicArn,
    /// Where purgefront receives messages.
    pub endpoint: Option<String>,
    /// Whether the topic may be created.
    pub create_topic: bool,
    /// None keeps what our entry has. An empty one means all keys.
    pub prefix: Option<String>,
    pub suffix: Option<String>,
    pub max_receives_per_second: Option<u32>,
    /// The name of the dead-letter queue.
    pub queue: String,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    CreateTopic,
    SetTopic {
        name: &'static str,
        value: String,
    },
    CreateQueue {
        queue: String,
        policy: String,
    },
    SetQueuePolicy {
        queue: String,
        policy: String,
    },
    Subscribe {
        endpoint: String,
        attributes: Attributes,
    },
    /// Subscribes again while the confirmation is missing.
    AskAgain {
        endpoint: String,
        attributes: Attributes,
    },
    SetSubscription {
        arn: String,
        name: String,
        value: String,
    },
    PutNotification(Notification),
    Unsubscribe {
        arn: String,
    },
    DeleteQueue {
        queue: String,
    },
    DeleteTopic,
}

/// What was found, and what follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is there, a line each.
    pub found: Vec<String>,
    /// What a person should know or do.
    pub notes: Vec<String>,
    pub actions: Vec<Action>,
    /// The difference of the bucket's notifications and of the policies.
    pub difference: Vec<Line>,
}

impl Plan {
    /// Adds the difference of a policy.
    pub(super) fn show_statements(
        &mut self,
        of: &str,
        before: Option<Value>,
        after: Option<&Value>,
    ) {
        let line = |statement: &Value| format!("{of}: {statement}");
        self.difference
            .extend(before.map(|before| Line::Removed(line(&before))));
        self.difference
            .extend(after.map(|after| Line::Added(line(after))));
    }
}

/// Why nothing is planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the topic {0} does not exist; check the ARN, or let it be created with --create-topic"
    )]
    NoTopic(TopicArn),
    #[error(
        "the topic is encrypted with the key of AWS ({0}), with which S3 cannot publish; give the \
         topic a key of your own that lets s3.amazonaws.com use kms:GenerateDataKey and kms:Decrypt"
    )]
    KeyOfAws(String),
    #[error(
        "the bucket has an entry with the Id {OUR_ID:?} that sends to a {0}, so it is not ours; \
         rename it"
    )]
    NotOurs(Kind),
    #[error("our entry of the bucket notifies the topic {0}, not the one that --topic names")]
    OtherTopic(String),
    #[error("cannot delete {0}")]
    InUse(String),
    #[error("the {of}: {source}")]
    BadPolicy { of: &'static str, source: BadPolicy },
    /// Lines to print.
    #[error("{}", .0.join("\n"))]
    Overlap(Vec<String>),
}

/// The topic's policy.
pub const POLICY: &str = "Policy";
const SIGNATURE: &str = "SignatureVersion";

/// Plans what is missing. Where nothing is, there are no actions.
pub fn connect(wanted: &Connect, seen: &Seen) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    // First, since it decides whether anything is done at all.
    let put = notification(wanted, seen, &mut plan)?;
    topic(wanted, seen, &mut plan)?;
    if let Some(endpoint) = &wanted.endpoint {
        subscription(wanted, endpoint, seen, &mut plan)?;
    }
    // Last, since S3 sends a test message, which needs all the rest.
    plan.actions.extend(put);
    Ok(plan)
}

fn notification(wanted: &Connect, seen: &Seen, plan: &mut Plan) -> Result<Option<Action>, Refusal> {
    let there = &seen.notification;
    if let Some(ours) = there.ours().filter(|ours| ours.kind != Kind::Topic) {
        return Err(Refusal::NotOurs(ours.kind));
    }
    plan.found.push(format!(
        "bucket {}: {}, EventBridge {}",
        wanted.bucket.name,
        entries(there),
        if there.event_bridge { "on" } else { "off" },
    ));
    let events = EVENTS.map(str::to_owned).to_vec();
    let topic = wanted.topic.as_str();
    let (prefix, suffix) = filter(wanted, there, plan);
    let mut ours = Entry::ours(topic, events, prefix, suffix);
    ours.events = missing_events(there, &ours);
    if ours.events.len() < EVENTS.len() {
        let others = there.others().filter(|entry| entry.target == topic);
        let others: Vec<_> = others.map(|entry| format!("{entry}")).collect();
        plan.notes.push(format!(
            "the topic already gets events of this bucket by an entry that is not ours, and stays \
             after a disconnect: {}",
            others.join("; ")
        ));
    }
    if let Some(before) = there.ours().filter(|before| before.target != topic) {
        plan.notes.push(format!(
            "our entry notifies {} until now; our statement stays in that topic's policy",
            before.target
        ));
    }
    let overlaps = overlaps(there, &ours);
    if !overlaps.is_empty() {
        let lines = advice::on_overlap(wanted, &overlaps, there.event_bridge);
        return Err(Refusal::Overlap(lines));
    }
    let next = if ours.events.is_empty() {
        there.without()
    } else {
        there.with(ours)
    };
    plan.difference = there.difference(&next);
    Ok((!there.same(&next)).then_some(Action::PutNotification(next)))
}

/// The prefix and the suffix: those that are asked for, or else those that our entry has.
fn filter<'a>(wanted: &'a Connect, there: &'a Notification, plan: &mut Plan) -> (&'a str, &'a str) {
    let before = there.ours();
    let mut choose =
        |name: &str, asked: Option<&'a str>, own: Option<&'a str>| {
            let kept = own.filter(|own| asked.is_none() && !own.is_empty());
            plan.notes.extend(kept.map(|kept| {
                format!("our entry keeps its {name} {kept:?}; --{name} \"\" removes it")
            }));
            asked.or(own).unwrap_or_default()
        };
    (
        choose(
            "prefix",
            wanted.prefix.as_deref(),
            before.map(Entry::prefix),
        ),
        choose(
            "suffix",
            wanted.suffix.as_deref(),
            before.map(Entry::suffix),
        ),
    )
}

fn topic(wanted: &Connect, seen: &Seen, plan: &mut Plan) -> Result<(), Refusal> {
    let arn = &wanted.topic;
    let new = SeenTopic::default();
    let there = match &seen.topic {
        Some(there) => {
            plan.found.push(format!("topic {arn}: exists"));
            there
        }
        None if wanted.create_topic => {
            plan.found.push(format!("topic {arn}: does not exist"));
            plan.actions.push(Action::CreateTopic);
            &new
        }
        None => return Err(Refusal::NoTopic(arn.clone())),
    };
    if let Some(key) = &there.key {
        if key.ends_with("alias/aws/sns") {
            return Err(Refusal::KeyOfAws(key.clone()));
        }
        plan.notes.push(format!(
            "the topic is encrypted: the policy of {key} must let s3.amazonaws.com use \
             kms:GenerateDataKey and kms:Decrypt"
        ));
    }
    topic_policy(wanted, there, plan)?;
    if there.signature_version.as_deref() != Some("2") {
        if let Some(other) = seen.other_http_endpoint() {
            plan.notes.push(format!(
                "the topic keeps {SIGNATURE} 1, since {other} may not be able to verify version 2; \
                 purgefront verifies both"
            ));
        } else {
            plan.actions.push(Action::SetTopic {
                name: SIGNATURE,
                value: "2".to_owned(),
            });
        }
    }
    Ok(())
}

/// Adds our statement, or corrects it, unless one of others makes it needless: whoever keeps the
/// policy in a template would remove ours the next time.
fn topic_policy(wanted: &Connect, there: &SeenTopic, plan: &mut Plan) -> Result<(), Refusal> {
    let (arn, bucket) = (&wanted.topic, &wanted.bucket);
    let statement = policy::topic_statement(arn, &bucket.name, &bucket.owner);
    let policy = there.policy.as_deref();
    let before = policy::find(policy, &statement["Sid"]);
    if before.is_none()
        && let Some(other) = permit::equivalent(policy, arn, bucket)
    {
        plan.notes.push(format!(
            "the topic's policy already lets S3 publish for this bucket by a statement that is not \
             ours, and stays after a disconnect: {other}"
        ));
        return Ok(());
    }
    let value = policy::with(policy, &statement).map_err(|source| Refusal::BadPolicy {
        of: "topic",
        source,
    })?;
    if let Some(value) = value {
        plan.show_statements("topic's policy", before, Some(&statement));
        plan.actions.push(Action::SetTopic {
            name: POLICY,
            value,
        });
    }
    Ok(())
}

fn subscription(
    wanted: &Connect,
    endpoint: &str,
    seen: &Seen,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let queue = queue_arn(&wanted.topic, &wanted.queue);
    let there = seen.subscription.as_ref();
    let nothing = Attributes::new();
    let attributes = there.map_or(&nothing, |there| &there.attributes);
    let missing = delivery::wanted(attributes, &queue, wanted.max_receives_per_second);
    // One that is not confirmed shows no attributes, but was subscribed with them.
    let pending = there.is_some_and(|there| there.arn.is_none());
    let own_queue = delivery::dead_letter_queue(attributes).is_some_and(|own| own != queue);
    if !own_queue {
        dead_letters(wanted, &queue, seen, plan)?;
    }
    plan.found.push(format!(
        "subscription of {endpoint}: {}",
        match there {
            None => "none",
            Some(_) if pending => "waits for its confirmation",
            Some(_) => "confirmed",
        }
    ));
    if pending {
        plan.notes.push(
            "purgefront confirms the subscription when SNS asks, if it runs with this topic in \
             sns.topics by then. SNS shows what a subscription has only after that: run this once more \
             then"
                .to_owned(),
        );
        plan.actions.push(Action::AskAgain {
            endpoint: endpoint.to_owned(),
            attributes: missing.attributes,
        });
        return Ok(());
    }
    let kept = missing.kept.iter();
    plan.notes
        .extend(kept.map(|kept| format!("the subscription keeps what it has: {kept}")));
    match there.and_then(|there| there.arn.as_ref()) {
        None => plan.actions.push(Action::Subscribe {
            endpoint: endpoint.to_owned(),
            attributes: missing.attributes,
        }),
        Some(arn) => {
            let attributes = missing.attributes.into_iter();
            plan.actions.extend(attributes.map(|(name, value)| {
                let arn = arn.clone();
                Action::SetSubscription { arn, name, value }
            }));
        }
    }
    Ok(())
}

fn dead_letters(
    wanted: &Connect,
    queue: &str,
    seen: &Seen,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let there = seen.queue.as_ref();
    let exists = if there.is_some() {
        "exists"
    } else {
        "does not exist"
    };
    plan.found
        .push(format!("dead-letter queue {queue}: {exists}"));
    let statement = policy::queue_statement(&wanted.topic, queue);
    let before = there.and_then(|there| there.policy.as_deref());
    let policy = policy::with(before, &statement).map_err(|source| Refusal::BadPolicy {
        of: "dead-letter queue",
        source,
    })?;
    if let Some(policy) = policy {
        plan.show_statements(
            "dead-letter queue's policy",
            policy::find(before, &statement["Sid"]),
            Some(&statement),
        );
        let queue = wanted.queue.clone();
        plan.actions.push(if there.is_some() {
            Action::SetQueuePolicy { queue, policy }
        } else {
            Action::CreateQueue { queue, policy }
        });
    }
    Ok(())
}

/// A topic's dead-letter queue is in its region and account.
pub fn queue_arn(topic: &TopicArn, queue: &str) -> String {
    format!(
        "arn:{}:sqs:{}:{}:{queue}",
        topic.partition_id(),
        topic.region(),
        topic.account()
    )
}

/// SNS's name for the way to an endpoint.
pub fn protocol(endpoint: &str) -> &'static str {
    if endpoint.starts_with("http://") {
        "http"
    } else {
        "https"
    }
}

/// How many entries a bucket's notifications have, and whose.
pub(super) fn entries(there: &Notification) -> String {
    let others = count(there.others().count(), "entry", "entries");
    let ours = if there.ours().is_some() {
        "ours"
    } else {
        "none of ours"
    };
    format!("{others} of others, {ours}")
}

pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// One line: what the call does.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTopic => f.write_str("create the topic"),
            Self::SetTopic { name: POLICY, .. } => f.write_str("set the topic's policy"),
            Self::SetTopic { name, value } => write!(f, "set the topic's {name} to {value}"),
            Self::CreateQueue { queue, .. } => write!(
                f,
                "create the dead-letter queue {queue}, which keeps messages for 14 days"
            ),
            Self::SetQueuePolicy { queue, .. } => {
                write!(f, "set the policy of the dead-letter queue {queue}")
            }
            Self::Subscribe {
                endpoint,
                attributes,
            } => {
                write!(f, "subscribe {endpoint}")?;
                attributes
                    .iter()
                    .try_for_each(|(name, value)| write!(f, ", {name} {value}"))
            }
            Self::AskAgain { endpoint, .. } => {
                write!(f, "ask SNS to send the confirmation to {endpoint} again")
            }
            Self::SetSubscription { name, value, .. } => {
                write!(f, "set the subscription's {name} to {value}")
            }
            Self::PutNotification(_) => f.write_str("save the bucket's notifications"),
            Self::Unsubscribe { arn } => write!(f, "delete the subscription {arn}"),
            Self::DeleteQueue { queue } => write!(f, "delete the dead-letter queue {queue}"),
            Self::DeleteTopic => f.write_str("delete the topic"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What most tests want.

    use super::{Bucket, Connect};

    pub(crate) fn connect() -> Connect {
        Connect {
            bucket: Bucket {
                name: "site".to_owned(),
                owner: "123456789012".to_owned(),
            },
            topic: "arn:aws:sns:us-east-1:123456789012:site-changes"
                .parse()
                .unwrap(),
            endpoint: Some("https://purge.example/sns".to_owned()),
            create_topic: false,
            prefix: None,
            suffix: None,
            max_receives_per_second: None,
            queue: "site-changes-dead-letters".to_owned(),
        }
    }
}
