//! A bucket's notifications: that they come to one of our topics, and for all that counts.

use percent_encoding::percent_decode_str;

use super::{Check, Finding, Mend, Seen, Unseen, Wiring};
use crate::domain::{
    catalogue::Serving,
    connection::{
        Bucket, Seen as SeenConnection, SeenTopic,
        notification::{Entry, Kind, Notification},
        overlap::includes,
        plan::{self, Connect, Refusal},
    },
    event_names,
    s3_event::EventFilter,
    topic::TopicArn,
};

/// What was seen of a bucket that has notifications, or none.
#[derive(Debug)]
pub struct SeenBucket<'a> {
    /// With the topic that gets its changes, or should.
    pub wiring: &'a Wiring,
    pub owner: &'a str,
    /// All topics that are believed.
    pub topics: &'a [TopicArn],
    pub notification: &'a Notification,
    /// The names of the lifecycle rules that expire objects.
    pub lifecycle: &'a Seen<Vec<String>>,
    /// The events that invalidate.
    pub events: &'a EventFilter,
    /// The distributions that have it as an origin.
    pub serving: &'a [Serving],
}

const OF_NOTIFICATIONS: [Check; 4] = [
    Check::BucketNotification,
    Check::BucketEvents,
    Check::BucketLifecycle,
    Check::BucketFilter,
];

/// Judges a bucket of which nothing could be seen.
pub fn unseen(bucket: &str, unseen: &Unseen, topics: &[TopicArn]) -> Vec<Finding> {
    let what = format!("bucket {bucket}");
    let first = match unseen {
        Unseen::Elsewhere(region) => {
            let regions: Vec<_> = topics.iter().map(TopicArn::region).collect();
            let why = format!(
                "is in {region}, but the topics are in {}: S3 notifies only topics of the bucket's own \
                 region",
                regions.join(", ")
            );
            Finding::failure(Check::BucketRegion, &what, why).mended_by(format!(
                "create a topic in {region} (purgefront connect {bucket} --topic ARN --create-topic), \
                 and add it to sns.topics"
            ))
        }
        Unseen::Missing(text) => {
            Finding::failure(Check::BucketKnown, &what, format!("does not exist: {text}"))
                .mended_by("check the name, and remove what names it")
        }
        other => Finding::unseen(Check::BucketKnown, &what, other),
    };
    let rest = OF_NOTIFICATIONS.map(|check| {
        let why = "skipped, because the bucket's notifications cannot be seen";
        Finding::skipped(check, &what, why)
    });
    std::iter::once(first).chain(rest).collect()
}

impl SeenBucket<'_> {
    pub fn findings(&self) -> Vec<Finding> {
        let what = self.what();
        let mut findings = vec![
            Finding::ok(Check::BucketKnown, &what, "its notifications can be read"),
            Finding::ok(
                Check::BucketRegion,
                &what,
                format!("is in {}, like the topic", self.wiring.topic.region()),
            ),
            self.presence(),
        ];
        if self.entries().next().is_none() {
            findings.extend(OF_NOTIFICATIONS[1..].iter().map(|check| {
                let why = "skipped, because no entry notifies a topic of sns.topics";
                Finding::skipped(*check, &what, why)
            }));
            return findings;
        }
        findings.extend([self.width(), self.expiry(), self.filters()]);
        findings
    }

    fn what(&self) -> String {
        format!("bucket {}", self.wiring.bucket)
    }

    /// The entries that notify one of our topics.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let all = self.notification.entries.iter();
        all.filter(|entry| {
            let mut topics = self.topics.iter();
            entry.kind == Kind::Topic && topics.any(|topic| topic.as_str() == entry.target)
        })
    }

    fn presence(&self) -> Finding {
        let check = Check::BucketNotification;
        let shown: Vec<_> = self.entries().map(ToString::to_string).collect();
        if !shown.is_empty() {
            let bridge = if self.notification.event_bridge {
                "; EventBridge gets all events as well, which costs nothing here"
            } else {
                ""
            };
            let why = format!("notifies by {}{bridge}", shown.join("; "));
            return Finding::ok(check, self.what(), why);
        }
        if self.notification.event_bridge {
            let why = "no entry notifies a topic of sns.topics. EventBridge is on, and a rule of it may \
                       do so, which cannot be seen from here";
            return Finding::warning(check, self.what(), why).mended_by(
                "if no rule of EventBridge sends this bucket's events to the topic, connect the bucket \
                 (docs/connect.md)",
            );
        }
        let why = "no entry notifies a topic of sns.topics: nobody tells of its changes";
        Finding::failure(check, self.what(), why).mended_by(self.mend())
    }

    /// Connects the bucket, unless S3 would refuse that. Our entry keeps its filter.
    fn mend(&self) -> Mend {
        self.connect(false)
    }

    /// The same, where `all_keys` takes the filter away.
    fn connect(&self, all_keys: bool) -> Mend {
        let filter = all_keys.then(String::new);
        let wanted = Connect {
            bucket: Bucket {
                name: self.wiring.bucket.clone(),
                owner: self.owner.to_owned(),
            },
            topic: self.wiring.topic.clone(),
            endpoint: None,
            create_topic: false,
            prefix: filter.clone(),
            suffix: filter.clone(),
            max_receives_per_second: None,
            queue: String::new(),
        };
        let seen = SeenConnection {
            notification: self.notification.clone(),
            topic: Some(SeenTopic::default()),
            ..SeenConnection::default()
        };
        match plan::connect(&wanted, &seen) {
            Ok(_) => {
                let all: &[&str] = if all_keys {
                    &["--prefix", "", "--suffix", ""]
                } else {
                    &[]
                };
                self.wiring.connect().and(all.iter().copied()).into()
            }
            Err(Refusal::Overlap(lines)) => Mend::Words(lines.join("\n")),
            Err(refusal) => Mend::Words(refusal.to_string()),
        }
    }

    /// The events that invalidate and that no entry sends.
    fn unsent(&self) -> Vec<&'static str> {
        let wanted = event_names::all().filter(|name| self.events.lets_through(name));
        wanted
            .filter(|name| !self.entries().any(|entry| sends(entry, name)))
            .collect()
    }

    fn width(&self) -> Finding {
        let check = Check::BucketEvents;
        let unsent = self.unsent().into_iter();
        let unsent: Vec<_> = unsent.filter(|name| !is_expiry(name)).collect();
        if unsent.is_empty() {
            let why = "sends all events of events.invalidate_on";
            return Finding::ok(check, self.what(), why);
        }
        let why = format!(
            "events of events.invalidate_on that no entry sends: {}",
            unsent.join(", ")
        );
        let is_usual =
            |name: &&&str| name.starts_with("ObjectCreated:") || name.starts_with("ObjectRemoved:");
        let finding = if unsent.iter().any(|name| is_usual(&name)) {
            Finding::failure(check, self.what(), why)
        } else {
            Finding::warning(check, self.what(), why)
        };
        finding.mended_by(self.mend())
    }

    fn expiry(&self) -> Finding {
        let check = Check::BucketLifecycle;
        let unsent = self.unsent().into_iter();
        let unsent: Vec<_> = unsent.filter(|name| is_expiry(name)).collect();
        if unsent.is_empty() {
            let why = "what lifecycle rules expire is sent, or does not invalidate";
            return Finding::ok(check, self.what(), why);
        }
        match self.lifecycle {
            Ok(rules) if rules.is_empty() => {
                let why = "no lifecycle rule expires objects, so their events are not needed";
                Finding::ok(check, self.what(), why)
            }
            Ok(rules) => {
                let rules: Vec<_> = rules.iter().map(|rule| format!("{rule:?}")).collect();
                let why = format!(
                    "the lifecycle rules {} expire objects, but no entry sends {}",
                    rules.join(", "),
                    unsent.join(", ")
                );
                Finding::failure(check, self.what(), why).mended_by(self.mend())
            }
            Err(unseen) => Finding::unseen(check, self.what(), unseen),
        }
    }

    /// Whether what distributions can serve is left out by a prefix or suffix.
    fn filters(&self) -> Finding {
        let check = Check::BucketFilter;
        let mut left_out = Vec::new();
        for one in self.serving {
            for (_, address) in &one.origins {
                let area = address.prefix.trim_start_matches('/');
                let area = if area.is_empty() {
                    String::new()
                } else {
                    format!("{area}/")
                };
                if !self.covers(&area) {
                    let text = format!("{} serves keys below {area:?}", one.distribution.id);
                    if !left_out.contains(&text) {
                        left_out.push(text);
                    }
                }
            }
        }
        if left_out.is_empty() {
            let why = "no prefix or suffix leaves out what a distribution serves";
            return Finding::ok(check, self.what(), why);
        }
        let filters: Vec<_> = self.entries().map(ToString::to_string).collect();
        let why = format!(
            "{}, but only part of them is sent: {}",
            left_out.join("; "),
            filters.join("; ")
        );
        Finding::warning(check, self.what(), why).mended_by(self.connect(true))
    }

    /// Whether uploads and deletes of all keys that begin so are sent, as far as they are at all.
    fn covers(&self, area: &str) -> bool {
        ["ObjectCreated:Put", "ObjectRemoved:Delete"]
            .into_iter()
            .all(|name| {
                let mut entries = self.entries().filter(|entry| sends(entry, name)).peekable();
                entries.peek().is_none()
                    || entries.any(|entry| {
                        entry.suffix().is_empty() && area.starts_with(&decoded(entry.prefix()))
                    })
            })
    }
}

fn sends(entry: &Entry, name: &str) -> bool {
    let event = format!("s3:{name}");
    entry.events.iter().any(|sent| includes(sent, &event))
}

fn is_expiry(name: &str) -> bool {
    name.starts_with("LifecycleExpiration:")
}

/// Prefixes are spelled as in a form (Amazon S3 User Guide, "Configuring event notifications using
/// object key name filtering").
fn decoded(prefix: &str) -> String {
    let spaced = prefix.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
