//! From a changed object to the items that drop it, for every distribution that serves it.

use super::{
    catalogue::{Catalogue, Distribution, RootObject},
    origin,
    path::{Item, spell},
};

/// Where a change leads.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// What to invalidate, by distribution.
    pub targets: Vec<Target>,
    /// What is left alone, and why.
    pub skipped: Vec<Skip>,
    /// What would have to be invalidated but may not: dead letters.
    pub dead: Vec<Skip>,
}

/// One item that one distribution needs for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The distribution.
    pub distribution_id: String,
    /// What to invalidate there.
    pub item: Item,
    /// Why this item, in words.
    pub because: String,
}

/// Why a change ends without an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The distribution it is about; `None` where it is about all of them.
    pub distribution_id: Option<String>,
    /// The reason, in words.
    pub why: String,
}

/// What the catalogue would have to know before a change can be mapped.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// No distribution is known to have the bucket.
    Bucket,
    /// The root objects of these distributions.
    Roots(Vec<String>),
}

/// Said of a change whose bucket no distribution has.
pub const NO_DISTRIBUTION: &str = "no distribution has this bucket as an origin";

/// Maps a changed object by what the catalogue knows, or says what it lacks.
pub fn map_object(catalogue: &Catalogue, bucket: &str, key: &str) -> Result<Mapping, Missing> {
    let serving = catalogue.serving(bucket);
    if serving.is_empty() {
        return Err(Missing::Bucket);
    }
    let unread: Vec<_> = serving
        .iter()
        .filter(|distribution| distribution.enabled && distribution.needs_root())
        .map(|distribution| distribution.id.clone())
        .collect();
    if !unread.is_empty() {
        return Err(Missing::Roots(unread));
    }
    let mut mapping = Mapping::default();
    for distribution in serving {
        mapping.add_object(distribution, bucket, key);
    }
    Ok(mapping)
}

/// Maps a path that a person gave for one distribution: it goes out as it is.
pub fn map_path(distribution: &Distribution, item: Item) -> Mapping {
    let mut mapping = Mapping::default();
    if distribution.enabled {
        mapping.push(distribution, item, "asked for".to_owned());
    } else {
        mapping.skip(distribution, DISABLED);
    }
    mapping
}

const DISABLED: &str = "the distribution is disabled";
const OUTSIDE: &str = "the key is outside every origin path";
const NEEDS_ROOT_WILDCARD: &str =
    "only /* would cover it, and that is never sent unless somebody asks for it by name";

impl Mapping {
    fn add_object(&mut self, distribution: &Distribution, bucket: &str, key: &str) {
        if !distribution.enabled {
            return self.skip(distribution, DISABLED);
        }
        let mut reached = false;
        for origin in &distribution.origins {
            if origin::bucket(&origin.domain).as_deref() != Some(bucket) {
                continue;
            }
            let Some(path) = viewer_path(key, &origin.path) else {
                continue;
            };
            reached = true;
            let mut because = format!("origin {}", origin.id);
            if !origin.path.is_empty() {
                because.push_str(", origin path ");
                because.push_str(&origin.path);
            }
            self.add_path(distribution, &path, because);
        }
        if !reached {
            self.skip(distribution, OUTSIDE);
        }
    }

    fn add_path(&mut self, distribution: &Distribution, path: &str, mut because: String) {
        let spelling = spell(path);
        if let Some(unnameable) = spelling.widened {
            because.push_str(", widened: ");
            because.push_str(&unnameable.to_string());
            if spelling.item.is_root_wildcard() {
                self.dead.push(Skip {
                    distribution_id: Some(distribution.id.clone()),
                    why: format!("{NEEDS_ROOT_WILDCARD} ({because})"),
                });
                return;
            }
        }
        let root = match &distribution.root {
            RootObject::Read { name, .. } => name.as_deref(),
            RootObject::Denied => {
                because.push_str(", root object unknown: GetDistributionConfig is denied");
                None
            }
            RootObject::Unread => None,
        };
        if root.is_some_and(|root| path.strip_prefix('/') == Some(root.trim_start_matches('/'))) {
            let slash = spell("/").item;
            self.push(
                distribution,
                slash,
                format!("{because}, default root object"),
            );
        }
        self.push(distribution, spelling.item, because);
    }

    /// Two origins may lead to one path.
    fn push(&mut self, distribution: &Distribution, item: Item, because: String) {
        let known =
            |target: &Target| target.distribution_id == distribution.id && target.item == item;
        if !self.targets.iter().any(known) {
            self.targets.push(Target {
                distribution_id: distribution.id.clone(),
                item,
                because,
            });
        }
    }

    fn skip(&mut self, distribution: &Distribution, why: &str) {
        self.skipped.push(Skip {
            distribution_id: Some(distribution.id.clone()),
            why: why.to_owned(),
        });
    }
}

/// The path under which viewers get `key` through an origin with this path, or `None` where
/// they cannot. `CloudFront` asks its origin for origin path + viewer path, so the origin
/// path is cut off, and it ends where a segment ends. Source: `CloudFront` Developer Guide,
/// "Origin path".
fn viewer_path(key: &str, origin_path: &str) -> Option<String> {
    let asked = format!("/{key}");
    let path = asked.strip_prefix(origin_path.trim_end_matches('/'))?;
    path.starts_with('/').then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::catalogue::Origin;

    fn distribution(id: &str, origins: &[(&str, &str)]) -> Distribution {
        let origins = origins
            .iter()
            .enumerate()
            .map(|(at, (domain, path))| Origin {
                id: format!("o{at}"),
                domain: (*domain).to_owned(),
                path: (*path).to_owned(),
            });
        Distribution {
            id: id.to_owned(),
            enabled: true,
            origins: origins.collect(),
            revision: "1".to_owned(),
            root: RootObject::Read {
                revision: "1".to_owned(),
                name: None,
            },
        }
    }

    fn with_root(mut distribution: Distribution, name: &str) -> Distribution {
        distribution.root = RootObject::Read {
            revision: distribution.revision.clone(),
            name: Some(name.to_owned()),
        };
        distribution
    }

    fn items(distributions: &[Distribution], key: &str) -> Vec<String> {
        let catalogue = Catalogue::new(distributions.to_vec(), Timestamp::UNIX_EPOCH);
        let mapping = map_object(&catalogue, "site", key).unwrap();
        let show = |target: &Target| format!("{} {}", target.distribution_id, target.item);
        mapping.targets.iter().map(show).collect()
    }

    const SITE: &str = "site.s3.us-east-1.amazonaws.com";

    #[test]
    fn every_distribution_with_the_bucket_gets_the_path() {
        let all = [
            distribution("E1", &[(SITE, "")]),
            distribution(
                "E2",
                &[
                    ("other.s3.amazonaws.com", ""),
                    ("SITE.s3.amazonaws.com", ""),
                ],
            ),
            distribution(
                "E3",
                &[("site.example.com", ""), ("notsite.s3.amazonaws.com", "")],
            ),
        ];
        assert_eq!(
            items(&all, "a b.html"),
            ["E1 /a%20b.html", "E2 /a%20b.html"]
        );
    }

    #[test]
    fn the_origin_path_is_cut_where_a_segment_ends() {
        for (path, key, expected) in [
            ("/prod", "prod/a.html", Some("E1 /a.html")),
            ("/prod", "production/a.html", None),
            ("/prod", "prod", None),
            ("/prod", "prod/", Some("E1 /")),
            ("/prod", "a.html", None),
            ("/a/b", "a/b/c", Some("E1 /c")),
            ("/prod/", "prod/a", Some("E1 /a")),
            ("", "a//b", Some("E1 /a//b")),
            ("", "/a", Some("E1 //a")),
        ] {
            let got = items(&[distribution("E1", &[(SITE, path)])], key);
            assert_eq!(got.first().map(String::as_str), expected, "{path} {key}");
        }
    }

    #[test]
    fn a_key_outside_every_origin_path_is_skipped_with_the_reason() {
        let catalogue = Catalogue::new(
            vec![distribution("E1", &[(SITE, "/prod")])],
            Timestamp::UNIX_EPOCH,
        );
        let mapping = map_object(&catalogue, "site", "dev/a").unwrap();
        assert_eq!(mapping.targets, []);
        assert_eq!(mapping.skipped[0].why, OUTSIDE);
    }

    #[test]
    fn two_origins_on_one_bucket_give_all_viewer_paths_once() {
        let both = distribution("E1", &[(SITE, ""), (SITE, "/prod"), (SITE, "")]);
        assert_eq!(items(&[both], "prod/a"), ["E1 /prod/a", "E1 /a"]);
    }

    #[test]
    fn the_root_object_goes_out_as_the_slash_too() {
        let plain = with_root(distribution("E1", &[(SITE, "")]), "index.html");
        let nested = with_root(distribution("E2", &[(SITE, "/prod")]), "index.html");
        let all = [plain, nested];
        assert_eq!(items(&all, "index.html"), ["E1 /", "E1 /index.html"]);
        assert_eq!(
            items(&all, "prod/index.html"),
            ["E1 /prod/index.html", "E2 /", "E2 /index.html"]
        );
    }

    #[test]
    fn a_denied_root_object_is_done_without_and_said() {
        let mut denied = distribution("E1", &[(SITE, "")]);
        denied.root = RootObject::Denied;
        let catalogue = Catalogue::new(vec![denied], Timestamp::UNIX_EPOCH);
        let mapping = map_object(&catalogue, "site", "index.html").unwrap();
        assert_eq!(mapping.targets.len(), 1);
        assert!(mapping.targets[0].because.contains("denied"));
    }

    #[test]
    fn disabled_distributions_are_left_alone_and_asked_nothing() {
        let mut disabled = distribution("E1", &[(SITE, "")]);
        disabled.enabled = false;
        disabled.root = RootObject::Unread;
        let mapping = map_path(&disabled, Item::parse("/a").unwrap());
        assert_eq!((mapping.targets.len(), mapping.skipped.len()), (0, 1));
        let catalogue = Catalogue::new(vec![disabled], Timestamp::UNIX_EPOCH);
        let mapping = map_object(&catalogue, "site", "a").unwrap();
        assert_eq!(mapping.skipped[0].why, DISABLED);
    }

    #[test]
    fn what_only_the_root_wildcard_would_cover_is_a_dead_letter() {
        let catalogue = Catalogue::new(
            vec![distribution("E1", &[(SITE, ""), (SITE, "/a")])],
            Timestamp::UNIX_EPOCH,
        );
        let mapping = map_object(&catalogue, "site", "a/~b").unwrap();
        assert_eq!(mapping.targets.len(), 1);
        assert_eq!(mapping.targets[0].item.as_str(), "/a/*");
        assert!(mapping.targets[0].because.contains("widened"));
        assert_eq!(mapping.dead.len(), 1);
        assert!(mapping.dead[0].why.contains("/*"));
    }

    #[test]
    fn what_the_catalogue_lacks_is_asked_for() {
        let mut unread = distribution("E1", &[(SITE, "")]);
        unread.root = RootObject::Unread;
        let mut changed = distribution("E2", &[(SITE, "")]);
        changed.revision = "2".to_owned();
        let catalogue = Catalogue::new(vec![unread, changed], Timestamp::UNIX_EPOCH);
        let missing = Missing::Roots(vec!["E1".to_owned(), "E2".to_owned()]);
        assert_eq!(map_object(&catalogue, "site", "a"), Err(missing));
        assert_eq!(
            map_object(&catalogue, "elsewhere", "a"),
            Err(Missing::Bucket)
        );
    }

    #[test]
    fn a_new_reading_keeps_the_root_objects_it_knew() {
        let known = with_root(distribution("E1", &[(SITE, "")]), "index.html");
        let mut denied = distribution("E2", &[(SITE, "")]);
        denied.root = RootObject::Denied;
        let old = Catalogue::new(vec![known, denied], Timestamp::UNIX_EPOCH);
        let listed = ["E1", "E2", "E3"].map(|id| Distribution {
            root: RootObject::Unread,
            ..distribution(id, &[(SITE, "")])
        });
        let new = old.refreshed(listed.to_vec(), Timestamp::UNIX_EPOCH);
        assert!(!new.get("E1").unwrap().needs_root());
        assert!(new.get("E2").unwrap().needs_root());
        assert!(new.get("E3").unwrap().needs_root());
    }
}
