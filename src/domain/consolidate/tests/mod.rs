//! Merging.

mod force;
mod scenarios;

use super::{Bar, Ceilings, Guard, Known, Merged, Merging, Prices, Wanted, order::sort_by_text};
use crate::domain::path::Item;

fn items<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Item> {
    let read = |text| Item::read(text).unwrap();
    texts.into_iter().map(read).collect()
}

fn ceilings(items: usize, wildcards: usize) -> Ceilings {
    Ceilings { items, wildcards }
}

fn merged(changed: &[&str], known: Known<'_>, evictions_per_path: f64, most: Ceilings) -> Merged {
    let changed = items(changed.iter().copied());
    let merging = Merging::new(Wanted::new(&changed, []), known, &Guard::NONE);
    merging.cheapest(&Prices::per_path(evictions_per_path), most)
}

/// The items of a plan, and how many evictions it has.
fn told(merged: &Merged) -> (Vec<&str>, usize) {
    let items = merged.items.iter().map(Item::as_str).collect();
    (items, merged.evictions)
}

#[test]
fn nothing_becomes_nothing() {
    let plan = merged(&[], Known::all(vec!["/a"]), 20.0, ceilings(0, 0));
    assert_eq!((told(&plan), plan.obeys), ((vec![], 0), true));
}

#[test]
fn a_wildcard_is_as_narrow_as_its_paths_allow() {
    let known = || Known::all(vec!["/a/b1", "/a/b2", "/a/c", "/a/b1"]);
    let plan = merged(&["/a/b2", "/a/b1", "/a/b2"], known(), 20.0, Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/a/b*"], 0));
    // The path itself is one of those that its wildcard covers.
    let plan = merged(&["/a", "/a/b1", "/a/b2"], known(), 20.0, Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/a*"], 1));
    let plan = merged(&["/a", "/a/b1", "/a/b2"], known(), 0.5, Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/a", "/a/b*"], 0));
}

#[test]
fn a_stem_never_cuts_an_escape() {
    let changed = ["/%C3%A4", "/%C3%A5", "/%C4%80"];
    let known = |other: &'static str| Known::all([&changed[..], &[other]].concat());
    let plan = |other| merged(&changed, known(other), 5.0, Ceilings::NONE);
    assert_eq!(told(&plan("/%D0")), (vec!["/*"], 1));
    let plan = |other| merged(&changed, known(other), 0.9, Ceilings::NONE);
    assert_eq!(told(&plan("/%D0")), (vec!["/%C3*", "/%C4%80"], 0));
}

#[test]
fn free_paths_are_still_as_few_as_possible() {
    let known = || Known::all(vec!["/a1", "/a2", "/b1", "/b2", "/c"]);
    let changed = ["/a1", "/a2", "/b1", "/b2"];
    let plan = merged(&changed, known(), 0.0, Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/a*", "/b*"], 0));
    let plan = merged(&changed, known(), 0.0, ceilings(usize::MAX, 1));
    assert_eq!(told(&plan).0.len(), 3);
}

#[test]
fn tags_and_fixed_items_are_no_reason_to_widen_but_count() {
    let (changed, fixed) = (items(["/a1", "#t"]), items(["/a2", "/a3", "/x/*", "#t"]));
    let keys = vec!["/a1", "/a2", "/a3", "/a4", "/x/1"];
    let merging = |changed| {
        Merging::new(
            Wanted::new(changed, &fixed),
            Known::all(keys.clone()),
            &Guard::NONE,
        )
    };
    let plan = merging(&changed).cheapest(&Prices::per_path(20.0), ceilings(5, 1));
    let all = ["/a1", "/a2", "/a3", "/x/*", "#t"];
    assert_eq!((told(&plan), plan.obeys), ((all.to_vec(), 0), true));
    let plan = merging(&changed).cheapest(&Prices::per_path(20.0), ceilings(4, 1));
    assert!(!plan.obeys);
    // A wildcard that pays anyway covers them.
    let changed = items(["/a1", "/a5", "#t"]);
    let plan = merging(&changed).cheapest(&Prices::per_path(20.0), Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/a*", "/x/*", "#t"], 1));
}

#[test]
fn a_wanted_wildcard_evicts_nothing_that_was_not_wanted() {
    let keys = vec!["/a/1", "/a/2", "/b/1", "/b/2", "/c"];
    let plan = |price| {
        merged(
            &["/a/*", "/b/*"],
            Known::all(keys.clone()),
            price,
            Ceilings::NONE,
        )
    };
    assert_eq!(told(&plan(0.5)), (vec!["/a/*", "/b/*"], 0));
    assert_eq!(told(&plan(2.0)), (vec!["/*"], 1));
}

#[test]
fn the_guard_binds_only_what_merging_makes() {
    let keys = vec!["/a/1", "/a/2", "/b/1", "/b/2", "/c"];
    let changed = items(["/a/1", "/a/2", "/b/1", "/b/2", "/c"]);
    let plan = |guard: &Guard| {
        let merging = Merging::new(Wanted::new(&changed, []), Known::all(keys.clone()), guard);
        merging.cheapest(&Prices::per_path(20.0), Ceilings::NONE)
    };
    let guard = |protected: &[&str], min_stem, allow_root| Guard {
        protected: items(protected.iter().copied()),
        min_stem,
        allow_root,
        ..Guard::NONE
    };
    let shown = |guard| {
        plan(&guard)
            .items
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(shown(guard(&[], 0, true)), "/*");
    assert_eq!(shown(guard(&[], 0, false)), "/a/* /b/* /c");
    assert_eq!(shown(guard(&[], 1, true)), "/*");
    assert_eq!(shown(guard(&[], 1, false)), "/a/* /b/* /c");
    assert_eq!(shown(guard(&[], 3, false)), "/a/1 /a/2 /b/1 /b/2 /c");
    assert_eq!(shown(guard(&["/b/2"], 0, true)), "/a/* /b/1 /b/2 /c");
    assert_eq!(shown(guard(&["/b/new/*"], 0, true)), "/a/* /b/1 /b/2 /c");
    assert_eq!(shown(guard(&["/*"], 0, true)), "/a/1 /a/2 /b/1 /b/2 /c");
    let changed = items(["/*", "/c"]);
    let merging = Merging::new(
        Wanted::new(&changed, []),
        Known::nothing(),
        &guard(&["/c"], 1, false),
    );
    let plan = merging.cheapest(&Prices::per_path(20.0), Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/*"], 0));
}

#[test]
fn the_guard_says_what_it_has_prevented() {
    let keys = vec!["/a/1", "/a/2", "/b/1", "/b/2", "/b/3", "/c"];
    let changed = items(["/a/1", "/a/2", "/b/1", "/b/2"]);
    let guard = |guard: Guard| {
        let merging = Merging::new(Wanted::new(&changed, []), Known::all(keys.clone()), &guard);
        let prices = Prices::per_path(1.5);
        let plan = merging.cheapest(&prices, Ceilings::NONE);
        let prevented = merging.prevented(&prices).into_iter();
        let prevented = prevented.map(|one| (one.item.to_string(), one.bar, one.replaces));
        (told(&plan).0.join(" "), prevented.collect::<Vec<_>>())
    };
    assert_eq!(guard(Guard::NONE), ("/*".to_owned(), vec![]));
    let root = |rest| Guard {
        allow_root: false,
        ..rest
    };
    let all = ("/*".to_owned(), Bar::Root, 4);
    let told = guard(root(Guard::NONE));
    assert_eq!(told, ("/a/* /b/*".to_owned(), vec![all.clone()]));
    // What was sent a short while ago is not sent again if it evicts anything.
    let resting = root(Guard {
        resting: items(["/a/*", "/b/*"]),
        ..Guard::NONE
    });
    let told = guard(resting);
    assert_eq!(told, ("/a/* /b/1 /b/2".to_owned(), vec![all]));
    let open = Guard {
        resting: items(["/*", "/b/*"]),
        ..Guard::NONE
    };
    let all = ("/*".to_owned(), Bar::Resting, 4);
    assert_eq!(guard(open), ("/a/* /b/1 /b/2".to_owned(), vec![all]));
    let long = root(Guard {
        min_stem: 3,
        ..Guard::NONE
    });
    let all = ("/*".to_owned(), Bar::Root, 4);
    assert_eq!(guard(long), ("/a/1 /a/2 /b/1 /b/2".to_owned(), vec![all]));
}

#[test]
fn nothing_unlisted_is_widened_if_the_guard_forbids_it() {
    let changed = items(["/a/1", "/a/2", "/b/1", "/b/2"]);
    let guard = Guard {
        unlisted: false,
        ..Guard::NONE
    };
    let known = Known::under(vec!["/a/"], vec!["/a/1", "/a/2"]);
    let merging = Merging::new(Wanted::new(&changed, []), known, &guard);
    let plan = merging.cheapest(&Prices::per_path(1.0), ceilings(2, usize::MAX));
    assert_eq!(told(&plan), (vec!["/a/*", "/b/1", "/b/2"], 0));
    assert!(!plan.obeys && !plan.beyond_known);
    assert_eq!(plan.made[0].evictions, Some(0));
}

#[test]
fn what_is_not_listed_is_widened_only_if_a_ceiling_forces_it() {
    let changed = ["/a/1", "/a/2", "/b/long1", "/b/long2", "/b/x", "/c"];
    let plan = |items| {
        merged(
            &changed,
            Known::nothing(),
            20.0,
            ceilings(items, usize::MAX),
        )
    };
    assert_eq!(told(&plan(6)).0, changed);
    assert!(!plan(6).beyond_known);
    // The narrowest first, and none that is not needed.
    assert_eq!(told(&plan(5)).0, ["/a/1", "/a/2", "/b/long*", "/b/x", "/c"]);
    assert_eq!(told(&plan(4)).0, ["/a/*", "/b/long*", "/b/x", "/c"]);
    assert_eq!(told(&plan(3)).0, ["/a/*", "/b/*", "/c"]);
    assert_eq!(told(&plan(2)).0, ["/*"]);
    assert!(plan(2).beyond_known && plan(2).obeys);
    // What is listed goes first, even if it evicts something.
    let known = || Known::under(vec!["/b/", "/b/l"], vec!["/b/x", "/b/y", "/b/z"]);
    let plan = merged(&changed, known(), 1.5, Ceilings::NONE);
    assert_eq!(
        told(&plan),
        (vec!["/a/1", "/a/2", "/b/long*", "/b/x", "/c"], 0)
    );
    let plan = merged(&changed, known(), 1.5, ceilings(4, usize::MAX));
    assert_eq!(told(&plan), (vec!["/a/1", "/a/2", "/b/*", "/c"], 2));
    assert!(!plan.beyond_known);
}

#[test]
fn paths_may_be_as_long_as_items_can_be() {
    let long: Vec<_> = (1..=3_999)
        .map(|length| format!("/{}", "a".repeat(length)))
        .collect();
    let changed: Vec<_> = long.iter().map(String::as_str).collect();
    let plan = merged(&changed, Known::all(vec![]), 20.0, Ceilings::NONE);
    assert_eq!(told(&plan), (vec!["/a*"], 0));
    let plan = merged(&changed, Known::nothing(), 20.0, ceilings(3_000, 1));
    assert_eq!((plan.items.len(), plan.obeys), (3_000, true));
    assert!(plan.items[2_999].stem() == Some(&long[2_999]));
}

#[test]
fn the_curve_falls() {
    let changed: Vec<_> = (0..40)
        .map(|number| format!("/{}/{number}", number % 7))
        .collect();
    let other: Vec<_> = (0..500)
        .map(|number| format!("/{}/other{number}", number % 9))
        .collect();
    let wanted = items(changed.iter().map(String::as_str));
    let known = Known::all(other.iter().map(String::as_str).collect());
    let merging = Merging::new(Wanted::new(&wanted, []), known, &Guard::NONE);
    for most in [Ceilings::NONE, ceilings(usize::MAX, 2)] {
        let curve = merging.curve(&Prices::per_path(20.0), most);
        assert!(curve.len() > 1);
        assert_eq!((curve[0].items, curve[curve.len() - 1].path), (1, 0.0));
        for pair in curve.windows(2) {
            assert!(pair[0].path > pair[1].path);
            assert!(pair[0].items < pair[1].items && pair[0].evictions > pair[1].evictions);
        }
        for point in &curve {
            let plan = merging.cheapest(&Prices::per_path(point.path + 1e-6), most);
            assert_eq!(
                (plan.items.len(), plan.evictions),
                (point.items, point.evictions)
            );
            assert_eq!(plan.wildcards, point.wildcards);
        }
    }
}

#[test]
fn sorting_is_by_bytes() {
    let mut random = fastrand::Rng::with_seed(3);
    let pieces = ["a", "b", "/page-", "\0", "\u{e9}", "0123456"];
    let text = |random: &mut fastrand::Rng| -> String {
        let pieces = (0..random.usize(0..9)).map(|_| pieces[random.usize(..pieces.len())]);
        pieces.collect()
    };
    for _ in 0..200 {
        let texts: Vec<_> = (0..random.usize(0..300))
            .map(|_| text(&mut random))
            .collect();
        let mut sorted: Vec<_> = texts.iter().map(String::as_str).collect();
        let mut expected = sorted.clone();
        expected.sort_unstable();
        sort_by_text(&mut sorted, |text| text);
        assert_eq!(sorted, expected);
    }
}
