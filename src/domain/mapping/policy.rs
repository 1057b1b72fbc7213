//! The configuration of mapping: index documents, spellings, rules and limits on wildcards.

use std::collections::HashMap;

use crate::domain::{
    catalogue::Distribution,
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
        let own = self.distributions.get(&distribution.id);
        distribution.enabled && own.is_none_or(|own| own.enabled)
    }

    /// The rules that match a key, in order of configuration.
    pub(super) fn matches(&self, bucket: &str, key: &str) -> Vec<RuleMatch<'_>> {
        let rules = self.rules.iter();
        rules.filter_map(|rule| rule.matches(bucket, key)).collect()
    }
}

impl DistributionPolicy {
    /// All combinations of spellings for a path, the default one first.
    pub(super) fn spellings(&self, path: &str) -> Vec<Vec<Respelling<'_>>> {
        let mut all = vec![Vec::new()];
        for (char, texts) in &self.spellings {
            if !path.contains(*char) {
                continue;
            }
            let usual = all.clone();
            for text in texts {
                all.extend(usual.iter().map(|others| {
                    let mut one = others.clone();
                    one.push(Respelling { char: *char, text });
                    one
                }));
            }
        }
        all
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
        let overlaps = |protected: &&Item| match protected.stem() {
            Some(other) => other.starts_with(stem) || stem.starts_with(other),
            None => protected.as_str().starts_with(stem),
        };
        let protected = self.protected.iter().find(overlaps)?;
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
        assert_eq!(own.spellings("/a"), [vec![]]);
        assert_eq!(own.spellings("/a+b+").len(), 3);
        assert_eq!(own.spellings("/a+@").len(), 6);
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
