//! The names of S3's events.

/// All names. Source: Amazon S3 User Guide, "Event notification types and destinations".
const NAMES: [&str; 23] = [
    "ObjectCreated:Put",
    "ObjectCreated:Post",
    "ObjectCreated:Copy",
    "ObjectCreated:CompleteMultipartUpload",
    "ObjectRemoved:Delete",
    "ObjectRemoved:DeleteMarkerCreated",
    "LifecycleExpiration:Delete",
    "LifecycleExpiration:DeleteMarkerCreated",
    "ReducedRedundancyLostObject",
    "ObjectRestore:Post",
    "ObjectRestore:Completed",
    "ObjectRestore:Delete",
    "LifecycleTransition",
    "IntelligentTiering",
    "ObjectAcl:Put",
    "ObjectTagging:Put",
    "ObjectTagging:Delete",
    "ObjectAnnotation:Put",
    "ObjectAnnotation:Delete",
    "Replication:OperationFailedReplication",
    "Replication:OperationMissedThreshold",
    "Replication:OperationReplicatedAfterThreshold",
    "Replication:OperationNotTracked",
];

/// Whether an event name, or a pattern that ends in `*`, matches any event.
pub fn is_known(pattern: &str) -> bool {
    let pattern = pattern.strip_prefix("s3:").unwrap_or(pattern);
    match pattern.strip_suffix('*') {
        Some(stem) => NAMES.iter().any(|name| name.starts_with(stem)),
        None => NAMES.contains(&pattern),
    }
}

/// All names.
pub fn all() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

/// The names and the patterns of their kinds, such as `ObjectCreated:*`.
pub fn patterns() -> impl Iterator<Item = String> {
    let kinds = NAMES.iter().filter_map(|name| name.split_once(':'));
    let kinds = kinds.map(|(kind, _)| format!("{kind}:*"));
    kinds.chain(NAMES.iter().map(|name| (*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_known_if_it_matches_an_event() {
        for pattern in [
            "ObjectCreated:*",
            "ObjectCreated:Put",
            "Object*",
            "s3:ObjectAcl:Put",
        ] {
            assert!(is_known(pattern), "{pattern}");
        }
        for pattern in [
            "ObjectCrated:*",
            "ObjectCreated",
            "objectcreated:*",
            "ObjectCreated:Put:*",
        ] {
            assert!(!is_known(pattern), "{pattern}");
        }
        assert!(patterns().any(|pattern| pattern == "LifecycleExpiration:*"));
    }
}
