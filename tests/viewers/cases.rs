//! Random accounts, and objects that change in them.

use std::sync::Arc;

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use purgefront::domain::{
    catalogue::{
        Behaviour, CacheKey, Caching, Catalogue, CustomError, Details, Distribution, Origin,
        OriginGroup, Snapshot,
    },
    change::Effect,
    mapping::{DistributionPolicy, Mapping, MappingPolicy, Reaction, map_object},
    origin::{OriginOverride, PathRole},
};

use super::model::{Kept, PLACES, PROXY, is_error_page, kept};

/// The names that default root objects have, with bars between them.
const ROOTS: &str = "index.html|prod/index.html|a";

/// A changed object, and the account that it changed in.
#[derive(Debug)]
pub struct Case {
    pub distributions: Vec<Distribution>,
    bucket: &'static str,
    key: String,
    effect: Effect,
    pub allow_root: bool,
    /// Whether error pages clear everything.
    pub clears: bool,
}

impl Case {
    pub fn mapping(&self) -> Mapping {
        let distributions = self.distributions.iter().cloned().map(Arc::new).collect();
        let snapshot = Snapshot {
            distributions,
            ..Snapshot::default()
        };
        let proxies = PLACES.iter().filter(|place| place.domain == PROXY);
        let overrides = proxies.map(|place| OriginOverride {
            domain: place.domain.to_owned(),
            bucket: place.bucket.unwrap_or_default().to_owned(),
            prefix: place.before.trim_matches('/').to_owned(),
            path: PathRole::Key,
        });
        let catalogue = Catalogue::new(snapshot, overrides.collect());
        let mut policy = MappingPolicy::default();
        policy.wildcards.allow_root = self.allow_root;
        if self.clears {
            let own = DistributionPolicy {
                error_pages: Reaction::Clear,
                ..DistributionPolicy::default()
            };
            let ids = self.distributions.iter().map(|one| one.id.clone());
            policy.distributions = ids.map(|id| (id, own.clone())).collect();
        }
        let mapping = map_object(&catalogue, &policy, self.bucket, &self.key, self.effect);
        let mapping = mapping.unwrap_or_default();
        assert!(mapping.waits.is_empty(), "nothing is unread: {mapping:?}");
        mapping
    }

    pub fn kept(&self, distribution: &Distribution) -> Vec<Kept> {
        kept(distribution, self.bucket, &self.key, self.effect)
    }

    pub fn is_error_page(&self, distribution: &Distribution) -> bool {
        is_error_page(distribution, self.bucket, &self.key)
    }

    pub fn distribution(&self, id: &str) -> &Distribution {
        let found = self.distributions.iter().find(|one| one.id == id);
        found.expect("the mapper names distributions that there are")
    }
}

/// One of the words between the bars.
fn word(words: &'static str) -> impl Strategy<Value = &'static str> {
    select(words.split('|').collect::<Vec<_>>())
}

/// A key: few segments, so that keys, patterns, origin paths and root objects often meet.
fn a_key() -> impl Strategy<Value = String> {
    let segment = word("a|A|b|prod|x|index.html|a b|a+b|b +|é|a~b|c?d|e*|..||~a|*");
    let segments = prop::collection::vec(segment, 1..=3).prop_map(|all| all.join("/"));
    let root = word(ROOTS).prop_map(str::to_owned);
    let rest = prop_oneof![3 => segments, 1 => root];
    let key =
        (word("|prod/|prod/x/|a b/"), rest).prop_map(|(folder, rest)| format!("{folder}{rest}"));
    key.prop_filter("no object has an empty key", |key| !key.is_empty())
}

fn a_pattern() -> impl Strategy<Value = String> {
    let tokens = prop::collection::vec(word("a|b|x|/|*|?|.|html|prod"), 1..=4);
    let any =
        (word("|/"), tokens).prop_map(|(slash, tokens)| format!("{slash}{}", tokens.concat()));
    // What chance seldom makes: patterns that are for "/" or for a root object alone, and
    // those that count the characters of an escape.
    let telling = word("/|a|*.html|/index.html|prod/*|*/|a?b|a???b|??????|c???d|*+*|*%2B*");
    prop_oneof![2 => any, 1 => telling.prop_map(str::to_owned)]
}

/// A behaviour whose target is still a number.
fn a_behaviour(
    pattern: impl Strategy<Value = String>,
) -> impl Strategy<Value = (Index, Behaviour)> {
    let parts = (
        pattern,
        any::<Index>(),
        prop::bool::weighted(0.8),
        any::<bool>(),
        prop::bool::weighted(0.3),
    );
    parts.prop_map(|(pattern, target, caches, query_strings, rewrites)| {
        let caching = Caching::Inline(CacheKey {
            caches,
            query_strings,
        });
        let behaviour = Behaviour {
            pattern,
            target: String::new(),
            caching,
            rewrites,
            smooth_streaming: false,
        };
        (target, behaviour)
    })
}

fn a_custom_error() -> impl Strategy<Value = CustomError> {
    let page = word("|/index.html|/a|/a%20b|/x/a+b|/");
    let parts = (
        select(vec![403, 404, 500]),
        page,
        select(vec![10, 11, 86_400]),
    );
    parts.prop_map(|(status, page, min_ttl)| CustomError {
        status,
        page: Some(page.to_owned()).filter(|page| !page.is_empty()),
        min_ttl,
    })
}

fn a_distribution() -> impl Strategy<Value = Distribution> {
    let origin = (0..PLACES.len(), word("|/prod|/prod/x|/pro|/a%20b|/pr%6Fd"));
    let root = prop::option::of(word(ROOTS));
    let parts = (
        prop::bool::weighted(0.9),
        prop::collection::vec(origin, 1..=3),
        prop::collection::vec(any::<[Index; 2]>(), 0..=1),
        prop::collection::vec(a_behaviour(a_pattern()), 0..=3),
        a_behaviour(Just("*".to_owned())),
        root,
        prop::option::weighted(0.3, a_custom_error()),
    );
    parts.prop_map(
        |(enabled, origins, groups, mut behaviours, default, root, error)| {
            behaviours.push(default);
            let origin = |(at, (place, path)): (usize, (usize, &str))| Origin {
                id: format!("origin-{at}"),
                domain: PLACES[place].domain.to_owned(),
                path: path.to_owned(),
            };
            let origins: Vec<_> = origins.into_iter().enumerate().map(origin).collect();
            let group = |(at, members): (usize, [Index; 2])| OriginGroup {
                id: format!("group-{at}"),
                members: members
                    .iter()
                    .map(|member| member.get(&origins).id.clone())
                    .collect(),
            };
            let groups: Vec<_> = groups.into_iter().enumerate().map(group).collect();
            let ids = origins.iter().map(|origin| &origin.id);
            let targets: Vec<_> = ids.chain(groups.iter().map(|group| &group.id)).collect();
            let aimed = |(target, behaviour): (Index, Behaviour)| Behaviour {
                target: (*target.get(&targets)).clone(),
                ..behaviour
            };
            let behaviours = behaviours.into_iter().map(aimed).collect();
            let revision = "1".to_owned();
            let details = Details::Read {
                revision: revision.clone(),
                root: root.map(str::to_owned),
                cache_tags: false,
                groups: Some(Vec::new()),
            };
            Distribution {
                id: String::new(),
                enabled,
                aliases: Vec::new(),
                origins,
                groups,
                behaviours,
                revision,
                details,
                custom_errors: error.into_iter().collect(),
                ..Distribution::default()
            }
        },
    )
}

prop_compose! {
    pub fn a_case()(
        distributions in prop::collection::vec(a_distribution(), 1..=3),
        bucket in word("site|other"),
        key in a_key(),
        appears in prop::bool::weighted(0.7),
        allow_root in any::<bool>(),
        clears in any::<bool>(),
    ) -> Case {
        let effect = if appears { Effect::Appears } else { Effect::Disappears };
        let named = distributions.into_iter().enumerate().map(|(at, distribution)| {
            Distribution { id: format!("E{at}"), ..distribution }
        });
        Case { distributions: named.collect(), bucket, key, effect, allow_root, clears }
    }
}
