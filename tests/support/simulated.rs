//! The model of CloudFront as the service's port, on a virtual clock: with latency, darkness, and
//! faults that a seed draws.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use purgefront::{
    domain::{
        batch::Batch,
        catalogue::CacheKey,
        cdn::{
            CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
            ListedInvalidation, Pool, SeenInvalidation,
        },
    },
    ports::{Cdn, Clock},
};

use super::{
    clock::VirtualClock,
    inside::in_front_of,
    model::{CloudFrontModel, Fault, Invalidation, Order, Outcome, Refusal},
    nature::Trouble,
};

pub use super::nature::Nature;

/// How many invalidations a page of the list has.
const PAGE: usize = 100;

/// A simulated CloudFront, with the classic pools and the newer rates at once.
pub struct Simulated {
    clock: Arc<VirtualClock>,
    /// CloudFront's own clock, which nobody sets back: what it said, and the time that had passed.
    began: (Timestamp, Duration),
    nature: Nature,
    state: Mutex<State>,
}

struct State {
    model: CloudFrontModel,
    random: fastrand::Rng,
    /// Calls that were refused because a fault said so.
    injected: usize,
    granted: bool,
    reads: usize,
    attempts: Vec<Attempt>,
    /// When the account was first listed,
    listed: Option<Duration>,
    /// and when the details of a distribution were first answered.
    known: BTreeMap<String, Duration>,
}

impl Simulated {
    pub fn new(clock: Arc<VirtualClock>, nature: Nature, seed: u64) -> Self {
        let began = clock.now();
        let mut model = CloudFrontModel::default();
        for id in &nature.distributions {
            model.add_distribution(id);
        }
        for item in &nature.bad {
            model.refuse_item(item);
        }
        model.set_propagation(nature.propagation);
        // What was saved up before the test began.
        model.quotas.limit_calls(began, 0.5, 5);
        model.quotas.limit_items(began, 150.0, 1.0);
        model.quotas.limit_in_progress(3_000, 15);
        Self {
            began: (began, clock.passed()),
            nature,
            state: Mutex::new(State {
                model,
                random: fastrand::Rng::with_seed(seed),
                injected: 0,
                granted: false,
                reads: 0,
                attempts: Vec::new(),
                listed: None,
                known: BTreeMap::new(),
            }),
            clock,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.passed().saturating_sub(self.began.1)
    }

    fn now(&self) -> Timestamp {
        self.began.0 + self.elapsed()
    }

    fn since_the_beginning(&self, at: Timestamp) -> Duration {
        at.duration_since(self.began.0).unsigned_abs()
    }

    /// What the service made.
    pub fn made(&self) -> Vec<Invalidation> {
        self.state().model.made()
    }

    /// Every CreateInvalidation call: when, for whom, and with how many items.
    pub fn log(&self) -> Vec<(Duration, String, usize)> {
        let state = self.state();
        let calls = state.model.calls().iter().map(|call| {
            let order = &call.order;
            let at = self.since_the_beginning(call.at);
            (at, order.distribution_id.clone(), order.items.len())
        });
        calls.collect()
    }

    /// Every CreateInvalidation call as the service saw it, also those that never left.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.state().attempts.clone()
    }

    pub fn nature(&self) -> &Nature {
        &self.nature
    }

    /// When the account was first listed.
    pub fn listed(&self) -> Option<Duration> {
        self.state().listed
    }

    /// When the details of a distribution were first answered.
    pub fn known(&self, id: &str) -> Option<Duration> {
        self.state().known.get(id).copied()
    }

    /// Refusals by cause; `quota …` are those that the service could have known of.
    pub fn refusals(&self) -> BTreeMap<&'static str, usize> {
        let state = self.state();
        let mut refusals = state.model.quotas.refusals();
        if state.injected > 0 {
            refusals.insert("injected", state.injected);
        }
        refusals
    }

    /// Somebody else makes an invalidation of so many paths.
    pub fn add_foreign(&self, distribution_id: &str, paths: usize) {
        let order = Order {
            distribution_id: distribution_id.to_owned(),
            caller_reference: "somebody else's".to_owned(),
            items: (0..paths).map(|at| format!("/theirs-{at}")).collect(),
        };
        let now = self.now();
        self.state().model.add_foreign(now, order);
    }

    /// How many Get and List calls of invalidations there were.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    /// Denies nothing any more.
    pub fn grant(&self) {
        self.state().granted = true;
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
    fn read(&self, of: &str) -> Result<(), CdnError> {
        self.state().reads += 1;
        if self.is_dark() || self.is_during(&self.nature.blind) {
            return Err(CdnError::Unknown("503".to_owned()));
        }
        if self.nature.has(of, Trouble::Gone, self.elapsed()) {
            return Err(cdn_error(Refusal::NoSuchDistribution));
        }
        Ok(())
    }

    /// The way to CloudFront, or back.
    async fn travel(&self) {
        let arrives = self.clock.now() + self.nature.latency;
        self.clock.sleep_until(arrives).await;
    }

    /// The way to CloudFront, which may be dark.
    async fn reach(&self) -> Result<(), CdnError> {
        self.travel().await;
        if self.is_dark() {
            return Err(CdnError::Unknown("dark".to_owned()));
        }
        Ok(())
    }

    fn create(&self, order: &Order) -> Result<Made, CdnError> {
        let now = self.now();
        let mut state = self.state();
        let reference = |one: &Invalidation| one.caller_reference == order.caller_reference;
        if self.nature.conflicts && state.model.newest(&order.distribution_id).any(reference) {
            return Err(CdnError::ReferenceConflict("used before".to_owned()));
        }
        let (fault, lost) = if self.is_dark() {
            (Some(Fault::LostBefore), "dark")
        } else {
            (self.next_fault(&mut state, &order.distribution_id), "lost")
        };
        match state.model.call(now, order, fault) {
            Outcome::Created(one) | Outcome::Repeated(one) => Ok(Made {
                completed: state.model.is_completed(&one, now),
                id: one.id,
            }),
            Outcome::Refused(refusal) => {
                state.injected += usize::from(fault.is_some());
                Err(cdn_error(refusal))
            }
            Outcome::LostBefore | Outcome::LostAfter => Err(CdnError::Unknown(lost.to_owned())),
        }
    }

    /// What is wrong with the distribution, or else what the seed draws.
    fn next_fault(&self, state: &mut State, distribution_id: &str) -> Option<Fault> {
        let drawn = self.nature.faults.at(state.random.f64());
        let drawn = drawn.filter(|fault| *fault != Fault::AccessDenied || !state.granted);
        let ill = self.nature.fault(distribution_id, self.elapsed());
        ill.or(drawn)
    }
}

/// A CreateInvalidation call, as the service saw it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Since the beginning.
    pub at: Duration,
    pub order: Order,
    /// `created`, or the label of the error.
    pub answer: &'static str,
}

/// An invalidation that is there now.
struct Made {
    id: String,
    completed: bool,
}

fn cdn_error(refusal: Refusal) -> CdnError {
    let text = refusal.code().to_owned();
    match refusal {
        Refusal::NoSuchDistribution => CdnError::NoSuchDistribution(text),
        Refusal::BatchTooLarge => CdnError::TooLarge(text),
        Refusal::InvalidItems => CdnError::Invalid(text),
        Refusal::ReferenceConflict => CdnError::ReferenceConflict(text),
        Refusal::Throttled => CdnError::Throttled(text),
        Refusal::TooManyInProgress { wildcards } => CdnError::TooManyInProgress {
            pool: if wildcards {
                Pool::Wildcards
            } else {
                Pool::Paths
            },
            text,
        },
        Refusal::Unavailable(_) => CdnError::Unknown(text),
        Refusal::AccessDenied => CdnError::Denied(text),
    }
}

#[async_trait]
impl Cdn for Simulated {
    async fn list_distributions(&self, _: Option<&str>) -> Result<DistributionPage, CdnError> {
        self.reach().await?;
        let domain = |id: &str| format!("bucket-{}.s3.amazonaws.com", id.to_lowercase());
        let at = self.elapsed();
        self.state().listed.get_or_insert(at);
        let ids = self.nature.distributions.iter();
        let ids = ids.filter(|id| !self.nature.has(id, Trouble::Unlisted, at));
        Ok(DistributionPage {
            distributions: ids.map(|id| in_front_of(id, &domain(id))).collect(),
            next_marker: None,
        })
    }

    async fn details(&self, id: &str) -> Result<DistributionDetails, CdnError> {
        self.travel().await;
        let at = self.elapsed();
        if self.nature.has(id, Trouble::Unread, at) {
            return Err(CdnError::Unknown("503".to_owned()));
        }
        if self.nature.has(id, Trouble::Unlisted, at) {
            return Err(cdn_error(Refusal::NoSuchDistribution));
        }
        self.state().known.entry(id.to_owned()).or_insert(at);
        Ok(DistributionDetails::default())
    }

    async fn cache_policy(&self, _: &str) -> Result<CacheKey, CdnError> {
        unreachable!("no distribution has a policy of its own")
    }

    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError> {
        let order = Order {
            distribution_id: batch.distribution_id.clone(),
            caller_reference: batch.caller_reference.clone(),
            items: batch.items.iter().map(ToString::to_string).collect(),
        };
        let not_sent = self
            .nature
            .has(&order.distribution_id, Trouble::NotSent, self.elapsed());
        let answer = if not_sent {
            Err(CdnError::NotSent("no route".to_owned()))
        } else {
            self.travel().await;
            self.create(&order)
        };
        let attempt = Attempt {
            at: self.elapsed(),
            order,
            answer: answer.as_ref().err().map_or("created", CdnError::label),
        };
        let number = {
            let mut state = self.state();
            state.attempts.push(attempt);
            state.attempts.len()
        };
        self.travel().await;
        let lost = matches!(&answer, Err(CdnError::Unknown(text)) if text == "lost");
        if lost && number.is_multiple_of(3) {
            std::panic::resume_unwind(Box::new("a fault of the client's"));
        }
        answer.map(|Made { id, completed }| CreatedInvalidation {
            cloudfront_id: id,
            completed,
        })
    }

    async fn invalidation(&self, of: &str, id: &str) -> Result<SeenInvalidation, CdnError> {
        self.travel().await;
        self.read(of)?;
        if self.nature.hidden.iter().any(|hidden| hidden == of) {
            return Err(CdnError::Denied("AccessDenied: not authorized".to_owned()));
        }
        let state = self.state();
        let one = state.model.invalidation(of, id);
        let one = one.ok_or_else(|| CdnError::Refused("NoSuchInvalidation".to_owned()))?;
        Ok(SeenInvalidation {
            completed: state.model.is_completed(one, self.now()),
            caller_reference: one.caller_reference.clone(),
            items: one.items.clone(),
        })
    }

    async fn newest_invalidations(
        &self,
        id: &str,
        marker: Option<&str>,
    ) -> Result<InvalidationPage, CdnError> {
        self.travel().await;
        self.read(id)?;
        let begin: usize = marker.map_or(0, |marker| marker.parse().unwrap());
        let (state, now) = (self.state(), self.now());
        let mut newest = state.model.newest(id).skip(begin);
        let page = newest.by_ref().take(PAGE).map(|one| ListedInvalidation {
            cloudfront_id: one.id.clone(),
            completed: state.model.is_completed(one, now),
            created_at: one.created_at,
        });
        Ok(InvalidationPage {
            invalidations: page.collect(),
            next_marker: newest.next().map(|_| (begin + PAGE).to_string()),
        })
    }
}
