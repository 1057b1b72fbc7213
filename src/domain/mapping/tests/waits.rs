//! Changes that the catalogue knows too little for, and changes that are mapped again.

use super::*;

fn custom(distribution_id: &str) -> Wait {
    Wait::Policy {
        distribution_id: distribution_id.to_owned(),
        policy_id: "custom".to_owned(),
    }
}

/// One that can be mapped to, and three that lack something.
fn partly_known() -> Catalogue {
    let known = in_front_of("E0", "site");
    let mut unread = in_front_of("E1", "site");
    unread.details = Details::Unread;
    let mut changed = in_front_of("E2", "site");
    changed.revision = "2".to_owned();
    let mut with_policy = in_front_of("E3", "site");
    with_policy.behaviours[0].caching = Caching::Policy("custom".to_owned());
    let both = behaviour("/a", "o0");
    let mut partly = with_policy.clone();
    partly.id = "E4".to_owned();
    partly.behaviours.insert(0, both);
    catalogue([known, unread, changed, with_policy, partly], vec![])
}

#[test]
fn a_change_waits_only_where_the_catalogue_lacks_something() {
    let catalogue = partly_known();
    let policy = MappingPolicy::default();
    let mapped = |catalogue: &Catalogue| {
        map_object(catalogue, &policy, "site", "a", Effect::Appears).unwrap()
    };
    let details = ["E1", "E2"].map(|id| Wait::Details(id.to_owned()));
    let ids = |mapping: &Mapping| -> Vec<_> {
        let targets = mapping.targets.iter();
        targets.map(|one| one.distribution_id.clone()).collect()
    };
    let mapping = mapped(&catalogue);
    assert_eq!(ids(&mapping), ["E0", "E4"]);
    let mut waits = details.to_vec();
    waits.push(custom("E3"));
    assert_eq!(mapping.waits, waits);
    assert_eq!(mapping.skipped, []);
    assert_eq!(
        map_object(&catalogue, &policy, "elsewhere", "a", Effect::Appears),
        None
    );
    let key = CacheKey {
        caches: true,
        query_strings: true,
    };
    let learnt = catalogue.with_policy("custom", &CachePolicy::Read(key));
    let mapping = mapped(&learnt);
    assert_eq!(ids(&mapping), ["E0", "E3", "E4"]);
    assert_eq!(mapping.waits, details);
}

#[test]
fn one_distribution_is_mapped_alone() {
    let catalogue = partly_known();
    let mut policy = MappingPolicy::default();
    let at = |policy: &MappingPolicy, id: &str, bucket: &str| {
        map_object_at(&catalogue, policy, id, bucket, "a", Effect::Appears)
    };
    let mapping = at(&policy, "E4", "site").unwrap();
    assert_eq!(mapping.targets.len(), 1);
    assert_eq!(mapping.targets[0].distribution_id, "E4");
    let mapping = at(&policy, "E3", "site").unwrap();
    assert_eq!(
        (mapping.targets.len(), mapping.waits),
        (0, vec![custom("E3")])
    );
    assert_eq!(at(&policy, "E9", "site"), None);
    assert_eq!(at(&policy, "E4", "elsewhere"), None);
    policy.ignores.push(Ignore::new("site", "a").unwrap());
    let mapping = at(&policy, "E3", "site").unwrap();
    assert_eq!(mapping.waits, []);
    assert_eq!(mapping.skipped[0].distribution_id.as_deref(), Some("E3"));
    assert!(mapping.skipped[0].why.contains("ignored"));
}

#[test]
fn a_wait_is_over_when_it_is_answered_or_no_longer_needed() {
    let catalogue = partly_known();
    let mut policy = MappingPolicy::default();
    let details = |id: &str| Wait::Details(id.to_owned());
    let bucket = |name: &str| Wait::Bucket(name.to_owned());
    let open = [
        details("E1"),
        details("E2"),
        custom("E3"),
        custom("E4"),
        bucket("b"),
    ];
    for wait in &open {
        assert!(!wait.is_over(&catalogue, &policy), "{wait:?}");
    }
    let over = [
        details("E0"),
        details("gone"),
        custom("E0"),
        custom("gone"),
        bucket("site"),
        Wait::Again("gone".to_owned()),
    ];
    for wait in &over {
        assert!(wait.is_over(&catalogue, &policy), "{wait:?}");
    }
    let learnt = catalogue.with_policy("custom", &CachePolicy::Denied);
    let learnt = learnt.with_details("E1", &Details::Denied);
    for wait in [custom("E3"), details("E1")] {
        assert!(wait.is_over(&learnt, &policy), "{wait:?}");
    }
    for id in ["E1", "E3"] {
        let own = DistributionPolicy {
            enabled: false,
            ..DistributionPolicy::default()
        };
        policy.distributions.insert(id.to_owned(), own);
    }
    for wait in [custom("E3"), details("E1")] {
        assert!(wait.is_over(&catalogue, &policy), "{wait:?}");
    }
}

#[test]
fn a_change_gets_only_what_it_does_not_have() {
    let skip = |id: Option<&str>| Skip {
        distribution_id: id.map(str::to_owned),
        why: "no".to_owned(),
    };
    let target = |id: &str, item: &str| Target {
        distribution_id: id.to_owned(),
        item: Item::parse(item).unwrap(),
        because: String::new(),
    };
    let all = || Mapping {
        targets: vec![target("E1", "/a"), target("E2", "/a")],
        dead: vec![skip(Some("E1")), skip(Some("E2"))],
        skipped: vec![skip(None), skip(Some("E1")), skip(Some("E3"))],
        waits: vec![custom("E1")],
    };
    let mut mapping = all();
    mapping.retain_new(&[]);
    assert_eq!(mapping, all());
    let known = [("E1", "/a"), ("E1", "no")].map(|(id, text)| (id.to_owned(), text.to_owned()));
    mapping.retain_new(&known);
    let expected = Mapping {
        targets: vec![target("E2", "/a")],
        dead: vec![skip(Some("E2"))],
        skipped: vec![skip(Some("E3"))],
        waits: vec![custom("E1")],
    };
    assert_eq!(mapping, expected);
}
