//! What became of an object's changes: each change with its end at every distribution.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    batch::BatchStatus,
    history::{DROPPED, Skipped},
    status::{Audience, HeldBy, Status},
    wait::Wait,
};

/// Selects the changes of one object, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeQuery {
    pub bucket: String,
    /// The raw key, as S3 has it.
    pub key: String,
    /// Who asks; `None` may see everything.
    pub viewer: Option<Viewer>,
    /// Only changes before this number.
    pub before: Option<i64>,
    pub limit: usize,
}

/// A caller who may see only some distributions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    pub distributions: BTreeSet<String>,
    /// Whether any of them has the object's bucket as an origin.
    pub serves: bool,
}

impl Viewer {
    fn sees(&self, id: &str) -> bool {
        self.distributions.contains(id)
    }
}

/// Some of an object's changes, newest first: fewer than the limit, or none, where much had to be looked
/// at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoryPage {
    pub changes: Vec<ChangeStory>,
    /// Where the page after this one begins ([`ChangeQuery::before`]); `None` after the last one.
    pub next: Option<i64>,
}

/// A change of an object, as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeStory {
    /// Its number in the journal.
    pub id: i64,
    pub source: ChangeSource,
    pub bucket: String,
    pub key: String,
    pub accepted_at: Timestamp,
    /// The only distributions that it is mapped to; `None` means all.
    pub only_at: Option<Vec<String>>,
    /// Whether nobody has mapped it yet.
    pub unseen: bool,
    /// What it waits for before it can be mapped, to one distribution or to all.
    pub waits: Vec<Wait>,
    pub ends: Vec<TargetEnd>,
    /// Distributions that need nothing, and why.
    pub skipped: Vec<Skipped>,
}

/// Where a change came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeSource {
    /// An S3 event.
    Event {
        /// The event's name, without `s3:`.
        event: String,
        /// SNS's id of the message.
        message_id: Uuid,
        /// S3's sequencer, if the event had one.
        sequencer: Option<String>,
        /// The event's own time, if it had one.
        time: Option<Timestamp>,
    },
    /// A manual request.
    Manual {
        request_id: Uuid,
        /// The name of the caller's token.
        token: String,
        /// The caller's reason.
        reason: Option<String>,
    },
}

/// What became of a change at one distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetEnd {
    /// `None` only for a dead letter that concerns all distributions.
    pub distribution_id: Option<String>,
    /// `None` if mapping could not produce one.
    pub item: Option<String>,
    /// How the key led to the item.
    pub because: Option<String>,
    /// The batch that covers it; `None` while it waits, and for what mapping could not produce.
    pub invalidation: Option<Covering>,
    /// Why it can never succeed, if it cannot.
    pub dead_letter: Option<DeadEnd>,
    /// Why it failed, for what mapping could not produce and whose dead letter was dropped.
    pub failure: Option<String>,
}

/// The invalidation that covers a change's item.
#[derive(Debug, Clone, PartialEq)]
pub struct Covering {
    /// Our id.
    pub id: Uuid,
    pub status: BatchStatus,
    /// CloudFront's id, once there is one.
    pub cloudfront_id: Option<String>,
    /// When CloudFront accepted it.
    pub submitted_at: Option<Timestamp>,
    /// When it was seen as completed.
    pub completed_at: Option<Timestamp>,
    /// Its wildcard that covers the change's item with others, if that is not the item itself.
    pub covered_by: Option<String>,
}

/// Why an item failed, once its dead letter, with CloudFront's words, is gone.
pub const REJECTED: &str = "CloudFront rejected it";

/// A dead letter, while it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadEnd {
    /// For `purgefront deadletters`.
    pub id: i64,
    pub why: String,
}

/// How far a change is at one distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndState {
    /// Not frozen into a batch yet.
    Waiting,
    /// In a batch that CloudFront has not accepted yet.
    Pending,
    /// CloudFront works on it.
    InProgress,
    /// Planned in shadow mode, and never sent.
    Shadowed,
    Completed,
    /// It could never succeed, and its dead letter was dropped.
    Failed,
    /// It can never succeed as it is: an operator can replay or drop it.
    DeadLetter,
}

/// How far a change is at all distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// In the journal, and not mapped to all distributions yet.
    Accepted,
    /// Some of its items have not been frozen into a batch.
    Waiting,
    /// CloudFront has not accepted all of its batches.
    Pending,
    /// CloudFront works on it.
    InProgress,
    Completed,
    /// Planned in shadow mode, and never sent.
    Shadowed,
    /// Finished, but some of it can never succeed.
    Failed,
    /// No distribution needs anything for it.
    Skipped,
}

impl TargetEnd {
    pub fn state(&self) -> EndState {
        match (&self.dead_letter, &self.invalidation) {
            (Some(_), _) => EndState::DeadLetter,
            (None, None) if self.failure.is_some() => EndState::Failed,
            (None, None) => EndState::Waiting,
            (None, Some(covering)) => match covering.status {
                BatchStatus::Pending => EndState::Pending,
                BatchStatus::InProgress => EndState::InProgress,
                BatchStatus::Completed => EndState::Completed,
                BatchStatus::Failed => EndState::Failed,
                BatchStatus::Shadowed => EndState::Shadowed,
                // Nothing is covered by a replaced batch: its changes went on without it.
                BatchStatus::Replaced => EndState::Waiting,
            },
        }
    }
}

impl EndState {
    fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::DeadLetter)
    }
}

impl ChangeStory {
    /// The state of its slowest end. A failure is reported only when everything else has finished.
    pub fn state(&self) -> ChangeState {
        if self.unseen || !self.waits.is_empty() {
            return ChangeState::Accepted;
        }
        let failed = self.ends.iter().any(|end| end.state().is_failure());
        match self.ends.iter().map(TargetEnd::state).min() {
            // It had ends, and retention has deleted them: a failure would have stayed.
            None if self.skipped.is_empty() => ChangeState::Completed,
            None => ChangeState::Skipped,
            Some(EndState::Waiting) => ChangeState::Waiting,
            Some(EndState::Pending) => ChangeState::Pending,
            Some(EndState::InProgress) => ChangeState::InProgress,
            Some(_) if failed => ChangeState::Failed,
            Some(EndState::Shadowed) => ChangeState::Shadowed,
            Some(EndState::Completed | EndState::Failed | EndState::DeadLetter) => {
                ChangeState::Completed
            }
        }
    }

    /// What a viewer may see of it; `None` if that is nothing.
    ///
    /// What is said of all distributions together is shown only if the change concerns the viewer
    /// alone, or the viewer's distributions have the bucket: otherwise it would tell what the account's
    /// other buckets hold.
    #[must_use]
    pub fn seen_by(mut self, viewer: &Viewer) -> Option<Self> {
        let whole = match &self.only_at {
            Some(ids) => ids.iter().all(|id| viewer.sees(id)),
            None => viewer.serves,
        };
        let sees = |id: Option<&str>| id.map_or(whole, |id| viewer.sees(id));
        self.ends.retain(|end| sees(end.distribution_id.as_deref()));
        self.skipped
            .retain(|skip| sees(skip.distribution_id.as_deref()));
        self.waits.retain(|wait| sees(wait.distribution_id()));
        self.unseen &= whole;
        let is_empty = self.ends.is_empty() && self.skipped.is_empty() && self.waits.is_empty();
        (self.unseen || !is_empty).then_some(self)
    }

    /// The change as the API shows it, with what holds it now.
    pub fn told(self, status: &Status, audience: Audience, now: Timestamp) -> ChangeView {
        let state = self.state();
        let held_by = match state {
            ChangeState::Accepted => status.held_unmapped(&self.waits, audience),
            _ => Some(Vec::new()),
        };
        let ends = self.ends.into_iter();
        ChangeView {
            id: self.id,
            source: self.source,
            bucket: self.bucket,
            key: self.key,
            accepted_at: self.accepted_at,
            state,
            held_by,
            targets: ends.map(|end| end.told(status, audience, now)).collect(),
            skipped: self.skipped,
        }
    }
}

impl TargetEnd {
    fn told(self, status: &Status, audience: Audience, now: Timestamp) -> TargetView {
        let state = self.state();
        let held_by = match (&self.distribution_id, state) {
            (Some(id), EndState::Waiting | EndState::Pending) => status.held_at(id, audience, now),
            _ => Some(Vec::new()),
        };
        let failure = (state == EndState::Failed).then(|| {
            let why = self.failure.as_deref().unwrap_or(REJECTED);
            format!("{why}{DROPPED}")
        });
        let covering = self.invalidation;
        TargetView {
            state,
            held_by,
            distribution_id: self.distribution_id,
            item: self.item,
            because: self.because,
            invalidation_id: covering.as_ref().map(|one| one.id),
            submitted_at: covering.as_ref().and_then(|one| one.submitted_at),
            completed_at: covering.as_ref().and_then(|one| one.completed_at),
            covered_by: covering.as_ref().and_then(|one| one.covered_by.clone()),
            cloudfront_id: covering.and_then(|one| one.cloudfront_id),
            dead_letter: self.dead_letter,
            failure,
        }
    }
}

/// A change in the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeView {
    /// Its number in the journal.
    pub id: i64,
    #[serde(flatten)]
    pub source: ChangeSource,
    pub bucket: String,
    pub key: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    pub state: ChangeState,
    /// Why it has not been mapped, if it has not; `None` (null) if only another replica knows.
    pub held_by: Option<Vec<HeldBy>>,
    /// What became of it at each distribution that needs something.
    pub targets: Vec<TargetView>,
    /// Distributions that need nothing, and why.
    pub skipped: Vec<Skipped>,
}

/// What became of a change at one distribution, in the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetView {
    pub distribution_id: Option<String>,
    pub item: Option<String>,
    /// How the key led to the item.
    pub because: Option<String>,
    /// The wildcard that was sent for this item and others, if it is not the item itself.
    pub covered_by: Option<String>,
    pub state: EndState,
    /// Why it does not move, where it waits or has not been accepted; likewise.
    pub held_by: Option<Vec<HeldBy>>,
    /// Our id of the invalidation.
    pub invalidation_id: Option<Uuid>,
    /// CloudFront's.
    pub cloudfront_id: Option<String>,
    pub submitted_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub dead_letter: Option<DeadEnd>,
    /// Why it failed, where no dead letter says it any more.
    pub failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(id: &str, status: Option<BatchStatus>) -> TargetEnd {
        TargetEnd {
            distribution_id: Some(id.to_owned()),
            item: Some("/a".to_owned()),
            because: Some("key".to_owned()),
            invalidation: status.map(|status| Covering {
                id: Uuid::nil(),
                status,
                cloudfront_id: None,
                submitted_at: None,
                completed_at: None,
                covered_by: None,
            }),
            dead_letter: None,
            failure: None,
        }
    }

    fn skip(id: Option<&str>) -> Skipped {
        Skipped {
            distribution_id: id.map(str::to_owned),
            why: "for a reason".to_owned(),
        }
    }

    fn story(ends: Vec<TargetEnd>, skipped: Vec<Skipped>) -> ChangeStory {
        ChangeStory {
            id: 7,
            source: ChangeSource::Manual {
                request_id: Uuid::nil(),
                token: "editor".to_owned(),
                reason: None,
            },
            bucket: "site".to_owned(),
            key: "a".to_owned(),
            accepted_at: Timestamp::UNIX_EPOCH,
            only_at: None,
            unseen: false,
            waits: Vec::new(),
            ends,
            skipped,
        }
    }

    fn viewer(ids: &[&str], serves: bool) -> Viewer {
        Viewer {
            distributions: ids.iter().map(ToString::to_string).collect(),
            serves,
        }
    }

    #[test]
    fn a_change_has_the_state_of_its_slowest_end() {
        use BatchStatus::{Completed, Failed, InProgress, Pending, Shadowed};
        let state = |statuses: &[Option<BatchStatus>]| {
            let ends = statuses.iter().map(|status| end("E1", *status));
            story(ends.collect(), Vec::new()).state()
        };
        assert_eq!(state(&[]), ChangeState::Completed, "its end is forgotten");
        let skipped = story(Vec::new(), vec![skip(Some("E1"))]);
        assert_eq!(skipped.state(), ChangeState::Skipped);
        assert_eq!(state(&[Some(Completed), None]), ChangeState::Waiting);
        assert_eq!(state(&[Some(Failed), Some(Pending)]), ChangeState::Pending);
        let slower = [Some(Completed), Some(InProgress), Some(Failed)];
        assert_eq!(state(&slower), ChangeState::InProgress);
        assert_eq!(state(&[Some(Completed), Some(Failed)]), ChangeState::Failed);
        let shadowed = [Some(Shadowed), Some(Completed)];
        assert_eq!(state(&shadowed), ChangeState::Shadowed);
        assert_eq!(state(&[Some(Completed)]), ChangeState::Completed);
        let mut dead = story(vec![end("E1", Some(Failed))], Vec::new());
        let why = "a bad path".to_owned();
        dead.ends[0].dead_letter = Some(DeadEnd { id: 1, why });
        assert_eq!(dead.ends[0].state(), EndState::DeadLetter);
        assert_eq!(dead.state(), ChangeState::Failed);
        dead.waits.push(Wait::Details("E2".to_owned()));
        assert_eq!(dead.state(), ChangeState::Accepted);
    }

    #[test]
    fn a_failure_is_told_also_without_its_dead_letter() {
        let mut unmapped = end("E1", None);
        unmapped.failure = Some("only /* would do".to_owned());
        let ends = vec![
            unmapped,
            end("E2", Some(BatchStatus::Failed)),
            end("E3", None),
        ];
        let now = Timestamp::UNIX_EPOCH;
        let told = story(ends, Vec::new()).told(&Status::default(), Audience::Limited, now);
        let failures = told.targets.iter();
        let failures: Vec<_> = failures.map(|one| one.failure.as_deref()).collect();
        assert_eq!(
            failures,
            [
                Some("only /* would do; its dead letter was dropped"),
                Some("CloudFront rejected it; its dead letter was dropped"),
                None
            ]
        );
    }

    #[test]
    fn a_limited_viewer_sees_what_concerns_it_alone() {
        let ends = || vec![end("E1", None), end("E2", None)];
        let skips = || vec![skip(Some("E3")), skip(None)];
        let seen = story(ends(), skips()).seen_by(&viewer(&["E1"], true));
        let seen = seen.unwrap();
        assert_eq!(seen.ends, [end("E1", None)]);
        assert_eq!(seen.skipped, [skip(None)]);
        // It served the bucket once.
        let seen = story(ends(), skips()).seen_by(&viewer(&["E2"], false));
        let seen = seen.unwrap();
        assert_eq!((seen.ends.len(), seen.skipped.len()), (1, 0));
        assert_eq!(
            story(ends(), skips()).seen_by(&viewer(&["E9"], false)),
            None
        );
        assert_eq!(
            story(vec![], skips()).seen_by(&viewer(&["E1"], false)),
            None
        );
    }

    #[test]
    fn what_is_said_of_all_distributions_is_shown_to_whom_it_concerns() {
        let unseen = |only_at: Option<&[&str]>| ChangeStory {
            unseen: true,
            only_at: only_at.map(|ids| ids.iter().map(ToString::to_string).collect()),
            waits: vec![Wait::Bucket("site".to_owned())],
            ..story(Vec::new(), vec![skip(None)])
        };
        let sees = |only_at, serves| {
            let seen = unseen(only_at).seen_by(&viewer(&["E1"], serves));
            seen.is_some()
        };
        assert!(sees(None, true));
        assert!(!sees(None, false));
        // Its own request, or one of another limited token for the same bucket.
        assert!(sees(Some(&["E1"]), false));
        assert!(!sees(Some(&["E2"]), true));
        assert!(!sees(Some(&["E1", "E2"]), true));
    }
}
