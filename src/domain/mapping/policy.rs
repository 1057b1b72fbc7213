//! The configuration of mapping: index documents, spellings, rules and limits on wildcards.

use std::collections::HashMap;

use super::{DISABLED, LEFT_OUT, TENANTS_ONLY};
use crate::domain::{
    catalogue::Distribution,
    consolidate::Guard,
    origin::Server,
    path::{Item, Respelling},
    rules::{Ignore, Rule, RuleMatch},
};

/// The configuration of mapping, except for the origin overrides, which the catalogue needs.
#[derive(Debug, Clone)]
pub struct MappingPolicy {
    /// File names that are served for their folder's URL.
    pub index_documents: Vec<String>,
    /// Whether index documents are also served for the folder's URL without the slash.
    pub index_without_slash: bool,
    /// Overrides, by distribution id.
    pub distributions: HashMap<String, DistributionPolicy>,
    pub rules: Vec<Rule>,
    pub ignores: Vec<Ignore>,
    pub wildcards: WildcardPolicy,
}

/// The configuration of one distribution.
#[derive(Debug, Clone)]
pub struct DistributionPolicy {
    /// Whether events are mapped to the distribution. Manual requests always are.
    pub enabled: bool,
    /// Characters that viewers also request in other encodings, with those encodings.
    pub spellings: Vec<(char, Vec<String>)>,
    /// Replaces [`MappingPolicy::index_documents`], and applies whatever the origins and functions.
    pub index_documents: Option<Vec<String>>,
    /// Replaces [`MappingPolicy::index_without_slash`].
    pub index_without_slash: Option<bool>,
    /// What follows a change of an error page, which CloudFront may have cached under any URL.
    pub error_pages: Reaction,
    /// What follows a change of the distribution's origins, after which any URL may be stale.
    pub origin_change: Reaction,
}

/// What happens when everything that a distribution has cached may be stale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reaction {
    /// It is said.
    #[default]
    Tell,
    /// `/*` is invalidated.
    Clear,
}

/// One way in which viewers can have written a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Writing<'a> {
    pub(super) respellings: Vec<Respelling<'a>>,
    /// Whether the origin gives another object for it, unless a function rewrites it.
    pub(super) needs_function: bool,
}

/// Limits on wildcards that replace a path no exact item can name. Wildcards that were asked for
/// by a rule or a request are not limited.
#[derive(Debug, Clone)]
pub struct WildcardPolicy {
    /// Exact paths and wildcards that must not be invalidated.
    pub protected: Vec<Item>,
    /// The minimum number of bytes between the first slash and the star.
    pub min_stem: usize,
    /// Whether `/*` is allowed.
    pub allow_root: bool,
}

impl WildcardPolicy {
    /// The guard of what merging makes, beside wildcards that were sent a short while ago. `unlisted` is whether
    /// paths may be merged where it is not known which keys there are.
    pub fn guard(&self, resting: Vec<Item>, unlisted: bool) -> Guard {
        Guard {
            protected: self.protected.clone(),
            min_stem: self.min_stem,
            allow_root: self.allow_root,
            resting,
            refused: Vec::new(),
            unlisted,
        }
    }
}

impl Default for MappingPolicy {
    fn default() -> Self {
        Self {
            index_documents: vec!["index.html".to_owned()],
            index_without_slash: false,
            distributions: HashMap::new(),
            rules: Vec::new(),
            ignores: Vec::new(),
            wildcards: WildcardPolicy::default(),
        }
    }
}

impl Default for DistributionPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            spellings: Vec::new(),
            index_documents: None,
            index_without_slash: None,
            error_pages: Reaction::Tell,
            origin_change: Reaction::Tell,
        }
    }
}

impl Default for WildcardPolicy {
    fn default() -> Self {
        Self {
            protected: Vec::new(),
            min_stem: 1,
            allow_root: false,
        }
    }
}

impl MappingPolicy {
    /// Whether changes may need items at a distribution at all.
    pub fn is_invalidated(&self, distribution: &Distribution) -> bool {
        self.why_not(distribution).is_none()
    }

    /// Why no change needs anything at a distribution, whatever it is of.
    pub fn why_not(&self, distribution: &Distribution) -> Option<&'static str> {
        let own = self.distributions.get(&distribution.id);
        if own.is_some_and(|own| !own.enabled) {
            Some(LEFT_OUT)
        } else if !distribution.enabled {
            Some(DISABLED)
        } else if distribution.tenants_only {
            Some(TENANTS_ONLY)
        } else {
            None
        }
    }

    /// Whether a distribution is cleared after a change of its origins.
    pub fn clears_rerouted(&self, distribution: &Distribution) -> bool {
        let own = self.distributions.get(&distribution.id);
        self.is_invalidated(distribution)
            && own.is_some_and(|own| own.origin_change == Reaction::Clear)
    }

    /// The rules that match a key, in order of configuration.
    pub(super) fn matches(&self, bucket: &str, key: &str) -> Vec<RuleMatch<'_>> {
        let rules = self.rules.iter();
        rules.filter_map(|rule| rule.matches(bucket, key)).collect()
    }
}

impl DistributionPolicy {
    /// All ways in which viewers can have written a path and got its object from such a server, the
    /// usual one first.
    pub(super) fn writings(&self, path: &str, server: Server) -> Vec<Writing<'_>> {
        let mut all = usual_writings(path, server);
        for (char, texts) in &self.spellings {
            if !path.contains(*char) {
                continue;
            }
            let usual = all.clone();
            for text in texts {
                all.extend(usual.iter().map(|others| {
                    let mut one = others.clone();
                    // Before what is usual for the same character.
                    one.respellings.insert(0, Respelling { char: *char, text });
                    one
                }));
            }
        }
        all
    }
}

/// Viewers write a space as `%20`, and a plus as it is or as `%2B`. At a REST endpoint, `+` stands for a
/// space: see [`Server::Rest`]. There, S3's own console writes all spaces of a key as `+`.
fn usual_writings(path: &str, server: Server) -> Vec<Writing<'static>> {
    let (plus, space) = (path.contains('+'), path.contains(' '));
    let plain = Writing::default();
    let with = |chars: &[(char, &'static str)]| {
        let one = |(char, text): &(char, &'static str)| Respelling { char: *char, text };
        Writing {
            respellings: chars.iter().map(one).collect(),
            needs_function: false,
        }
    };
    match server {
        Server::Website | Server::Custom if plus => vec![plain, with(&[('+', "%2B")])],
        Server::Website | Server::Custom => vec![plain],
        Server::Rest => {
            let mut all = vec![with(&[('+', "%2B")])];
            if space {
                all.push(with(&[('+', "%2B"), (' ', "+")]));
            }
            if plus {
                all.push(Writing {
                    needs_function: true,
                    ..plain
                });
            }
            all
        }
    }
}

impl WildcardPolicy {
    /// Why a wildcard must not be sent; `None` if it may.
    pub(super) fn forbids(&self, wildcard: &Item) -> Option<String> {
        let stem = wildcard.stem()?;
        let root = stem == "/";
        if root && !self.allow_root {
            let why = "only /* would cover it, which is not sent unless it is asked for by name or \
                                  economy.allow_root is set";
            return Some(why.to_owned());
        }
        if !root && stem.len() - 1 < self.min_stem {
            let least = self.min_stem;
            return Some(format!(
                "only {wildcard} would cover it, but its stem is shorter than economy.min_stem \
                  ({least})"
            ));
        }
        let protected = self.protected.iter().find(|one| one.meets(stem))?;
        Some(format!(
            "only {wildcard} would cover it, but economy.protected has {protected}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_is_tried_once() {
        let own = DistributionPolicy {
            spellings: vec![
                ('+', vec!["%2B".to_owned(), "%2b".to_owned()]),
                ('@', vec!["%40".to_owned()]),
            ],
            ..DistributionPolicy::default()
        };
        let count = |path: &str, server| own.writings(path, server).len();
        assert_eq!(count("/a", Server::Custom), 1);
        assert_eq!(count("/a@b@", Server::Custom), 2);
        assert_eq!(count("/a+b+", Server::Custom), 2 * 3);
        assert_eq!(count("/a+@", Server::Rest), 2 * 6);
    }

    #[test]
    fn a_wildcard_that_nobody_asked_for_keeps_to_the_policy() {
        let item = |text| Item::parse(text).unwrap();
        let policy = WildcardPolicy {
            protected: vec![item("/api/*"), item("/one.html")],
            min_stem: 3,
            allow_root: false,
        };
        for (wildcard, part) in [
            ("/*", Some("allow_root")),
            ("/ab*", Some("min_stem")),
            ("/abc*", None),
            ("/ap*", Some("min_stem")),
            ("/api*", Some("/api/*")),
            ("/api/x*", Some("/api/*")),
            ("/apix*", None),
            ("/one*", Some("/one.html")),
            ("/one.html*", Some("/one.html")),
            ("/one.htmlx*", None),
        ] {
            let why = policy.forbids(&item(wildcard));
            let expected = why
                .as_deref()
                .is_some_and(|why| why.contains(part.unwrap_or("-")));
            assert_eq!(why.is_some(), part.is_some(), "{wildcard}: {why:?}");
            assert_eq!(expected, part.is_some(), "{wildcard}: {why:?}");
        }
        // Protected paths stay protected if the root is allowed.
        let mut open = WildcardPolicy {
            allow_root: true,
            min_stem: 9,
            ..policy
        };
        let why = open.forbids(&item("/*")).unwrap();
        assert!(why.contains("economy.protected"), "{why}");
        open.protected.clear();
        assert_eq!(open.forbids(&item("/*")), None);
    }
}
