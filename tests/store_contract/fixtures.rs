//! What the stories have in common: changes to put in, and shorthands for looking and moving on.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{Timestamp, civil::Date};
use purgefront::{
    domain::{
        batch::{Backlog, Batch, BatchStatus, Covered, DistributionUsage, Usage},
        catalogue::{Distribution, Revision, Snapshot},
        cdn::{CdnError, CreatedInvalidation},
        change::{Asked, Change, Content, MappedChange, NewMessage, NewRequest, Subject},
        consolidate::Waiting,
        history::{InvalidationDetail, InvalidationQuery, InvalidationSummary, Why},
        mapping::{Mapping, Skip, Target},
        operations::day_of,
        path::Item,
        resolution::{Failure, NextStep, Resolution, Unresolved},
        s3_event::ObjectChange,
        tracking::Tracked,
    },
    ports::{
        Clock as _,
        dispatch::{Sweep, Window},
    },
};
use uuid::Uuid;

use super::Store;
use crate::support::{inside::in_front_of, signer::TOPIC};

/// More than any story has.
pub(super) const ALL: usize = 1_000_000;

/// The catalogue that changes are mapped with: the first that is kept.
pub(super) const FIRST: Revision = Revision(1);

pub(super) fn item(text: &str) -> Item {
    Item::read(text).unwrap()
}

pub(super) fn items(texts: &[&str]) -> Vec<Item> {
    texts.iter().map(|text| item(text)).collect()
}

pub(super) fn object_change(key: &str) -> ObjectChange {
    ObjectChange {
        bucket: "site".to_owned(),
        key: key.to_owned(),
        event: "ObjectCreated:Put".to_owned(),
        time: None,
        sequencer: None,
    }
}

pub(super) fn notification(keys: &[&str]) -> Content {
    Content::Notification {
        changes: keys.iter().map(|key| object_change(key)).collect(),
        dead: Vec::new(),
    }
}

pub(super) fn target(distribution_id: &str, text: &str) -> Target {
    Target {
        distribution_id: distribution_id.to_owned(),
        item: item(text),
        because: format!("because of {text}"),
    }
}

pub(super) fn skip(distribution_id: Option<&str>, why: &str) -> Skip {
    Skip {
        distribution_id: distribution_id.map(str::to_owned),
        why: why.to_owned(),
    }
}

/// A mapping to these items by distribution.
pub(super) fn to_items(targets: &[(&str, &str)]) -> Mapping {
    Mapping {
        targets: targets.iter().map(|(id, text)| target(id, text)).collect(),
        ..Mapping::default()
    }
}

/// A change that was mapped to all distributions.
pub(super) fn whole(change: Change, mapping: Mapping) -> MappedChange {
    MappedChange {
        change,
        only: None,
        mapping,
    }
}

/// A change that was mapped to one distribution.
pub(super) fn only(id: &str, change: Change, mapping: Mapping) -> MappedChange {
    MappedChange {
        change,
        only: Some(id.to_owned()),
        mapping,
    }
}

pub(super) fn snapshot(ids: &[&str], read_since: Timestamp) -> Snapshot {
    let distribution =
        |id: &&str| -> Arc<Distribution> { Arc::new(in_front_of(id, "site.s3.amazonaws.com")) };
    Snapshot {
        read_since,
        distributions: ids.iter().map(distribution).collect(),
        ..Snapshot::default()
    }
}

pub(super) fn no_answer() -> CdnError {
    CdnError::Unknown("timeout".to_owned())
}

pub(super) fn keys(changes: &[Change]) -> Vec<String> {
    let key = |change: &Change| match &change.subject {
        Subject::Object { key, .. } => key.clone(),
        Subject::Item { item, .. } => item.to_string(),
    };
    changes.iter().map(key).collect()
}

/// The parts of a batch of items that are all alike.
pub(super) fn parts(batch: &Batch, now: Timestamp) -> [Unresolved; 2] {
    let parts = batch.parts(&HashSet::new());
    parts.map(|part| Unresolved {
        is_part: true,
        ..Unresolved::new(part, now)
    })
}

/// The backlog as it follows from the waiting items.
pub(super) fn recount(waiting: &[Waiting]) -> Option<Backlog> {
    let one = |one: &Waiting| Backlog::of_one(&one.item, one.manual, one.accepted_at);
    waiting.iter().map(one).reduce(Backlog::and)
}

/// So many items of each kind, whatever their size.
pub(super) fn window(items: usize) -> Window {
    Window {
        items,
        bytes: usize::MAX,
    }
}

/// The keys or items of the changes behind an item.
pub(super) fn because_of(whys: &[Why]) -> Vec<String> {
    let subject = |why: &Why| match why {
        Why::Event { key, .. } => key.clone(),
        Why::Manual { token, .. } => token.clone(),
    };
    whys.iter().map(subject).collect()
}

/// Putting changes in, and mapping them.
impl Store {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn today(&self) -> Date {
        day_of(self.now())
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(super) fn message(&self, content: Content) -> NewMessage {
        NewMessage {
            message_id: Uuid::new_v4(),
            signed_at: self.now(),
            topic: TOPIC.parse().unwrap(),
            accepted_at: self.now(),
            content,
        }
    }

    pub(super) fn new_request(&self, distribution_id: &str, texts: &[&str]) -> NewRequest {
        NewRequest {
            id: Uuid::now_v7(),
            token: "editor".to_owned(),
            reason: Some("a correction".to_owned()),
            asked: Asked::Items {
                distribution_id: distribution_id.to_owned(),
                items: items(texts),
            },
            idempotency: None,
            accepted_at: self.now(),
        }
    }

    /// Accepts one message for these keys, a second after what came before.
    pub(super) async fn events(&self, keys: &[&str]) {
        self.pass(1);
        let message = self.message(notification(keys));
        self.ports.accept_message(message).await.unwrap();
    }

    /// Accepts a manual request, a second after what came before.
    pub(super) async fn manual(&self, distribution_id: &str, texts: &[&str]) -> Uuid {
        self.pass(1);
        let request = self.new_request(distribution_id, texts);
        let id = request.id;
        self.ports.accept_request(request).await.unwrap();
        id
    }

    pub(super) async fn unseen(&self) -> Vec<Change> {
        self.leader.unseen_changes(ALL).await.unwrap()
    }

    pub(super) async fn record(&self, change: Change, mapping: Mapping) {
        self.record_all(vec![whole(change, mapping)]).await;
    }

    pub(super) async fn record_all(&self, mapped: Vec<MappedChange>) {
        self.leader.record_mapping(FIRST, mapped).await.unwrap();
    }

    /// Keeps a catalogue whose reading began just now, and says which it is.
    pub(super) async fn keep(&self, late: &[&str]) -> Revision {
        let mut snapshot = snapshot(&["E1", "E2", "E3"], self.now());
        snapshot.journal_end = self.leader.journal_end().await.unwrap();
        let late: Vec<_> = late.iter().map(|id| (*id).to_owned()).collect();
        let keep = self.leader.keep_catalogue(&snapshot, &late, vec![]);
        keep.await.unwrap();
        let kept = self.ports.kept_catalogue(None).await.unwrap();
        kept.unwrap().revision
    }

    /// Maps every unseen change: an object to its path at each of these distributions (as a wildcard
    /// if the key ends in `*`), an item to itself.
    pub(super) async fn map_all(&self, distributions: &[&str]) {
        let mapped = self.unseen().await.into_iter().map(|change| {
            let targets = match &change.subject {
                Subject::Object { key, .. } => distributions
                    .iter()
                    .map(|id| target(id, &format!("/{key}")))
                    .collect(),
                Subject::Item {
                    distribution_id,
                    item,
                } => vec![target(distribution_id, item.as_str())],
            };
            let mapping = Mapping {
                targets,
                ..Mapping::default()
            };
            whole(change, mapping)
        });
        self.record_all(mapped.collect()).await;
    }

    /// Accepts a message for these keys, and maps it to one distribution.
    pub(super) async fn wait_at(&self, distribution_id: &str, keys: &[&str]) {
        self.events(keys).await;
        self.map_all(&[distribution_id]).await;
    }
}

/// Freezing and sending.
impl Store {
    /// What counts toward the limit of a day.
    pub(super) async fn spent(&self, at: Timestamp) -> u64 {
        let controls = self.leader.controls(day_of(at)).await.unwrap();
        controls.spending.items
    }

    pub(super) async fn waiting(&self, distribution_id: &str) -> Vec<Waiting> {
        let waiting = self.leader.waiting(distribution_id, window(ALL)).await;
        waiting.unwrap()
    }

    pub(super) async fn waiting_items(&self, distribution_id: &str) -> Vec<String> {
        let waiting = self.waiting(distribution_id).await;
        waiting.iter().map(|one| one.item.to_string()).collect()
    }

    /// Freezes these waiting items, equal ones at one position.
    pub(super) async fn freeze(
        &self,
        distribution_id: &str,
        waiting: &[Waiting],
        shadow: bool,
    ) -> Batch {
        let mut items = Vec::new();
        let mut covered = Vec::new();
        for one in waiting {
            let known = items.iter().position(|item| *item == one.item);
            let position = known.unwrap_or(items.len());
            if known.is_none() {
                items.push(one.item.clone());
            }
            let target = one.target;
            covered.push(Covered { target, position });
        }
        let batch = Batch::new(distribution_id, items);
        self.leader
            .freeze(&batch, covered, shadow, self.now())
            .await
            .unwrap();
        batch
    }

    /// Freezes everything that waits at a distribution.
    pub(super) async fn freeze_all(&self, distribution_id: &str) -> Batch {
        let waiting = self.waiting(distribution_id).await;
        self.freeze(distribution_id, &waiting, false).await
    }

    /// Accepts, maps and freezes these keys at one distribution.
    pub(super) async fn frozen(&self, distribution_id: &str, keys: &[&str]) -> Batch {
        self.wait_at(distribution_id, keys).await;
        self.freeze_all(distribution_id).await
    }

    /// Records that CloudFront has created a batch's invalidation, to be polled in ten seconds.
    pub(super) async fn created(&self, batch: Uuid, cloudfront_id: &str, completed: bool) {
        let resolution = Resolution::Created {
            invalidation: CreatedInvalidation {
                cloudfront_id: cloudfront_id.to_owned(),
                completed,
            },
            poll_at: self.now() + Duration::from_secs(10),
        };
        self.resolve(batch, resolution).await;
    }

    /// Records a failed attempt, the third in a row, after which the distribution rests for a
    /// minute.
    pub(super) async fn failed(&self, batch: Uuid, error: CdnError, next: NextStep) {
        let failure = Failure {
            error,
            next,
            failures: 3,
            not_before: self.now() + Duration::from_mins(1),
        };
        self.resolve(batch, Resolution::Failed(failure)).await;
    }

    async fn resolve(&self, batch: Uuid, resolution: Resolution) {
        self.leader
            .record_resolution(batch, &resolution, self.now())
            .await
            .unwrap();
    }

    /// Records that CloudFront rejects every item of a batch.
    pub(super) async fn rejected(&self, batch: Uuid) {
        let error = CdnError::Invalid("a bad path".to_owned());
        self.failed(batch, error, NextStep::DeadLetter).await;
    }

    pub(super) async fn unresolved(&self) -> Vec<Unresolved> {
        self.leader.unresolved().await.unwrap()
    }

    /// Occupied items by distribution.
    pub(super) async fn usages(&self) -> BTreeMap<String, Usage> {
        let usages = self.leader.usages().await.unwrap();
        let pair = |one: DistributionUsage| (one.distribution_id, one.usage);
        usages.into_iter().map(pair).collect()
    }

    /// Invalidations in progress, by the times of their next polls.
    pub(super) async fn in_progress(&self) -> Vec<Tracked> {
        let mut in_progress = self.leader.in_progress().await.unwrap();
        in_progress.sort_by_key(|one| one.due_at);
        in_progress
    }
}

/// Forgetting.
impl Store {
    /// One step of a sweep; says where the next one begins.
    pub(super) async fn prune(&self, cutoff: Timestamp, sweep: Sweep) -> Option<Sweep> {
        self.leader.prune(cutoff, sweep).await.unwrap()
    }

    /// Plays a sweep from where it has come to, to its end.
    pub(super) async fn sweep(&self, cutoff: Timestamp, begin: Sweep) {
        let mut next = Some(begin);
        for _ in 0..1_000 {
            let Some(sweep) = next else {
                return;
            };
            next = self.prune(cutoff, sweep).await;
        }
        panic!("the sweep does not end");
    }
}

/// Looking.
impl Store {
    pub(super) async fn backlogs(&self, ids: Option<&[String]>) -> BTreeMap<String, Backlog> {
        let mut backlogs = BTreeMap::new();
        for one in self.leader.backlogs(ids).await.unwrap() {
            if one.backlog.is_empty() {
                assert!(ids.is_some(), "only distributions with a backlog");
                continue;
            }
            let twice = backlogs.insert(one.distribution_id, one.backlog);
            assert_eq!(twice, None, "each distribution once");
        }
        backlogs
    }

    /// The backlogs are what a count of the waiting items gives.
    pub(super) async fn assert_backlogs(&self, distributions: &[&str]) {
        let mut expected = BTreeMap::new();
        for id in distributions {
            if let Some(backlog) = recount(&self.waiting(id).await) {
                expected.insert((*id).to_owned(), backlog);
            }
        }
        assert_eq!(self.backlogs(None).await, expected);
    }

    pub(super) async fn invalidation(&self, id: impl ToString) -> InvalidationDetail {
        let found = self.ports.invalidation(&id.to_string()).await.unwrap();
        found.expect("the invalidation is known")
    }

    pub(super) async fn status(&self, batch: Uuid) -> BatchStatus {
        self.invalidation(batch).await.summary.status
    }

    pub(super) async fn invalidations(
        &self,
        status: Option<BatchStatus>,
    ) -> Vec<InvalidationSummary> {
        let query = InvalidationQuery {
            status,
            limit: ALL,
            ..InvalidationQuery::default()
        };
        self.ports.invalidations(&query).await.unwrap()
    }
}
