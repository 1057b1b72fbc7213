//! What tests of the work behind the 2xx share, where it runs in their own process.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use purgefront::{
    dispatch::Settings,
    domain::{
        batch::Usage,
        catalogue::{Behaviour, CacheKey, Caching, Details, Distribution, Origin},
        mapping::MappingPolicy,
        sns_message::{Refusal, SnsMessage, Token},
        topic::TopicArn,
    },
    ports::{ConfirmError, SnsTrust},
};

/// A distribution in front of one bucket.
pub fn in_front_of(id: &str, domain: &str) -> Distribution {
    Distribution {
        id: id.to_owned(),
        enabled: true,
        aliases: Vec::new(),
        origins: vec![Origin {
            id: "o".to_owned(),
            domain: domain.to_owned(),
            path: String::new(),
        }],
        groups: Vec::new(),
        behaviours: vec![Behaviour {
            pattern: "*".to_owned(),
            target: "o".to_owned(),
            caching: Caching::Inline(CacheKey {
                caches: true,
                query_strings: false,
            }),
            rewrites: false,
            smooth_streaming: false,
        }],
        revision: "1".to_owned(),
        details: Details::Unread,
    }
}

/// Nobody subscribes here.
pub struct NoSns;

#[async_trait::async_trait]
impl SnsTrust for NoSns {
    async fn verify(&self, _: &SnsMessage, _: Timestamp) -> Result<(), Refusal> {
        unreachable!("no message comes by HTTP")
    }

    async fn confirm_subscription(
        &self,
        _: &TopicArn,
        _: &Token,
        _: bool,
    ) -> Result<String, ConfirmError> {
        unreachable!("nothing is to be confirmed")
    }
}

/// The defaults, without the daily stop.
pub fn settings() -> Settings {
    Settings {
        quiet: Duration::from_secs(1),
        max_wait: Duration::from_secs(10),
        window: 100_000,
        calls_per_second: 0.5,
        call_burst: 5,
        reads_per_second: 2.0,
        read_burst: 10,
        items_per_call: 1_000,
        paths_per_second: 150.0,
        wildcards_per_second: 1.0,
        in_progress: Usage {
            paths: 3_000,
            wildcards: 15,
        },
        reserve: Usage {
            paths: 100,
            wildcards: 2,
        },
        paths_per_day: 0,
        shadow: false,
        mapping: Arc::new(MappingPolicy::default()),
        origins: Arc::new([]),
        keep: Duration::from_hours(24 * 365),
        catalogue_refresh: Duration::from_mins(10),
        authenticate_on_unsubscribe: true,
        seed: 7,
    }
}
