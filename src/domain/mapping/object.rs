//! One object at one distribution: by which of its URLs viewers can have it.

use super::{
    DISABLED, DistributionPolicy, LEFT_OUT, Mapping, MappingPolicy, MissingKnowledge, OUTSIDE,
    Skip, Target,
};
use crate::domain::{
    catalogue::{
        Behaviour, CacheKey, CachePolicy, Caching, Catalogue, Details, Distribution, Serving,
    },
    origin::Address,
    path::{Item, Spelling, Unnameable, spell, spell_as},
    rules::RuleMatch,
};

/// A changed object, and the rules that are about it.
pub(super) struct Object<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) policy: &'a MappingPolicy,
    pub(super) key: &'a str,
    pub(super) matches: Vec<RuleMatch<'a>>,
}

/// What was found for an object at one distribution.
struct Found<'a> {
    distribution: &'a Distribution,
    own: &'a DistributionPolicy,
    targets: Vec<Target>,
    dead: Vec<String>,
    /// Why what could have been a target is none.
    notes: Vec<String>,
    wanted: &'a mut MissingKnowledge,
}

/// An origin of a distribution that has the object.
#[derive(Clone, Copy)]
struct Via<'a> {
    origin: &'a str,
    address: &'a Address,
}

/// Why a path gives the object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Itself,
    Root,
    Index,
}

impl Object<'_> {
    pub(super) fn map(
        &self,
        serving: &Serving,
        mapping: &mut Mapping,
        wanted: &mut MissingKnowledge,
    ) {
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
            return wanted.details.push(distribution.id.clone());
        }
        let mut found = Found {
            distribution,
            own,
            targets: Vec::new(),
            dead: Vec::new(),
            notes: Vec::new(),
            wanted,
        };
        if self.matches.iter().any(|one| one.rule.is_instead()) {
            found
                .notes
                .push("a rule with instead = true has no item for it".to_owned());
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
            ..
        } = found;
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

    /// The object's own path, and those that give it by another name.
    fn map_path(&self, found: &mut Found<'_>, via: Via<'_>, path: &str) {
        let details = &found.distribution.details;
        if let Details::Read {
            root: Some(root), ..
        } = details
            && path.strip_prefix('/') == Some(root.trim_start_matches('/'))
        {
            // Which of the two CloudFront looks for a behaviour by is not documented.
            let url = spell(path).url;
            self.map_url(found, via, Reason::Root, spell("/"), "/");
            self.map_url(found, via, Reason::Root, spell("/"), &url);
        }
        if path == "/" && found.has_root() {
            found.note(|| "the default root object is served for /".to_owned());
        } else if via.address.website && path.ends_with('/') {
            // S3 User Guide, "Configuring an index document".
            found.note(|| format!("a website endpoint answers {path} with its index document"));
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

    /// One path, in all the ways in which viewers write it.
    fn map_name(&self, found: &mut Found<'_>, via: Via<'_>, reason: Reason, path: &str) {
        for respellings in found.own.spellings(path) {
            let spelling = spell_as(path, &respellings);
            let url = spelling.url.clone();
            self.map_url(found, via, reason, spelling, &url);
        }
    }

    /// The item of one path, if the behaviour that answers requests for `url` can have the
    /// object in its cache.
    fn map_url(
        &self,
        found: &mut Found<'_>,
        via: Via<'_>,
        reason: Reason,
        spelling: Spelling,
        url: &str,
    ) {
        let Some(behaviour) = found.distribution.behaviour(url) else {
            return found.note(|| format!("no behaviour is for {url}"));
        };
        if !found.distribution.reaches(behaviour, via.origin) {
            return found
                .note(|| format!("{} sends {url} to {}", named(behaviour), behaviour.target));
        }
        // A request for / asks a website endpoint for the root object, where there is one. Whether
        // a function sees / before that is not documented, and the owner may know better.
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
                    "{} is for Smooth Streaming, which cannot be invalidated",
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
            parts.push(format!("origin path {} cut", via.address.prefix));
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

    /// What the owner says goes with the object, wherever its own path leads.
    fn map_rule(&self, found: &mut Found<'_>, found_rule: &RuleMatch<'_>) {
        let glob = found_rule.rule.glob();
        for rendered in found_rule.items() {
            let rendered = match rendered {
                Ok(rendered) => rendered,
                Err(why) => {
                    found.bury(format!("rule {glob:?} makes no item of it: {why}"));
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
                found.note(|| format!("rule {glob:?} gives {item}, and it keeps no cache tags"));
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
    /// Whether something stands in for / where viewers ask for that.
    fn has_root(&self) -> bool {
        matches!(
            self.distribution.details,
            Details::Read { root: Some(_), .. }
        )
    }

    /// Several paths may lead to one item.
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
        // Said only of an object that has no item, where the first of a kind tells enough.
        if self.targets.is_empty() && self.notes.len() < 5 {
            let note = note();
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// What a behaviour caches; where that was never read, it is asked for.
    fn cache_key(&mut self, catalogue: &Catalogue, behaviour: &Behaviour) -> Option<CacheKey> {
        match catalogue.cache_policy(behaviour) {
            Some(CachePolicy::Read(key)) => Some(key),
            Some(CachePolicy::Denied) => Some(CacheKey {
                caches: true,
                query_strings: false,
            }),
            None => {
                if let Caching::Policy(id) = &behaviour.caching {
                    self.wanted.policies.push(id.clone());
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

/// The path under which viewers get `key` through an origin that puts `prefix` before what
/// they ask for, or `None` where they cannot. `CloudFront` asks for origin path + viewer path,
/// so the origin path is cut off, and it ends where a segment ends. Source: `CloudFront`
/// Developer Guide, "Origin path".
fn viewer_path(key: &str, prefix: &str) -> Option<String> {
    let asked = format!("/{key}");
    let path = asked.strip_prefix(prefix)?;
    path.starts_with('/').then(|| path.to_owned())
}
