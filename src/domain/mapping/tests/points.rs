//! Mapping cases of the issue "What people hit", each named after its point there.

use super::*;

/// The items of a key, in the notation of [`table`](super::table).
fn items(setup: &str, key: &str) -> Vec<String> {
    let mapping = Site::read(setup).map(key).unwrap();
    assert_eq!(
        (&mapping.dead, &mapping.waits),
        (&vec![], &vec![]),
        "{setup}"
    );
    let targets = mapping.targets.iter();
    targets.map(|one| one.item.as_str().to_owned()).collect()
}

/// Checks cases of a setup, a key and its items.
fn hold(cases: &[(&str, &str, &[&str])]) {
    for (setup, key, expected) in cases {
        assert_eq!(items(setup, key), *expected, "{setup:?} {key:?}");
    }
}

/// Why a key has no item.
fn skipped(setup: &str, key: &str) -> String {
    let mapping = Site::read(setup).map(key).unwrap();
    assert_eq!(mapping.targets, [], "{setup}");
    mapping.skipped[0].why.clone()
}

fn because(setup: &str, key: &str) -> String {
    let mapping = Site::read(setup).map(key).unwrap();
    mapping.targets[0].because.clone()
}

const WEBSITE: &str = "o:site.s3-website-us-east-1.amazonaws.com";
const CUSTOM: &str = "o:files.example.com said=files.example.com>site";

#[test]
fn p1_a_plus_is_written_as_the_origin_reads_it() {
    hold(&[
        ("", "a+b.png", &["/a%2Bb.png"]),
        ("", "a b.png", &["/a%20b.png", "/a+b.png"]),
        ("", "a b+c d", &["/a%20b%2Bc%20d", "/a+b%2Bc+d"]),
        ("", "a.png", &["/a.png"]),
        ("d>o0+q", "a+b", &["/a%2Bb*"]),
        // A function may make anything of it.
        ("d>o0+f", "a+b", &["/a%2Bb", "/a+b"]),
        (WEBSITE, "a+b", &["/a+b", "/a%2Bb"]),
        (WEBSITE, "a b", &["/a%20b"]),
        (
            WEBSITE,
            "a+/index.html",
            &["/a+/index.html", "/a%2B/index.html", "/a+/", "/a%2B/"],
        ),
        (CUSTOM, "a+b", &["/a+b", "/a%2Bb"]),
        (CUSTOM, "a b", &["/a%20b"]),
        // Each by its own behaviour.
        ("b:*+*>o0+n", "a b", &["/a%20b"]),
    ]);
    let alias = "o:x-s3alias.s3.us-east-1.amazonaws.com \
                 said=x-s3alias.s3.us-east-1.amazonaws.com>site";
    hold(&[(alias, "a+b", &["/a%2Bb"])]);
}

#[test]
fn p2_a_changed_error_page_says_where_it_stays() {
    let spa = "root=index.html e:403=/index.html+86400 e:404=/index.html+86400";
    let why = because(spa, "index.html");
    for part in [
        "warning",
        "403, 404 for at least 86400 s",
        "/*",
        "error_pages",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    hold(&[
        (spa, "index.html", &["/", "/index.html"]),
        (
            &format!("clear {spa}"),
            "index.html",
            &["/", "/index.html", "/*"],
        ),
        (&format!("clear {spa}"), "other.html", &["/other.html"]),
        ("clear e:404=/404.html+10", "404.html", &["/404.html"]),
        (
            "clear root=index.html e:404=/+11",
            "index.html",
            &["/", "/index.html", "/*"],
        ),
        (
            "clear e:404=/my%20page.html+11",
            "my page.html",
            &["/my%20page.html", "/my+page.html", "/*"],
        ),
        (
            "clear o:site.s3-website-us-east-1.amazonaws.com e:404=/gone/+11",
            "gone/index.html",
            &["/gone/index.html", "/gone/", "/*"],
        ),
    ]);
    // Everything goes out anyway.
    assert!(!because(&format!("clear {spa}"), "index.html").contains("warning"));
    assert!(!because(&format!("rule=*.html>/* {spa}"), "index.html").contains("warning"));
}

#[test]
fn p2_error_pages_may_have_a_bucket_of_their_own() {
    let own = "o:app.example.com o:site.s3.amazonaws.com/pages b:/errors/*>o1 d>o0 \
               e:404=/errors/404.html+300";
    let key = "pages/errors/404.html";
    assert!(because(own, key).contains("404 for at least 300 s"));
    hold(&[(&format!("clear {own}"), key, &["/errors/404.html", "/*"])]);
    // Also where the page itself is never cached.
    let uncached = format!("gone {}", own.replace(">o1", ">o1+n"));
    let why = skipped(&uncached, key);
    assert!(
        why.contains("never caches") && why.contains("warning"),
        "{why}"
    );
    hold(&[(&format!("clear {uncached}"), key, &["/*"])]);
    // Another origin has the page.
    let elsewhere = "clear o:site.s3.amazonaws.com o:e.example.com b:/errors/*>o1 d>o0 \
                     e:404=/errors/404.html+300";
    assert!(skipped(elsewhere, "errors/404.html").contains("sends /errors/404.html to o1"));
}

#[test]
fn p2_a_created_object_clears_the_error_that_stood_there() {
    hold(&[
        ("d>o0+n e:404=+300", "a", &["/a"]),
        ("d>o0+n e:403=/403.html+11", "a", &["/a"]),
        ("d>o0+nq e:404=+300", "a", &["/a*"]),
        (
            "d>o0+p=4135ea2d-6df8-44a3-9df3-4b5a84be39ad e:404=+300",
            "a",
            &["/a"],
        ),
        ("b:x/*>o0+n e:404=+300 root=x/i", "x/i", &["/", "/x/i"]),
    ]);
    assert!(
        because("d>o0+n e:404=+300", "a").contains("nothing but errors: 404 for at least 300 s")
    );
    for setup in [
        "d>o0+n e:404=+10",
        "d>o0+n e:500=+300",
        "gone d>o0+n e:404=+300",
    ] {
        assert!(skipped(setup, "a").contains("never caches"), "{setup}");
    }
    for (event, effect) in [
        ("ObjectCreated:Copy", Effect::Appears),
        ("ObjectRestore:Completed", Effect::Appears),
        ("ObjectAcl:Put", Effect::Appears),
        ("ObjectRemoved:DeleteMarkerCreated", Effect::Disappears),
        ("LifecycleExpiration:Delete", Effect::Disappears),
        ("ObjectRestore:Delete", Effect::Disappears),
    ] {
        assert_eq!(Effect::of(event), effect, "{event}");
    }
}

#[test]
fn p2_readiness_names_error_pages_from_buckets() {
    let notices = |setup: &str| {
        let site = Site::read(setup);
        let catalogue = catalogue([site.distribution], site.origins);
        Notices::of(&catalogue, &site.policy).error_pages
    };
    let told = notices("e:403=/i.html+86400 e:404=/i.html+300");
    assert_eq!(
        told,
        ["E1: /i.html is kept as the page of 403, 404 for at least 86400 s"]
    );
    let pages = "o:e.example.com o:site.s3.amazonaws.com b:/errors/*>o1 d>o0";
    assert_eq!(notices(&format!("{pages} e:404=/errors/a+11")).len(), 1);
    for silent in [
        "e:404=/i.html+10",
        "e:404=+300",
        "clear e:404=/i.html+300",
        "off e:404=/i.html+300",
        "left-out e:404=/i.html+300",
    ] {
        assert_eq!(notices(silent).len(), 0, "{silent}");
    }
    assert_eq!(notices(&format!("{pages} e:404=/a+11")).len(), 0);
}

#[test]
fn p3_other_origins_are_seen_and_names_are_not() {
    let listed = |setup: &str| Distribution {
        details: Details::Unread,
        ..Site::read(setup).distribution
    };
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let base = "o:site.s3.amazonaws.com/v1 b:/x/*>o0 d>o0";
    let known = catalogue([listed(base)], vec![]);
    let rerouted = |setup: &str| {
        let new = known.refreshed(vec![listed(setup)], at(60), 0);
        new.get("E1").unwrap().rerouted.clone()
    };
    let seen = |buckets| {
        Some(Rerouted {
            seen_at: at(60),
            buckets,
        })
    };
    for (setup, expected) in [
        (base, None),
        ("o:site.s3.amazonaws.com/v2 b:/x/*>o0 d>o0", seen(true)),
        ("o:other.s3.amazonaws.com/v1 b:/x/*>o0 d>o0", seen(true)),
        ("o:e.example.com b:/x/*>o0 d>o0", seen(true)),
        ("o:site.s3.amazonaws.com/v1 b:/y/*>o0 d>o0", seen(true)),
        ("o:site.s3.amazonaws.com/v1 d>o0", seen(true)),
        // Caching does not change what a URL leads to, and neither does an origin without use.
        ("o:site.s3.amazonaws.com/v1 b:/x/*>o0+n d>o0+q", None),
        (
            "o:site.s3.amazonaws.com/v1/ o:e.example.com b:/x/*>o0 d>o0",
            None,
        ),
        (
            "o:e.example.com o:site.s3.amazonaws.com/v1 b:/x/*>o1 d>o1",
            None,
        ),
        (
            "o:site.s3.amazonaws.com/v1 o:e.example.com g:G=o0,o1 b:/x/*>o0 d>G",
            seen(true),
        ),
    ] {
        assert_eq!(rerouted(setup), expected, "{setup}");
    }
    // The list lacks the group at times.
    let grouped = listed("o:site.s3.amazonaws.com o:e.example.com g:G=o0,o1 d>G");
    let lacking = listed("o:site.s3.amazonaws.com o:e.example.com d>G");
    assert!(grouped.routes_like(&lacking) && lacking.routes_like(&grouped));
    // A distribution that nobody knew has nothing cached.
    let new = catalogue([], vec![]).refreshed(vec![listed(base)], at(60), 0);
    assert_eq!(new.get("E1").unwrap().rerouted, None);
    // It is reported for a week.
    let moved = known.refreshed(
        vec![listed("o:site.s3.amazonaws.com/v2 b:/x/*>o0 d>o0")],
        at(60),
        0,
    );
    let week = 7 * 24 * 3_600;
    for (now, reported) in [(week, true), (week + 61, false)] {
        let later = vec![listed("o:site.s3.amazonaws.com/v2 b:/x/*>o0 d>o0")];
        let later = moved.refreshed(later, at(now), 0);
        assert_eq!(later.get("E1").unwrap().rerouted.is_some(), reported);
    }
}

#[test]
fn p3_history_and_readiness_say_that_origins_changed() {
    let mut site = Site::read("");
    let rerouted = |buckets| {
        Some(Rerouted {
            seen_at: Timestamp::from_second(1_800_000_000).unwrap(),
            buckets,
        })
    };
    site.distribution.rerouted = rerouted(true);
    let told = |site: &Site| {
        let catalogue = catalogue([site.distribution.clone()], vec![]);
        let mapping = map_object(&catalogue, &site.policy, "site", "a", Effect::Appears).unwrap();
        let changes = Notices::of(&catalogue, &site.policy).origin_changes;
        (
            mapping.targets[0].because.contains("other origins"),
            changes,
        )
    };
    let (history, readiness) = told(&site);
    assert!(
        history && readiness[0].contains("nothing was invalidated"),
        "{readiness:?}"
    );
    let clears = DistributionPolicy {
        origin_change: Reaction::Clear,
        ..DistributionPolicy::default()
    };
    site.policy.distributions.insert("E1".to_owned(), clears);
    let (history, readiness) = told(&site);
    assert!(
        !history && readiness[0].contains("as soon as"),
        "{readiness:?}"
    );
    // Nobody else's servers, unless they are asked for.
    site.policy.distributions.clear();
    site.distribution.rerouted = rerouted(false);
    assert_eq!(told(&site), (false, vec![]));
}

#[test]
fn p7_a_function_leaves_two_uris() {
    const DISABLED: &str = "p=4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
    let setup = format!("b:*/index.html>o0+{DISABLED} d>o0+f");
    hold(&[
        (&setup, "dir/index.html", &["/dir/", "/dir/index.html"]),
        (
            &format!("bare {setup}"),
            "dir/index.html",
            &["/dir/", "/dir/index.html", "/dir"],
        ),
        // By the caching of the behaviour that the viewer's URI selects.
        (
            "b:*/index.html>o0+n d>o0+fq",
            "d/index.html",
            &["/d/", "/d/?*", "/d/index.html*"],
        ),
        (
            "b:/index.html>o0+n d>o0+f root=index.html",
            "index.html",
            &["/", "/index.html"],
        ),
    ]);
    // No function sees the folder's URI.
    assert!(skipped("b:*/index.html>o0+nf d>o0", "dir/index.html").contains("never caches"));
    assert!(because(&setup, "dir/index.html").contains("index document"));
}

#[test]
fn p8_a_folder_without_its_slash_is_no_prefix() {
    hold(&[
        (
            "bare d>o0+fq",
            "dir/index.html",
            &["/dir/index.html*", "/dir/", "/dir/?*", "/dir", "/dir?*"],
        ),
        (
            "bare protect=/dir2/* d>o0+fq",
            "dir/index.html",
            &["/dir/index.html*", "/dir/", "/dir/?*", "/dir", "/dir?*"],
        ),
    ]);
}

#[test]
fn p9_only_the_folder_of_an_index_document_is_served_by_it() {
    hold(&[
        (
            &format!("bare {WEBSITE}"),
            "a//index.html",
            &["/a//index.html", "/a//"],
        ),
        (
            &format!("bare {WEBSITE}"),
            "/index.html",
            &["//index.html", "//"],
        ),
        (
            &format!("bare {WEBSITE}"),
            "a/index.html",
            &["/a/index.html", "/a/", "/a"],
        ),
        ("bare d>o0+f", "a//index.html", &["/a//index.html", "/a//"]),
    ]);
}

#[test]
fn p6_p10_origin_paths_of_keys_and_of_services() {
    hold(&[
        ("o:site.s3.amazonaws.com/my%20dir", "my dir/k", &["/k"]),
        ("o:site.s3.amazonaws.com/r%C3%A9", "ré/k", &["/k"]),
        (
            "o:a.execute-api.eu-west-1.amazonaws.com/prod said=a.execute-api.eu-west-1.amazonaws.com>site service",
            "k",
            &["/k"],
        ),
        (
            "o:a.execute-api.eu-west-1.amazonaws.com/prod said=a.execute-api.eu-west-1.amazonaws.com>site/img service",
            "img/k",
            &["/k"],
        ),
    ]);
    let encoded = skipped("o:site.s3.amazonaws.com/my%20dir", "my%20dir/k");
    assert!(encoded.contains("outside every origin path"), "{encoded}");
}

#[test]
fn p11_distributions_for_tenants_are_left_alone_and_named() {
    assert!(skipped("tenants", "a").contains("tenants"));
    let site = Site::read("tenants");
    let mapping = map_item(&site.distribution, Item::parse("/a").unwrap());
    assert_eq!(mapping.targets, []);
    assert!(mapping.skipped[0].why.contains("tenants"));
    // Nothing of it is asked for.
    let unread = Distribution {
        details: Details::Unread,
        ..site.distribution.clone()
    };
    let unread = catalogue([unread], vec![]);
    let mapping = map_object(&unread, &site.policy, "site", "a", Effect::Appears).unwrap();
    assert_eq!(mapping.waits, []);
    assert!(Wait::Details("E1".to_owned()).is_over(&unread, &site.policy));
    assert_eq!(Notices::of(&unread, &site.policy).tenants, ["E1"]);
    let off = Site::read("tenants left-out");
    let off = Notices::of(&catalogue([off.distribution], vec![]), &off.policy);
    assert_eq!(off, Notices::default());
}

#[test]
fn p12_origin_groups_come_from_the_configuration_where_the_list_lacks_them() {
    let mut site = Site::read("d>G");
    let read = |groups: Option<Vec<OriginGroup>>| Details::Read {
        revision: "1".to_owned(),
        root: None,
        cache_tags: false,
        groups,
    };
    let group = OriginGroup {
        id: "G".to_owned(),
        members: vec!["x".to_owned(), "o0".to_owned()],
    };
    let told = |site: &Site| {
        let catalogue = catalogue([site.distribution.clone()], vec![]);
        let mapping = map_object(&catalogue, &site.policy, "site", "a", Effect::Appears);
        (
            mapping.unwrap(),
            Notices::of(&catalogue, &site.policy).unknown_targets,
        )
    };
    site.distribution.details = read(Some(vec![group]));
    let (mapping, unknown) = told(&site);
    assert_eq!((mapping.targets.len(), unknown.len()), (1, 0));
    // The configuration does not have it either.
    site.distribution.details = read(Some(vec![]));
    let (mapping, unknown) = told(&site);
    assert!(
        mapping.skipped[0].why.contains("neither a known origin"),
        "{mapping:?}"
    );
    assert_eq!(unknown, ["E1: G"]);
    // Nobody may read it.
    site.distribution.details = Details::Denied;
    assert_eq!(told(&site).1, ["E1: G"]);
    // An older release has read it, and did not keep the groups.
    site.distribution.details = read(None);
    let (mapping, unknown) = told(&site);
    assert_eq!(mapping.waits, [Wait::Details("E1".to_owned())]);
    assert_eq!(unknown.len(), 0);
    assert!(!Site::read("").distribution.needs_details());
    let old = Distribution {
        details: read(None),
        ..in_front_of("E1", "site")
    };
    assert!(!old.needs_details(), "all targets are known");
}

/// A document of the release before error pages, tenants and other origins were known.
const OLD: &str = r#"{"id": "E1", "enabled": true, "aliases": [], "groups": [], "revision": "1",
    "origins": [{"id": "o0", "domain": "site.s3.us-east-1.amazonaws.com", "path": ""}],
    "behaviours": [{"pattern": "*", "target": "o0", "rewrites": false, "smooth_streaming": false,
        "caching": {"inline": {"caches": true, "query_strings": false}}}],
    "details": {"read": {"revision": "1", "root": "index.html", "cache_tags": false}}}"#;

#[test]
fn documents_of_older_releases_are_read_and_the_first_reading_after_them_is_no_change() {
    let old: Distribution = serde_json::from_str(OLD).unwrap();
    assert!(!old.needs_details());
    let known = catalogue([old], vec![]);
    let site = Site::read("d>o0+n e:404=/index.html+300").distribution;
    let listed = Distribution {
        deployed: true,
        details: Details::Unread,
        ..site
    };
    let new = known.refreshed(vec![listed.clone()], Timestamp::UNIX_EPOCH, 0);
    let one = new.get("E1").unwrap();
    assert_eq!((&one.rerouted, one.needs_details()), (&None, false));
    let written = serde_json::to_string(one).unwrap();
    assert_eq!(*one, serde_json::from_str(&written).unwrap());
}
