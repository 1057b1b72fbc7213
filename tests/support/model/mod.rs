//! CloudFront's invalidations as a pure model: what a call makes, finds again or meets, and when
//! an invalidation is completed. Time comes in as a parameter; nothing here waits or draws lots.
//!
//! Both fakes of CloudFront are adapters over it: `cloudfront` speaks its HTTP API in real time,
//! `simulated` implements the service's port on a virtual clock.

mod faults;
mod items;
mod quotas;

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

pub use faults::Fault;
pub use quotas::Quotas;

/// Items in one call.
const MOST_ITEMS: usize = 3_000;

/// An account's distributions, their invalidations, and what is let through.
#[derive(Default)]
pub struct CloudFrontModel {
    pub quotas: Quotas,
    distributions: BTreeSet<String>,
    refused_items: BTreeSet<String>,
    propagation: Duration,
    made: Vec<Invalidation>,
    calls: Vec<Call>,
}

/// An invalidation that was made.
#[derive(Debug, Clone)]
pub struct Invalidation {
    pub id: String,
    pub distribution_id: String,
    pub caller_reference: String,
    pub items: Vec<String>,
    pub created_at: Timestamp,
    /// Made by somebody else than the service.
    foreign: bool,
}

/// What a CreateInvalidation call asks for.
#[derive(Debug, Clone)]
pub struct Order {
    pub distribution_id: String,
    pub caller_reference: String,
    pub items: Vec<String>,
}

/// A CreateInvalidation call of the service, and how it was answered.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Timestamp,
    pub order: Order,
    /// `created`, `repeated`, `lost` with or after the invalidation, `lost before` it, or the
    /// code of a refusal.
    pub answer: &'static str,
}

/// What became of a CreateInvalidation call.
#[derive(Debug, Clone)]
pub enum Outcome {
    Created(Invalidation),
    /// The invalidation that the reference already stands for.
    Repeated(Invalidation),
    Refused(Refusal),
    /// Nothing was done, and nothing is answered.
    LostBefore,
    /// It was done or refused, and nothing is answered.
    LostAfter,
}

/// Why CloudFront does not make an invalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoSuchDistribution,
    BatchTooLarge,
    InvalidItems,
    ReferenceConflict,
    Throttled,
    TooManyInProgress { wildcards: bool },
    Unavailable(u16),
    AccessDenied,
}

impl Refusal {
    /// CloudFront's name for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoSuchDistribution => "NoSuchDistribution",
            Self::BatchTooLarge => "BatchTooLarge",
            Self::InvalidItems | Self::ReferenceConflict => "InvalidArgument",
            Self::Throttled => "Throttling",
            Self::TooManyInProgress { .. } => "TooManyInvalidationsInProgress",
            Self::Unavailable(_) => "ServiceUnavailable",
            Self::AccessDenied => "AccessDenied",
        }
    }
}

impl Outcome {
    fn answer(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Repeated(_) => "repeated",
            Self::Refused(refusal) => refusal.code(),
            Self::LostBefore => "lost before",
            Self::LostAfter => "lost",
        }
    }
}

impl CloudFrontModel {
    /// Makes a distribution known. Others do not exist.
    pub fn add_distribution(&mut self, id: &str) {
        self.distributions.insert(id.to_owned());
    }

    /// Invalidations are completed so long after they were made; at once by default.
    pub fn set_propagation(&mut self, span: Duration) {
        self.propagation = span;
    }

    /// Makes no invalidation with this item.
    pub fn refuse_item(&mut self, item: &str) {
        self.refused_items.insert(item.to_owned());
    }

    /// Takes all legal items again.
    pub fn accept_items(&mut self) {
        self.refused_items.clear();
    }

    /// Somebody else makes an invalidation, which nothing refuses.
    pub fn add_foreign(&mut self, now: Timestamp, order: Order) {
        self.push(now, order, true);
    }

    /// A CreateInvalidation call, with what goes wrong with it.
    pub fn call(&mut self, now: Timestamp, order: &Order, fault: Option<Fault>) -> Outcome {
        let outcome = match fault {
            Some(Fault::LostBefore) => Outcome::LostBefore,
            fault => {
                let answered = self.answered(now, order, fault);
                match fault {
                    Some(Fault::LostAfter | Fault::HangAfter) => Outcome::LostAfter,
                    _ => answered.unwrap_or_else(Outcome::Refused),
                }
            }
        };
        self.calls.push(Call {
            at: now,
            order: order.clone(),
            answer: outcome.answer(),
        });
        outcome
    }

    fn answered(
        &mut self,
        now: Timestamp,
        order: &Order,
        fault: Option<Fault>,
    ) -> Result<Outcome, Refusal> {
        self.quotas.admit_call(now)?;
        if let Some(refusal) = fault.and_then(Fault::refusal) {
            return Err(refusal);
        }
        self.create(now, order)
    }

    fn create(&mut self, now: Timestamp, order: &Order) -> Result<Outcome, Refusal> {
        if !self.distributions.contains(&order.distribution_id) {
            return Err(Refusal::NoSuchDistribution);
        }
        if order.items.len() > MOST_ITEMS {
            return Err(Refusal::BatchTooLarge);
        }
        if order.items.is_empty() || !order.items.iter().all(|item| items::is_legal(item)) {
            return Err(Refusal::InvalidItems);
        }
        let is_known = |one: &&Invalidation| one.caller_reference == order.caller_reference;
        let known = self.of(&order.distribution_id).find(is_known).cloned();
        if let Some(known) = known {
            if known.items != order.items {
                return Err(Refusal::ReferenceConflict);
            }
            // It is as many items as any other call, but no invalidation more.
            self.quotas.admit_items(now, &order.items)?;
            return Ok(Outcome::Repeated(known));
        }
        if order
            .items
            .iter()
            .any(|item| self.refused_items.contains(item))
        {
            return Err(Refusal::InvalidItems);
        }
        let open = self.of(&order.distribution_id);
        let open = open.filter(|one| !self.is_completed(one, now));
        let open = quotas::counted(open.flat_map(|one| &one.items));
        self.quotas.admit_in_progress(open, &order.items)?;
        self.quotas.admit_items(now, &order.items)?;
        Ok(Outcome::Created(self.push(now, order.clone(), false)))
    }

    fn push(&mut self, now: Timestamp, order: Order, foreign: bool) -> Invalidation {
        let invalidation = Invalidation {
            id: format!("I{:013}", self.made.len() + 1),
            distribution_id: order.distribution_id,
            caller_reference: order.caller_reference,
            items: order.items,
            created_at: now,
            foreign,
        };
        self.made.push(invalidation.clone());
        invalidation
    }

    pub fn is_completed(&self, one: &Invalidation, now: Timestamp) -> bool {
        now.duration_since(one.created_at).unsigned_abs() >= self.propagation
    }

    /// The invalidations of a distribution, the oldest first.
    fn of(&self, distribution_id: &str) -> impl DoubleEndedIterator<Item = &Invalidation> {
        let of_it = move |one: &&Invalidation| one.distribution_id == distribution_id;
        self.made.iter().filter(of_it)
    }

    /// An invalidation by its id.
    pub fn invalidation(&self, distribution_id: &str, id: &str) -> Option<&Invalidation> {
        self.of(distribution_id).find(|one| one.id == id)
    }

    /// The invalidations of a distribution, whoever made them, the newest first.
    pub fn newest(&self, distribution_id: &str) -> impl Iterator<Item = &Invalidation> {
        self.of(distribution_id).rev()
    }

    /// What the service made, in order.
    pub fn made(&self) -> Vec<Invalidation> {
        let ours = self.made.iter().filter(|one| !one.foreign);
        ours.cloned().collect()
    }

    /// What the service called, in order.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }
}
