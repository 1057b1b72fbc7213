//! S3 as the service's port for listing keys, on a virtual clock: in byte order, in pages, and as slow as a
//! test says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use purgefront::ports::{
    Clock as _,
    key_listing::{KeyListing, KeyListingError, KeyPage},
};

use super::clock::VirtualClock;

/// How many keys S3 gives at a time.
const PAGE: usize = 1_000;

pub struct Buckets {
    clock: Arc<VirtualClock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, BTreeSet<String>>,
    /// How long a page of a bucket takes; no time, if it is not there.
    slow: BTreeMap<String, Duration>,
    denied: bool,
    asked: Vec<String>,
}

impl Buckets {
    pub fn new(clock: &Arc<VirtualClock>) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            state: Mutex::default(),
        })
    }

    pub fn put(&self, bucket: &str, keys: impl IntoIterator<Item = String>) {
        let mut state = self.state.lock().unwrap();
        state
            .keys
            .entry(bucket.to_owned())
            .or_default()
            .extend(keys);
    }

    pub fn slow_down(&self, bucket: &str, by: Duration) {
        let mut state = self.state.lock().unwrap();
        state.slow.insert(bucket.to_owned(), by);
    }

    pub fn deny(&self) {
        self.state.lock().unwrap().denied = true;
    }

    /// The bucket and the prefix of each page that was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }
}

#[async_trait]
impl KeyListing for Buckets {
    async fn keys(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<KeyPage, KeyListingError> {
        let slow = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(format!("{bucket}/{prefix}"));
            state.slow.get(bucket).copied()
        };
        if let Some(slow) = slow {
            self.clock.sleep_until(self.clock.now() + slow).await;
        }
        let state = self.state.lock().unwrap();
        if state.denied {
            return Err(KeyListingError::Denied("s3:ListBucket".to_owned()));
        }
        let Some(keys) = state.keys.get(bucket) else {
            return Err(KeyListingError::Failed("no such bucket".to_owned()));
        };
        let mut keys = keys.iter().filter(|key| {
            key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        let page: Vec<_> = keys.by_ref().take(PAGE).cloned().collect();
        Ok(KeyPage {
            keys: page,
            more: keys.next().is_some(),
        })
    }
}
