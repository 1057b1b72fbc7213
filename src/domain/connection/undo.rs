//! What a disconnect takes away: what carries our names, and the rest only if asked.

use super::{
    Bucket, Seen,
    notification::Kind,
    permit,
    plan::{Action, POLICY, Plan, Refusal, count, entries},
    policy::{self, Without},
};
use crate::domain::topic::TopicArn;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    pub bucket: Bucket,
    /// The topic that our entry notifies; None if there is no such entry and none was named.
    pub topic: Option<TopicArn>,
    /// Its subscription is deleted.
    pub endpoint: Option<String>,
    pub delete_queue: bool,
    pub delete_topic: bool,
    /// The name of the dead-letter queue.
    pub queue: String,
}

/// Plans what is taken away. Where nothing of ours is there, there are no actions.
pub fn disconnect(wanted: &Disconnect, seen: &Seen) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    notification(wanted, seen, &mut plan)?;
    let Some(topic) = &wanted.topic else {
        plan.notes.push(
            "which topic it was is not known; with --topic, our statement is also removed from its \
             policy"
                .to_owned(),
        );
        return Ok(plan);
    };
    if seen.topic.is_none() {
        plan.found.push(format!("topic {topic}: does not exist"));
        return Ok(plan);
    }
    plan.found.push(format!("topic {topic}: exists"));
    let still_needed = statement(wanted, topic, seen, &mut plan)?;
    let user = user(wanted, seen, still_needed)?;
    if let Some(endpoint) = &wanted.endpoint {
        let arn = subscription(endpoint, seen, &mut plan);
        match &user {
            None => {
                plan.actions
                    .extend(arn.map(|arn| Action::Unsubscribe { arn }));
                queue(wanted, topic, seen, &mut plan)?;
            }
            Some(user) => kept(wanted, endpoint, user, seen, &mut plan)?,
        }
    }
    if wanted.delete_topic {
        deletable(wanted, seen, user)?;
        plan.actions.push(Action::DeleteTopic);
    }
    Ok(plan)
}

fn notification(wanted: &Disconnect, seen: &Seen, plan: &mut Plan) -> Result<(), Refusal> {
    let there = &seen.notification;
    match there.ours() {
        Some(ours) if ours.kind != Kind::Topic => return Err(Refusal::NotOurs(ours.kind)),
        Some(ours)
            if wanted
                .topic
                .as_ref()
                .is_some_and(|topic| topic.as_str() != ours.target) =>
        {
            return Err(Refusal::OtherTopic(ours.target.clone()));
        }
        _ => {}
    }
    plan.found
        .push(format!("bucket {}: {}", wanted.bucket.name, entries(there)));
    let next = there.without();
    plan.difference = there.difference(&next);
    if !there.same(&next) {
        plan.actions.push(Action::PutNotification(next));
    }
    Ok(())
}

/// Takes our statement out of the topic's policy, unless somebody else's entry of the bucket also
/// notifies the topic. Returns whether it does.
fn statement(
    wanted: &Disconnect,
    topic: &TopicArn,
    seen: &Seen,
    plan: &mut Plan,
) -> Result<bool, Refusal> {
    let mut others = seen.notification.others();
    if let Some(other) = others.find(|entry| entry.target == topic.as_str()) {
        plan.notes.push(format!(
            "our statement stays in the topic's policy, since another entry needs it: {other}"
        ));
        return Ok(true);
    }
    if wanted.delete_topic {
        return Ok(false);
    }
    let policy = seen
        .topic
        .as_ref()
        .and_then(|there| there.policy.as_deref());
    let sid = policy::bucket_sid(&wanted.bucket.name);
    let rest = policy::without(policy, &sid);
    match rest.map_err(|source| Refusal::BadPolicy { of: "topic", source })? {
        Without::Same => {}
        Without::Rest(value) => {
            let before = policy::find(policy, &sid.into());
            plan.show_statements("topic's policy", before, None);
            plan.actions.push(Action::SetTopic {
                name: POLICY,
                value,
            });
        }
        Without::Nothing => plan.notes.push(
            "our statement stays in the topic's policy: it is the only one, and a policy must have \
             one"
                .to_owned(),
        ),
    }
    Ok(false)
}

/// Who else publishes to the topic, so that its subscription is still needed.
fn user(wanted: &Disconnect, seen: &Seen, still_needed: bool) -> Result<Option<String>, Refusal> {
    if still_needed {
        return Ok(Some("another entry of the bucket notifies it".to_owned()));
    }
    let policy = seen
        .topic
        .as_ref()
        .and_then(|there| there.policy.as_deref());
    let buckets = permit::other_buckets(policy, &wanted.bucket.name);
    let buckets = buckets.map_err(|source| Refusal::BadPolicy {
        of: "topic",
        source,
    })?;
    Ok((buckets > 0).then(|| {
        let buckets = count(buckets, "other bucket", "other buckets");
        format!("its policy lets S3 publish for {buckets}")
    }))
}

/// The subscription and its dead-letter queue stay, since somebody else's changes need them.
fn kept(
    wanted: &Disconnect,
    endpoint: &str,
    user: &str,
    seen: &Seen,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    // That the topic cannot be deleted is said first.
    if wanted.delete_queue && !wanted.delete_topic && seen.queue.is_some() {
        return Err(Refusal::InUse(format!(
            "the dead-letter queue {}: the topic is still in use: {user}",
            wanted.queue
        )));
    }
    if seen.subscription.is_some() {
        plan.notes.push(format!(
            "the subscription of {endpoint} and its dead-letter queue stay, since the topic is still \
             in use: {user}"
        ));
    }
    Ok(())
}

/// Says what there is, and returns the ARN of a confirmed subscription.
fn subscription(endpoint: &str, seen: &Seen, plan: &mut Plan) -> Option<String> {
    let (found, arn) = match &seen.subscription {
        None => ("none", None),
        Some(there) => match &there.arn {
            None => ("waits for its confirmation", None),
            Some(arn) => ("confirmed", Some(arn)),
        },
    };
    plan.found
        .push(format!("subscription of {endpoint}: {found}"));
    if arn.is_none() && seen.subscription.is_some() {
        plan.notes.push(
            "a subscription that was never confirmed cannot be deleted; SNS forgets it after three \
             days"
                .to_owned(),
        );
    }
    arn.cloned()
}

fn queue(
    wanted: &Disconnect,
    topic: &TopicArn,
    seen: &Seen,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let name = &wanted.queue;
    let Some(there) = &seen.queue else {
        plan.found
            .push(format!("dead-letter queue {name}: does not exist"));
        return Ok(());
    };
    plan.found.push(format!("dead-letter queue {name}: exists"));
    if let Some(other) = seen.other_http_endpoint() {
        if wanted.delete_queue {
            return Err(Refusal::InUse(format!(
                "the dead-letter queue {name}: the subscription of {other} may use it too"
            )));
        }
        return Ok(());
    }
    if wanted.delete_queue {
        if there.messages > 0 {
            return Err(Refusal::InUse(format!(
                "the dead-letter queue {name}: it holds about {}, which were never delivered",
                count(
                    usize::try_from(there.messages).unwrap_or(usize::MAX),
                    "message",
                    "messages"
                )
            )));
        }
        plan.actions.push(Action::DeleteQueue {
            queue: name.clone(),
        });
        return Ok(());
    }
    let sid = policy::topic_sid(topic);
    let rest = policy::without(there.policy.as_deref(), &sid);
    let policy = match rest.map_err(|source| Refusal::BadPolicy {
        of: "dead-letter queue",
        source,
    })? {
        Without::Same => return Ok(()),
        Without::Rest(policy) => policy,
        // An empty policy removes it.
        Without::Nothing => String::new(),
    };
    let before = policy::find(there.policy.as_deref(), &sid.into());
    plan.show_statements("dead-letter queue's policy", before, None);
    plan.actions.push(Action::SetQueuePolicy {
        queue: name.clone(),
        policy,
    });
    Ok(())
}

fn deletable(wanted: &Disconnect, seen: &Seen, user: Option<String>) -> Result<(), Refusal> {
    let why = if let Some(user) = user {
        user
    } else if let Some(other) = seen.other_http_endpoint() {
        format!("{other} is subscribed to it as well")
    } else if !seen.other_endpoints.is_empty() {
        let others = seen.other_endpoints.len();
        format!(
            "it has {}",
            count(others, "other subscription", "other subscriptions")
        )
    } else if seen.subscription.is_some() && wanted.endpoint.is_none() {
        "it has a subscription; name its --endpoint".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::InUse(format!("the topic: {why}")))
}
