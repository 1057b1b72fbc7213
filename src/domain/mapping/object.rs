//! Finds the URLs under which one distribution serves an object, and their items.

use super::{DistributionPolicy, Mapping, MappingPolicy, Reaction, errors, found::Found};
use crate::domain::{
    catalogue::{Behaviour, CacheKey, CachePolicy, Catalogue, Details, Distribution, Serving},
    change::Effect,
    origin::{Address, Server},
    path::{Item, Named, Respelling, Spelling, Unnameable, spell, spell_as},
    rules::RuleMatch,
    wait::Wait,
};

/// A changed object, and the rules that match it.
pub(super) struct ChangedObject<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) policy: &'a MappingPolicy,
    pub(super) key: &'a str,
    pub(super) effect: Effect,
    pub(super) matches: Vec<RuleMatch<'a>>,
}

/// An origin through which a distribution serves the object.
#[derive(Clone, Copy)]
struct Via<'a> {
    origin: &'a str,
    address: &'a Address,
}

/// Why a path serves the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Itself,
    Root,
    /// An index document, for its folder's path with the slash,
    Index,
    /// or without it.
    Bare,
    /// A function may request it for the path of a folder or of the root.
    Rewritten,
}

/// A path that viewers may have requested.
struct Requested {
    reason: Reason,
    spelling: Spelling,
    /// What selects the behaviour.
    url: String,
    /// The object's own path, which is the cache key where a function has rewritten the request.
    rewritten: Option<Spelling>,
    /// Whether the origin gives another object for it, unless a function rewrites it.
    needs_function: bool,
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
        if let Some(why) = self.policy.why_not(distribution) {
            return mapping.skip(distribution, why);
        }
        if distribution.needs_details() {
            let wait = Wait::Details(distribution.id.clone());
            return mapping.waits.push(wait);
        }
        let mut found = Found::none(distribution, own);
        if self.matches.iter().any(|one| one.rule.is_instead()) {
            found
                .notes
                .push("a rule with instead = true has no item for this key".to_owned());
        } else {
            for (index, address) in &serving.origins {
                let origin = distribution.origins[*index].id.as_str();
                if let Some(path) = viewer_path(self.key, &address.prefix) {
                    let via = Via { origin, address };
                    self.map_path(&mut found, via, &path);
                    self.map_error_pages(&mut found, via, &path);
                }
            }
        }
        for found_rule in &self.matches {
            self.map_rule(&mut found, found_rule);
        }
        found.conclude(mapping);
    }

    /// Maps the object's own path, and the paths of the root object and of index documents.
    fn map_path(&self, found: &mut Found<'_>, via: Via<'_>, path: &str) {
        if found.distribution.is_root(path) {
            // It is not documented which of the two paths selects the behaviour.
            for selects in ["/", path] {
                let requested = Requested {
                    reason: Reason::Root,
                    spelling: spell("/"),
                    url: spell(selects).url,
                    rewritten: Some(spell(path)),
                    needs_function: false,
                };
                self.map_url(found, via, requested);
            }
        }
        if path == "/" && found.has_root() {
            found.note(|| "the default root object is served for / instead".to_owned());
        } else if via.address.server == Server::Website && path.ends_with('/') {
            // S3 User Guide, "Configuring an index document".
            found.note(|| format!("the website endpoint answers {path} with its index document"));
        } else {
            self.map_name(found, via, Reason::Itself, path, path);
        }
        let own = found.own;
        let without_slash = own
            .index_without_slash
            .unwrap_or(self.policy.index_without_slash);
        for document in self.index_documents(own) {
            let Some(folder) = path.strip_suffix(document.as_str()) else {
                continue;
            };
            let Some(bare) = folder.strip_suffix('/') else {
                continue;
            };
            self.map_name(found, via, Reason::Index, folder, path);
            // What still ends in a slash is the path of another folder.
            if without_slash && !bare.is_empty() && !bare.ends_with('/') {
                self.map_name(found, via, Reason::Bare, bare, path);
            }
        }
    }

    fn index_documents<'a>(&'a self, own: &'a DistributionPolicy) -> &'a [String] {
        let own = own.index_documents.as_ref();
        own.unwrap_or(&self.policy.index_documents)
    }

    /// Maps one path under which the object at `object` is served, in all ways to write it.
    fn map_name(
        &self,
        found: &mut Found<'_>,
        via: Via<'_>,
        reason: Reason,
        path: &str,
        object: &str,
    ) {
        for writing in found.own.writings(path, via.address.server) {
            let spelling = spell_as(path, &writing.respellings);
            let mut respellings = writing.respellings;
            if writing.needs_function {
                // Only so can the function have asked for the object.
                let (char, text) = ('+', "%2B");
                respellings.push(Respelling { char, text });
            }
            let rewrites = path != object || writing.needs_function;
            let requested = Requested {
                reason,
                url: spelling.url.clone(),
                spelling,
                rewritten: rewrites.then(|| spell_as(object, &respellings)),
                needs_function: writing.needs_function,
            };
            self.map_url(found, via, requested);
        }
    }

    /// Adds the items of one path, if the behaviour for its URL can cache the object.
    fn map_url(&self, found: &mut Found<'_>, via: Via<'_>, requested: Requested) {
        let Requested {
            reason,
            spelling,
            url,
            rewritten,
            needs_function,
        } = requested;
        let Some(behaviour) = found.distribution.behaviour(&url) else {
            return found.note(|| format!("no behaviour matches {url}"));
        };
        if !found.distribution.reaches(behaviour, via.origin) {
            let target = &behaviour.target;
            let mut unknown = found.distribution.unknown_targets();
            let unknown = if unknown.any(|one| one == target) {
                ", which is neither a known origin nor a known origin group"
            } else {
                ""
            };
            return found.note(|| format!("{} sends {url} to {target}{unknown}", named(behaviour)));
        }
        if needs_function && !behaviour.rewrites {
            return;
        }
        // If there is a root object, a request for / asks the website endpoint for that and not for
        // the index document. It is not documented whether a function sees / before that. Index
        // documents that are configured for the distribution always count.
        let rooted = url == "/" && found.has_root();
        let serves_index = (via.address.server == Server::Website && !rooted)
            || behaviour.rewrites
            || found.own.index_documents.is_some();
        if matches!(reason, Reason::Index | Reason::Bare) && !serves_index {
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
        if !key.caches && !self.follows_errors(found.distribution) {
            return found.note(|| format!("{} never caches {url}", named(behaviour)));
        }
        self.add(found, via, reason, behaviour, key, spelling);
        // A function on viewers' requests changes the cache key, one on requests to the origin does
        // not: both go out, by the behaviour that the viewer's path has selected. Source: CloudFront
        // Developer Guide, "Invalidate files to remove content", on Lambda functions.
        if let Some(own) = rewritten.filter(|_| behaviour.rewrites) {
            self.add(found, via, Reason::Rewritten, behaviour, key, own);
        }
    }

    /// Whether the cache may hold errors from before the object was there, although nothing else is
    /// cached.
    fn follows_errors(&self, distribution: &Distribution) -> bool {
        self.effect == Effect::Appears && !errors::of_missing_objects(distribution).is_empty()
    }

    /// Adds the items of one path that is cached.
    fn add(
        &self,
        found: &mut Found<'_>,
        via: Via<'_>,
        reason: Reason,
        behaviour: &Behaviour,
        key: CacheKey,
        spelling: Spelling,
    ) {
        let (items, widened) = if key.query_strings {
            let named = if reason == Reason::Bare {
                Named::Folder
            } else {
                Named::File
            };
            spelling.with_query_strings(named)
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

    /// CloudFront keeps error pages under the URLs that erred, which may be any.
    fn map_error_pages(&self, found: &mut Found<'_>, via: Via<'_>, path: &str) {
        let distribution = found.distribution;
        let documents = self.index_documents(found.own);
        for page in errors::lasting_pages(distribution) {
            let server = via.address.server;
            if !page.is_at(distribution, server, documents, path)
                || !page.comes_from(distribution, via.origin)
            {
                continue;
            }
            let errors = errors::described(&page.errors);
            match found.own.error_pages {
                Reaction::Clear => found.push(
                    Item::everything(),
                    format!("the page of {errors}, and error_pages is \"clear\""),
                ),
                Reaction::Tell => found.warn(format!(
                    "CloudFront keeps it as the page of {errors} under every URL that had the error: \
                     invalidate /*, set error_pages = \"clear\", or lower ErrorCachingMinTTL to 10"
                )),
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
            Reason::Index | Reason::Bare => parts.push("index document".to_owned()),
            Reason::Rewritten => parts.push("may be requested by a function".to_owned()),
        }
        if !key.caches {
            let errors = errors::described(&errors::of_missing_objects(found.distribution));
            parts.push(format!("caches nothing but errors: {errors}"));
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
