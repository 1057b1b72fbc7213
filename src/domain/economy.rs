//! What merging may cost: the configuration's `[economy]`.

use std::time::Duration;

use super::consolidate::EVICTIONS_PER_PATH;

/// How paths are merged into wildcards. The guard of what may be merged is part of the mapping's policy, which
/// has to keep to it as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Economy {
    /// How many unchanged objects may be evicted to save one path, before the budget raises it.
    pub evictions_per_path: f64,
    /// Within this time, the limits have to let everything through that waits: otherwise more is merged.
    pub max_delay: Duration,
    /// A wildcard that evicts unchanged objects is not made again within this time of the last.
    pub min_interval: Duration,
    /// Whether buckets are listed, to know which objects there are.
    pub list_objects: bool,
    /// Whether paths may be merged although it is not known which objects there are, if they cannot pass the
    /// limits within `max_delay` otherwise.
    pub widen_unlisted: bool,
    /// The paths that a month may cost (a soft budget); 0 means none.
    pub monthly_paths: u64,
}

impl Default for Economy {
    fn default() -> Self {
        Self {
            evictions_per_path: EVICTIONS_PER_PATH,
            max_delay: Duration::from_mins(1),
            min_interval: Duration::from_mins(1),
            list_objects: true,
            widen_unlisted: false,
            monthly_paths: 0,
        }
    }
}
