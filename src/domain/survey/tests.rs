//! Surveys of buckets that are in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    catalogue::{Behaviour, CacheKey, Caching, Catalogue, Distribution, Origin, Snapshot},
    mapping::MappingPolicy,
    path::spell,
    rules::Rule,
};
use std::sync::Arc;

/// Buckets, and how many of their keys a page has.
struct Buckets {
    keys: BTreeMap<String, Vec<String>>,
    page: usize,
    asked: Vec<Ask>,
}

impl Buckets {
    fn new(page: usize, all: &[(&str, &[&str])]) -> Self {
        let keys = all.iter().map(|(bucket, keys)| {
            let mut keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            keys.sort_unstable();
            keys.dedup();
            ((*bucket).to_owned(), keys)
        });
        Self {
            keys: keys.collect(),
            page,
            asked: Vec::new(),
        }
    }

    fn look(&mut self, mut survey: Survey) -> Surveyed {
        while let Some(ask) = survey.next_page() {
            let keys = self.keys[&ask.bucket].iter();
            let mut keys = keys.filter(|key| {
                key.starts_with(&ask.prefix) && ask.after.as_ref().is_none_or(|after| *key > after)
            });
            let page: Vec<_> = keys.by_ref().take(self.page).cloned().collect();
            survey.take_page(page, keys.next().is_some());
            self.asked.push(ask);
        }
        survey.finish()
    }

    fn prefixes(&self) -> Vec<String> {
        let asked = self.asked.iter();
        asked
            .map(|ask| format!("{}/{}", ask.bucket, ask.prefix))
            .collect()
    }
}

fn behaviour(pattern: &str, target: &str, caches: bool) -> Behaviour {
    Behaviour {
        pattern: pattern.to_owned(),
        target: target.to_owned(),
        caching: Caching::Inline(CacheKey {
            caches,
            query_strings: false,
        }),
        rewrites: false,
        smooth_streaming: false,
    }
}

fn origin(id: &str, domain: &str, path: &str) -> Origin {
    Origin {
        id: id.to_owned(),
        domain: domain.to_owned(),
        path: path.to_owned(),
    }
}

fn catalogue(origins: Vec<Origin>, behaviours: Vec<Behaviour>) -> Arc<Catalogue> {
    let distribution = Distribution {
        id: "E1".to_owned(),
        enabled: true,
        origins,
        behaviours,
        ..Distribution::default()
    };
    let snapshot = Snapshot {
        read_since: Timestamp::UNIX_EPOCH,
        distributions: vec![Arc::new(distribution)],
        ..Snapshot::default()
    };
    Arc::new(Catalogue::new(snapshot, Arc::default()))
}

fn of_one_bucket() -> Arc<Catalogue> {
    let origins = vec![origin("a", "site.s3.eu-west-1.amazonaws.com", "")];
    catalogue(origins, vec![behaviour("*", "a", true)])
}

fn survey(catalogue: Arc<Catalogue>, changed: &[&str], bounds: Bounds) -> Option<Survey> {
    let texts = changed.iter().map(|text| (*text).to_owned()).collect();
    let ground = Ground::new(catalogue, &MappingPolicy::default(), "E1");
    Survey::new(ground.unwrap(), texts, bounds)
}

fn looked(buckets: &mut Buckets, catalogue: Arc<Catalogue>, changed: &[&str]) -> Surveyed {
    buckets.look(survey(catalogue, changed, Bounds::NONE).unwrap())
}

#[test]
fn one_path_needs_no_survey() {
    assert!(survey(of_one_bucket(), &["/a", "/a"], Bounds::NONE).is_none());
}

#[test]
fn what_the_changed_paths_share_is_listed_page_by_page() {
    let keys = ["a/1", "a/2", "a/3", "a/4 b", "b"];
    let mut buckets = Buckets::new(2, &[("site", &keys)]);
    let found = looked(&mut buckets, of_one_bucket(), &["/a/1", "/a/3"]);
    assert_eq!(found.listed, ["/a/"]);
    assert_eq!(found.paths, ["/a/1", "/a/2", "/a/3", "/a/4%20b"]);
    assert_eq!((found.pages, found.partial), (2, false));
    assert_eq!(buckets.asked[1].after.as_deref(), Some("a/2"));
    assert!(found.serves(&["/a/5", "/a/6"]) && found.serves(&["/a/5"]));
    assert!(!found.serves(&["/a/5", "/b"]) && !found.serves(&["/b/1", "/b/2"]));
}

#[test]
fn a_part_with_too_many_keys_is_left_and_its_parts_are_looked_at() {
    let mut keys: Vec<_> = (10..90).map(|at| format!("a/{at}")).collect();
    keys.extend((0..9).map(|at| format!("b/{at}")));
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let changed = ["/a/10", "/a/11", "/b/1", "/b/2", "/b/3"];
    let bounds = Bounds {
        evictions_per_path: 2.0,
        ..Bounds::NONE
    };
    let mut buckets = Buckets::new(5, &[("site", &keys)]);
    let found = buckets.look(survey(of_one_bucket(), &changed, bounds).unwrap());
    // 5 paths are worth 15 keys. Of those, all below a/1 are known.
    assert_eq!(found.listed, ["/a/1", "/b/"]);
    assert_eq!(found.paths.len(), 10 + 9);
    assert_eq!(
        buckets.prefixes(),
        ["site/", "site/", "site/", "site/b/", "site/b/"]
    );
    assert!(!found.partial);
    // Two pages are too few.
    let bounds = Bounds { pages: 2, ..bounds };
    let mut buckets = Buckets::new(5, &[("site", &keys)]);
    let found = buckets.look(survey(of_one_bucket(), &changed, bounds).unwrap());
    assert_eq!(found.listed, Vec::<String>::new());
    assert!(found.partial);
}

#[test]
fn what_was_left_or_given_up_is_not_asked_for_again() {
    let keys: Vec<_> = (0..60).map(|at| format!("a/{at:02}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let changed = ["/a/10", "/a/11", "/a/30", "/a/31"];
    let bounds = Bounds {
        evictions_per_path: 0.0,
        ..Bounds::NONE
    };
    let mut buckets = Buckets::new(4, &[("site", &keys)]);
    let found = buckets.look(survey(of_one_bucket(), &changed, bounds).unwrap());
    assert!(found.serves(&changed) && found.serves(&["/a/10", "/a/30"]));
    assert!(!found.serves(&["/a/10", "/a/40", "/a/41"]));
    // With too few pages, all that was not looked at counts as such.
    let bounds = Bounds { pages: 1, ..bounds };
    let found = buckets.look(survey(of_one_bucket(), &changed, bounds).unwrap());
    assert!(found.partial && found.serves(&changed));
}

#[test]
fn the_beginning_of_a_bucket_does_not_take_all_pages() {
    let mut keys: Vec<_> = (0..9_000).map(|at| format!("a/{at:04}")).collect();
    keys.extend((0..50).map(|at| format!("z/{at:02}")));
    let all: Vec<_> = keys.iter().map(String::as_str).collect();
    let changed: Vec<_> = keys[9_000..].iter().map(|key| format!("/{key}")).collect();
    let mut changed: Vec<_> = changed.iter().map(String::as_str).collect();
    changed.push("/a/0000");
    let mut buckets = Buckets::new(1_000, &[("site", &all)]);
    let survey = self::survey(
        of_one_bucket(),
        &changed,
        Bounds {
            pages: 8,
            ..Bounds::NONE
        },
    )
    .unwrap();
    let found = buckets.look(survey);
    assert_eq!(found.listed, ["/z/"]);
}

#[test]
fn what_rules_make_of_keys_cannot_be_listed() {
    let rule = |also: &str| {
        let also = [also.to_owned()];
        Rule::new("site", "photos/{name}.jpg", &also, true).unwrap()
    };
    let policy = MappingPolicy {
        rules: vec![rule("/img/{name}/*")],
        ..MappingPolicy::default()
    };
    let ground = |policy| Ground::new(of_one_bucket(), policy, "E1").unwrap();
    let texts = ["/img/1/", "/img/2/", "/docs/1", "/docs/2"].map(str::to_owned);
    let mut buckets = Buckets::new(9, &[("site", &["photos/1.jpg", "docs/1", "docs/3"])]);
    let survey = Survey::new(ground(&policy), texts.to_vec(), Bounds::NONE).unwrap();
    let found = buckets.look(survey);
    assert_eq!(found.listed, ["/docs/"]);
    assert_eq!(buckets.prefixes(), ["site/docs/"]);
    assert!(found.stands_on(&ground(&policy)));
}

#[test]
fn a_survey_is_void_where_the_distribution_serves_otherwise() {
    let mut buckets = Buckets::new(9, &[("site", &["a/1", "a/2"])]);
    let found = looked(&mut buckets, of_one_bucket(), &["/a/1", "/a/2"]);
    let origins = vec![
        origin("a", "site.s3.eu-west-1.amazonaws.com", ""),
        origin("b", "api.example.com", ""),
    ];
    let behaviours = vec![behaviour("/a/*", "b", true), behaviour("*", "a", true)];
    let policy = MappingPolicy::default();
    let ground = |catalogue| Ground::new(catalogue, &policy, "E1").unwrap();
    assert!(found.stands_on(&ground(of_one_bucket())));
    assert!(!found.stands_on(&ground(catalogue(origins, behaviours))));
}

#[test]
fn origin_paths_and_behaviours_say_which_keys_are_meant() {
    let origins = vec![
        origin("a", "site.s3.eu-west-1.amazonaws.com", "/live"),
        origin("b", "images.s3.amazonaws.com", ""),
        origin("c", "api.example.com", ""),
    ];
    let behaviours = vec![
        behaviour("/img/*", "b", true),
        behaviour("/api/*", "c", true),
        behaviour("/app/*", "c", false),
        behaviour("*", "a", true),
    ];
    let catalogue = catalogue(origins, behaviours);
    let mut buckets = Buckets::new(
        9,
        &[
            (
                "site",
                &[
                    "live/a/1",
                    "live/a/2",
                    "live/img/x",
                    "old/a/3",
                    "live/app/s",
                ],
            ),
            ("images", &["img/1", "img/2", "a/9"]),
        ],
    );
    let changed = [
        "/a/1", "/a/2", "/api/1", "/api/2", "/app/1", "/app/2", "/img/1", "/img/2",
    ];
    let found = looked(&mut buckets, catalogue, &changed);
    // What another origin has a part in cannot be known; what is never cached cannot be evicted.
    assert_eq!(found.listed, ["/a/", "/app/", "/img/"]);
    assert_eq!(found.paths, ["/a/1", "/a/2", "/img/1", "/img/2"]);
    assert_eq!(buckets.prefixes(), ["site/live/a/", "images/img/"]);
}

#[test]
fn what_needs_a_page_that_cannot_be_had_is_not_known() {
    let origins = vec![
        origin("a", "site.s3.eu-west-1.amazonaws.com", ""),
        origin("b", "images.s3.amazonaws.com", ""),
    ];
    let behaviours = vec![behaviour("/img/x*", "b", true), behaviour("*", "a", true)];
    let changed = ["/a/1", "/a/2", "/img/1", "/img/2", "/img/y1", "/img/y2"];
    let mut survey = survey(catalogue(origins, behaviours), &changed, Bounds::NONE).unwrap();
    let keys = ["a/1", "a/2", "a/3", "img/1", "img/y1", "img/y3"];
    while let Some(ask) = survey.next_page() {
        if ask.bucket == "site" {
            let page = keys.iter().filter(|key| key.starts_with(&ask.prefix));
            survey.take_page(page.map(|key| (*key).to_owned()).collect(), false);
        } else {
            survey.skip_page();
        }
    }
    let found = survey.finish();
    assert_eq!(found.listed, ["/a/", "/img/y"]);
    assert_eq!(found.paths, ["/a/1", "/a/2", "/a/3", "/img/y1", "/img/y3"]);
    assert!(!found.partial);
}

#[test]
fn paths_in_an_unusual_spelling_are_not_taken_for_known() {
    let mut buckets = Buckets::new(
        9,
        &[(
            "site",
            &[
                "ä1", "ö2", "a b/1", "a b/2", "a+b/1", "a0", "a1", "a2", "a3",
            ],
        )],
    );
    let changed = [
        "/a%20b/1", "/a%20b/2", "/a+b/1", "/a+b/2", "/a%2Bb/1", "/a%2Bb/2",
    ];
    let bounds = Bounds {
        evictions_per_path: 0.0,
        ..Bounds::NONE
    };
    buckets.page = 1;
    let found = buckets.look(survey(of_one_bucket(), &changed, bounds).unwrap());
    assert_eq!(found.listed, ["/a%20b/", "/a%2Bb/"]);
    // A stem may end within a character.
    buckets.asked.clear();
    let found = looked(&mut buckets, of_one_bucket(), &["/%C3%A41", "/%C3%B62"]);
    assert_eq!(found.listed, ["/%C3"]);
    assert_eq!(buckets.prefixes(), vec!["site/"; 9]);
    assert!(found.paths.contains(&"/%C3%B62".to_owned()));
}

proptest! {
    #[test]
    fn all_keys_with_a_listed_stem_are_known(
        keys in prop::collection::btree_set("[ab/é +]{1,5}", 0..40),
        changed in prop::collection::btree_set("[ab/é +]{1,5}", 2..12),
        page in 1_usize..6,
        pages in 0_usize..12,
        evictions_per_path in 0.0_f64..3.0,
    ) {
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let changed: Vec<_> = changed.iter().map(|key| spell(&format!("/{key}")).url).collect();
        let changed: Vec<_> = changed.iter().map(String::as_str).collect();
        let bounds = Bounds { evictions_per_path, pages, bytes: usize::MAX };
        let mut buckets = Buckets::new(page, &[("site", &keys)]);
        let found = buckets.look(survey(of_one_bucket(), &changed, bounds).unwrap());
        prop_assert!(found.pages <= pages);
        let plus = [crate::domain::path::Respelling { char: '+', text: "%2B" }];
        let all: Vec<_> = keys
            .iter()
            .map(|key| crate::domain::path::spell_as(&format!("/{key}"), &plus).url)
            .collect();
        for stem in &found.listed {
            let missing = all.iter().find(|path| {
                path.starts_with(stem.as_str()) && !found.paths.contains(path)
            });
            prop_assert_eq!(missing, None, "below {}: {:?}", stem, found);
        }
        for path in &found.paths {
            prop_assert!(all.contains(path), "{}", path);
        }
    }
}
