//! What an operator should know of the account's distributions, for readiness.

use super::{MappingPolicy, Reaction, errors};
use crate::domain::catalogue::{Catalogue, Details, Distribution};

/// Each text begins with a distribution's id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// Error pages from buckets whose changes are not invalidated everywhere.
    pub error_pages: Vec<String>,
    /// Distributions whose origins have changed, so that anything may be stale.
    pub origin_changes: Vec<String>,
    /// Distributions that serve tenants only, and are not invalidated.
    pub tenants: Vec<String>,
    /// Targets of behaviours that are unknown.
    pub unknown_targets: Vec<String>,
}

impl Notices {
    pub fn of(catalogue: &Catalogue, policy: &MappingPolicy) -> Self {
        let mut notices = Self::default();
        for one in &catalogue.snapshot().distributions {
            let own = policy.distributions.get(&one.id);
            if one.enabled && one.tenants_only && own.is_none_or(|own| own.enabled) {
                notices.tenants.push(one.id.clone());
            }
            if policy.is_invalidated(one) {
                notices.add(catalogue, policy, one);
            }
        }
        notices
    }

    fn add(&mut self, catalogue: &Catalogue, policy: &MappingPolicy, one: &Distribution) {
        let own = policy.distributions.get(&one.id);
        let (error_pages, origin_change) =
            own.map_or_else(Default::default, |own| (own.error_pages, own.origin_change));
        let id = &one.id;
        for page in errors::lasting_pages(one) {
            let mut buckets = one
                .origins
                .iter()
                .filter(|origin| catalogue.is_bucket(origin));
            if error_pages == Reaction::Tell
                && buckets.any(|origin| page.comes_from(one, &origin.id))
            {
                let errors = errors::described(&page.errors);
                let text = format!("{id}: {} is kept as the page of {errors}", page.path);
                self.error_pages.push(text);
            }
        }
        if let Some(rerouted) = &one.rerouted
            && (origin_change == Reaction::Clear || rerouted.buckets)
        {
            let meanwhile = match origin_change {
                Reaction::Tell => "nothing was invalidated",
                Reaction::Clear => "/* is invalidated as soon as that is deployed",
            };
            let seen_at = rerouted.seen_at;
            let text = format!("{id}: seen at {seen_at}; {meanwhile}");
            self.origin_changes.push(text);
        }
        if catalogue.has_bucket(one) && one.details != Details::Unread && !one.needs_details() {
            for target in one.unknown_targets() {
                let text = format!("{id}: {target}");
                if !self.unknown_targets.contains(&text) {
                    self.unknown_targets.push(text);
                }
            }
        }
    }
    /// The checks of readiness, with what they warn of.
    pub fn warnings(&self) -> [(&'static str, Option<String>); 4] {
        let of = |texts: &[String], say: &dyn Fn(String) -> String| {
            (!texts.is_empty()).then(|| say(texts.join("; ")))
        };
        [
            (
                "error_pages",
                of(&self.error_pages, &|pages| {
                    format!(
                        "error pages whose changes do not reach every viewer, because CloudFront keeps \
                         them under every URL that had the error: {pages}. After a change, invalidate /* \
                         (error_pages = \"clear\" in [[distribution]] does), or lower \
                         ErrorCachingMinTTL to 10"
                    )
                }),
            ),
            (
                "origin_changes",
                of(&self.origin_changes, &|changes| {
                    format!(
                        "other origins, origin paths or behaviours, so that anything cached before may \
                         be stale: {changes}. Invalidate /* (origin_change = \"clear\" in \
                         [[distribution]] does)"
                    )
                }),
            ),
            (
                "tenants",
                of(&self.tenants, &|ids| {
                    format!(
                        "these distributions serve viewers only through their tenants, whose caches are \
                         not invalidated yet: {ids}"
                    )
                }),
            ),
            (
                "origin_groups",
                of(&self.unknown_targets, &|targets| {
                    format!(
                        "these targets of behaviours are neither origins nor origin groups, so nothing \
                         is invalidated for them: {targets}"
                    )
                }),
            ),
        ]
    }
}
