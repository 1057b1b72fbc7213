//! A store that tells how many of its calls are under way and what was asked for, and that fails or
//! dawdles on demand.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use purgefront::{
    domain::{
        batch::{Batch, Covered, DistributionBacklog, DistributionUsage},
        catalogue::{Revision, Snapshot},
        change::{
            Acceptance, Change, Idempotency, MappedChange, NewMessage, NewRequest, Remap,
            RequestAcceptance, Unmapped,
        },
        consolidate::Waiting,
        history::{
            DeadLetter, InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView,
        },
        hold::{DeployHold, HoldAcceptance},
        ledger::OthersInvalidation,
        notice::{Notice, NoticeTarget, Undelivered, WaitingNotices},
        operations::{Backoff, Controls},
        path::Item,
        propagation::Completion,
        resolution::{Resolution, Unresolved},
        s3_event::ObjectChange,
        story::{ChangeQuery, StoryPage},
        subscription::{ConfirmationResult, PendingConfirmation},
        topic::TopicArn,
        tracking::{StatusPoll, Tracked},
        wait::{OpenWait, Wait},
    },
    ports::{
        Clock, NoticeStore, StoreError,
        catalogue::{CatalogueStore, KeptCatalogue},
        dispatch::{
            BatchStore, DispatchStore, Epoch, LeaderStore, MappingStore, Sweep, TrackingStore,
            UpkeepStore, Window,
        },
        history::HistoryStore,
        intake::IntakeStore,
        operations::OperationsStore,
    },
    store::SqliteStore,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// What happens to the calls of a store.
#[derive(Default)]
pub struct Tap {
    under_way: AtomicUsize,
    panics_in: Mutex<Option<&'static str>>,
    slow: Mutex<Vec<SlowPlan>>,
    lost: Mutex<Option<LostReplies>>,
    fails_in: Mutex<Option<&'static str>>,
    held: Mutex<Option<(&'static str, Arc<Semaphore>)>>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
    /// The changes that were read, by verb.
    changes: Mutex<BTreeMap<&'static str, usize>>,
}

/// How many replies to writes of the dispatch are lost, in parts of one.
struct LostReplies {
    share: f64,
    random: fastrand::Rng,
}

/// A distribution whose waiting items take long to read.
struct SlowPlan {
    distribution_id: String,
    span: Duration,
    clock: Arc<dyn Clock>,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Tap {
    /// Whether no call is under way: a virtual clock may only move then.
    pub fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }

    /// The next call of this verb panics.
    pub fn panic_in(&self, verb: &'static str) {
        *self.panics_in.lock().unwrap() = Some(verb);
    }

    /// Planning for this distribution takes so long.
    pub fn slow_down(&self, distribution_id: &str, span: Duration, clock: Arc<dyn Clock>) {
        let slow = SlowPlan {
            distribution_id: distribution_id.to_owned(),
            span,
            clock,
        };
        self.slow.lock().unwrap().push(slow);
    }

    /// From now on, some writes of the dispatch are made and reported as failed.
    pub fn lose_replies(&self, share: f64, seed: u64) {
        let random = fastrand::Rng::with_seed(seed);
        *self.lost.lock().unwrap() = Some(LostReplies { share, random });
    }

    /// From now on, calls of this verb are made and reported as failed.
    pub fn fail_in(&self, verb: &'static str) {
        *self.fails_in.lock().unwrap() = Some(verb);
    }

    fn reply<T>(&self, verb: &'static str, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let writes = [
            "freeze",
            "record_attempt",
            "record_resolution",
            "record_poll",
        ];
        if *self.fails_in.lock().unwrap() == Some(verb) {
            return Err(StoreError::unknown("a test wants it to fail"));
        }
        let mut lost = self.lost.lock().unwrap();
        let is_lost = |lost: &mut LostReplies| lost.random.f64() < lost.share;
        if writes.contains(&verb) && lost.as_mut().is_some_and(is_lost) {
            return Err(StoreError::unknown("the reply is lost"));
        }
        answer
    }

    /// Calls of this verb wait, before they are made, until the gate is closed; each permit lets one
    /// through.
    pub fn hold(&self, verb: &'static str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held.lock().unwrap() = Some((verb, Arc::clone(&gate)));
        gate
    }

    async fn pass(&self, verb: &'static str) {
        let held = self.held.lock().unwrap().clone();
        if let Some((_, gate)) = held.filter(|(held, _)| *held == verb)
            && let Ok(permit) = gate.acquire().await
        {
            permit.forget();
        }
    }

    /// How often this verb was called.
    pub fn calls(&self, verb: &'static str) -> usize {
        self.calls.lock().unwrap().get(verb).copied().unwrap_or(0)
    }

    /// How many changes were read by this verb.
    pub fn changes_read(&self, verb: &'static str) -> usize {
        self.changes.lock().unwrap().get(verb).copied().unwrap_or(0)
    }

    fn count_changes(&self, verb: &'static str, changes: &[Change]) {
        *self.changes.lock().unwrap().entry(verb).or_default() += changes.len();
    }

    fn enter(&self, verb: &'static str) -> UnderWay<'_> {
        *self.calls.lock().unwrap().entry(verb).or_default() += 1;
        let panics = self
            .panics_in
            .lock()
            .unwrap()
            .take_if(|armed| *armed == verb)
            .is_some();
        assert!(
            !panics,
            "the store panics in {verb}, because a test wants it to"
        );
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }

    async fn dawdle(&self, distribution_id: &str) {
        let slow = {
            let slow = self.slow.lock().unwrap();
            let mut slow = slow.iter();
            let slow = slow.find(|slow| slow.distribution_id == distribution_id);
            slow.map(|slow| (Arc::clone(&slow.clock), slow.span))
        };

        if let Some((clock, span)) = slow {
            clock.sleep_until(clock.now() + span).await;
        }
    }
}

/// The real store, tapped.
#[derive(Clone)]
pub struct Tapped {
    store: Arc<SqliteStore>,
    pub tap: Arc<Tap>,
}

impl Tapped {
    pub fn new(store: SqliteStore) -> Self {
        Self {
            store: Arc::new(store),
            tap: Arc::default(),
        }
    }

    pub async fn close(&self) {
        self.store.close().await;
    }
}

struct TappedLeader {
    store: Arc<dyn DispatchStore>,
    tap: Arc<Tap>,
}

impl LeaderStore for Tapped {
    fn lead(&self, epoch: Epoch) -> Arc<dyn DispatchStore> {
        Arc::new(TappedLeader {
            store: self.store.lead(epoch),
            tap: Arc::clone(&self.tap),
        })
    }
}

/// Hands each verb on, through the tap.
macro_rules! tapped {
    ($wrapper:ty: $port:path {
        $(fn $verb:ident($($argument:ident: $type:ty),*) -> $answer:ty
            $(, slow at $slowed:ident)? $(, counts $counted:ident)?;)*
    }) => {
        #[async_trait]
        impl $port for $wrapper {
            $(async fn $verb(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                $(self.tap.dawdle($slowed).await;)?
                self.tap.pass(stringify!($verb)).await;
                let _under_way = self.tap.enter(stringify!($verb));
                let answer = self.store.$verb($($argument),*).await;
                $(if let Ok($counted) = &answer {
                    self.tap.count_changes(stringify!($verb), $counted);
                })?
                self.tap.reply(stringify!($verb), answer)
            })*
        }
    };
}

tapped!(Tapped: IntakeStore {
    fn accept_message(message: NewMessage) -> Acceptance;
    fn accept_request(request: NewRequest) -> RequestAcceptance;
});

tapped!(Tapped: CatalogueStore {
    fn kept_catalogue(known: Option<Revision>) -> Option<KeptCatalogue>;
});

tapped!(Tapped: OperationsStore {
    fn set_paused(distribution_id: Option<&str>, paused: bool) -> ();
    fn create_hold(hold: DeployHold, idempotency: Option<Idempotency>) -> HoldAcceptance;
    fn holds() -> Vec<DeployHold>;
    fn end_hold(id: Uuid, now: Timestamp) -> bool;
    fn controls(day: Date) -> Controls;
    fn spent(first: Date, last: Date) -> u64;
    fn end_backoffs(distribution_id: Option<&str>, now: Timestamp) -> ();
    fn lift_limit(day: Date) -> ();
    fn count_dead_letters(most: usize) -> u64;
    fn dead_letters(before: Option<i64>, limit: usize) -> Vec<DeadLetter>;
    fn dead_letters_because(why: &str, before: Option<i64>, limit: usize) -> Vec<DeadLetter>;
    fn count_dead_letters_because(why: &str, before: Option<i64>, most: usize) -> u64;
    fn dead_letter(id: i64) -> Option<DeadLetter>;
    fn replay_item(id: i64) -> bool;
    fn replay_record(id: i64, change: ObjectChange) -> bool;
    fn drop_dead_letters(ids: &[i64]) -> u64;
    fn drop_dead_letter(id: i64) -> bool;
});

tapped!(Tapped: HistoryStore {
    fn request(id: Uuid) -> Option<RequestView>;
    fn is_settled(id: Uuid) -> bool;
    fn invalidations(query: &InvalidationQuery) -> Vec<InvalidationSummary>;
    fn invalidation(id: &str) -> Option<InvalidationDetail>;
    fn changes(query: &ChangeQuery) -> StoryPage;
    fn has_subscription(topic: &TopicArn) -> bool;
    fn given_up_confirmation(topic: &TopicArn) -> Option<String>;
    fn ended_subscriptions() -> Vec<String>;
    fn last_notifications() -> Vec<(String, Timestamp)>;
    fn completions(distributions: &[String], since: Timestamp, most: usize) -> Vec<Completion>;
    fn last_completed(distributions: &[String]) -> HashMap<String, Timestamp>;
    fn silent_since() -> Timestamp;
});

tapped!(TappedLeader: MappingStore {
    fn unseen_changes(limit: usize) -> Vec<Change>, counts changes;
    fn open_waits() -> Vec<OpenWait>;
    fn waiting_changes(wait: &Wait, through: i64, limit: usize) -> Vec<Change>, counts changes;
    fn unmapped() -> Unmapped;
    fn record_mapping(by: Revision, mapped: Vec<MappedChange>) -> ();
    fn journal_end() -> i64;
    fn keep_catalogue(snapshot: &Snapshot, late: &[String], requests: Vec<NewRequest>) -> ();
    fn next_remap() -> Option<Remap>;
    fn changes_to_remap(remap: &Remap, limit: usize) -> Vec<Change>, counts changes;
    fn record_remap(remap: &Remap, through: Option<i64>, mapped: Vec<MappedChange>) -> ();
});

tapped!(TappedLeader: BatchStore {
    fn backlogs(distributions: Option<&[String]>) -> Vec<DistributionBacklog>;
    fn waiting(distribution_id: &str, window: Window) -> Vec<Waiting>, slow at distribution_id;
    fn taken_before(batch: Uuid) -> HashSet<Item>;
    fn made_since(distribution_id: &str, since: Timestamp) -> Vec<Item>;
    fn freeze(batch: &Batch, covered: Vec<Covered>, shadow: bool, now: Timestamp) -> ();
    fn unresolved() -> Vec<Unresolved>;
    fn usages() -> Vec<DistributionUsage>;
    fn record_attempt(batch: Uuid, now: Timestamp) -> ();
    fn record_resolution(batch: Uuid, resolution: &Resolution, now: Timestamp) -> ();
    fn backoffs() -> Vec<Backoff>;
    fn controls(day: Date) -> Controls;
    fn end_hold(id: Uuid, now: Timestamp) -> bool;
});

tapped!(TappedLeader: TrackingStore {
    fn in_progress() -> Vec<Tracked>;
    fn oldest_change(batch: Uuid) -> Option<Timestamp>;
    fn record_poll(batch: Uuid, poll: StatusPoll, now: Timestamp) -> ();
    fn is_ours(cloudfront_id: &str) -> bool;
    fn record_others(one: &OthersInvalidation) -> ();
});

tapped!(TappedLeader: NoticeStore {
    fn set_notice_targets(targets: &[NoticeTarget]) -> u64;
    fn due_notices(target: &str, now: Timestamp, limit: usize) -> Vec<Notice>;
    fn next_notice(target: &str, now: Timestamp) -> Option<Timestamp>;
    fn notice_delivered(seq: i64) -> ();
    fn notice_failed(seq: i64, due_at: Timestamp) -> ();
    fn waiting_notices() -> WaitingNotices;
    fn drop_undelivered(now: Timestamp) -> Undelivered;
});

tapped!(TappedLeader: UpkeepStore {
    fn pending_confirmations() -> Vec<PendingConfirmation>;
    fn record_confirmation(confirmation: &PendingConfirmation, result: ConfirmationResult) -> ();
    fn prune(cutoff: Timestamp, sweep: Sweep) -> Option<Sweep>;
});
