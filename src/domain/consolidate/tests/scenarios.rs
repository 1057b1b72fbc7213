//! Deployments of which it is known how well they can be done, and the examples of another planner.

use super::{Ceilings, Guard, Item, Known, Merging, Prices, Wanted, ceilings, items, merged};

/// Paths, wildcards and evictions at some number of evictions per path.
fn planned(
    keys: &[String],
    changed: impl Fn(&str) -> bool,
    evictions_per_path: f64,
) -> (usize, usize, usize) {
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let changed: Vec<_> = keys.iter().copied().filter(|key| changed(key)).collect();
    let plan = merged(
        &changed,
        Known::all(keys),
        evictions_per_path,
        Ceilings::NONE,
    );
    (plan.items.len(), plan.wildcards, plan.evictions)
}

/// All texts of a number, in folders.
fn numbered(count: usize, text: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(text).collect()
}

#[test]
fn s1_some_pages_of_each_folder() {
    let mut keys = numbered(480, |at| {
        format!("/docs/{:02}/page-{:02}.html", at / 40, at % 40)
    });
    keys.extend(numbered(500, |at| format!("/assets/{at:03}.js")));
    let changed = |key: &str| {
        key.strip_suffix(".html").is_some_and(|key| {
            ["00", "08", "16", "24", "32"]
                .iter()
                .any(|page| key.ends_with(page))
        })
    };
    assert_eq!(planned(&keys, changed, 0.0), (60, 0, 0));
    assert_eq!(planned(&keys, changed, 5.0), (60, 0, 0));
    assert_eq!(planned(&keys, changed, 10.0), (1, 1, 420));
}

#[test]
fn s2_one_page_beside_thousands() {
    let mut keys = numbered(5_000, |at| format!("/file-{at}.html"));
    keys.push("/index.html".to_owned());
    let changed = |key: &str| key == "/index.html";
    for price in [0.0, 20.0, 1e6] {
        assert_eq!(planned(&keys, changed, price), (1, 0, 0));
    }
}

#[test]
fn s3_most_pages_of_the_root() {
    let keys = numbered(600, |at| format!("/page-{at}.html"));
    let changed = |key: &str| !(key.len() == 14 && key.starts_with("/page-5"));
    assert_eq!(keys.iter().filter(|key| changed(key)).count(), 500);
    assert_eq!(planned(&keys, changed, 0.0), (20, 8, 0));
    assert_eq!(planned(&keys, changed, 20.0), (1, 1, 100));
}

#[test]
fn s4_the_index_of_each_folder() {
    let keys = numbered(40 * 26, |at| match at % 26 {
        0 => format!("/dir-{:02}/index.html", at / 26),
        asset => format!("/dir-{:02}/asset-{asset}.js", at / 26),
    });
    let changed = |key: &str| key.ends_with("index.html");
    assert_eq!(planned(&keys, changed, 20.0), (40, 0, 0));
    assert_eq!(planned(&keys, changed, 50.0), (1, 1, 1_000));
}

#[test]
fn s5_four_of_a_large_folder() {
    let keys = numbered(10_000, |at| format!("/img/{at:05}.jpg"));
    let changed = |key: &str| key < "/img/00004";
    assert_eq!(planned(&keys, changed, 1.0), (4, 0, 0));
    assert_eq!(planned(&keys, changed, 20.0), (1, 1, 6));
    let known = Known::all(keys.iter().map(String::as_str).collect());
    let four: Vec<_> = keys[..4].iter().map(String::as_str).collect();
    assert_eq!(
        merged(&four, known, 20.0, Ceilings::NONE).items[0].as_str(),
        "/img/0000*"
    );
}

#[test]
fn s6_all_renditions_of_some_photos() {
    let keys = numbered(18_000, |at| {
        format!("/img/photo-{:04}-{}.jpg", at / 9, at % 9)
    });
    let changed = |key: &str| key[11..15].parse::<usize>().unwrap() % 40 == 0;
    for price in [0.0, 20.0] {
        assert_eq!(planned(&keys, changed, price), (50, 50, 0));
    }
    assert_eq!(planned(&keys, changed, 500.0), (1, 1, 17_550));
}

#[test]
fn s7_one_page_of_each_leaf() {
    let keys = numbered(36_000, |at| {
        format!(
            "/{:02}/{:02}/page-{:02}.html",
            at / 900,
            at / 30 % 30,
            at % 30
        )
    });
    let changed = |key: &str| key.ends_with("page-00.html");
    assert_eq!(planned(&keys, changed, 20.0), (1_200, 0, 0));
    assert_eq!(planned(&keys, changed, 50.0), (1, 1, 34_800));
}

#[test]
fn s8_everything() {
    let keys = numbered(3_200, |at| format!("/{}/page-{at}.html", at % 13));
    assert_eq!(planned(&keys, |_| true, 0.0), (1, 1, 0));
}

/// What 63Klabs's planner makes of its own test's input.
struct Example {
    changed: Vec<String>,
    theirs: Vec<String>,
}

fn example(changed: &[&str], theirs: &[&str]) -> Example {
    let expand = |texts: &[&str]| texts.iter().flat_map(|text| expanded(text)).collect();
    Example {
        changed: expand(changed),
        theirs: expand(theirs),
    }
}

/// `{n}` stands for each number below n.
fn expanded(text: &str) -> Vec<String> {
    let parts = text.split_once('{').and_then(|(before, rest)| {
        let (count, after) = rest.split_once('}')?;
        Some((before, count.parse::<usize>().ok()?, after))
    });
    match parts {
        Some((before, count, after)) => (0..count)
            .flat_map(|number| expanded(&format!("{before}{number}{after}")))
            .collect(),
        None => vec![text.to_owned()],
    }
}

fn examples() -> Vec<Example> {
    let four = [
        "/prod/public/m/*",
        "/prod/public/k/*",
        "/prod/public/w/*",
        "/prod/public/x/*",
    ];
    let parents = ["/parent1/{4}/*", "/parent2/{2}/*", "/parent3/{6}/*"];
    let deep = [
        "/dir1/{4}.html",
        "/dir2/subdir/{4}.html",
        "/dir3/sub1/sub2/{4}.html",
    ];
    let site = [
        "/prod/public/css/{4}.css",
        "/prod/public/js/{2}.js",
        "/prod/public/images/index.html",
    ];
    vec![
        example(&["/prod/public/file.html"], &["/prod/public/file.html"]),
        example(&["/dir/{3}.html"], &["/dir/{3}.html"]),
        example(&["/dir/{4}.html"], &["/dir/*"]),
        example(&["/a/b/c/d/e/f/g/{4}.html"], &["/a/b/c/d/e/f/g/*"]),
        example(&["/dir/index.html", "/dir/about.html"], &["/dir/*"]),
        example(&["/dir/{2}.html"], &["/dir/*"]),
        example(&["/root/{12}/{5}.html"], &["/*"]),
        example(&["/parent/{12}/{4}.html"], &["/parent/{12}/*"]),
        example(&["/parent/{12}/{4}.html"], &["/parent/*"]),
        example(&four, &["/prod/public/*"]),
        example(&four, &four),
        example(&four, &["/*"]),
        example(&parents, &["/parent1/*", "/parent2/{2}/*", "/parent3/*"]),
        example(&["/parent/dir0/*"], &["/parent/*"]),
        example(
            &deep,
            &["/dir1/{4}.html", "/dir2/subdir/*", "/dir3/sub1/sub2/*"],
        ),
        example(&["/parent/{11}/*"], &["/parent/*"]),
        example(&["/parent/{10}/*"], &["/parent/{10}/*"]),
        example(&["/{1500}/one.html"], &["/{1500}/one.html"]),
        example(
            &site,
            &[
                "/prod/public/css/*",
                "/prod/public/js/{2}.js",
                "/prod/public/images/*",
            ],
        ),
    ]
}

/// Every folder of a changed path has other files as well, the more the less deep it is, and there are others
/// elsewhere, some with names that begin alike.
fn with_others(changed: &[String]) -> Vec<String> {
    let mut keys = numbered(5, |at| format!("/elsewhere/{at}.html"));
    keys.extend(numbered(3, |at| format!("/other-{at}.html")));
    for path in changed {
        // Of a wildcard, the folder that has the folder that it covers.
        let folder = path.trim_end_matches("/*").rsplit_once('/').unwrap().0;
        let others = 9_usize.saturating_sub(2 * folder.matches('/').count());
        keys.extend(numbered(others, |at| format!("{folder}/other-{at}.html")));
        keys.push(path.replace('*', "page.html"));
        let first = path[1..].split('/').next().unwrap_or_default();
        keys.push(format!("/{first}-too.html"));
    }
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn no_example_of_another_planner_is_done_better() {
    for Example { changed, theirs } in examples() {
        let keys = with_others(&changed);
        let (wanted, theirs) = (
            items(changed.iter().map(String::as_str)),
            items(theirs.iter().map(String::as_str)),
        );
        let evicted = keys.iter().filter(|key| {
            let key = Item::parse(key).unwrap();
            let covers = |item: &Item| item.covers(&key);
            theirs.iter().any(covers) && !wanted.iter().any(covers)
        });
        let evicted = evicted.count();
        let known = Known::all(keys.iter().map(String::as_str).collect());
        let merging = Merging::new(Wanted::new(&wanted, []), known, &Guard::NONE);
        let curve = merging.curve(&Prices::per_path(20.0), Ceilings::NONE);
        let better = |point: &&super::super::Point| {
            point.items <= theirs.len() && point.evictions <= evicted
        };
        assert!(
            curve.iter().any(|point| better(&point)),
            "{changed:?} {evicted} {curve:?}"
        );
        // The same by a ceiling instead of a price.
        let plan = merging.cheapest(&Prices::per_path(0.0), ceilings(theirs.len(), usize::MAX));
        assert!(
            plan.obeys && plan.evictions <= evicted,
            "{changed:?} {evicted} {plan:?}"
        );
    }
}
