//! Previews of keys of a bucket, merged and not.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::*;
use crate::domain::{
    batch::Usage,
    catalogue::{Behaviour, CacheKey, Caching, Details, Origin, Snapshot},
    consolidate::{Drain, Guard, Pace, WindowTerms},
    survey::{Bounds, Surveyed},
};

/// A distribution with origins, each with its domain, its path and the pattern of its behaviour.
fn distribution(id: &str, origins: &[(&str, &str, &str)]) -> Arc<Distribution> {
    let origin = |(domain, path, _): &(&str, &str, &str)| Origin {
        id: (*domain).to_owned(),
        domain: (*domain).to_owned(),
        path: (*path).to_owned(),
    };
    let behaviour = |(domain, _, pattern): &(&str, &str, &str)| Behaviour {
        pattern: (*pattern).to_owned(),
        target: (*domain).to_owned(),
        caching: Caching::Inline(CacheKey {
            caches: true,
            query_strings: false,
        }),
        rewrites: false,
        smooth_streaming: false,
    };
    Arc::new(Distribution {
        id: id.to_owned(),
        enabled: true,
        origins: origins.iter().map(origin).collect(),
        behaviours: origins.iter().map(behaviour).collect(),
        details: Details::Denied,
        ..Distribution::default()
    })
}

fn catalogue(distributions: Vec<Arc<Distribution>>) -> Arc<Catalogue> {
    let snapshot = Snapshot {
        read_since: Timestamp::UNIX_EPOCH,
        distributions,
        ..Snapshot::default()
    };
    Arc::new(Catalogue::new(snapshot, Arc::default()))
}

const SITE: &str = "site.s3.eu-west-1.amazonaws.com";

fn terms(evictions_per_path: f64) -> WindowTerms {
    let pool = Usage {
        paths: 2_900,
        wildcards: 13,
    };
    let pace = Pace {
        calls_per_second: 0.5,
        items_per_call: 1_000,
        paths_per_second: 150.0,
        wildcards_per_second: 1.0,
        pool,
    };
    WindowTerms {
        guard: Guard {
            min_stem: 1,
            allow_root: false,
            ..Guard::NONE
        },
        evictions_per_path,
        drain: Drain::within(Duration::from_mins(1), &pace),
    }
}

fn draft(catalogue: &Catalogue, keys: &[&str]) -> Draft {
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    let policy = MappingPolicy::default();
    Draft::of_keys(catalogue, &policy, "site", &keys, Effect::Appears, None).unwrap()
}

/// Looks at the one bucket of which the keys are known.
fn looked(draft: &Draft, catalogue: &Arc<Catalogue>, keys: &[&str]) -> MergedBy {
    let surveys = draft
        .surveys(catalogue, &MappingPolicy::default(), |_| Bounds::NONE)
        .into_iter();
    let surveyed = surveys.map(|mut survey| {
        while let Some(ask) = survey.next_page() {
            let mut page: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            page.retain(|key| key.starts_with(&ask.prefix));
            if ask.bucket == "site" {
                survey.take_page(page, false);
            } else {
                survey.skip_page();
            }
        }
        (survey.distribution_id().to_owned(), survey.finish())
    });
    MergedBy {
        surveyed: surveyed.collect(),
        terms: terms(1.0),
        curve: false,
    }
}

/// How many items a wildcard replaces, and how many unchanged objects it evicts.
type Numbers = (usize, Option<usize>);

fn items(one: &Previewed) -> Vec<(&str, Option<Numbers>)> {
    let merged = |one: MergedItem| (one.replaces, one.evictions);
    let items = one.items.iter();
    items
        .map(|one| (one.item.as_str(), one.merged.map(merged)))
        .collect()
}

#[test]
fn what_is_merged_says_what_it_replaces_and_evicts() {
    let catalogue = catalogue(vec![distribution("E1", &[(SITE, "", "*")])]);
    let keys = ["img/1", "img/2", "img/3", "b"];
    let known = ["img/1", "img/2", "img/3", "img/4", "b"];
    let by = looked(&draft(&catalogue, &keys), &catalogue, &known);
    let preview = draft(&catalogue, &keys).merged(&by);
    let one = &preview.distributions[0];
    assert_eq!(items(one), [("/img/*", Some((3, Some(1)))), ("/b", None)]);
    assert_eq!(one.items[0].why.len(), 3);
    assert!(one.items[0].why[1].starts_with("img/2: "));
    assert_eq!((preview.paths, preview.wildcards), (2, 1));
    assert_eq!((preview.evictions, one.evictions()), (Some(1), Some(1)));
    assert!((preview.price_usd - 0.01).abs() < 1e-9);
    assert_eq!(one.curve, None);

    let plain = draft(&catalogue, &keys).unmerged();
    let texts = ["/img/1", "/img/2", "/img/3", "/b"].map(|text| (text, None));
    assert_eq!(items(&plain.distributions[0]), texts);
    assert_eq!(plain.evictions, Some(0));
}

#[test]
fn the_guard_and_the_alternatives_are_told() {
    let catalogue = catalogue(vec![distribution("E1", &[(SITE, "", "*")])]);
    let keys = ["img/1", "img/2", "img/3", "api/1", "api/2"];
    let known = [&keys[..], &["img/4"]].concat();
    let mut by = looked(&draft(&catalogue, &keys), &catalogue, &known);
    by.terms.guard.protected = vec![Item::parse("/api/*").unwrap()];
    by.curve = true;
    let preview = draft(&catalogue, &keys).merged(&by);
    let one = &preview.distributions[0];
    assert_eq!(
        one.prevented,
        ["/* would have replaced 5 items, but economy.allow_root is false"]
    );
    let found = one.curve.as_ref().unwrap().iter();
    let found: Vec<_> = found
        .map(|one| (one.paths, one.wildcards, one.evictions))
        .collect();
    assert_eq!(found, [(3, 1, 1), (5, 0, 0)]);
}

/// A wildcard is made only where all keys are known, and those of another bucket are not.
#[test]
fn what_another_bucket_has_a_part_in_is_not_merged() {
    let other = ("other.s3.eu-west-1.amazonaws.com", "", "/a/x*");
    let one = distribution("E1", &[other, (SITE, "/live", "*")]);
    let catalogue = catalogue(vec![one, distribution("E2", &[(SITE, "/old", "*")])]);
    let keys = ["live/a/1", "live/a/2", "live/b/1", "live/b/2", "old/a"];
    let by = looked(&draft(&catalogue, &keys), &catalogue, &keys);
    assert!(by.surveyed.contains_key("E1"));
    assert!(!by.surveyed.contains_key("E2"), "one path needs no survey");
    let preview = draft(&catalogue, &keys).merged(&by);
    assert_eq!(
        items(&preview.distributions[0]),
        [("/a/1", None), ("/a/2", None), ("/b/*", Some((2, Some(0))))]
    );
    assert_eq!(items(&preview.distributions[1]), [("/a", None)]);
}

#[test]
fn what_is_not_known_has_no_number() {
    let catalogue = catalogue(vec![distribution("E1", &[(SITE, "", "*")])]);
    let keys = ["a/1", "a/2", "a/3", "b"];
    let mut by = looked(&draft(&catalogue, &keys), &catalogue, &keys);
    // It was not possible to list, and the limits do not let it through in time.
    by.surveyed.insert("E1".to_owned(), Surveyed::default());
    by.terms.drain.paths = 0;
    by.terms.drain.wildcards = 1;
    by.terms.drain.wildcards = 2;
    let preview = draft(&catalogue, &keys).merged(&by);
    assert_eq!(
        items(&preview.distributions[0]),
        [("/a/*", Some((3, None))), ("/b", None)]
    );
    assert_eq!(preview.evictions, None);
    let json = serde_json::to_value(&preview).unwrap();
    assert_eq!(json["evictions"], serde_json::Value::Null);
    let merged = serde_json::json!({"replaces": 3, "evictions": null});
    assert_eq!(json["distributions"][0]["items"][0]["merged"], merged);
    by.terms.guard.unlisted = false;
    let preview = draft(&catalogue, &keys).merged(&by);
    assert_eq!((preview.paths, preview.evictions), (4, Some(0)));
}
