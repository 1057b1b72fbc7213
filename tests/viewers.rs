//! The mapper drops all that viewers can have got of a key, and nothing else, by a naive model
//! of what CloudFront serves them.
//!
//! The model knows nothing of the mapper: it goes from a viewer's URL to the key that is asked
//! for, the mapper the other way. It is slow and simple on purpose.

use std::{collections::BTreeSet, iter, ptr, sync::Arc};

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use purgefront::domain::{
    catalogue::{
        Behaviour, CacheKey, Caching, Catalogue, Details, Distribution, Origin, OriginGroup,
        Snapshot,
    },
    mapping::{Mapping, MappingPolicy, map_object},
    origin::OriginOverride,
    path::Item,
};

/// What a domain name stands for.
struct Place {
    domain: &'static str,
    bucket: Option<&'static str>,
    website: bool,
    /// What it puts before the path that it is asked for.
    before: &'static str,
}

const PLACES: &[Place] = &[
    place("site.s3.eu-west-1.amazonaws.com", Some("site"), false, ""),
    place(
        "site.s3-website-eu-west-1.amazonaws.com",
        Some("site"),
        true,
        "",
    ),
    place("other.s3.amazonaws.com", Some("other"), false, ""),
    place(
        "other.s3-website.eu-central-1.amazonaws.com",
        Some("other"),
        true,
        "",
    ),
    place(PROXY, Some("site"), false, "/prod"),
    place("www.example.com", None, false, ""),
];

/// The names that default root objects have, with bars between them.
const ROOTS: &str = "index.html|prod/index.html|a";

/// A domain name that does not tell its bucket; the configuration does.
const PROXY: &str = "files.example.com";

const fn place(
    domain: &'static str,
    bucket: Option<&'static str>,
    website: bool,
    before: &'static str,
) -> Place {
    Place {
        domain,
        bucket,
        website,
        before,
    }
}

/// A URL from which viewers get the key in question, with an answer that stays in the cache.
#[derive(Debug)]
struct Kept {
    url: String,
    /// What follows a `?` makes another answer.
    query_strings: bool,
}

/// A byte outside of it is written as `%XX`: the visible ones, without those that RFC 1738
/// calls unsafe, and without `?`, which would begin a query string. `~` is unsafe by RFC 1738,
/// but viewers write it as it is.
fn stays(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"<>\"#%{}|\\^[]`?".contains(&byte)
}

/// How viewers write a path.
fn written(path: &str) -> String {
    let one = |byte| {
        if stays(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    path.bytes().map(one).collect()
}

/// What behaviours are matched with: no empty segments, no dot segments (RFC 3986, 5.2.4).
fn normalised(url: &str) -> String {
    let mut kept = Vec::new();
    let mut folder = false;
    for segment in url.split('/') {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let end = if folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Whether a pattern matches all of a path.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=path.len()).any(|run| matches(rest, &path[run..])),
        ([b'?', pattern @ ..], [_, path @ ..]) => matches(pattern, path),
        ([a, pattern @ ..], [b, path @ ..]) => a == b && matches(pattern, path),
        _ => false,
    }
}

/// The behaviour that answers for a URL.
fn first<'a>(distribution: &'a Distribution, url: &str) -> &'a Behaviour {
    let path = normalised(url);
    let hit = |behaviour: &&Behaviour| {
        // CloudFront takes a pattern without its slash for the one with it.
        let pattern = &behaviour.pattern;
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        matches(format!("/{pattern}").as_bytes(), path.as_bytes())
    };
    let found = distribution.behaviours.iter().find(hit);
    found.expect("the default behaviour matches all")
}

/// The behaviours that may answer a viewer who asks for a path, and the path that they ask
/// origins for.
fn asked<'a>(distribution: &'a Distribution, path: &str) -> (Vec<&'a Behaviour>, String) {
    let by_url = first(distribution, &written(path));
    let Details::Read {
        root: Some(root), ..
    } = &distribution.details
    else {
        return (vec![by_url], path.to_owned());
    };
    if path != "/" {
        return (vec![by_url], path.to_owned());
    }
    // Nowhere is it said whether "/" or the root object's own path chooses the behaviour.
    let named = format!("/{root}");
    let by_root = first(distribution, &written(&named));
    let both = if ptr::eq(by_url, by_root) {
        vec![by_url]
    } else {
        vec![by_url, by_root]
    };
    (both, named)
}

/// Whether an origin that is asked for a path answers with this object.
fn answers(origin: &Origin, path: &str, bucket: &str, key: &str) -> bool {
    let place = PLACES.iter().find(|place| place.domain == origin.domain);
    let place = place.expect("every origin is at one of the places");
    let mut asked = format!("{}{}{path}", place.before, origin.path);
    if place.website && asked.ends_with('/') {
        asked.push_str("index.html");
    }
    place.bucket == Some(bucket) && asked.strip_prefix('/') == Some(key)
}

/// The origins that a behaviour asks: a group asks all of its members, one after the other.
fn origins<'a>(
    distribution: &'a Distribution,
    behaviour: &'a Behaviour,
) -> impl Iterator<Item = &'a Origin> {
    let asks = move |origin: &&Origin| {
        let member = |group: &OriginGroup| {
            group.id == behaviour.target && group.members.contains(&origin.id)
        };
        behaviour.target == origin.id || distribution.groups.iter().any(member)
    };
    distribution.origins.iter().filter(asks)
}

/// Every path that could serve a key: an origin may add whatever the key begins with, and a
/// website endpoint the index document that it ends with. The last cut leaves `/`.
fn candidates(key: &str) -> BTreeSet<String> {
    let cuts = key.char_indices().map(|(at, _)| at).chain([key.len()]);
    cuts.flat_map(|cut| {
        let path = format!("/{}", &key[cut..]);
        let folder = path.strip_suffix("index.html").map(str::to_owned);
        iter::once(path).chain(folder)
    })
    .collect()
}

/// The model: all URLs from which a distribution serves an object and keeps it.
fn kept(distribution: &Distribution, bucket: &str, key: &str) -> Vec<Kept> {
    let mut all = Vec::new();
    for path in candidates(key) {
        let (behaviours, at_origin) = asked(distribution, &path);
        for behaviour in behaviours {
            let Caching::Inline(cache) = behaviour.caching else {
                unreachable!("every behaviour says itself what it caches");
            };
            let mut origins = origins(distribution, behaviour);
            if distribution.enabled
                && cache.caches
                && origins.any(|origin| answers(origin, &at_origin, bucket, key))
            {
                let url = written(&path);
                all.push(Kept {
                    url,
                    query_strings: cache.query_strings,
                });
            }
        }
    }
    all
}

/// The part of a URL that an item may have: it ends before the first thing that no item can
/// name, which is `~`, an encoded `?`, or a `*` at the end.
fn nameable(url: &str) -> &str {
    let cut = [url.find('~'), url.find("%3F")].into_iter().flatten().min();
    match cut {
        Some(at) => &url[..at],
        None => url.strip_suffix('*').unwrap_or(url),
    }
}

/// Whether one of the items drops what is cached for a URL.
fn drops(items: &[&Item], url: &str) -> bool {
    let exact = Item::parse(url).ok().filter(|_| nameable(url) == url);
    items.iter().any(|item| match &exact {
        Some(exact) => item.covers(exact),
        None => item.stem().is_some_and(|stem| url.starts_with(stem)),
    })
}

/// A changed object, and the account that it changed in.
#[derive(Debug)]
struct Case {
    distributions: Vec<Distribution>,
    bucket: &'static str,
    key: String,
    allow_root: bool,
}

impl Case {
    fn mapping(&self) -> Mapping {
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
        });
        let catalogue = Catalogue::new(snapshot, overrides.collect());
        let mut policy = MappingPolicy::default();
        policy.wildcards.allow_root = self.allow_root;
        let mapping = map_object(&catalogue, &policy, self.bucket, &self.key).unwrap_or_default();
        assert!(mapping.waits.is_empty(), "nothing is unread: {mapping:?}");
        mapping
    }

    fn kept(&self, distribution: &Distribution) -> Vec<Kept> {
        kept(distribution, self.bucket, &self.key)
    }

    fn distribution(&self, id: &str) -> &Distribution {
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
    let segment = word("a|A|b|prod|x|index.html|a b|é|a~b|c?d|e*|..||~a|*");
    let segments = prop::collection::vec(segment, 1..=3).prop_map(|all| all.join("/"));
    let root = word(ROOTS).prop_map(str::to_owned);
    let rest = prop_oneof![3 => segments, 1 => root];
    let key = (word("|prod/|prod/x/"), rest).prop_map(|(folder, rest)| format!("{folder}{rest}"));
    key.prop_filter("no object has an empty key", |key| !key.is_empty())
}

fn a_pattern() -> impl Strategy<Value = String> {
    let tokens = prop::collection::vec(word("a|b|x|/|*|?|.|html|prod"), 1..=4);
    let any =
        (word("|/"), tokens).prop_map(|(slash, tokens)| format!("{slash}{}", tokens.concat()));
    // What chance seldom makes: patterns that are for "/" or for a root object alone, and
    // those that count the characters of an escape.
    let telling = word("/|a|*.html|/index.html|prod/*|*/|a?b|a???b|??????|c???d");
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
    );
    parts.prop_map(|(pattern, target, caches, query_strings)| {
        let caching = Caching::Inline(CacheKey {
            caches,
            query_strings,
        });
        let behaviour = Behaviour {
            pattern,
            target: String::new(),
            caching,
            rewrites: false,
            smooth_streaming: false,
        };
        (target, behaviour)
    })
}

fn a_distribution() -> impl Strategy<Value = Distribution> {
    let origin = (0..PLACES.len(), word("|/prod|/prod/x|/pro"));
    let root = prop::option::of(word(ROOTS));
    let parts = (
        prop::bool::weighted(0.9),
        prop::collection::vec(origin, 1..=3),
        prop::collection::vec(any::<[Index; 2]>(), 0..=1),
        prop::collection::vec(a_behaviour(a_pattern()), 0..=3),
        a_behaviour(Just("*".to_owned())),
        root,
    );
    parts.prop_map(
        |(enabled, origins, groups, mut behaviours, default, root)| {
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
            }
        },
    )
}

prop_compose! {
    fn a_case()(
        distributions in prop::collection::vec(a_distribution(), 1..=3),
        bucket in word("site|other"),
        key in a_key(),
        allow_root in any::<bool>(),
    ) -> Case {
        let named = distributions.into_iter().enumerate().map(|(at, distribution)| {
            Distribution { id: format!("E{at}"), ..distribution }
        });
        Case { distributions: named.collect(), bucket, key, allow_root }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_a_viewer_can_have_got_of_a_key_is_dropped(case in a_case()) {
        let mapping = case.mapping();
        for distribution in &case.distributions {
            let targets = mapping.targets.iter();
            let own = targets.filter(|target| target.distribution_id == distribution.id);
            let items: Vec<_> = own.map(|target| &target.item).collect();
            let only_root = mapping.dead.iter().any(|dead| {
                dead.distribution_id.as_ref() == Some(&distribution.id)
                    && dead.why.contains("only /* would cover it")
            });
            for Kept { url, query_strings } in case.kept(distribution) {
                // A dead letter excuses only what really has no narrower item.
                let excused = only_root && !case.allow_root && nameable(&url) == "/";
                let dropped = drops(&items, &url);
                prop_assert!(dropped || excused, "{url}: {mapping:?}");
                let variant = format!("{url}?v=1");
                let dropped = !query_strings || drops(&items, &variant);
                prop_assert!(dropped || excused, "{variant}: {mapping:?}");
            }
        }
    }

    #[test]
    fn a_distribution_that_keeps_nothing_of_a_key_is_left_alone(case in a_case()) {
        let mapping = case.mapping();
        for target in &mapping.targets {
            let kept = case.kept(case.distribution(&target.distribution_id));
            prop_assert!(!kept.is_empty(), "{target:?}");
        }
        for dead in &mapping.dead {
            let id = dead.distribution_id.as_ref();
            let kept = id.map(|id| case.kept(case.distribution(id)));
            prop_assert!(kept.is_some_and(|kept| !kept.is_empty()), "{dead:?}");
        }
    }

    #[test]
    fn an_exact_item_is_a_url_that_serves_the_key(case in a_case()) {
        let mapping = case.mapping();
        for target in mapping.targets.iter().filter(|target| !target.item.is_wildcard()) {
            let kept = case.kept(case.distribution(&target.distribution_id));
            let named = kept.iter().any(|kept| kept.url == target.item.as_str());
            prop_assert!(named, "{target:?} is none of {kept:?}");
        }
    }

    #[test]
    fn a_wildcard_is_no_wider_than_it_must_be(case in a_case()) {
        let mapping = case.mapping();
        for target in &mapping.targets {
            let Some(stem) = target.item.stem() else { continue };
            let kept = case.kept(case.distribution(&target.distribution_id));
            let narrowest = kept.iter().any(|Kept { url, query_strings }| {
                if nameable(url) != url {
                    return target.because.contains("widened") && nameable(url) == stem;
                }
                // All of a folder begins like the folder's own URL, its variants do not.
                let variants = if url.ends_with('/') { format!("{url}?") } else { url.clone() };
                *query_strings && variants == stem
            });
            prop_assert!(narrowest, "{target:?} is around none of {kept:?}");
        }
    }
}
