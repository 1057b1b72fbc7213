//! What is found for a changed object at one distribution.

use super::{DistributionPolicy, Mapping, OUTSIDE, Reaction, Skip, Target};
use crate::domain::{
    catalogue::{Behaviour, CacheKey, CachePolicy, Caching, Catalogue, Distribution},
    path::Item,
    wait::Wait,
};

/// The result for one distribution, while it is collected.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) distribution: &'a Distribution,
    pub(super) own: &'a DistributionPolicy,
    pub(super) targets: Vec<Target>,
    pub(super) dead: Vec<String>,
    /// Why possible URLs have no item. Only used if there are no targets.
    pub(super) notes: Vec<String>,
    /// What may stay stale although all items are sent.
    pub(super) warnings: Vec<String>,
    /// Ids of cache policies that have never been read.
    pub(super) unread: Vec<String>,
}

impl<'a> Found<'a> {
    pub(super) fn none(distribution: &'a Distribution, own: &'a DistributionPolicy) -> Self {
        Self {
            distribution,
            own,
            targets: Vec::new(),
            dead: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Whether the distribution has a default root object.
    pub(super) fn has_root(&self) -> bool {
        self.distribution.root().is_some()
    }

    /// Adds what was found to the mapping.
    pub(super) fn conclude(mut self, mapping: &mut Mapping) {
        let id = &self.distribution.id;
        if !self.unread.is_empty() {
            let waits = self.unread.into_iter().map(|policy_id| Wait::Policy {
                distribution_id: id.clone(),
                policy_id,
            });
            return mapping.waits.extend(waits);
        }
        if let Some(rerouted) = &self.distribution.rerouted
            && rerouted.buckets
            && self.own.origin_change == Reaction::Tell
        {
            self.warnings.push(format!(
                "the distribution had other origins or behaviours before {}, and what it had cached by \
                 then may be stale: invalidate /*, or set origin_change = \"clear\"",
                rerouted.seen_at
            ));
        }
        // Nothing stays stale where everything is invalidated.
        if self.targets.iter().any(|one| one.item.is_root_wildcard()) {
            self.warnings.clear();
        }
        let warnings = self.warnings.iter().map(|text| format!("warning: {text}"));
        let warnings: Vec<_> = warnings.collect();
        if self.targets.is_empty() && self.dead.is_empty() {
            if self.notes.is_empty() {
                self.notes.push(OUTSIDE.to_owned());
            } else {
                self.notes.extend(warnings.iter().cloned());
            }
            mapping.skip(self.distribution, self.notes.join("; "));
        }
        let with_warnings = |mut why: String| {
            for warning in &warnings {
                why.push_str("; ");
                why.push_str(warning);
            }
            why
        };
        mapping
            .targets
            .extend(self.targets.into_iter().map(|target| Target {
                because: with_warnings(target.because),
                ..target
            }));
        let dead = self.dead.into_iter().map(|why| Skip {
            distribution_id: Some(id.clone()),
            why: with_warnings(why),
        });
        mapping.dead.extend(dead);
    }

    /// Adds an item, unless another path has already led to it.
    pub(super) fn push(&mut self, item: Item, because: String) {
        if !self.targets.iter().any(|target| target.item == item) {
            self.targets.push(Target {
                distribution_id: self.distribution.id.clone(),
                item,
                because,
            });
        }
    }

    pub(super) fn bury(&mut self, why: String) {
        if !self.dead.contains(&why) {
            self.dead.push(why);
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn note(&mut self, note: impl FnOnce() -> String) {
        // Notes are only shown if there is no item, and then a few are enough.
        if self.targets.is_empty() && self.notes.len() < 5 {
            let note = note();
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// What a behaviour caches. If its policy has never been read, takes note of that.
    pub(super) fn cache_key(
        &mut self,
        catalogue: &Catalogue,
        behaviour: &Behaviour,
    ) -> Option<CacheKey> {
        match catalogue.cache_policy(behaviour) {
            Some(CachePolicy::Read(key)) => Some(key),
            Some(CachePolicy::Denied) => Some(CacheKey {
                caches: true,
                query_strings: false,
            }),
            None => {
                if let Caching::Policy(id) = &behaviour.caching
                    && !self.unread.contains(id)
                {
                    self.unread.push(id.clone());
                }
                None
            }
        }
    }
}
