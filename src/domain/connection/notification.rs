//! A bucket's notification configuration, and changing our entry of it and nobody else's.

use std::fmt;

/// The Id of our entry. S3 keeps Ids as given, and they are unique within a bucket.
pub const OUR_ID: &str = "purgefront";

/// The whole configuration. Saving it replaces what the bucket had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    pub entries: Vec<Entry>,
    /// Whether S3 sends all events to EventBridge as well.
    pub event_bridge: bool,
}

/// Where some events of some objects go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: Option<String>,
    pub kind: Kind,
    pub target: String,
    /// With `s3:`.
    pub events: Vec<String>,
    /// None and an empty filter mean the same, but are sent back as they came.
    pub filter: Option<Vec<Rule>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Topic,
    Queue,
    Function,
}

/// One rule of a filter: its name (`prefix` or `suffix`, in any case) and value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub name: String,
    pub value: String,
}

/// One line of the difference between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Added(String),
    Removed(String),
    Kept(String),
}

impl Notification {
    pub fn is_ours(entry: &Entry) -> bool {
        entry.id.as_deref() == Some(OUR_ID)
    }

    pub fn ours(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| Self::is_ours(entry))
    }

    pub fn others(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !Self::is_ours(entry))
    }

    /// The configuration with `ours` as our only entry, in place of the one before.
    #[must_use]
    pub fn with(&self, ours: Entry) -> Self {
        let mut ours = Some(ours);
        let mut entries = Vec::with_capacity(self.entries.len() + 1);
        for entry in &self.entries {
            if Self::is_ours(entry) {
                entries.extend(ours.take());
            } else {
                entries.push(entry.clone());
            }
        }
        entries.extend(ours);
        Self {
            entries,
            event_bridge: self.event_bridge,
        }
    }

    /// The configuration without our entry.
    #[must_use]
    pub fn without(&self) -> Self {
        Self {
            entries: self.others().cloned().collect(),
            event_bridge: self.event_bridge,
        }
    }

    /// Whether both mean the same. The order of entries, events and rules has no meaning, and S3
    /// may change it, and the case of a rule's name.
    pub fn same(&self, other: &Self) -> bool {
        self.event_bridge == other.event_bridge && self.sorted() == other.sorted()
    }

    fn sorted(&self) -> Vec<Meaning<'_>> {
        let mut sorted: Vec<_> = self.entries.iter().map(Entry::meaning).collect();
        sorted.sort();
        sorted
    }

    /// What changes from this configuration to `next`, and what stays.
    pub fn difference(&self, next: &Self) -> Vec<Line> {
        let mut left: Vec<_> = next.entries.iter().collect();
        let mut lines = Vec::new();
        for entry in &self.entries {
            let same = |other: &&Entry| other.meaning() == entry.meaning();
            if let Some(at) = left.iter().position(same) {
                left.remove(at);
                lines.push(Line::Kept(entry.to_string()));
            } else {
                lines.push(Line::Removed(entry.to_string()));
            }
        }
        lines.extend(left.iter().map(|entry| Line::Added(entry.to_string())));
        let event_bridge = "EventBridge: all events".to_owned();
        match (self.event_bridge, next.event_bridge) {
            (true, true) => lines.push(Line::Kept(event_bridge)),
            (true, false) => lines.push(Line::Removed(event_bridge)),
            (false, true) => lines.push(Line::Added(event_bridge)),
            (false, false) => {}
        }
        lines
    }
}

type Meaning<'a> = (
    Option<&'a str>,
    Kind,
    &'a str,
    Vec<&'a str>,
    Vec<(String, &'a str)>,
);

impl Entry {
    /// Our entry.
    pub fn ours(topic: &str, events: Vec<String>, prefix: &str, suffix: &str) -> Self {
        let rule = |name: &str, value: &str| {
            (!value.is_empty()).then(|| Rule {
                name: name.to_owned(),
                value: value.to_owned(),
            })
        };
        let filter: Vec<_> = [rule("prefix", prefix), rule("suffix", suffix)]
            .into_iter()
            .flatten()
            .collect();
        Self {
            id: Some(OUR_ID.to_owned()),
            kind: Kind::Topic,
            target: topic.to_owned(),
            events,
            filter: (!filter.is_empty()).then_some(filter),
        }
    }

    /// The prefix that the filter asks for, or an empty one.
    pub fn prefix(&self) -> &str {
        self.rule("prefix")
    }

    pub fn suffix(&self) -> &str {
        self.rule("suffix")
    }

    fn rule(&self, name: &str) -> &str {
        let mut rules = self.filter.iter().flatten();
        rules
            .find(|rule| rule.name.eq_ignore_ascii_case(name))
            .map_or("", |rule| &rule.value)
    }

    fn meaning(&self) -> Meaning<'_> {
        let mut events: Vec<_> = self.events.iter().map(String::as_str).collect();
        events.sort_unstable();
        events.dedup();
        let rules = self.filter.iter().flatten();
        let mut rules: Vec<_> = rules
            .map(|rule| (rule.name.to_ascii_lowercase(), rule.value.as_str()))
            .collect();
        rules.sort();
        (self.id.as_deref(), self.kind, &self.target, events, rules)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Queue => "queue",
            Self::Function => "function",
        })
    }
}

/// One line, such as `"all": queue arn:aws:sqs:…: s3:ObjectCreated:*, prefix "img/"`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_deref().unwrap_or_default();
        write!(f, "{id:?}: {} {}: ", self.kind, self.target)?;
        f.write_str(&self.events.join(", "))?;
        for rule in self.filter.iter().flatten() {
            write!(f, ", {} {:?}", rule.name.to_ascii_lowercase(), rule.value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Configurations of others, as they are found.

    use super::{Entry, Kind, Notification, Rule};
    use proptest::prelude::*;

    pub(crate) fn entry(kind: Kind, id: &str, target: &str, events: &[&str]) -> Entry {
        Entry {
            id: Some(id.to_owned()),
            kind,
            target: target.to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            filter: None,
        }
    }

    /// An entry of anybody else, or what somebody may take for ours.
    fn any_entry() -> impl Strategy<Value = Entry> {
        let kind = prop_oneof![Just(Kind::Topic), Just(Kind::Queue), Just(Kind::Function)];
        let event = prop_oneof![
            Just("s3:ObjectCreated:*"),
            Just("s3:ObjectCreated:Put"),
            Just("s3:ObjectRemoved:*"),
            Just("s3:LifecycleTransition"),
            Just("s3:SomethingNew:*"),
        ];
        let name = prop_oneof![Just("prefix"), Just("Prefix"), Just("suffix"), Just("odd")];
        let rule = (name, "[a-c/]{0,3}").prop_map(|(name, value)| Rule {
            name: name.to_owned(),
            value,
        });
        let filter = proptest::option::of(proptest::collection::vec(rule, 0..3));
        let id = proptest::option::of("Purgefront|purgefront-2|[a-z]{0,3}");
        let events = proptest::collection::vec(event.prop_map(str::to_owned), 1..4);
        (id, kind, "arn:[ab]", events, filter).prop_map(|(id, kind, target, events, filter)| {
            Entry {
                id,
                kind,
                target,
                events,
                filter,
            }
        })
    }

    pub(crate) fn of_others() -> impl Strategy<Value = Notification> {
        (proptest::collection::vec(any_entry(), 0..6), any::<bool>()).prop_map(
            |(entries, event_bridge)| Notification {
                entries,
                event_bridge,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{entry, of_others};
    use super::*;
    use proptest::prelude::*;

    fn ours(prefix: &str) -> Entry {
        Entry::ours("arn:topic", vec!["s3:ObjectCreated:*".into()], prefix, "")
    }

    fn full() -> Notification {
        let mut queue = entry(Kind::Queue, "q", "arn:queue", &["s3:ObjectRemoved:*"]);
        queue.filter = Some(vec![Rule {
            name: "Prefix".into(),
            value: "a\n".into(),
        }]);
        let function = entry(Kind::Function, "f", "arn:function", &["s3:ObjectAcl:Put"]);
        Notification {
            entries: vec![queue, function],
            event_bridge: true,
        }
    }

    #[test]
    fn the_difference_says_what_changes_and_what_stays() {
        let before = full().with(ours("a/"));
        let after = full().with(ours("b/"));
        let lines = before.difference(&after);
        let kept = |text: &str| Line::Kept(text.to_owned());
        let expected = [
            kept("\"q\": queue arn:queue: s3:ObjectRemoved:*, prefix \"a\\n\""),
            kept("\"f\": function arn:function: s3:ObjectAcl:Put"),
            Line::Removed(
                "\"purgefront\": topic arn:topic: s3:ObjectCreated:*, prefix \"a/\"".into(),
            ),
            Line::Added(
                "\"purgefront\": topic arn:topic: s3:ObjectCreated:*, prefix \"b/\"".into(),
            ),
            kept("EventBridge: all events"),
        ];
        assert_eq!(lines, expected);
        let off = Notification {
            event_bridge: false,
            ..full()
        };
        let gone = Line::Removed("EventBridge: all events".into());
        assert!(full().difference(&off).contains(&gone));
    }

    #[test]
    fn what_s3_may_reorder_means_the_same_and_nothing_else_does() {
        let before = full();
        let mut after = full();
        after.entries.reverse();
        after.entries[1].filter.as_mut().unwrap()[0].name = "prefix".into();
        after.entries[0].filter = Some(Vec::new());
        assert!(before.same(&after));
        for change in [
            (|n: &mut Notification| n.event_bridge = false) as fn(&mut Notification),
            |n| n.entries.truncate(1),
            |n| n.entries[0].id = None,
            |n| n.entries[0].kind = Kind::Topic,
            |n| n.entries[0].target.push('x'),
            |n| n.entries[0].events.clear(),
            |n| n.entries[0].filter = None,
            |n| n.entries.push(n.entries[0].clone()),
        ] {
            let mut changed = full();
            change(&mut changed);
            assert!(!before.same(&changed), "{changed:?}");
        }
    }

    proptest! {
        #[test]
        fn nobody_elses_entry_is_lost_or_changed(before in of_others(), prefix in "[ab]?") {
            let after = before.with(ours(&prefix));
            prop_assert_eq!(after.others().collect::<Vec<_>>(), before.others().collect::<Vec<_>>());
            prop_assert_eq!(after.event_bridge, before.event_bridge);
            prop_assert_eq!(after.ours(), Some(&ours(&prefix)));
            prop_assert_eq!(after.entries.len(), before.entries.len() + 1);
            let removed = |line: &Line| matches!(line, Line::Removed(_));
            prop_assert!(!before.difference(&after).iter().any(removed));
        }

        #[test]
        fn a_second_time_changes_nothing(before in of_others(), other in "[ab]?") {
            let once = before.with(ours(""));
            prop_assert_eq!(&once.with(ours("")), &once);
            // Another filter replaces the entry where it stands.
            prop_assert_eq!(&once.with(ours(&other)).with(ours("")), &once);
        }

        #[test]
        fn disconnecting_gives_back_what_was_there(before in of_others()) {
            prop_assert_eq!(before.with(ours("")).without(), before.clone());
            prop_assert_eq!(before.without(), before);
        }
    }
}
