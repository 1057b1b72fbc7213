//! The catalogue: what purgefront knows of the account's distributions.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::origin;

/// A `CloudFront` distribution, as far as mapping needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// `CloudFront`'s id, such as `E2EXAMPLE`.
    pub id: String,
    /// A disabled distribution serves nobody, so nothing in it can be stale.
    pub enabled: bool,
    /// Its origins, in `CloudFront`'s order.
    pub origins: Vec<Origin>,
    /// Differs whenever its configuration does: the `ETag` and time of last change that
    /// the listing gave.
    pub revision: String,
    /// Not in the listing; asked for when a change first reaches the distribution.
    pub root: RootObject,
}

/// Where a distribution fetches objects from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The origin's name inside its distribution.
    pub id: String,
    /// Its domain name.
    pub domain: String,
    /// What `CloudFront` puts before the viewer's path: empty, or `/prefix` without a slash
    /// at its end.
    pub path: String,
}

/// What is known of a distribution's default root object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootObject {
    /// Never asked for.
    Unread,
    /// `GetDistributionConfig` was denied: mapping goes on without it and says so.
    Denied,
    /// As read when the distribution had this revision.
    Read {
        /// The distribution's revision at that time.
        revision: String,
        /// The object's name without a leading slash; `None` where there is none.
        name: Option<String>,
    },
}

impl Distribution {
    /// Whether its root object is not known for its present configuration.
    pub fn needs_root(&self) -> bool {
        match &self.root {
            RootObject::Unread => true,
            RootObject::Denied => false,
            RootObject::Read { revision, .. } => *revision != self.revision,
        }
    }
}

/// All distributions of the account at one reading, indexed by bucket. Never changed: a new
/// reading makes a new catalogue.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    distributions: HashMap<String, Arc<Distribution>>,
    by_bucket: HashMap<String, Vec<Arc<Distribution>>>,
    read_since: Timestamp,
}

impl Catalogue {
    /// The catalogue of `distributions`, whose reading began at `read_since`: it knows all
    /// that was true before then.
    pub fn new(distributions: Vec<Distribution>, read_since: Timestamp) -> Self {
        let mut catalogue = Self {
            read_since,
            ..Self::default()
        };
        for distribution in distributions {
            catalogue.insert(Arc::new(distribution));
        }
        for serving in catalogue.by_bucket.values_mut() {
            serving.sort_by(|a, b| a.id.cmp(&b.id));
        }
        catalogue
    }

    /// The catalogue after a new reading; root objects that this one knows are kept. One that
    /// was denied is asked for again, as permissions may have been granted meanwhile.
    #[must_use]
    pub fn refreshed(&self, mut listed: Vec<Distribution>, read_since: Timestamp) -> Self {
        for distribution in &mut listed {
            if let Some(known) = self.distributions.get(&distribution.id)
                && known.root != RootObject::Denied
            {
                distribution.root = known.root.clone();
            }
        }
        Self::new(listed, read_since)
    }

    /// The catalogue with one distribution's root object learnt.
    #[must_use]
    pub fn with_root(&self, id: &str, root: &RootObject) -> Self {
        let mut distributions: Vec<_> = self.iter().cloned().collect();
        for distribution in &mut distributions {
            if distribution.id == id {
                distribution.root = root.clone();
            }
        }
        Self::new(distributions, self.read_since)
    }

    /// When the reading began that it comes from.
    pub fn read_since(&self) -> Timestamp {
        self.read_since
    }

    /// The distribution with this id.
    pub fn get(&self, id: &str) -> Option<&Distribution> {
        self.distributions.get(id).map(Arc::as_ref)
    }

    /// The distributions with an origin that is this bucket, in the order of their ids.
    pub fn serving(&self, bucket: &str) -> &[Arc<Distribution>] {
        self.by_bucket.get(bucket).map_or(&[], Vec::as_slice)
    }

    /// All distributions, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Distribution> {
        self.distributions.values().map(Arc::as_ref)
    }

    fn insert(&mut self, distribution: Arc<Distribution>) {
        let mut buckets: Vec<_> = distribution
            .origins
            .iter()
            .filter_map(|origin| origin::bucket(&origin.domain))
            .collect();
        buckets.sort_unstable();
        buckets.dedup();
        for bucket in buckets {
            let serving = self.by_bucket.entry(bucket).or_default();
            serving.push(Arc::clone(&distribution));
        }
        self.distributions
            .insert(distribution.id.clone(), distribution);
    }
}
