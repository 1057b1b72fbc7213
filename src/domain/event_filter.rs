//! Which events invalidate.

/// The name of a lifecycle expiration that no viewer can see, which no filter lets through. In a bucket
/// with versions, the expiration of a current version is `LifecycleExpiration:DeleteMarkerCreated`;
/// `LifecycleExpiration:Delete` names a noncurrent version, or a delete marker without other versions.
/// Source: S3 User Guide, "Configuring S3 Lifecycle event notifications".
pub(super) const NONCURRENT_EXPIRATION: &str = "LifecycleExpiration:Delete of a noncurrent version";

/// Decides which events invalidate, by event names or patterns such as `ObjectCreated:*`.
#[derive(Debug, Clone)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// A filter that accepts events that match any of `patterns`.
    pub fn new(patterns: impl IntoIterator<Item = String>) -> Self {
        let bare = |pattern: String| match pattern.strip_prefix("s3:") {
            Some(bare) => bare.to_owned(),
            None => pattern,
        };
        Self(patterns.into_iter().map(bare).collect())
    }

    /// Whether an event with this name invalidates.
    pub fn lets_through(&self, event: &str) -> bool {
        event != NONCURRENT_EXPIRATION
            && self
                .0
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(stem) => event.starts_with(stem),
                    None => pattern == event,
                })
    }
}

#[cfg(test)]
mod tests {
    use super::EventFilter;

    #[test]
    fn the_filter_knows_patterns_and_names() {
        let filter = EventFilter::new(["ObjectCreated:*", "s3:ObjectAcl:Put"].map(String::from));
        assert!(filter.lets_through("ObjectCreated:CompleteMultipartUpload"));
        assert!(filter.lets_through("ObjectAcl:Put"));
        assert!(!filter.lets_through("ObjectAcl:PutMore"));
        assert!(!filter.lets_through("ObjectTagging:Put"));
        assert!(!filter.lets_through("ObjectRemoved:Delete"));
    }
}
