//! The events of a bucket with or without versions: what changes for viewers is let through, and
//! lifecycle rules that change nothing for them are not.
//!
//! The bucket is a naive model of S3. Sources: S3 User Guide, "Deleting object versions" and
//! "Configuring S3 Lifecycle event notifications".

use proptest::prelude::*;
use purgefront::domain::s3_event::{EventFilter, Notification, read};
use serde_json::{Value, json};

/// What happens to the one key of the bucket.
#[derive(Debug, Clone, Copy)]
enum Act {
    Put,
    Delete,
    /// Deletes a version for good, by its place among the versions.
    DeleteVersion(usize),
    /// A lifecycle rule expires the current version.
    Expire,
    /// A lifecycle rule expires the oldest noncurrent version.
    ExpireNoncurrent,
    /// A lifecycle rule removes a delete marker that is the only version.
    ExpireMarker,
}

#[derive(Debug, Clone, PartialEq)]
struct Version {
    id: u32,
    /// The bytes; a delete marker has none.
    content: Option<u32>,
}

struct Bucket {
    versioned: bool,
    /// The current one is the last.
    versions: Vec<Version>,
    next: u32,
}

/// An event's name and the version that it names.
type Told = Option<(&'static str, Option<u32>)>;

impl Bucket {
    /// What viewers get; `None` for an error.
    fn seen(&self) -> Option<u32> {
        self.versions.last().and_then(|version| version.content)
    }

    fn add(&mut self, content: bool) -> u32 {
        self.next += 1;
        if !self.versioned {
            self.versions.clear();
        }
        self.versions.push(Version {
            id: self.next,
            content: content.then_some(self.next),
        });
        self.next
    }

    fn act(&mut self, act: Act) -> Told {
        let is_object = self.seen().is_some();
        match act {
            Act::Put => {
                let id = self.add(true);
                Some(("ObjectCreated:Put", self.versioned.then_some(id)))
            }
            Act::Delete if self.versioned => {
                let id = self.add(false);
                Some(("ObjectRemoved:DeleteMarkerCreated", Some(id)))
            }
            Act::Delete => {
                self.versions.clear();
                Some(("ObjectRemoved:Delete", None))
            }
            Act::DeleteVersion(at) if self.versioned && !self.versions.is_empty() => {
                let gone = self.versions.remove(at % self.versions.len());
                Some(("ObjectRemoved:Delete", Some(gone.id)))
            }
            Act::Expire if is_object && self.versioned => {
                let id = self.add(false);
                Some(("LifecycleExpiration:DeleteMarkerCreated", Some(id)))
            }
            Act::Expire if is_object => {
                self.versions.clear();
                Some(("LifecycleExpiration:Delete", None))
            }
            Act::ExpireNoncurrent if self.versions.len() > 1 => {
                let gone = self.versions.remove(0);
                Some(("LifecycleExpiration:Delete", Some(gone.id)))
            }
            Act::ExpireMarker if self.versions.len() == 1 && !is_object => {
                let gone = self.versions.remove(0);
                Some(("LifecycleExpiration:Delete", Some(gone.id)))
            }
            _ => None,
        }
    }
}

/// The message of S3's own notifications.
fn notification(name: &str, version: Option<u32>) -> Value {
    let mut object = json!({"key": "a", "size": 1});
    if let Some(version) = version {
        object["versionId"] = json!(format!("v{version}"));
    }
    json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
        "s3": {"bucket": {"name": "site"}, "object": object}}]})
}

/// The same from EventBridge.
fn event(name: &str, version: Option<u32>) -> Value {
    let mut object = json!({"key": "a"});
    if let Some(version) = version {
        object["version-id"] = json!(format!("v{version}"));
    }
    let mut detail = json!({"bucket": {"name": "site"}, "object": object});
    let kind = if name.starts_with("ObjectCreated") {
        "Object Created"
    } else {
        detail["reason"] = json!(if name.starts_with("Lifecycle") {
            "Lifecycle Expiration"
        } else {
            "DeleteObject"
        });
        detail["deletion-type"] = json!(if name.ends_with("DeleteMarkerCreated") {
            "Delete Marker Created"
        } else {
            "Permanently Deleted"
        });
        "Object Deleted"
    };
    json!({"version": "0", "source": "aws.s3", "detail-type": kind, "detail": detail})
}

fn is_let_through(message: &Value) -> bool {
    let filter = [
        "ObjectCreated:*",
        "ObjectRemoved:*",
        "LifecycleExpiration:*",
    ];
    let filter = EventFilter::new(filter.map(str::to_owned));
    match read(&message.to_string()) {
        Notification::Records(records) => filter.lets_through(&records[0].as_ref().unwrap().event),
        other => panic!("{other:?}"),
    }
}

fn an_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Put),
        Just(Act::Delete),
        (0_usize..4).prop_map(Act::DeleteVersion),
        Just(Act::Expire),
        Just(Act::ExpireNoncurrent),
        Just(Act::ExpireMarker),
    ]
}

proptest! {
    #[test]
    fn what_viewers_see_of_versions_is_let_through(
        versioned in any::<bool>(),
        acts in prop::collection::vec(an_act(), 1..20),
    ) {
        let mut bucket = Bucket { versioned, versions: Vec::new(), next: 0 };
        for act in acts {
            let before = bucket.seen();
            let Some((name, version)) = bucket.act(act) else { continue };
            let changed = bucket.seen() != before;
            for message in [notification(name, version), event(name, version)] {
                let through = is_let_through(&message);
                prop_assert!(through || !changed, "{act:?}: {message}");
                if name.starts_with("Lifecycle") {
                    prop_assert!(!through || changed, "{act:?}: {message}");
                }
            }
        }
    }
}
