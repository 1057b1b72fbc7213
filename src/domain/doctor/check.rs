//! The checks and their ids, which are stable: scripts select by them.

macro_rules! checks {
    ($($variant:ident $id:literal,)*) => {
        /// A check. `docs/doctor.md` describes each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $($variant,)*
        }

        impl Check {
            /// In the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }
        }
    };
}

checks! {
    Environment "configuration.environment",
    Credentials "credentials",
    Account "credentials.account",
    Region "credentials.region",
    Clock "clock",
    ListDistributions "permission.list-distributions",
    DistributionConfig "permission.get-distribution-config",
    CachePolicy "permission.get-cache-policy",
    CreateInvalidation "permission.create-invalidation",
    GetInvalidation "permission.get-invalidation",
    ListInvalidations "permission.list-invalidations",
    ConfirmSubscription "permission.confirm-subscription",
    TopicExists "topic.exists",
    TopicKey "topic.key",
    SubscriptionExists "subscription.exists",
    SubscriptionConfirmed "subscription.confirmed",
    SubscriptionRaw "subscription.raw-delivery",
    SubscriptionRetries "subscription.retries",
    SubscriptionQueue "subscription.dead-letter-queue",
    QueueExists "dead-letters.queue",
    QueuePolicy "dead-letters.policy",
    QueueMessages "dead-letters.messages",
    BucketKnown "bucket.known",
    BucketRegion "bucket.region",
    TopicPolicy "bucket.topic-policy",
    BucketNotification "bucket.notification",
    BucketEvents "bucket.events",
    BucketLifecycle "bucket.lifecycle",
    BucketFilter "bucket.filter",
    Serving "catalogue.serving",
    Unconnected "catalogue.unconnected",
    ErrorPages "catalogue.error-pages",
    OriginChanges "catalogue.origin-changes",
    Tenants "catalogue.tenants",
    OriginGroups "catalogue.origin-groups",
    Unused "configuration.unused",
    Tags "configuration.tags",
    EndpointReachable "endpoint.reachable",
    EndpointPurgefront "endpoint.purgefront",
    StoreOpens "store.opens",
    StoreVersion "store.version",
    StoreDisk "store.disk",
    StoreFileSystem "store.file-system",
    StoreServer "store.server",
}

impl Check {
    /// What needs AWS's answers, in the order in which it is shown.
    pub fn of_aws() -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|check| *check >= Self::ListDistributions && *check <= Self::Tags)
    }
}
