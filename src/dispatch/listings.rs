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
    domain::survey::{Survey, Surveyed},
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
}

impl KnownKeys {
    /// What is known about changed paths.
    pub(super) fn about<'a>(
        &self,
        distribution_id: &str,
        texts: impl ExactSizeIterator<Item = &'a str>,
        now: Timestamp,
    ) -> Knowledge {
        let all = self.lock();
        let Some(entry) = all.get(distribution_id) else {
            return Knowledge {
                is_old: true,
                ..Knowledge::default()
            };
        };
        let age = now.duration_since(entry.at).abs();
        let serves = age < KNOWN_FOR && entry.surveyed.serves(texts);
        let knows = age < KNOWN_FOR && !entry.surveyed.is_empty();
        let surveyed = knows.then(|| Arc::clone(&entry.surveyed));
        let may_ask = now >= entry.refused_until || entry.refused_until > now + DENIED_FOR;
        Knowledge {
            surveyed,
            serves,
            is_old: may_ask && !(serves && age < FRESH_FOR),
        }
    }

    fn keep(&self, id: String, entry: Entry) {
        let mut all = self.lock();
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        let all = self.by_distribution.lock();
        all.unwrap_or_else(PoisonError::into_inner)
    }
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
    pub(super) distribution_id: String,
    /// When it ends at the latest.
    until: Timestamp,
    /// In a lock because a worker's state has to be `Sync`; it is never locked.
    ends: Mutex<BoxFuture<'static, Looked>>,
}

/// What came of a survey.
pub struct Looked {
    pub distribution_id: String,
    pub surveyed: Surveyed,
    /// Why it was broken off, if S3 refused.
    pub refusal: Option<KeyListingError>,
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
        let until = self.clock.now() + LONGEST_LISTING;
        let (listing, clock) = (Arc::clone(&self.listing), Arc::clone(&self.clock));
        Look {
            distribution_id: survey.distribution_id().to_owned(),
            until,
            ends: Mutex::new(Box::pin(look(listing, clock, survey, until))),
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
        } = ended;
        let now = self.clock.now();
        let (outcome, pause) = match &refusal {
            // Not even one page came in time.
            None if surveyed.partial && surveyed.pages == 0 => ("failed", DENIED_FOR),
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
    /// The distributions of the surveys that wait or run, and when those end at the latest.
    busy: HashMap<String, Timestamp>,
    waiting: VecDeque<Look>,
    running: JoinSet<Looked>,
}

impl Listings {
    pub(super) fn new(lister: Lister) -> Self {
        Self {
            lister,
            busy: HashMap::new(),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
        }
    }

    /// Goes on with a survey, unless there is another one of its distribution, and returns when it ends at
    /// the latest.
    pub(super) fn go_on(&mut self, look: Look) -> Timestamp {
        let now = self.lister.clock.now();
        let until = look.until;
        let id = &look.distribution_id;
        // The clock may have been set back.
        let busy = self.busy.get(id).map(|busy| *busy.min(&until));
        if let Some(busy) = busy.filter(|busy| now < *busy) {
            return busy;
        }
        self.busy.insert(id.clone(), until);
        self.waiting.push_back(look);
        self.start_next();
        until
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
                    self.busy.remove(&id);
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
        self.busy.clear();
        self.running.shutdown().await;
    }
}

/// Reads the pages that a survey asks for, until it is over, S3 refuses, or this time has come.
pub async fn look(
    listing: Arc<dyn KeyListing>,
    clock: Arc<dyn Clock>,
    mut survey: Survey,
    until: Timestamp,
) -> Looked {
    let mut refusal = None;
    while let Some(ask) = survey.next_page() {
        let page = listing.keys(&ask.bucket, &ask.prefix, ask.after.as_deref());
        let page = tokio::select! {
            page = page => page,
            () = clock.sleep_until(until) => break,
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
    }
}
