//! Merges what waits at a distribution into wildcards, where that costs less than single paths.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::{
    Settings,
    listings::{Knowledge, KnownKeys},
    plan::Terms,
};
use crate::{
    domain::{
        consolidate::{self, Caps, Drain, Guard, Headroom, Known, Waiting, Wildcards, WindowTerms},
        economy::Economy,
        mapping::MappingPolicy,
        path::Item,
        survey::{Bounds, Ground, Survey, Surveyed},
    },
    ports::{StoreError, catalogue::CatalogueHandle, dispatch::BatchStore},
};

/// How many wildcards that CloudFront has refused are remembered.
const MOST_REFUSED: usize = 1_000;

/// Merges for all distributions.
#[derive(Clone)]
pub(super) struct Merger {
    economy: Economy,
    policy: Arc<MappingPolicy>,
    drain: Drain,
    catalogue: CatalogueHandle,
    known: Arc<KnownKeys>,
    refused: Arc<Mutex<VecDeque<(String, Item)>>>,
}

/// What is done about a plan's items before they are merged.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    surveyed: Option<Arc<Surveyed>>,
    /// A survey that is to be made.
    pub(super) survey: Option<Survey>,
    /// Whether automatic items wait for it.
    pub(super) waits: bool,
}

impl Merger {
    pub(super) fn new(
        settings: &Settings,
        catalogue: CatalogueHandle,
        known: Arc<KnownKeys>,
    ) -> Self {
        Self {
            economy: settings.economy.clone(),
            policy: Arc::clone(&settings.mapping),
            drain: settings.drain(),
            catalogue,
            known,
            refused: Arc::default(),
        }
    }

    /// Takes note that CloudFront has refused a wildcard that was made. Until the next start, it is not made
    /// again.
    pub(super) fn refuse(&self, distribution_id: &str, item: &Item) {
        let mut refused = self.refused();
        if refused.len() == MOST_REFUSED {
            refused.pop_front();
        }
        refused.push_back((distribution_id.to_owned(), item.clone()));
    }

    fn refused(&self) -> MutexGuard<'_, VecDeque<(String, Item)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known about the keys that wildcards would evict, and what has to be found out first. `may_ask`
    /// is whether the items have not waited for that already.
    pub(super) fn look(
        &self,
        distribution_id: &str,
        waiting: &[Waiting],
        terms: &Terms,
        may_ask: bool,
    ) -> Outlook {
        if !may_merge(&terms.caps) || !self.economy.list_objects {
            return Outlook::default();
        }
        let texts = consolidate::texts(waiting);
        if texts.len() < 2 {
            return Outlook::default();
        }
        let ground = self
            .catalogue
            .get()
            .and_then(|catalogue| Ground::new(catalogue, &self.policy, distribution_id));
        let Some(ground) = ground else {
            return Outlook::default();
        };
        let Knowledge {
            surveyed,
            serves,
            is_old,
            is_busy,
        } = self.known.about(&ground, &texts, terms.now);
        let survey = if is_old && may_ask && !is_busy {
            let bounds = Bounds::of(texts.len(), terms.evictions_per_path, &self.drain);
            let texts = texts.into_iter().map(str::to_owned).collect();
            Survey::new(ground, texts, bounds)
        } else {
            None
        };
        Outlook {
            waits: !serves && may_ask && (survey.is_some() || is_busy),
            surveyed,
            survey,
        }
    }

    /// The wildcards that were made lately, which the guard lets rest.
    pub(super) async fn resting(
        &self,
        store: &dyn BatchStore,
        distribution_id: &str,
        outlook: &Outlook,
        now: Timestamp,
    ) -> Result<Vec<Item>, StoreError> {
        if outlook.surveyed.is_none() || self.economy.min_interval.is_zero() {
            return Ok(Vec::new());
        }
        let since = now - self.economy.min_interval;
        store.made_since(distribution_id, since).await
    }

    /// Whether [`Self::merge`] has anything to compute.
    pub(super) fn computes(&self, outlook: &Outlook) -> bool {
        outlook.surveyed.is_some() || self.economy.widen_unlisted
    }

    /// Merges the automatic items. It takes a while if there are very many.
    pub(super) fn merge(
        &self,
        distribution_id: &str,
        waiting: &[Waiting],
        terms: &Terms,
        outlook: &Outlook,
        resting: Vec<Item>,
    ) -> Wildcards {
        let known = match &outlook.surveyed {
            Some(surveyed) => surveyed.known(),
            None if self.economy.widen_unlisted => Known::nothing(),
            None => return Wildcards::default(),
        };
        if !may_merge(&terms.caps) {
            return Wildcards::default();
        }
        let refused = self.refused();
        let refused = refused.iter().filter(|(id, _)| id == distribution_id);
        let refused = refused.map(|(_, item)| item.clone()).collect();
        let terms = WindowTerms {
            guard: Guard {
                refused,
                ..self
                    .policy
                    .wildcards
                    .guard(resting, self.economy.widen_unlisted)
            },
            evictions_per_path: terms.evictions_per_path,
            drain: self.drain,
        };
        consolidate::wildcards(waiting, known, &terms)
    }
}

/// Whether automatic items may be planned at all.
fn may_merge(caps: &Caps) -> bool {
    caps.allowance.automatic != Headroom::NONE
}
