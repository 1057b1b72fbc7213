//! Settings that name what the account does not have, and therefore do nothing.

use std::collections::BTreeSet;

use super::{catalogue::Catalogue, mapping::MappingPolicy, origin::OriginOverride};

/// The most that are described.
const MOST: usize = 20;

/// Describes the settings that do nothing with this catalogue. `tokens` are pairs of the names of API
/// tokens and of the distributions that they are limited to.
pub fn unused(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    origins: &[OriginOverride],
    tokens: &[(String, String)],
) -> Vec<String> {
    let distributions = || catalogue.snapshot().distributions.iter();
    let has_domain = |domain: &str| {
        distributions().any(|one| {
            let mut domains = one.origins.iter().map(|origin| &origin.domain);
            domains.any(|known| known.eq_ignore_ascii_case(domain))
        })
    };
    let unserved = |bucket: &str| catalogue.serving(bucket).is_empty();
    let mut found = BTreeSet::new();
    for (list, bucket) in policy
        .rules
        .iter()
        .map(|rule| ("rule", rule.bucket()))
        .chain(policy.ignores.iter().map(|one| ("ignore", one.bucket())))
    {
        if unserved(bucket) {
            found.insert(format!(
                "[[{list}]]: no distribution serves the bucket {bucket:?}"
            ));
        }
    }
    for id in policy.distributions.keys() {
        if catalogue.get(id).is_none() {
            found.insert(format!(
                "[[distribution]]: the account has no distribution {id:?}"
            ));
        }
    }
    for one in origins {
        if !has_domain(&one.domain) {
            found.insert(format!(
                "[[origin]]: no distribution has the domain {:?}",
                one.domain
            ));
        }
    }
    for (name, id) in tokens {
        if catalogue.get(id).is_none() {
            found.insert(format!(
                "[[api.tokens]] {name:?}: the account has no distribution {id:?}"
            ));
        }
    }
    let more = found.len().saturating_sub(MOST);
    let mut found: Vec<_> = found.into_iter().take(MOST).collect();
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}
