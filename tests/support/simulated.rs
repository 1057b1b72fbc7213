//! CloudFront on a virtual clock: its quotas, its faults, and what it was asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use purgefront::{
    domain::{
        batch::{Batch, Usage},
        catalogue::CacheKey,
        cdn::{
            CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
            ListedInvalidation, Pool, SeenInvalidation,
        },
        limits::{ItemRate, TokenBucket},
    },
    ports::{Cdn, Clock},
};

use super::{clock::VirtualClock, inside::in_front_of};

/// How many invalidations a page of the list has.
const PAGE: usize = 100;

/// How often what goes wrong, in parts of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub throttled: f64,
    pub too_many: f64,
    pub lost_before: f64,
    pub lost_after: f64,
    pub unavailable: f64,
    pub denied: f64,
}

/// What a simulated CloudFront is like.
#[derive(Debug, Clone)]
pub struct Nature {
    pub distributions: Vec<String>,
    pub propagation: Duration,
    pub latency: Duration,
    pub faults: Faults,
    /// From when to when nothing answers, since the beginning.
    pub dark: Vec<(Duration, Duration)>,
    /// From when to when Get and List calls answer 503, since the beginning.
    pub blind: Vec<(Duration, Duration)>,
    /// Distributions whose invalidations may not be read.
    pub hidden: Vec<String>,
    /// A batch that is sent again gets a conflict, not the invalidation that it became.
    pub conflicts: bool,
    /// A distribution that is refused, and until when.
    pub refused: Option<(String, Duration)>,
    /// Paths that no batch may have.
    pub bad: Vec<String>,
}

/// An invalidation that was made.
#[derive(Debug, Clone)]
pub struct Made {
    pub id: String,
    pub distribution_id: String,
    pub caller_reference: String,
    pub items: Vec<String>,
    pub created_at: Timestamp,
}

/// A simulated CloudFront, with the classic pools and the newer rates at once.
pub struct Simulated {
    clock: Arc<VirtualClock>,
    began: Timestamp,
    nature: Nature,
    state: Mutex<State>,
}

struct State {
    random: fastrand::Rng,
    calls: TokenBucket,
    paths: ItemRate,
    wildcards: ItemRate,
    made: Vec<Made>,
    log: Vec<(Duration, String, usize)>,
    refusals: HashMap<&'static str, usize>,
    granted: bool,
    reads: usize,
}

impl Simulated {
    pub fn new(clock: Arc<VirtualClock>, nature: Nature, seed: u64) -> Self {
        let began = clock.now();
        Self {
            began,
            nature,
            state: Mutex::new(State {
                random: fastrand::Rng::with_seed(seed),
                // What was saved up before the test began.
                calls: TokenBucket::full(0.5, 5, began),
                paths: ItemRate::empty(150.0, began),
                wildcards: ItemRate::empty(1.0, began),
                made: Vec::new(),
                log: Vec::new(),
                refusals: HashMap::new(),
                granted: false,
                reads: 0,
            }),
            clock,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.now().duration_since(self.began).unsigned_abs()
    }

    pub fn made(&self) -> Vec<Made> {
        self.state.lock().unwrap().made.clone()
    }

    /// Every CreateInvalidation call: when, for whom, and with how many items.
    pub fn log(&self) -> Vec<(Duration, String, usize)> {
        self.state.lock().unwrap().log.clone()
    }

    /// Refusals by cause; `quota …` are those that the service could have known of.
    pub fn refusals(&self) -> HashMap<&'static str, usize> {
        self.state.lock().unwrap().refusals.clone()
    }

    /// Somebody else makes an invalidation of so many paths.
    pub fn add_foreign(&self, distribution_id: &str, paths: usize) {
        let mut state = self.state.lock().unwrap();
        let made = Made {
            id: format!("F{}", state.made.len()),
            distribution_id: distribution_id.to_owned(),
            caller_reference: "somebody else's".to_owned(),
            items: (0..paths).map(|at| format!("/theirs-{at}")).collect(),
            created_at: self.clock.now(),
        };
        state.made.push(made);
    }

    /// How many Get and List calls of invalidations there were.
    pub fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }

    /// Denies nothing any more.
    pub fn grant(&self) {
        self.state.lock().unwrap().granted = true;
    }

    fn is_completed(&self, made: &Made) -> bool {
        let age = self.clock.now().duration_since(made.created_at);
        age.unsigned_abs() >= self.nature.propagation
    }

    fn is_dark(&self) -> bool {
        self.is_during(&self.nature.dark)
    }

    fn is_during(&self, spans: &[(Duration, Duration)]) -> bool {
        let elapsed = self.elapsed();
        let mut spans = spans.iter();
        spans.any(|(from, to)| (*from..*to).contains(&elapsed))
    }

    /// What every Get and List call of invalidations is subject to.
    fn read(&self) -> Result<(), CdnError> {
        self.state.lock().unwrap().reads += 1;
        if self.is_dark() || self.is_during(&self.nature.blind) {
            return Err(CdnError::Unknown("503".to_owned()));
        }
        Ok(())
    }

    async fn travel(&self) {
        let arrives = self.clock.now() + self.nature.latency;
        self.clock.sleep_until(arrives).await;
    }

    fn create(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        let (id, items) = (&batch.distribution_id, batch.items.len());
        state.log.push((self.elapsed(), id.clone(), items));
        if self.is_dark() {
            return Err(CdnError::Unknown("dark".to_owned()));
        }
        if state.calls.take(now).is_err() {
            *state.refusals.entry("quota calls").or_default() += 1;
            return Err(CdnError::Throttled("Rate exceeded".to_owned()));
        }
        let drawn = self.injected(state.random.f64());
        let injected = drawn.filter(|name| *name != "denied" || !state.granted);
        if injected == Some("lost before") {
            return Err(CdnError::Unknown("lost".to_owned()));
        }
        if let Some(refused) = injected.and_then(refusal) {
            *state.refusals.entry("injected").or_default() += 1;
            return Err(refused);
        }
        if self
            .nature
            .refused
            .as_ref()
            .is_some_and(|(refused, until)| refused == id && self.elapsed() < *until)
        {
            return Err(CdnError::TooManyInProgress {
                pool: Pool::Paths,
                text: "others fill the pool".to_owned(),
            });
        }
        let made = self.make(state, batch, now)?;
        if injected == Some("lost after") {
            return Err(CdnError::Unknown("lost".to_owned()));
        }
        Ok(made)
    }

    /// What goes wrong with this call, by a number that the seed gave.
    fn injected(&self, mut random: f64) -> Option<&'static str> {
        let Faults {
            throttled,
            too_many,
            lost_before,
            lost_after,
            unavailable,
            denied,
        } = self.nature.faults;
        for (share, name) in [
            (throttled, "throttled"),
            (too_many, "too many"),
            (lost_before, "lost before"),
            (lost_after, "lost after"),
            (unavailable, "unavailable"),
            (denied, "denied"),
        ] {
            if random < share {
                return Some(name);
            }
            random -= share;
        }
        None
    }

    fn make(
        &self,
        state: &mut State,
        batch: &Batch,
        now: Timestamp,
    ) -> Result<CreatedInvalidation, CdnError> {
        let id = &batch.distribution_id;
        let items: Vec<_> = batch.items.iter().map(ToString::to_string).collect();
        let known = state.made.iter().find(|made| {
            made.distribution_id == *id && made.caller_reference == batch.caller_reference
        });
        if let Some(known) = known {
            if known.items != items || self.nature.conflicts {
                return Err(CdnError::ReferenceConflict("used before".to_owned()));
            }
            return Ok(CreatedInvalidation {
                cloudfront_id: known.id.clone(),
                completed: self.is_completed(known),
            });
        }
        if items.iter().any(|item| self.nature.bad.contains(item)) {
            return Err(CdnError::Invalid("one or more invalid paths".to_owned()));
        }
        let usage = batch.usage();
        let open = state
            .made
            .iter()
            .filter(|made| made.distribution_id == *id && !self.is_completed(made));
        let open = open.fold(Usage::default(), |sum, made| {
            sum.plus(usage_of(&made.items))
        });
        let full = open.plus(usage);
        if full.paths > 3_000 || full.wildcards > 15 {
            *state.refusals.entry("quota pool").or_default() += 1;
            return Err(CdnError::TooManyInProgress {
                pool: if full.wildcards > 15 {
                    Pool::Wildcards
                } else {
                    Pool::Paths
                },
                text: "exceeds".to_owned(),
            });
        }
        let rates = [
            (usage.paths, &mut state.paths),
            (usage.wildcards, &mut state.wildcards),
        ];
        if rates
            .into_iter()
            .any(|(items, rate)| items > 0 && rate.next(now) > now)
        {
            *state.refusals.entry("quota rate").or_default() += 1;
            return Err(CdnError::Throttled("Rate of items exceeded".to_owned()));
        }
        state.paths.spend(usage.paths, now);
        state.wildcards.spend(usage.wildcards, now);
        let made = Made {
            id: format!("I{}", state.made.len()),
            distribution_id: id.clone(),
            caller_reference: batch.caller_reference.clone(),
            items,
            created_at: now,
        };
        state.made.push(made.clone());
        Ok(CreatedInvalidation {
            cloudfront_id: made.id,
            completed: false,
        })
    }
}

fn refusal(injected: &'static str) -> Option<CdnError> {
    let text = injected.to_owned();
    match injected {
        "throttled" => Some(CdnError::Throttled(text)),
        "too many" => Some(CdnError::TooManyInProgress {
            pool: Pool::Paths,
            text,
        }),
        "unavailable" => Some(CdnError::Unknown(text)),
        "denied" => Some(CdnError::Denied(text)),
        _ => None,
    }
}

fn usage_of(items: &[String]) -> Usage {
    let wildcards = items.iter().filter(|item| item.ends_with('*')).count();
    Usage {
        paths: items.len() - wildcards,
        wildcards,
    }
}

#[async_trait]
impl Cdn for Simulated {
    async fn list_distributions(&self, _: Option<&str>) -> Result<DistributionPage, CdnError> {
        self.travel().await;
        if self.is_dark() {
            return Err(CdnError::Unknown("dark".to_owned()));
        }
        let distributions = self.nature.distributions.iter().map(|id| {
            in_front_of(
                id,
                &format!("bucket-{}.s3.amazonaws.com", id.to_lowercase()),
            )
        });
        Ok(DistributionPage {
            distributions: distributions.collect(),
            next_marker: None,
        })
    }

    async fn details(&self, _: &str) -> Result<DistributionDetails, CdnError> {
        self.travel().await;
        Ok(DistributionDetails::default())
    }

    async fn cache_policy(&self, _: &str) -> Result<CacheKey, CdnError> {
        unreachable!("no distribution has a policy of its own")
    }

    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        self.travel().await;
        let answer = self.create(batch);
        self.travel().await;
        let lost = matches!(&answer, Err(CdnError::Unknown(text)) if text == "lost");
        if lost && self.log().len().is_multiple_of(3) {
            std::panic::resume_unwind(Box::new("a fault of the client's"));
        }
        answer
    }

    async fn invalidation(
        &self,
        distribution_id: &str,
        id: &str,
    ) -> Result<SeenInvalidation, CdnError> {
        self.travel().await;
        self.read()?;
        if self.nature.hidden.iter().any(|one| one == distribution_id) {
            return Err(CdnError::Denied("AccessDenied: not authorized".to_owned()));
        }
        let state = self.state.lock().unwrap();
        let made = state.made.iter().find(|made| made.id == id);
        let made = made.ok_or_else(|| CdnError::Refused("NoSuchInvalidation".to_owned()))?;
        Ok(SeenInvalidation {
            completed: self.is_completed(made),
            caller_reference: made.caller_reference.clone(),
            items: made.items.clone(),
        })
    }

    async fn newest_invalidations(
        &self,
        id: &str,
        marker: Option<&str>,
    ) -> Result<InvalidationPage, CdnError> {
        self.travel().await;
        self.read()?;
        let begin: usize = marker.map_or(0, |marker| marker.parse().unwrap());
        let state = self.state.lock().unwrap();
        let of_it = state
            .made
            .iter()
            .rev()
            .filter(|made| made.distribution_id == id)
            .skip(begin);
        let invalidations = of_it.clone().take(PAGE).map(|made| ListedInvalidation {
            cloudfront_id: made.id.clone(),
            completed: self.is_completed(made),
            created_at: made.created_at,
        });
        Ok(InvalidationPage {
            invalidations: invalidations.collect(),
            next_marker: (of_it.count() > PAGE).then(|| (begin + PAGE).to_string()),
        })
    }
}
