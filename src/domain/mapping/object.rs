//! Finds the URLs under which one distribution serves an object, and their items.

use super::{
    DISABLED, DistributionPolicy, LEFT_OUT, Mapping, MappingPolicy, OUTSIDE, Skip, Target,
};
use crate::domain::{
    catalogue::{
        Behaviour, CacheKey, CachePolicy, Caching, Catalogue, Details, Distribution, Serving,
    },
    origin::Address,
    path::{Item, Spelling, Unnameable, spell, spell_as},
    rules::RuleMatch,
    wait::Wait,
};

/// A changed object, and the rules that match it.
pub(super) struct ChangedObject<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) policy: &'a MappingPolicy,
    pub(super) key: &'a str,
    pub(super) matches: Vec<RuleMatch<'a>>,
}

/// The result for one distribution, while it is collected.
struct Found<'a> {
    distribution: &'a Distribution,
    own: &'a DistributionPolicy,
    targets: Vec<Target>,
    dead: Vec<String>,
    /// Why possible URLs have no item. Only used if there are no targets.
    notes: Vec<String>,
    /// Ids of cache policies that have never been read.
    unread: Vec<String>,
}

/// An origin through which a distribution serves the object.
#[derive(Clone, Copy)]
struct Via<'a> {
    origin: &'a str,
    address: &'a Address,
}

/// Why a path serves the object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Itself,
    Root,
    Index,
}

impl ChangedObject<'_> {
    /// Adds what one distribution needs, or what the catalogue lacks to know that.
    pub(super) fn map(&self, serving: &Serving, mapping: &mut Mapping) {
        let distribution = &*serving.distribution;
        let usual = DistributionPolicy::default();
        let own = self
            .policy
            .distributions
            .get(&distribution.id)
            .unwrap_or(&usual);
        if !own.enabled {
            return mapping.skip(distribution, LEFT_OUT);
        }
        if !distribution.enabled {
            return mapping.skip(distribution, DISABLED);
        }
        if distribution.needs_details() {
            let wait = Wait::Details(distribution.id.clone());
            return mapping.waits.push(wait);
        }
        let mut found = Found {
            distribution,
            own,
            targets: Vec::new(),
            dead: Vec::new(),
            notes: Vec::new(),
            unread: Vec::new(),
        };
        if self.matches.iter().any(|one| one.rule.is_instead()) {
            found
                .notes
                .push("a rule with instead = true has no item for this key".to_owned());
        } else {
            for (index, address) in &serving.origins {
                let origin = distribution.origins[*index].id.as_str();
                if let Some(path) = viewer_path(self.key, &address.prefix) {
                    self.map_path(&mut found, Via { origin, address }, &path);
                }
            }
        }
        for found_rule in &self.matches {
            self.map_rule(&mut found, found_rule);
        }
        let Found {
            targets,
            dead,
            notes,
            unread,
            ..
        } = found;
        if !unread.is_empty() {
            let waits = unread.into_iter().map(|policy_id| Wait::Policy {
                distribution_id: distribution.id.clone(),
                policy_id,
            });
            return mapping.waits.extend(waits);
        }
        if targets.is_empty() && dead.is_empty() {
            let why = if notes.is_empty() {
                OUTSIDE.to_owned()
            } else {
                notes.join("; ")
            };
            mapping.skip(distribution, why);
        }
        mapping.targets.extend(targets);
        mapping.dead.extend(dead.into_iter().map(|why| Skip {
            distribution_id: Some(distribution.id.clone()),
            why,
        }));
    }

    /// Maps the object's own path, and the paths of the root object and of index documents.
    fn map_path(&self, found: &mut Found<'_>, via: Via<'_>, path: &str) {
        let details = &found.distribution.details;
        if let Details::Read {
            root: Some(root), ..
        } = details
            && path.strip_prefix('/') == Some(root.trim_start_matches('/'))
        {
            // It is not documented which of the two paths selects the behaviour.
            let url = spell(path).url;
            self.map_url(found, via, Reason::Root, spell("/"), "/");
            self.map_url(found, via, Reason::Root, spell("/"), &url);
        }
        if path == "/" && found.has_root() {
            found.note(|| "the default root object is served for / instead".to_owned());
        } else if via.address.website && path.ends_with('/') {
            // S3 User Guide, "Configuring an index document".
            found.note(|| format!("the website endpoint answers {path} with its index document"));
        } else {
            self.map_name(found, via, Reason::Itself, path);
        }
        let own = found.own;
        let documents = own
            .index_documents
            .as_ref()
            .unwrap_or(&self.policy.index_documents);
        let without_slash = own
            .index_without_slash
            .unwrap_or(self.policy.index_without_slash);
        for document in documents {
            let Some(folder) = path.strip_suffix(document.as_str()) else {
                continue;
            };
            let Some(bare) = folder.strip_suffix('/') else {
                continue;
            };
            let bare = Some(bare).filter(|bare| without_slash && !bare.is_empty());
            for name in [Some(folder), bare].into_iter().flatten() {
                self.map_name(found, via, Reason::Index, name);
            }
        }
    }

    /// Maps one path, in all configured spellings.
    fn map_name(&self, found: &mut Found<'_>, via: Via<'_>, reason: Reason, path: &str) {
        for respellings in found.own.spellings(path) {
            let spelling = spell_as(path, &respellings);
            let url = spelling.url.clone();
            self.map_url(found, via, reason, spelling, &url);
        }
    }

    /// Adds the items of one path, if the behaviour for `url` can cache the object.
    fn map_url(
        &self,
        found: &mut Found<'_>,
        via: Via<'_>,
        reason: Reason,
        spelling: Spelling,
        url: &str,
    ) {
        let Some(behaviour) = found.distribution.behaviour(url) else {
            return found.note(|| format!("no behaviour matches {url}"));
        };
        if !found.distribution.reaches(behaviour, via.origin) {
            return found
                .note(|| format!("{} sends {url} to {}", named(behaviour), behaviour.target));
        }
        // If there is a root object, a request for / asks the website endpoint for that and not for
        // the index document. It is not documented whether a function sees / before that. Index
        // documents that are configured for the distribution always count.
        let rooted = url == "/" && found.has_root();
        let serves_index = (via.address.website && !rooted)
            || behaviour.rewrites
            || found.own.index_documents.is_some();
        if reason == Reason::Index && !serves_index {
            return;
        }
        if behaviour.smooth_streaming {
            return found.note(|| {
                format!(
                    "{} serves Smooth Streaming, which cannot be invalidated",
                    named(behaviour)
                )
            });
        }
        let Some(key) = found.cache_key(self.catalogue, behaviour) else {
            return;
        };
        if !key.caches {
            return found.note(|| format!("{} never caches {url}", named(behaviour)));
        }
        let (items, widened) = if key.query_strings {
            spelling.with_query_strings()
        } else {
            (vec![spelling.item], spelling.widened)
        };
        for item in items {
            let because = self.because(found, via, reason, behaviour, widened, key);
            match widened.and_then(|_| self.policy.wildcards.forbids(&item)) {
                Some(why) => found.bury(format!("{why} ({because})")),
                None => found.push(item, because),
            }
        }
    }

    fn because(
        &self,
        found: &Found<'_>,
        via: Via<'_>,
        reason: Reason,
        behaviour: &Behaviour,
        widened: Option<Unnameable>,
        key: CacheKey,
    ) -> String {
        let mut parts = vec![format!("origin {}", via.origin)];
        if !via.address.prefix.is_empty() {
            parts.push(format!("origin path {} removed", via.address.prefix));
        }
        parts.push(named(behaviour));
        match reason {
            Reason::Itself => {}
            Reason::Root => parts.push("default root object".to_owned()),
            Reason::Index => parts.push("index document".to_owned()),
        }
        if key.query_strings {
            parts.push("query strings in the cache key".to_owned());
        }
        if let Some(why) = widened {
            parts.push(format!("widened: {why}"));
        }
        if found.distribution.details == Details::Denied {
            parts.push("root object unknown: GetDistributionConfig is denied".to_owned());
        }
        if self.catalogue.cache_policy(behaviour) == Some(CachePolicy::Denied) {
            parts.push("query strings unknown: GetCachePolicy is denied".to_owned());
        }
        parts.join(", ")
    }

    /// Adds the items of a rule, whether or not the object's own path has one.
    fn map_rule(&self, found: &mut Found<'_>, found_rule: &RuleMatch<'_>) {
        let glob = found_rule.rule.glob();
        for rendered in found_rule.items() {
            let rendered = match rendered {
                Ok(rendered) => rendered,
                Err(why) => {
                    found.bury(format!("rule {glob:?} does not give a legal item: {why}"));
                    continue;
                }
            };
            let item = rendered.item;
            let no_tags = matches!(
                found.distribution.details,
                Details::Read {
                    cache_tags: false,
                    ..
                }
            );
            if item.is_tag() && no_tags {
                found.note(|| {
                    format!("rule {glob:?} has {item}, but the distribution stores no cache tags")
                });
                continue;
            }
            let Some(why) = rendered.widened else {
                found.push(item, format!("rule {glob:?}"));
                continue;
            };
            match self.policy.wildcards.forbids(&item) {
                Some(forbidden) => found.bury(format!("{forbidden} (rule {glob:?}, {why})")),
                None => found.push(item, format!("rule {glob:?}, widened: {why}")),
            }
        }
    }
}

impl Found<'_> {
    /// Whether the distribution has a default root object.
    fn has_root(&self) -> bool {
        matches!(
            self.distribution.details,
            Details::Read { root: Some(_), .. }
        )
    }

    /// Adds an item, unless another path has already led to it.
    fn push(&mut self, item: Item, because: String) {
        if !self.targets.iter().any(|target| target.item == item) {
            self.targets.push(Target {
                distribution_id: self.distribution.id.clone(),
                item,
                because,
            });
        }
    }

    fn bury(&mut self, why: String) {
        if !self.dead.contains(&why) {
            self.dead.push(why);
        }
    }

    fn note(&mut self, note: impl FnOnce() -> String) {
        // Notes are only shown if there is no item, and then a few are enough.
        if self.targets.is_empty() && self.notes.len() < 5 {
            let note = note();
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// What a behaviour caches. If its policy has never been read, takes note of that.
    fn cache_key(&mut self, catalogue: &Catalogue, behaviour: &Behaviour) -> Option<CacheKey> {
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

fn named(behaviour: &Behaviour) -> String {
    match behaviour.pattern.as_str() {
        "*" => "the default behaviour".to_owned(),
        pattern => format!("behaviour {pattern}"),
    }
}

/// The viewer path of `key` at an origin with `prefix`; `None` if viewers cannot reach the key.
/// CloudFront requests origin path + viewer path from the origin, so the prefix is removed, but
/// only at a segment boundary. Source: CloudFront Developer Guide, "Origin path".
fn viewer_path(key: &str, prefix: &str) -> Option<String> {
    let asked = format!("/{key}");
    let path = asked.strip_prefix(prefix)?;
    path.starts_with('/').then(|| path.to_owned())
}
