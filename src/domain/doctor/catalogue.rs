//! Who serves the buckets, and what the account or the configuration makes of their changes. The same
//! judgements as readiness has.

use super::{Check, Finding};
use crate::domain::{
    catalogue::{CachePolicy, Catalogue, Serving},
    mapping::{self, MappingPolicy, NO_DISTRIBUTION, Notices},
    origin::OriginOverride,
    unused::unused,
};

/// The most behaviours, and the most buckets, that are shown.
const MOST: usize = 12;

/// Which distributions serve a bucket, and by which behaviours.
pub fn serving(catalogue: &Catalogue, policy: &MappingPolicy, bucket: &str) -> Finding {
    let check = Check::Serving;
    let what = format!("bucket {bucket}");
    let all = catalogue.serving(bucket);
    if all.is_empty() {
        return Finding::warning(check, what, NO_DISTRIBUTION).mended_by(
            "if one serves it under another domain, add an [[origin]] to the configuration; otherwise \
             run purgefront disconnect for it",
        );
    }
    let described: Vec<_> = all
        .iter()
        .map(|one| described(catalogue, policy, one))
        .collect();
    let texts: Vec<_> = described.iter().map(|(text, _)| text.as_str()).collect();
    let why = format!("is served by {}", texts.join("; "));
    if described.iter().any(|(_, is_invalidated)| *is_invalidated) {
        return Finding::ok(check, what, why);
    }
    Finding::warning(
        check,
        what,
        format!("{why}: its changes invalidate nothing"),
    )
    .mended_by(
        "enable a distribution, or let one of its behaviours lead to the bucket; otherwise run \
         purgefront disconnect for it",
    )
}

/// A distribution in words, and whether changes of the bucket can need items there.
fn described(catalogue: &Catalogue, policy: &MappingPolicy, one: &Serving) -> (String, bool) {
    let distribution = &one.distribution;
    let id = &distribution.id;
    if !policy.is_invalidated(distribution) {
        let why = if !distribution.enabled {
            "disabled"
        } else if distribution.tenants_only {
            "for tenants only"
        } else {
            "left out by the configuration"
        };
        return (format!("{id} ({why})"), false);
    }
    let origins = one.origins.iter();
    let origins: Vec<_> = origins
        .filter_map(|(at, _)| distribution.origins.get(*at))
        .collect();
    let reaching = distribution.behaviours.iter().filter(|behaviour| {
        let mut origins = origins.iter();
        origins.any(|origin| distribution.reaches(behaviour, &origin.id))
    });
    let mut caches = false;
    let patterns = reaching.map(|behaviour| {
        let never = matches!(
            catalogue.cache_policy(behaviour),
            Some(CachePolicy::Read(key)) if !key.caches
        );
        caches |= !never;
        if never {
            format!("{} (never caches)", behaviour.pattern)
        } else {
            behaviour.pattern.clone()
        }
    });
    let mut patterns: Vec<_> = patterns.collect();
    if patterns.is_empty() {
        return (format!("{id} (no behaviour leads to the bucket)"), false);
    }
    shorten(&mut patterns);
    (format!("{id} by {}", patterns.join(", ")), caches)
}

fn shorten(texts: &mut Vec<String>) {
    let more = texts.len().saturating_sub(MOST);
    if more > 0 {
        texts.truncate(MOST);
        texts.push(format!("and {more} more"));
    }
}

/// Buckets that distributions serve, but whose changes no topic's policy lets in.
pub fn unconnected(catalogue: &Catalogue, policy: &MappingPolicy, connected: &[String]) -> Finding {
    let check = Check::Unconnected;
    let what = "buckets of the account's distributions";
    let buckets = catalogue.buckets().filter(|bucket| {
        let mut serving = catalogue.serving(bucket).iter();
        serving.any(|one| policy.is_invalidated(&one.distribution))
    });
    let mut missing: Vec<_> = buckets
        .filter(|bucket| connected.iter().all(|known| known != bucket))
        .map(str::to_owned)
        .collect();
    missing.sort();
    if missing.is_empty() {
        return Finding::ok(check, what, "are all looked at here");
    }
    shorten(&mut missing);
    let why = format!(
        "distributions serve these, but no policy of the topics names them, so that their changes do not \
         come here: {}",
        missing.join(", ")
    );
    Finding::warning(check, what, why).mended_by(
        "connect those whose changes should be invalidated: purgefront connect BUCKET (docs/connect.md)",
    )
}

/// What readiness tells of the account's distributions.
pub fn notices(catalogue: &Catalogue, policy: &MappingPolicy) -> Vec<Finding> {
    let notices = Notices::of(catalogue, policy).warnings();
    let found = notices.into_iter().filter_map(|(name, warning)| {
        let (check, mend) = match name {
            "error_pages" => (
                Check::ErrorPages,
                "set error_pages = \"clear\" in a [[distribution]] of the configuration, or lower \
                 ErrorCachingMinTTL to 10",
            ),
            "origin_changes" => (
                Check::OriginChanges,
                "invalidate /* of the distribution once, or set origin_change = \"clear\" in a \
                 [[distribution]] of the configuration",
            ),
            "tenants" => (
                Check::Tenants,
                "invalidate the tenants by other means for now",
            ),
            "origin_groups" => (
                Check::OriginGroups,
                "correct the behaviours' targets in the distribution",
            ),
            _ => return None,
        };
        let what = "the account's distributions";
        Some(match warning {
            None => Finding::ok(check, what, "nothing to tell"),
            Some(warning) => Finding::warning(check, what, warning).mended_by(mend),
        })
    });
    found.collect()
}

/// What looks like a setting, and is ignored.
pub fn environment(warnings: &[String]) -> Finding {
    let (check, what) = (Check::Environment, "the configuration");
    if warnings.is_empty() {
        return Finding::ok(
            check,
            what,
            "has no variables that look like settings and are ignored",
        );
    }
    Finding::warning(check, what, warnings.join("; "))
        .mended_by("rename these variables, or remove them")
}

/// Settings that point at nothing.
pub fn settings(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    origins: &[OriginOverride],
    tokens: &[(String, String)],
) -> Finding {
    let found = unused(catalogue, policy, origins, tokens);
    let what = "the configuration";
    if found.is_empty() {
        return Finding::ok(Check::Unused, what, "names nothing that the account lacks");
    }
    Finding::warning(Check::Unused, what, found.join("; "))
        .mended_by("correct these names in the configuration file, or remove the settings")
}

/// Rules that emit tags that no distribution keeps.
pub fn tags(catalogue: &Catalogue, policy: &MappingPolicy) -> Finding {
    let check = Check::Tags;
    let what = "cache tags of the rules";
    let tagged = mapping::tagged(catalogue, policy);
    if !tagged.faults.is_empty() {
        return Finding::warning(check, what, tagged.faults.join("; ")).mended_by(
            "add a CacheTagConfig to the distribution, and invalidate /* once, since what is cached \
             has no tags yet",
        );
    }
    if !tagged.unread.is_empty() {
        let why = format!(
            "skipped, because the configuration of {} was not read",
            tagged.unread.join(", ")
        );
        return Finding::skipped(check, what, why);
    }
    Finding::ok(check, what, "are kept wherever a rule has some")
}
