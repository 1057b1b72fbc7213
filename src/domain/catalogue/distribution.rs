//! A distribution: its origins, behaviours and error pages, and what only its own configuration
//! says.

use std::iter;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::caching::Caching;
use crate::domain::behaviour;

/// The parts of a CloudFront distribution that mapping needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    pub id: String,
    /// A disabled distribution serves nothing, so it cannot serve stale content.
    pub enabled: bool,
    /// Whether it serves viewers only through its tenants (`ConnectionMode` tenant-only), which have
    /// caches and invalidations of their own: `CreateInvalidation` answers `NoSuchDistribution`.
    #[serde(default)]
    pub tenants_only: bool,
    /// Whether all edge locations have its current configuration (`Status` Deployed).
    #[serde(default)]
    pub deployed: bool,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub origins: Vec<Origin>,
    #[serde(default)]
    pub groups: Vec<OriginGroup>,
    /// In order of precedence. The last one is the default behaviour, with the pattern `*`.
    pub behaviours: Vec<Behaviour>,
    #[serde(default)]
    pub custom_errors: Vec<CustomError>,
    /// Set while content from before a change of its origins may be cached.
    #[serde(default)]
    pub rerouted: Option<Rerouted>,
    /// Changes whenever the configuration does: made of the `ETag` and the last-modified time in
    /// the listing.
    #[serde(default)]
    pub revision: String,
    /// What the listing lacks; requested when a change first maps to the distribution.
    #[serde(default)]
    pub details: Details,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Unique within the distribution.
    pub id: String,
    pub domain: String,
    /// What CloudFront prepends to the viewer's path: empty, or `/prefix` without a trailing slash.
    #[serde(default)]
    pub path: String,
}

/// A primary origin and its failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginGroup {
    /// Unique within the distribution.
    pub id: String,
    /// Origin ids. The second origin is used when the first fails, so viewers get its objects too.
    pub members: Vec<String>,
}

/// How a distribution answers viewers when an origin answers with an error (`CustomErrorResponses`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomError {
    /// The origin's HTTP status.
    pub status: u16,
    /// The path of the page that viewers get instead (`ResponsePagePath`).
    pub page: Option<String>,
    /// For how many seconds the answer is cached at least, under the URL that was requested
    /// (`ErrorCachingMinTTL`).
    pub min_ttl: u64,
}

/// A change of the origins, origin paths or behaviours, as seen between two readings of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rerouted {
    /// When the reading that showed the change began.
    pub seen_at: Timestamp,
    /// Whether a bucket is, or was, among the origins.
    pub buckets: bool,
}

/// How a distribution handles requests that match a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// See [`behaviour::matches`].
    pub pattern: String,
    /// The id of an origin or origin group.
    pub target: String,
    pub caching: Caching,
    /// Whether a function runs on requests, and may request another path than the viewer did.
    #[serde(default)]
    pub rewrites: bool,
    /// Whether it serves Smooth Streaming, which cannot be invalidated.
    #[serde(default)]
    pub smooth_streaming: bool,
}

/// What is known about a distribution beyond the listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    /// Never requested.
    #[default]
    Unread,
    /// `GetDistributionConfig` was denied. Mapping does without, and notes that.
    Denied,
    Read {
        /// The distribution's revision when the details were read.
        #[serde(default)]
        revision: String,
        /// The name of the default root object.
        root: Option<String>,
        /// Whether the distribution stores cache tags (`CacheTagConfig`).
        cache_tags: bool,
        /// The origin groups. `None` if they were read by a release that did not keep them.
        #[serde(default)]
        groups: Option<Vec<OriginGroup>>,
    },
}

impl Distribution {
    /// Whether the details are missing, belong to an older revision, or were read by a release that
    /// did not keep the origin groups, although those are needed.
    pub fn needs_details(&self) -> bool {
        match &self.details {
            Details::Unread => true,
            Details::Denied => false,
            Details::Read {
                revision, groups, ..
            } => {
                *revision != self.revision
                    || (groups.is_none() && self.unknown_targets().next().is_some())
            }
        }
    }

    /// The behaviour that handles requests for a percent-encoded path.
    pub fn behaviour(&self, path: &str) -> Option<&Behaviour> {
        let path = behaviour::normalised(path);
        let mut all = self.behaviours.iter();
        all.find(|behaviour| behaviour::matches(&behaviour.pattern, &path))
    }

    /// Whether a behaviour uses an origin, directly or through an origin group.
    pub fn reaches(&self, behaviour: &Behaviour, origin: &str) -> bool {
        let group = |group: &OriginGroup| {
            group.id == behaviour.target && group.members.iter().any(|member| member == origin)
        };
        behaviour.target == origin || self.all_groups().any(group)
    }

    /// The name of the default root object, without a leading slash, if it is known and there is one.
    pub fn root(&self) -> Option<&str> {
        match &self.details {
            Details::Read { root, .. } => root.as_deref().map(|root| root.trim_start_matches('/')),
            Details::Unread | Details::Denied => None,
        }
    }

    /// Whether a viewer's decoded path is that of the default root object.
    pub fn is_root(&self, path: &str) -> bool {
        self.root()
            .is_some_and(|root| path.strip_prefix('/') == Some(root))
    }

    /// Targets of behaviours that are neither a known origin nor a known origin group.
    pub fn unknown_targets(&self) -> impl Iterator<Item = &str> {
        let targets = self.behaviours.iter().map(|one| one.target.as_str());
        targets.filter(|target| {
            self.origins.iter().all(|origin| origin.id != *target)
                && self.all_groups().all(|group| group.id != *target)
        })
    }

    /// The origin groups in the listing, and those that only the distribution's own configuration
    /// has.
    fn all_groups(&self) -> impl Iterator<Item = &OriginGroup> {
        let own = match &self.details {
            Details::Read {
                groups: Some(groups),
                ..
            } => groups.as_slice(),
            _ => &[],
        };
        self.groups.iter().chain(own)
    }

    /// Whether it serves viewers the same content as `other`, as far as the listing shows.
    pub fn serves_like(&self, other: &Self) -> bool {
        self.enabled == other.enabled
            && self.tenants_only == other.tenants_only
            && self.origins == other.origins
            && self.groups == other.groups
            && self.behaviours == other.behaviours
            && self.custom_errors == other.custom_errors
    }

    /// Whether every URL leads to the same places as in `other`, as far as the listing shows. Names
    /// of origins do not matter, and neither does what is cached and for how long.
    pub fn routes_like(&self, other: &Self) -> bool {
        self.behaviours.len() == other.behaviours.len()
            && iter::zip(&self.behaviours, &other.behaviours).all(|(one, another)| {
                let same = match (self.places(&one.target), other.places(&another.target)) {
                    (Some(places), Some(others)) => places == others,
                    // The listing may lack a group at times.
                    _ => one.target == another.target,
                };
                same && one.pattern == another.pattern && one.rewrites == another.rewrites
            })
    }

    /// The domains and paths behind a target; `None` if the listing lacks them. The details do not
    /// count: they are read later, and that would look like a change.
    fn places(&self, target: &str) -> Option<Vec<(&str, &str)>> {
        let group = self.groups.iter().find(|group| group.id == target);
        let ids = match group {
            Some(group) => group.members.iter().map(String::as_str).collect(),
            None => vec![target],
        };
        let places = ids.into_iter().map(|id| {
            let origin = self.origins.iter().find(|origin| origin.id == id)?;
            Some((origin.domain.as_str(), origin.path.trim_end_matches('/')))
        });
        places.collect()
    }
}
