//! Runs the table of mapping cases, and tests what the table cannot express.

mod points;
mod table;
mod waits;

use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::domain::{
    catalogue::{
        Behaviour, CacheKey, CachePolicy, Caching, CustomError, Origin, OriginGroup, Rerouted,
        Snapshot,
    },
    origin::{OriginOverride, PathRole},
    rules::{Ignore, Rule},
};

/// A setup in the notation of [`table`].
struct Site {
    distribution: Distribution,
    policy: MappingPolicy,
    origins: Vec<OriginOverride>,
    effect: Effect,
}

impl Site {
    fn read(words: &str) -> Self {
        let mut site = Self {
            distribution: plain("E1"),
            policy: MappingPolicy::default(),
            origins: Vec::new(),
            effect: Effect::Appears,
        };
        for word in words.split_whitespace() {
            site.add(word);
        }
        let distribution = &mut site.distribution;
        if distribution.origins.is_empty() {
            distribution
                .origins
                .push(origin(0, "site.s3.us-east-1.amazonaws.com"));
        }
        if distribution
            .behaviours
            .last()
            .is_none_or(|last| last.pattern != "*")
        {
            distribution.behaviours.push(behaviour("*", "o0"));
        }
        site
    }

    fn add(&mut self, word: &str) {
        let Self {
            distribution,
            policy,
            origins,
            effect,
        } = self;
        let own = || DistributionPolicy::default();
        if let Some(address) = word.strip_prefix("o:") {
            distribution
                .origins
                .push(origin(distribution.origins.len(), address));
        } else if let Some(group) = word.strip_prefix("g:") {
            let (id, members) = group.split_once('=').unwrap();
            let members = members.split(',').map(str::to_owned).collect();
            distribution.groups.push(OriginGroup {
                id: id.to_owned(),
                members,
            });
        } else if let Some(spec) = word.strip_prefix("b:") {
            let (pattern, target) = spec.split_once('>').unwrap();
            distribution.behaviours.push(behaviour(pattern, target));
        } else if let Some(target) = word.strip_prefix("d>") {
            distribution.behaviours.push(behaviour("*", target));
        } else if let Some(error) = word.strip_prefix("e:") {
            distribution.custom_errors.push(custom_error(error));
        } else if let Some(said) = word.strip_prefix("said=") {
            let (domain, to) = said.split_once('>').unwrap();
            let (bucket, prefix) = to.split_once('/').unwrap_or((to, ""));
            origins.push(OriginOverride {
                domain: domain.to_owned(),
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                path: PathRole::Key,
            });
        } else if let Some((name, value)) = word.split_once('=') {
            let own_policy = policy.distributions.entry("E1".to_owned());
            match name {
                "root" => set_details(distribution, Some(value), false),
                "index" => policy.index_documents = split(value),
                "own-index" => own_policy.or_insert_with(own).index_documents = Some(split(value)),
                "sp" => own_policy.or_insert_with(own).spellings = spellings(value),
                "protect" => policy.wildcards.protected.push(Item::parse(value).unwrap()),
                "min" => policy.wildcards.min_stem = value.parse().unwrap(),
                "ignore" => policy.ignores.push(Ignore::new("site", value).unwrap()),
                "rule" | "instead" => {
                    let (glob, also) = value.split_once('>').unwrap();
                    let rule = Rule::new("site", glob, &split(also), name == "instead");
                    policy.rules.push(rule.unwrap());
                }
                name => panic!("no such word: {name}"),
            }
        } else {
            match word {
                "gone" => *effect = Effect::Disappears,
                "tenants" => distribution.tenants_only = true,
                "clear" => {
                    let own = policy.distributions.entry("E1".to_owned());
                    own.or_default().error_pages = Reaction::Clear;
                }
                "service" => origins
                    .iter_mut()
                    .for_each(|one| one.path = PathRole::Service),
                "tags" => set_details(distribution, None, true),
                "off" => distribution.enabled = false,
                "bare" => policy.index_without_slash = true,
                "allow" => policy.wildcards.allow_root = true,
                "left-out" => {
                    let own = DistributionPolicy {
                        enabled: false,
                        ..own()
                    };
                    policy.distributions.insert("E1".to_owned(), own);
                }
                word => panic!("no such word: {word}"),
            }
        }
    }

    fn map(self, key: &str) -> Option<Mapping> {
        let catalogue = catalogue([self.distribution], self.origins);
        map_object(&catalogue, &self.policy, "site", key, self.effect)
    }
}

fn catalogue(
    distributions: impl IntoIterator<Item = Distribution>,
    origins: Vec<OriginOverride>,
) -> Catalogue {
    let snapshot = Snapshot {
        distributions: distributions.into_iter().map(Arc::new).collect(),
        ..Snapshot::default()
    };
    Catalogue::new(snapshot, origins.into())
}

/// A distribution without origins and behaviours. Its details are known.
fn plain(id: &str) -> Distribution {
    Distribution {
        id: id.to_owned(),
        enabled: true,
        aliases: Vec::new(),
        origins: Vec::new(),
        groups: Vec::new(),
        behaviours: Vec::new(),
        revision: "1".to_owned(),
        details: Details::Read {
            revision: "1".to_owned(),
            root: None,
            cache_tags: false,
            groups: Some(Vec::new()),
        },
        ..Distribution::default()
    }
}

/// A distribution in front of a bucket.
fn in_front_of(id: &str, bucket: &str) -> Distribution {
    let domain = format!("{bucket}.s3.us-east-1.amazonaws.com");
    Distribution {
        origins: vec![origin(0, &domain)],
        behaviours: vec![behaviour("*", "o0")],
        ..plain(id)
    }
}

fn set_details(distribution: &mut Distribution, root: Option<&str>, cache_tags: bool) {
    distribution.details = Details::Read {
        revision: distribution.revision.clone(),
        root: root.map(str::to_owned),
        cache_tags,
        groups: Some(Vec::new()),
    };
}

fn origin(at: usize, address: &str) -> Origin {
    let (domain, path) = address.split_once('/').unwrap_or((address, ""));
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    Origin {
        id: format!("o{at}"),
        domain: domain.to_owned(),
        path,
    }
}

/// `STATUS=PAGE+TTL`; the page may be missing.
fn custom_error(spec: &str) -> CustomError {
    let (status, spec) = spec.split_once('=').unwrap();
    let (page, min_ttl) = spec.split_once('+').unwrap();
    CustomError {
        status: status.parse().unwrap(),
        page: Some(page.to_owned()).filter(|page| !page.is_empty()),
        min_ttl: min_ttl.parse().unwrap(),
    }
}

fn behaviour(pattern: &str, spec: &str) -> Behaviour {
    let (target, flags) = spec.split_once('+').unwrap_or((spec, ""));
    let has = |flag| flags.contains(flag) && !flags.starts_with("p=");
    let key = CacheKey {
        caches: !has('n'),
        query_strings: has('q'),
    };
    Behaviour {
        pattern: pattern.to_owned(),
        target: target.to_owned(),
        caching: match flags.strip_prefix("p=") {
            Some(id) => Caching::Policy(id.to_owned()),
            None => Caching::Inline(key),
        },
        rewrites: has('f'),
        smooth_streaming: has('s'),
    }
}

fn split(text: &str) -> Vec<String> {
    let all = text.split(',').filter(|one| !one.is_empty());
    all.map(str::to_owned).collect()
}

fn spellings(value: &str) -> Vec<(char, Vec<String>)> {
    let mut all: Vec<(char, Vec<String>)> = Vec::new();
    for text in split(value) {
        let char = char::from(u8::from_str_radix(&text[1..], 16).unwrap());
        match all.iter_mut().find(|(known, _)| *known == char) {
            Some((_, texts)) => texts.push(text),
            None => all.push((char, vec![text])),
        }
    }
    all
}

#[test]
fn every_case_of_the_table_holds() {
    assert!(table::CASES.len() >= 150, "{} cases", table::CASES.len());
    for (source, setup, key, expected) in table::CASES {
        let mapping = match Site::read(setup).map(key) {
            Some(mapping) => mapping,
            None => Mapping::left_alone(NO_DISTRIBUTION),
        };
        let case = format!("{source}: {setup:?} {key:?}: {mapping:#?}");
        let items: Vec<_> = mapping
            .targets
            .iter()
            .map(|one| one.item.as_str())
            .collect();
        let (reason, reasons) = match expected.find(['-', '!']) {
            Some(at) if at == 0 || expected.as_bytes()[at - 1] == b' ' => {
                let all = if expected[at..].starts_with('-') {
                    &mapping.skipped
                } else {
                    &mapping.dead
                };
                (Some(&expected[at + 1..]), all.as_slice())
            }
            _ => (None, [].as_slice()),
        };
        let stated = expected
            .split(['-', '!'])
            .next()
            .filter(|_| reason.is_some());
        let stated = stated.unwrap_or(expected).split_whitespace();
        assert_eq!(items, stated.collect::<Vec<_>>(), "{case}");
        match reason {
            Some(reason) => assert!(reasons.iter().any(|one| one.why.contains(reason)), "{case}"),
            None => assert!(
                mapping.skipped.is_empty() && mapping.dead.is_empty() && mapping.waits.is_empty(),
                "{case}"
            ),
        }
    }
}

#[test]
fn every_distribution_with_the_bucket_gets_the_item() {
    let all = [
        in_front_of("E2", "site"),
        in_front_of("E1", "site"),
        in_front_of("E3", "other"),
    ];
    let mapping = map_object(
        &catalogue(all, vec![]),
        &MappingPolicy::default(),
        "site",
        "a",
        Effect::Appears,
    );
    let ids: Vec<_> = mapping
        .unwrap()
        .targets
        .into_iter()
        .map(|one| one.distribution_id)
        .collect();
    assert_eq!(ids, ["E1", "E2"]);
}

#[test]
fn each_item_says_why() {
    let because = |setup: &str, key: &str| {
        let mapping = Site::read(setup).map(key).unwrap();
        mapping.targets.last().unwrap().because.clone()
    };
    assert_eq!(because("", "a"), "origin o0, the default behaviour");
    assert_eq!(
        because("o:site.s3.amazonaws.com/p b:*.css>o0+q", "p/a~.css"),
        "origin o0, origin path /p removed, behaviour *.css, query strings in the cache key, \
         widened: CloudFront cannot name a \"~\""
    );
    assert!(because("d>o0+f", "a/index.html").ends_with(", index document"));
    assert_eq!(because("rule=a>/b", "a"), "rule \"a\"");
}

#[test]
fn denied_knowledge_is_done_without_and_said() {
    let mut denied = in_front_of("E1", "site");
    denied.details = Details::Denied;
    denied.behaviours[0].caching = Caching::Policy("custom".to_owned());
    let catalogue = catalogue([denied], vec![]).with_policy("custom", &CachePolicy::Denied);
    let mapping = map_object(
        &catalogue,
        &MappingPolicy::default(),
        "site",
        "index.html",
        Effect::Appears,
    )
    .unwrap();
    assert_eq!(mapping.targets.len(), 1);
    let because = &mapping.targets[0].because;
    assert!(
        because.contains("GetDistributionConfig is denied"),
        "{because}"
    );
    assert!(because.contains("GetCachePolicy is denied"), "{because}");
}

#[test]
fn a_new_reading_keeps_what_is_known_and_asks_again_for_what_was_denied() {
    let mut denied = in_front_of("E2", "site");
    denied.details = Details::Denied;
    let key = CacheKey {
        caches: true,
        query_strings: true,
    };
    let old = catalogue([in_front_of("E1", "site"), denied], vec![])
        .with_policy("known", &CachePolicy::Read(key))
        .with_policy("unused", &CachePolicy::Read(key))
        .with_policy("denied", &CachePolicy::Denied);
    let mut listed = ["E1", "E2", "E3"].map(|id| Distribution {
        details: Details::Unread,
        ..in_front_of(id, "site")
    });
    listed[2].behaviours[0].caching = Caching::Policy("known".to_owned());
    let new = old.refreshed(listed.to_vec(), Timestamp::UNIX_EPOCH, 7);
    assert_eq!(new.snapshot().journal_end, 7);
    assert!(!new.get("E1").unwrap().needs_details());
    assert!(new.get("E2").unwrap().needs_details());
    assert!(new.get("E3").unwrap().needs_details());
    let policies: Vec<_> = new.snapshot().cache_policies.keys().collect();
    assert_eq!(policies, ["known"]);
    let changed: Vec<_> = new
        .changed_since(old.snapshot())
        .map(|one| &one.id)
        .collect();
    assert_eq!(changed, ["E3"]);
    listed[0].revision = "2".to_owned();
    let newer = new.refreshed(listed.to_vec(), Timestamp::UNIX_EPOCH, 8);
    let changed = newer.changed_since(new.snapshot());
    assert_eq!(changed.map(|one| &one.id).collect::<Vec<_>>(), ["E1"]);
}

#[test]
fn tags_of_rules_need_distributions_that_keep_tags() {
    let Site {
        mut distribution,
        policy,
        ..
    } = Site::read("rule=a>#t");
    let all = catalogue([distribution.clone()], vec![]);
    let found = tagged(&all, &policy);
    assert_eq!((found.unread.len(), found.faults.len()), (0, 1));
    assert!(found.faults[0].contains("E1") && found.faults[0].contains("CacheTagConfig"));
    set_details(&mut distribution, None, true);
    assert_eq!(
        tagged(&catalogue([distribution.clone()], vec![]), &policy),
        Tagged::default()
    );
    distribution.details = Details::Unread;
    assert_eq!(
        tagged(&catalogue([distribution], vec![]), &policy).unread,
        ["E1"]
    );
}

#[test]
fn a_persons_item_goes_out_as_it_is() {
    let distribution = in_front_of("E1", "site");
    let mapping = map_item(&distribution, Item::tag("t").unwrap());
    assert_eq!(mapping.targets[0].item.as_str(), "#t");
    let disabled = Distribution {
        enabled: false,
        ..distribution
    };
    let mapping = map_item(&disabled, Item::parse("/a").unwrap());
    assert_eq!((mapping.targets.len(), mapping.skipped.len()), (0, 1));
}
