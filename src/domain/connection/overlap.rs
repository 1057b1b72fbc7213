//! Which entries S3 would refuse together, and which events another entry already sends to us.
//!
//! S3 refuses two entries of a bucket if they share an event type and an object's key can match the
//! prefixes and the suffixes of both (Amazon S3 User Guide, "Configuring event notifications using
//! object key name filtering"). Their destinations do not matter.

use super::notification::{Entry, Kind, Notification};

/// An entry that cannot stand beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap<'a> {
    pub entry: &'a Entry,
    /// Those of our events that it shares.
    pub events: Vec<String>,
}

/// The entries of others that S3 would refuse beside `ours`.
pub fn overlaps<'a>(there: &'a Notification, ours: &Entry) -> Vec<Overlap<'a>> {
    let beside = there.others().filter(|entry| filters_overlap(entry, ours));
    let overlaps = beside.map(|entry| {
        let shared = |event: &&String| entry.events.iter().any(|other| share(other, event));
        Overlap {
            entry,
            events: ours.events.iter().filter(shared).cloned().collect(),
        }
    });
    overlaps
        .filter(|overlap| !overlap.events.is_empty())
        .collect()
}

/// Those events of `ours` that no entry of others sends to the same topic for all the same objects.
pub fn missing_events(there: &Notification, ours: &Entry) -> Vec<String> {
    let sent = |event: &str| {
        there.others().any(|entry| {
            entry.kind == Kind::Topic
                && entry.target == ours.target
                && ours.prefix().starts_with(entry.prefix())
                && ours.suffix().ends_with(entry.suffix())
                && entry.events.iter().any(|other| includes(other, event))
        })
    };
    let events = ours.events.iter().filter(|event| !sent(event));
    events.cloned().collect()
}

/// Whether a key can match both filters.
fn filters_overlap(a: &Entry, b: &Entry) -> bool {
    let (one, other) = (a.prefix(), b.prefix());
    let prefixes = one.starts_with(other) || other.starts_with(one);
    let (one, other) = (a.suffix(), b.suffix());
    prefixes && (one.ends_with(other) || other.ends_with(one))
}

/// Whether `general` stands for every event that `special` stands for.
pub(in crate::domain) fn includes(general: &str, special: &str) -> bool {
    match general.strip_suffix('*') {
        Some(stem) => special.starts_with(stem),
        None => general == special,
    }
}

fn share(a: &str, b: &str) -> bool {
    includes(a, b) || includes(b, a)
}

#[cfg(test)]
mod tests {
    use super::super::notification::testing::{entry, of_others};
    use super::*;
    use proptest::prelude::*;

    fn ours(events: &[&str], prefix: &str, suffix: &str) -> Entry {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        Entry::ours("arn:topic", events, prefix, suffix)
    }

    fn there(kind: Kind, target: &str, event: &str, prefix: &str, suffix: &str) -> Notification {
        let mut other = entry(kind, "other", target, &[event]);
        other.filter = ours(&[], prefix, suffix).filter;
        Notification {
            entries: vec![other],
            event_bridge: true,
        }
    }

    /// Cases of the S3 User Guide, and of what its rule leaves open.
    #[test]
    fn entries_overlap_by_event_prefix_and_suffix_together() {
        let created = "s3:ObjectCreated:*";
        let cases = [
            ((created, "", ""), (created, "", ""), true),
            ((created, "", ""), ("s3:ObjectCreated:Put", "", ""), true),
            (("s3:ObjectCreated:Put", "", ""), (created, "", ""), true),
            ((created, "", ""), ("s3:ObjectRemoved:*", "", ""), false),
            ((created, "images", ""), (created, "images/jpg", ""), true),
            ((created, "images/", ""), (created, "logs/", ""), false),
            ((created, "images/", ""), (created, "", ""), true),
            ((created, "", "jpg"), (created, "", "pg"), true),
            ((created, "", ".jpg"), (created, "", ".png"), false),
            ((created, "a", ".jpg"), (created, "", ".png"), false),
            ((created, "a", ".jpg"), (created, "b", ""), false),
            ((created, "a", ".jpg"), (created, "", ""), true),
        ];
        for (one, other, expected) in cases {
            let there = there(Kind::Queue, "arn:queue", one.0, one.1, one.2);
            let ours = ours(&[other.0], other.1, other.2);
            let found = overlaps(&there, &ours);
            assert_eq!(!found.is_empty(), expected, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn only_the_shared_events_are_named_and_our_own_entry_is_no_obstacle() {
        let there = there(Kind::Function, "arn:f", "s3:ObjectRemoved:Delete", "", "");
        let ours = ours(&["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], "", "");
        let found = overlaps(&there, &ours);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].events, ["s3:ObjectRemoved:*"]);
        let before = Notification::default().with(ours.clone());
        assert!(overlaps(&before, &ours).is_empty());
    }

    #[test]
    fn events_that_already_reach_the_topic_are_not_missing() {
        let wanted = ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"];
        let missing = |there: &Notification, prefix| {
            let missing = missing_events(there, &ours(&wanted, prefix, ""));
            missing.len()
        };
        let same = |event, prefix| there(Kind::Topic, "arn:topic", event, prefix, "");
        assert_eq!(missing(&same("s3:ObjectCreated:*", ""), ""), 1);
        assert_eq!(missing(&same("s3:ObjectRemoved:*", ""), "a/"), 1);
        // Not all of the events, or not of all objects.
        assert_eq!(missing(&same("s3:ObjectCreated:Put", ""), ""), 2);
        assert_eq!(missing(&same("s3:ObjectCreated:*", "a/"), ""), 2);
        let elsewhere = there(Kind::Topic, "arn:other", "s3:ObjectCreated:*", "", "");
        assert_eq!(missing(&elsewhere, ""), 2);
        let queue = there(Kind::Queue, "arn:topic", "s3:ObjectCreated:*", "", "");
        assert_eq!(missing(&queue, ""), 2);
    }

    proptest! {
        #[test]
        fn overlapping_is_mutual(a in of_others(), b in of_others()) {
            for one in &a.entries {
                for other in &b.entries {
                    let beside = |entry: &Entry| Notification {
                        entries: vec![entry.clone()],
                        event_bridge: false,
                    };
                    let both = overlaps(&beside(one), other).is_empty();
                    prop_assert_eq!(both, overlaps(&beside(other), one).is_empty());
                }
            }
        }
    }
}
