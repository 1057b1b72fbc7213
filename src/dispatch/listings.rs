//! Lists the buckets behind waiting items, in the background, and remembers for a while what they have.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::Context;
use crate::{
    domain::survey::{Ground, Survey, Surveyed},
    ports::{
        Clock,
        key_listing::{KeyListing, KeyListingError},
    },
    telemetry::Metrics,
};

/// How long a distribution's automatic work waits for a listing at the longest.
pub const LONGEST_LISTING: SignedDuration = SignedDuration::from_secs(15);
/// How long a plan waits for it before it leaves automatic work out: no longer than it reserves a call.
const MOMENT: SignedDuration = SignedDuration::from_millis(250);
/// How many surveys run at a time. Others wait.
const MOST_AT_ONCE: usize = 4;
/// After this time, what is known is looked up again; until then, it is used,
const FRESH_FOR: SignedDuration = SignedDuration::from_mins(1);
/// and forgotten after this time. It only says what wildcards would evict.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(10);
/// How soon a bucket that could not be listed is tried again,
const RETRY_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// and one for which that was denied, or took too long.
const DENIED_FOR: SignedDuration = SignedDuration::from_mins(10);
/// The most bytes of keys that are remembered, of all distributions together.
const MOST_BYTES: usize = 16 << 20;

/// What is known of the keys behind each distribution.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    by_distribution: Mutex<HashMap<String, Entry>>,
    /// The distributions of the surveys in the background, and until when they are waited for.
    busy: Mutex<HashMap<String, Timestamp>>,
}

#[derive(Debug)]
struct Entry {
    surveyed: Arc<Surveyed>,
    at: Timestamp,
    /// Nothing is asked of S3 before this time.
    refused_until: Timestamp,
}

/// What is known for a plan.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    pub(super) surveyed: Option<Arc<Surveyed>>,
    /// Whether that says enough about the changed paths.
    pub(super) serves: bool,
    /// Whether there should be another survey.
    pub(super) is_old: bool,
    /// Whether there is one already.
    pub(super) is_busy: bool,
}

impl KnownKeys {
    /// What is known about changed paths, which are in order.
    pub(super) fn about(&self, ground: &Ground, texts: &[&str], now: Timestamp) -> Knowledge {
        let id = ground.distribution_id();
        let is_busy = self.busy_until(id, now).is_some();
        let all = lock(&self.by_distribution);
        let entry = all.get(id).filter(|one| one.surveyed.stands_on(ground));
        let Some(entry) = entry else {
            return Knowledge {
                is_old: true,
                is_busy,
                ..Knowledge::default()
            };
        };
        let age = now.duration_since(entry.at).abs();
        let serves = age < KNOWN_FOR && entry.surveyed.serves(texts);
        let knows = age < KNOWN_FOR && !entry.surveyed.is_empty();
        let may_ask = now >= entry.refused_until || entry.refused_until > now + DENIED_FOR;
        Knowledge {
            surveyed: knows.then(|| Arc::clone(&entry.surveyed)),
            serves,
            is_old: may_ask && !(serves && age < FRESH_FOR),
            is_busy,
        }
    }

    /// Until when a survey of a distribution that goes on in the background is waited for.
    fn busy_until(&self, id: &str, now: Timestamp) -> Option<Timestamp> {
        let until = lock(&self.busy).get(id).copied();
        // The clock may have been set back.
        until.filter(|until| now < *until && *until <= now + LONGEST_LISTING)
    }

    fn keep(&self, id: String, entry: Entry) {
        let mut all = lock(&self.by_distribution);
        let now = entry.at;
        all.retain(|_, known| now.duration_since(known.at).abs() < KNOWN_FOR);
        all.insert(id, entry);
        let mut bytes: usize = all.values().map(|known| known.surveyed.bytes()).sum();
        while bytes > MOST_BYTES {
            let oldest = all.iter().min_by_key(|(_, known)| known.at);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            let gone = all.remove(&id);
            bytes -= gone.map_or(0, |gone| gone.surveyed.bytes());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes surveys, and remembers what they found.
#[derive(Clone)]
pub(super) struct Lister {
    listing: Arc<dyn KeyListing>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    pub(super) known: Arc<KnownKeys>,
}

/// A survey in progress.
pub(super) struct Look {
    distribution_id: String,
    /// In a lock because a worker's state has to be `Sync`; it is never locked.
    ends: Mutex<BoxFuture<'static, Looked>>,
}

/// What came of a survey.
pub struct Looked {
    pub distribution_id: String,
    pub surveyed: Surveyed,
    /// Why it was broken off, if S3 refused.
    pub refusal: Option<KeyListingError>,
    /// Whether it was over before its time was.
    pub in_time: bool,
}

impl Lister {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            listing: Arc::clone(&context.key_listing),
            clock: Arc::clone(&context.clock),
            metrics: context.metrics.clone(),
            known: Arc::default(),
        }
    }

    pub(super) fn look(&self, survey: Survey) -> Look {
        let (listing, clock) = (Arc::clone(&self.listing), Arc::clone(&self.clock));
        Look {
            distribution_id: survey.distribution_id().to_owned(),
            ends: Mutex::new(Box::pin(look(listing, clock, survey))),
        }
    }

    /// Waits a moment for a survey. Returns it if it goes on after that.
    pub(super) async fn wait_a_moment(&self, mut look: Look) -> Option<Look> {
        let moment = self.clock.now() + MOMENT;
        let ends = look.ends.get_mut().unwrap_or_else(PoisonError::into_inner);
        tokio::select! {
            biased;
            ended = ends => {
                self.keep(ended);
                None
            }
            () = self.clock.sleep_until(moment) => Some(look),
        }
    }

    fn keep(&self, ended: Looked) {
        let Looked {
            distribution_id,
            surveyed,
            refusal,
            in_time,
        } = ended;
        let now = self.clock.now();
        let (outcome, pause) = match &refusal {
            // Not even one page came in time.
            None if !in_time && surveyed.pages == 0 => ("failed", DENIED_FOR),
            None if !in_time => ("partial", RETRY_AFTER),
            None if surveyed.partial => ("partial", SignedDuration::ZERO),
            None => ("complete", SignedDuration::ZERO),
            Some(KeyListingError::Denied(_)) => ("denied", DENIED_FOR),
            Some(KeyListingError::Failed(_)) => ("failed", RETRY_AFTER),
        };
        self.metrics.listed(outcome, surveyed.pages);
        if let Some(why) = refusal {
            tracing::info!(
                distribution_id,
                why = %why,
                "the buckets cannot be listed: paths are not merged"
            );
        } else {
            let pages = surveyed.pages;
            tracing::debug!(distribution_id, pages, outcome, "the buckets were listed");
        }
        let entry = Entry {
            surveyed: Arc::new(surveyed),
            at: now,
            refused_until: now + pause,
        };
        self.known.keep(distribution_id, entry);
    }
}

/// Surveys in the background.
pub(super) struct Listings {
    lister: Lister,
    waiting: VecDeque<Look>,
    running: JoinSet<Looked>,
}

impl Listings {
    pub(super) fn new(lister: Lister) -> Self {
        Self {
            lister,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
        }
    }

    /// Goes on with a survey, unless there is one of its distribution already.
    pub(super) fn go_on(&mut self, look: Look) {
        let now = self.lister.clock.now();
        if self.busy_until(&look.distribution_id).is_none() {
            let id = look.distribution_id.clone();
            lock(&self.lister.known.busy).insert(id, now + LONGEST_LISTING);
            self.waiting.push_back(look);
            self.start_next();
        }
    }

    /// Until when a distribution's survey is waited for; `None` if there is none.
    pub(super) fn busy_until(&self, distribution_id: &str) -> Option<Timestamp> {
        let now = self.lister.clock.now();
        self.lister.known.busy_until(distribution_id, now)
    }

    fn start_next(&mut self) {
        while self.running.len() < MOST_AT_ONCE
            && let Some(look) = self.waiting.pop_front()
        {
            let ends = look.ends.into_inner();
            self.running
                .spawn(ends.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until a survey has ended, and returns its distribution. If none runs, waits forever. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            match self.running.join_next().await {
                None => std::future::pending().await,
                Some(Ok(ended)) => {
                    let id = ended.distribution_id.clone();
                    lock(&self.lister.known.busy).remove(&id);
                    self.lister.keep(ended);
                    self.start_next();
                    return id;
                }
                // Its distribution goes on when its patience is at an end.
                Some(Err(error)) => {
                    tracing::error!(%error, "a listing panicked");
                    self.start_next();
                }
            }
        }
    }

    /// Breaks off what runs.
    pub(super) async fn stop(&mut self) {
        self.waiting.clear();
        lock(&self.lister.known.busy).clear();
        self.running.shutdown().await;
    }
}

/// Reads the pages that a survey asks for, until it is over, S3 refuses, or this time has come.
pub async fn look(
    listing: Arc<dyn KeyListing>,
    clock: Arc<dyn Clock>,
    mut survey: Survey,
) -> Looked {
    // From its first step on: it may have waited for others.
    let until = clock.now() + LONGEST_LISTING;
    let mut refusal = None;
    let mut in_time = true;
    while let Some(ask) = survey.next_page() {
        let page = listing.keys(&ask.bucket, &ask.prefix, ask.after.as_deref());
        let page = tokio::select! {
            page = page => page,
            () = clock.sleep_until(until) => {
                in_time = false;
                break;
            }
        };
        match page {
            Ok(page) => survey.take_page(page.keys, page.more),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    Looked {
        distribution_id: survey.distribution_id().to_owned(),
        surveyed: survey.finish(),
        refusal,
        in_time,
    }
}
