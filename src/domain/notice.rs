//! Completion notices: what happened to invalidations and dead letters, for whoever wants to be told.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::{due::due_at, limits::backoff};

/// The pause before another attempt: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// How long a receiver may put off the next attempt.
pub const LONGEST_PUT_OFF: Duration = Duration::from_hours(1);

/// A notice that is not delivered by then is given up.
pub const KEPT: SignedDuration = SignedDuration::from_hours(3 * 24);

/// The most notices that wait for one target.
pub const MOST_WAITING: usize = 100_000;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    Completed,
    Failed,
    DeadLetter,
}

impl NoticeKind {
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::DeadLetter];

    /// The `type` of its body.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "invalidation.completed",
            Self::Failed => "invalidation.failed",
            Self::DeadLetter => "dead_letter",
        }
    }
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NoticeKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is one of: invalidation.completed, invalidation.failed, dead_letter")]
pub struct UnknownKind;

/// Who is told, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeTarget {
    /// Identifies it across restarts. No secret, unlike its URL.
    pub key: String,
    /// Its scheme, host and port, for logs.
    pub origin: String,
    pub kinds: Vec<NoticeKind>,
    /// Only what concerns these; `None`: everything.
    pub distributions: Option<Vec<String>>,
}

impl NoticeTarget {
    /// Whether it wants to be told of this, which may concern no distribution.
    pub fn wants(&self, kind: NoticeKind, distribution_id: Option<&str>) -> bool {
        let concerns = match (&self.distributions, distribution_id) {
            (None, _) => true,
            (Some(ids), Some(id)) => ids.iter().any(|one| one == id),
            (Some(_), None) => false,
        };
        concerns && self.kinds.contains(&kind)
    }
}

/// A notice that waits for delivery to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its number in the store.
    pub seq: i64,
    /// Stays the same over all attempts, so that a receiver can tell repeats.
    pub id: Uuid,
    /// The target's key.
    pub target: String,
    /// JSON, as it is sent.
    pub body: String,
    pub failures: u32,
    /// The next attempt is not before this time.
    pub due_at: Timestamp,
}

/// The body of a notice, as JSON.
pub fn body(
    kind: NoticeKind,
    at: Timestamp,
    data: &impl Serialize,
) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Body<'a, T> {
        r#type: &'static str,
        timestamp: Timestamp,
        data: &'a T,
    }
    serde_json::to_string(&Body {
        r#type: kind.as_str(),
        timestamp: at,
        data,
    })
}

/// Why a notice was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDelivered {
    /// Safe to log.
    pub why: String,
    /// For how long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl NotDelivered {
    /// How long to wait after so many failures in a row: longer if the receiver says so, but never less,
    /// because a receiver could ask for a flood. `jitter` is in `0.0..1.0`.
    pub fn pause(&self, failures: u32, jitter: f64) -> Duration {
        let own = backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, jitter);
        let wanted = self.retry_after.unwrap_or_default();
        own.max(wanted.min(LONGEST_PUT_OFF))
    }
}

/// When an attempt is due that was put off until `kept`, also if the clock was set back.
pub fn attempt_at(kept: Timestamp, now: Timestamp) -> Timestamp {
    let longest = SignedDuration::try_from(LONGEST_PUT_OFF).unwrap_or(SignedDuration::MAX);
    due_at(kept, longest, now)
}

/// What waits for delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingNotices {
    pub notices: u64,
    /// When the oldest was written.
    pub since: Option<Timestamp>,
}

/// What was deleted without being delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// They were older than [`KEPT`].
    pub given_up: u64,
    /// They were the oldest of more than [`MOST_WAITING`].
    pub surplus: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in NoticeKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("completed".parse::<NoticeKind>(), Err(UnknownKind));
    }

    #[test]
    fn a_target_is_told_what_it_wants() {
        let target = |kinds: &[NoticeKind], ids: Option<&[&str]>| NoticeTarget {
            key: "k".to_owned(),
            origin: "https://example.com".to_owned(),
            kinds: kinds.to_vec(),
            distributions: ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
        };
        let all = target(&NoticeKind::ALL, None);
        assert!(all.wants(NoticeKind::Failed, Some("E1")));
        assert!(all.wants(NoticeKind::DeadLetter, None));
        let some = target(&[NoticeKind::DeadLetter], Some(&["E1"]));
        assert!(some.wants(NoticeKind::DeadLetter, Some("E1")));
        assert!(!some.wants(NoticeKind::Completed, Some("E1")));
        assert!(!some.wants(NoticeKind::DeadLetter, Some("E2")));
        assert!(!some.wants(NoticeKind::DeadLetter, None));
    }

    #[test]
    fn a_body_has_a_type_a_time_and_data() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let text = body(NoticeKind::Completed, at, &json!({"id": 1})).unwrap();
        let expected = json!({"type": "invalidation.completed",
            "timestamp": "2027-01-15T08:00:00Z", "data": {"id": 1}});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour_unless_the_receiver_says_otherwise() {
        let failed = |seconds: Option<u64>| NotDelivered {
            why: String::new(),
            retry_after: seconds.map(Duration::from_secs),
        };
        let pauses: Vec<_> = [1, 2, 3, 11, 99]
            .map(|failures| failed(None).pause(failures, 1.0).as_secs())
            .into();
        assert_eq!(pauses, [1, 2, 4, 900, 900]);
        assert_eq!(failed(None).pause(9, 0.5).as_secs(), 128);
        assert_eq!(failed(Some(1_200)).pause(1, 0.0).as_secs(), 1_200);
        assert_eq!(failed(Some(99_999)).pause(1, 0.0).as_secs(), 3_600);
        assert_eq!(failed(Some(0)).pause(9, 1.0).as_secs(), 256);
    }
}
