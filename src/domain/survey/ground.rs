//! What a survey stands on: how a distribution serves what its buckets have.

use std::sync::Arc;

use super::reach::{self, Source};
use crate::domain::{
    catalogue::{CachePolicy, Catalogue, Distribution},
    mapping::MappingPolicy,
    origin::Server,
};

/// A distribution, and what is configured about it.
#[derive(Debug, Clone)]
pub struct Ground {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) distribution_id: String,
    /// What the paths begin with that rules make of keys: what is cached there has no keys of its own.
    pub(super) derived: Vec<String>,
    /// What only unusual spellings of paths have, which are not those of the keys that a listing gives.
    pub(super) unusual: Vec<String>,
}

/// What makes a survey void if it changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Footing {
    distribution: Distribution,
    policies: Vec<Option<CachePolicy>>,
}

impl Ground {
    /// `None` if the catalogue does not have the distribution.
    pub fn new(
        catalogue: Arc<Catalogue>,
        policy: &MappingPolicy,
        distribution_id: &str,
    ) -> Option<Self> {
        let distribution = catalogue.get(distribution_id)?;
        let origins = distribution.origins.iter();
        let addresses: Vec<_> = origins.flat_map(|one| catalogue.addresses(one)).collect();
        let rules = policy.rules.iter();
        let rules = rules.filter(|rule| addresses.iter().any(|at| at.bucket == rule.bucket()));
        let derived = rules.flat_map(|rule| rule.derived_stems().map(str::to_owned));
        let plus = addresses.iter().map(|at| match at.server {
            Server::Rest => "+",
            Server::Website | Server::Custom => "%2B",
        });
        let own = policy.distributions.get(distribution_id);
        let own = own.into_iter().flat_map(|own| &own.spellings);
        let own = own.flat_map(|(_, texts)| texts.iter().map(String::as_str));
        let mut unusual: Vec<_> = plus.chain(own).map(str::to_owned).collect();
        unusual.sort_unstable();
        unusual.dedup();
        Some(Self {
            derived: derived.collect(),
            unusual,
            distribution_id: distribution_id.to_owned(),
            catalogue,
        })
    }

    pub fn distribution_id(&self) -> &str {
        &self.distribution_id
    }

    pub(super) fn footing(&self) -> Footing {
        let Some(distribution) = self.catalogue.get(&self.distribution_id) else {
            return Footing::default();
        };
        let behaviours = distribution.behaviours.iter();
        let policies = behaviours.map(|one| self.catalogue.cache_policy(one));
        Footing {
            distribution: distribution.clone(),
            policies: policies.collect(),
        }
    }

    /// Where everything comes from that is cached under paths with this stem; `None` if that cannot be known.
    pub(super) fn sources(&self, stem: &str) -> Option<Vec<Source>> {
        let is_derived = |one: &String| stem.starts_with(one.as_str()) || one.starts_with(stem);
        if self.derived.iter().any(is_derived) {
            return None;
        }
        reach::sources(&self.catalogue, &self.distribution_id, stem)
    }
}
