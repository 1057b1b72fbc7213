//! Looks at the buckets: their notifications, lifecycle rules and region.

use super::{Doctor, seen, topics::Topic};
use crate::domain::{
    catalogue::Catalogue,
    connection::{Bucket, notification::Notification},
    doctor::{
        Check, Finding, Seen, Unseen,
        bucket::{self, SeenBucket},
        credentials::Identity,
        topic,
    },
    topic::TopicArn,
};

impl Doctor {
    pub(super) async fn of_buckets(
        &self,
        identity: &Identity,
        topics: &[Topic],
        buckets: &[String],
        catalogue: Option<&Catalogue>,
        endpoint: Option<&str>,
    ) -> Vec<Finding> {
        if buckets.is_empty() {
            let why = "skipped, because neither a topic's policy nor a distribution names a bucket: give \
                       --bucket NAME";
            return vec![Finding::skipped(Check::BucketKnown, "buckets", why)];
        }
        let mut findings = Vec::new();
        for name in buckets {
            let bucket = Bucket {
                name: name.clone(),
                owner: identity.account.clone(),
            };
            let Some((topic, notification)) = self.look_at_bucket(&bucket, topics).await else {
                continue;
            };
            let wiring = self.wiring(name, &topic.arn, endpoint);
            findings.push(match &topic.seen {
                Ok(Some(there)) => topic::policy(&wiring, &bucket.owner, there),
                Ok(None) => {
                    let why = "skipped, because there is no topic";
                    let what = format!("policy of the topic {}", topic.arn);
                    Finding::skipped(Check::TopicPolicy, what, why)
                }
                Err(unseen) => {
                    let what = format!("policy of the topic {}", topic.arn);
                    Finding::unseen(Check::TopicPolicy, what, unseen)
                }
            });
            let notification = match notification {
                Ok(notification) => notification,
                Err(unseen) => {
                    findings.extend(bucket::unseen(name, &unseen, &self.settings.topics));
                    continue;
                }
            };
            let points = self.regions.points(topic.arn.region());
            let lifecycle = points.expiring_rules(&bucket).await.map_err(seen);
            let seen = SeenBucket {
                wiring: &wiring,
                owner: &bucket.owner,
                topics: &self.settings.topics,
                notification: &notification,
                lifecycle: &lifecycle,
                events: &self.settings.events,
                serving: catalogue.map_or(&[], |catalogue| catalogue.serving(name)),
            };
            findings.extend(seen.findings());
        }
        findings
    }

    /// A bucket's notifications, and the topic that gets its changes, or should: one in its own region. None if there
    /// is no topic.
    async fn look_at_bucket<'a>(
        &self,
        bucket: &Bucket,
        topics: &'a [Topic],
    ) -> Option<(&'a Topic, Seen<Notification>)> {
        let named = topics.iter();
        let named = named.filter(|topic| topic.buckets().contains(&bucket.name));
        let mut topic = named.chain(topics).next()?;
        let mut notification = self.notification(bucket, &topic.arn).await;
        if let Err(Unseen::Elsewhere(region)) = &notification {
            let mut there = topics.iter();
            if let Some(other) = there.find(|other| other.arn.region() == region) {
                topic = other;
                notification = self.notification(bucket, &topic.arn).await;
            }
        }
        if let Ok(notification) = &notification {
            let mut notified = topics.iter().filter(|topic| {
                let mut entries = notification.entries.iter();
                entries.any(|entry| entry.target == topic.arn.as_str())
            });
            topic = notified.next().unwrap_or(topic);
        }
        Some((topic, notification))
    }

    async fn notification(&self, bucket: &Bucket, topic: &TopicArn) -> Seen<Notification> {
        let points = self.regions.points(topic.region());
        points.notification(bucket).await.map_err(seen)
    }
}
