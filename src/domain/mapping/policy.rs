//! What the site's owner says of mapping: index documents, spellings, rules, and how wide a
//! wildcard may be.

use std::collections::HashMap;

use crate::domain::{
    path::{Item, Respelling},
    rules::{Ignore, Rule, RuleMatch},
};

/// All that the configuration says of mapping, but for what the names of origins hide.
#[derive(Debug, Clone)]
pub struct MappingPolicy {
    /// Names of objects that are served for their folder.
    pub index_documents: Vec<String>,
    /// Whether they are served for their folder without its slash, too.
    pub index_without_slash: bool,
    /// What is different for some distributions, by id.
    pub distributions: HashMap<String, DistributionPolicy>,
    /// Other items that go with keys.
    pub rules: Vec<Rule>,
    /// Keys that are never looked at.
    pub ignores: Vec<Ignore>,
    /// How wide a wildcard may be that nobody asked for.
    pub wildcards: WildcardPolicy,
}

/// What is different for one distribution.
#[derive(Debug, Clone)]
pub struct DistributionPolicy {
    /// Whether events are mapped to it.
    pub enabled: bool,
    /// Characters that its viewers write in other ways as well, and those ways.
    pub spellings: Vec<(char, Vec<String>)>,
    /// Its own index documents, whatever its origins and functions are.
    pub index_documents: Option<Vec<String>>,
    /// See [`MappingPolicy::index_without_slash`].
    pub index_without_slash: Option<bool>,
}

/// How wide a wildcard may be that nobody asked for.
#[derive(Debug, Clone)]
pub struct WildcardPolicy {
    /// Paths that it must not drop: exact ones, and wildcards.
    pub protected: Vec<Item>,
    /// Bytes that stand between its first slash and its star, at least.
    pub min_stem: usize,
    /// Whether it may be `/*`.
    pub allow_root: bool,
}

impl Default for MappingPolicy {
    /// As it is where the configuration says nothing.
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
    /// The rules that are about a key, in their order.
    pub(super) fn matches(&self, bucket: &str, key: &str) -> Vec<RuleMatch<'_>> {
        let rules = self.rules.iter();
        rules.filter_map(|rule| rule.matches(bucket, key)).collect()
    }
}

impl DistributionPolicy {
    /// The ways in which viewers may write a path: the usual one first.
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
    /// Why a wildcard that nobody asked for may not be sent; `None` where it may.
    pub(super) fn forbids(&self, wildcard: &Item) -> Option<String> {
        let stem = wildcard.stem()?;
        let root = stem == "/";
        if root && !self.allow_root {
            let why = "only /* would cover it, and that is never sent unless somebody asks for it \
                       by name, or economy.allow_root is set";
            return Some(why.to_owned());
        }
        if !root && stem.len() - 1 < self.min_stem {
            let least = self.min_stem;
            return Some(format!(
                "only {wildcard} would cover it, and its stem is shorter than economy.min_stem \
                 ({least})"
            ));
        }
        let overlaps = |protected: &&Item| match protected.stem() {
            Some(other) => other.starts_with(stem) || stem.starts_with(other),
            None => protected.as_str().starts_with(stem),
        };
        let protected = self.protected.iter().find(overlaps)?;
        Some(format!(
            "only {wildcard} would cover it, and economy.protected has {protected}"
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
        // To allow the root is not to give up what is protected.
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
