//! What changes wait for before they can be mapped.

use super::{
    catalogue::{Caching, Catalogue, Distribution},
    mapping::MappingPolicy,
};

/// What has to happen before a change can be mapped, to one distribution or to all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// No known distribution serves this bucket: the account's distributions have to be read again.
    Bucket(String),
    /// The details of this distribution have to be read.
    Details(String),
    /// A cache policy that a distribution uses has to be read.
    Policy {
        distribution_id: String,
        policy_id: String,
    },
    /// Nothing: an operator wants the change to be mapped to this distribution again.
    Again(String),
}

impl Wait {
    /// The distribution to which the change cannot be mapped yet; `None` if it cannot be mapped to
    /// any.
    pub fn distribution_id(&self) -> Option<&str> {
        match self {
            Self::Bucket(_) => None,
            Self::Details(id) | Self::Again(id) => Some(id),
            Self::Policy {
                distribution_id, ..
            } => Some(distribution_id),
        }
    }

    /// Whether the wait is over. This is also the case if the distribution is gone or needs the
    /// answer no longer.
    pub fn is_over(&self, catalogue: &Catalogue, policy: &MappingPolicy) -> bool {
        let still = |id: &str, lacks: &dyn Fn(&Distribution) -> bool| {
            let distribution = catalogue.get(id);
            distribution.is_some_and(|one| policy.is_invalidated(one) && lacks(one))
        };
        match self {
            Self::Bucket(bucket) => !catalogue.serving(bucket).is_empty(),
            Self::Details(id) => !still(id, &Distribution::needs_details),
            Self::Policy {
                distribution_id,
                policy_id,
            } => !still(distribution_id, &|one| {
                one.behaviours.iter().any(|behaviour| {
                    behaviour.caching == Caching::Policy(policy_id.clone())
                        && catalogue.cache_policy(behaviour).is_none()
                })
            }),
            Self::Again(_) => true,
        }
    }
}

/// What some changes wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWait {
    pub wait: Wait,
    /// The number of the first change that waits for it.
    pub first: i64,
}
