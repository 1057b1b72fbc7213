//! The mapper drops all that viewers can have got of a key, and nothing else, by a naive model
//! of what CloudFront serves them.

mod cases;
mod model;
mod versions;

use proptest::prelude::*;
use purgefront::domain::{
    catalogue::Distribution,
    mapping::{Mapping, Target},
};

use cases::{Case, a_case};
use model::{Kept, drops, nameable};

/// Whether everything is dropped because a page changed that viewers get for errors.
fn is_cleared_for_error_page(case: &Case, target: &Target) -> bool {
    let distribution = case.distribution(&target.distribution_id);
    case.clears && target.item.as_str() == "/*" && case.is_error_page(distribution)
}

/// Whether it is said that a page that viewers get for errors may stay under any URL.
fn is_told(mapping: &Mapping, distribution: &Distribution) -> bool {
    let targets = mapping.targets.iter();
    let targets = targets.map(|one| (Some(&one.distribution_id), &one.because));
    let rest = mapping.skipped.iter().chain(&mapping.dead);
    let rest = rest.map(|one| (one.distribution_id.as_ref(), &one.why));
    let mut all = targets.chain(rest);
    all.any(|(id, why)| id == Some(&distribution.id) && why.contains("under every URL"))
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
            if case.is_error_page(distribution) {
                // It may stay under any URL.
                let cleared = items.iter().any(|item| item.as_str() == "/*");
                prop_assert!(cleared || (!case.clears && is_told(&mapping, distribution)), "{mapping:?}");
            }
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
            if is_cleared_for_error_page(&case, target) {
                continue;
            }
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
            if is_cleared_for_error_page(&case, target) {
                continue;
            }
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
