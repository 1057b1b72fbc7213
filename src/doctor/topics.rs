//! Looks at the topics, and at the endpoint's subscriptions to them.

use super::{Doctor, seen};
use crate::{
    domain::{
        connection::{SeenSubscription, SeenTopic, delivery, delivery::Attributes},
        doctor::{
            Check, Finding, Seen, Wiring, permission, permission::Probe, subscription, topic,
        },
        topic::TopicArn,
    },
    ports::connection::Subscriptions,
};

/// A topic as far as it can be seen.
pub(super) struct Topic {
    pub(super) arn: TopicArn,
    pub(super) seen: Seen<Option<SeenTopic>>,
    subscriptions: Seen<Subscriptions>,
    confirm: Probe,
}

impl Topic {
    /// The buckets that its policy names.
    pub(super) fn buckets(&self) -> Vec<String> {
        match &self.seen {
            Ok(Some(there)) => topic::buckets(there.policy.as_deref()),
            _ => Vec::new(),
        }
    }

    /// The URLs that it posts to.
    fn endpoints(&self) -> Vec<String> {
        let all = self.subscriptions.as_ref().ok().into_iter().flatten();
        let urls = all.map(|(endpoint, _)| endpoint);
        let urls = urls.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
        let mut urls: Vec<_> = urls.cloned().collect();
        urls.sort();
        urls.dedup();
        urls
    }

    /// How its trial of sns:ConfirmSubscription went.
    pub(super) fn confirmation(&self) -> (String, Probe) {
        (self.arn.to_string(), self.confirm.clone())
    }
}

/// The endpoints that are subscribed to any of the topics.
pub(super) fn endpoints(topics: &[Topic]) -> Vec<String> {
    let mut endpoints: Vec<_> = topics.iter().flat_map(Topic::endpoints).collect();
    endpoints.sort();
    endpoints.dedup();
    endpoints
}

/// The endpoint, where there is exactly one.
pub(super) fn only(endpoints: &[String]) -> Option<&str> {
    match endpoints {
        [one] => Some(one),
        _ => None,
    }
}

impl Doctor {
    pub(super) async fn look_at_topics(&self) -> Vec<Topic> {
        let mut topics = Vec::new();
        for arn in &self.settings.topics {
            let points = self.regions.points(arn.region());
            let there = points.topic(arn).await.map_err(seen);
            let exists = !matches!(there, Ok(None));
            let authenticate = self.settings.authenticate_on_unsubscribe;
            topics.push(Topic {
                arn: arn.clone(),
                seen: there,
                subscriptions: if exists {
                    points.subscriptions(arn).await.map_err(seen)
                } else {
                    Ok(Subscriptions::new())
                },
                confirm: if exists {
                    points.try_confirm(arn, authenticate).await
                } else {
                    Probe::Untried("the topic does not exist".to_owned())
                },
            });
        }
        topics
    }

    /// `buckets` are those that are looked at, for the commands that connect them. A single endpoint has
    /// to be subscribed to each topic; of several, those that are subscribed are judged.
    pub(super) async fn of_topics(
        &self,
        topics: &[Topic],
        buckets: &[String],
        endpoints: &[String],
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for one in topics {
            let mut own = one.buckets().into_iter();
            let bucket = own
                .find(|bucket| buckets.contains(bucket))
                .or_else(|| buckets.first().cloned());
            let wired = |endpoint: Option<&str>| {
                let bucket = bucket.as_deref();
                bucket.map(|bucket| self.wiring(bucket, &one.arn, endpoint))
            };
            let wiring = wired(only(endpoints));
            findings.push(topic::exists(&one.arn, &one.seen, wiring.as_ref()));
            let what = format!("topic {}", one.arn);
            findings.push(match &one.seen {
                Ok(Some(there)) => topic::key(&one.arn, there),
                Ok(None) => {
                    let why = "skipped, because there is no topic";
                    Finding::skipped(Check::TopicKey, what, why)
                }
                Err(unseen) => Finding::unseen(Check::TopicKey, what, unseen),
            });
            if matches!(one.seen, Ok(None)) {
                continue;
            }
            let judged = match endpoints {
                [_] => endpoints.to_vec(),
                _ => one.endpoints(),
            };
            if judged.is_empty() {
                findings.extend(match &one.subscriptions {
                    Ok(_) => subscription::nobody(&one.arn, bucket.as_deref()),
                    Err(unseen) => {
                        let what = format!("subscriptions to {}", one.arn);
                        vec![Finding::unseen(Check::SubscriptionExists, what, unseen)]
                    }
                });
            }
            for endpoint in &judged {
                let endpoint = endpoint.as_str();
                let wiring = wired(Some(endpoint));
                let wiring = wiring.unwrap_or_else(|| self.wiring("", &one.arn, Some(endpoint)));
                for finding in self.of_subscription(one, &wiring, endpoint).await {
                    // Subscriptions may share a dead-letter queue.
                    if !findings.contains(&finding) {
                        findings.push(finding);
                    }
                }
            }
        }
        findings
    }

    async fn of_subscription(&self, one: &Topic, wiring: &Wiring, endpoint: &str) -> Vec<Finding> {
        let points = self.regions.points(one.arn.region());
        let there: Seen<Option<SeenSubscription>> = match &one.subscriptions {
            Err(unseen) => Err(unseen.clone()),
            Ok(all) => match all.iter().find(|(other, _)| other == endpoint) {
                None => Ok(None),
                Some((_, None)) => Ok(Some(SeenSubscription {
                    arn: None,
                    attributes: Attributes::new(),
                })),
                Some((_, Some(arn))) => points.subscription(arn).await.map(Some).map_err(seen),
            },
        };
        let mut findings = subscription::subscription(wiring, endpoint, &there);
        let queue = match &there {
            Ok(Some(there)) => delivery::dead_letter_queue(&there.attributes),
            _ => None,
        };
        if let Some(queue) = queue {
            let seen_queue = match subscription::queue_name(&one.arn, &queue) {
                Some(name) => points.queue(&one.arn, name).await.map_err(seen),
                None => Ok(None),
            };
            findings.extend(subscription::dead_letters(wiring, &queue, &seen_queue));
        }
        findings
    }

    pub(super) fn wiring(&self, bucket: &str, topic: &TopicArn, endpoint: Option<&str>) -> Wiring {
        Wiring {
            bucket: bucket.to_owned(),
            topic: topic.clone(),
            endpoint: endpoint.map(str::to_owned),
            password: self.settings.password,
            config: self.settings.config.clone(),
        }
    }
}

/// sns:ConfirmSubscription on all topics.
pub(super) fn confirmations(
    topics: &[Topic],
    identity: &crate::domain::doctor::credentials::Identity,
) -> Finding {
    let tried: Vec<_> = topics.iter().map(Topic::confirmation).collect();
    let arns: Vec<_> = topics.iter().map(|one| one.arn.clone()).collect();
    permission::judge(permission::CONFIRM_SUBSCRIPTION, identity, &arns, &tried)
}
