//! The `KeyListing` port: the keys of buckets in any region.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws_config::{Region, SdkConfig, retry::RetryConfig};
use aws_sdk_s3::{Client, config::Builder, types::EncodingType};

use super::{
    connection::{ANY_REGION, Patience, bucket::failed},
    object_listing::{decoded, unreadable},
};
use crate::ports::{
    connection::CallError,
    key_listing::{KeyListing, KeyListingError, KeyPage},
};

/// S3's own limit for a page.
const KEYS_PER_PAGE: i32 = 1_000;
/// How many buckets' regions are remembered. Beyond that, all are forgotten, which costs a call each.
const BUCKETS: usize = 1_000;
/// The same for clients; AWS has fewer regions.
const REGIONS: usize = 100;

pub struct S3KeyListing {
    config: Builder,
    default_region: String,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// The regions of buckets that are not in the default one.
    homes: HashMap<String, String>,
    clients: HashMap<String, Client>,
}

impl S3KeyListing {
    /// Takes credentials and endpoints from `sdk`, but sets its own timeouts and retries.
    pub fn new(sdk: &SdkConfig) -> Self {
        let config = Builder::from(sdk)
            .timeout_config(Patience::ONCE.timeouts())
            // The caller asks again later, and goes on without the keys meanwhile.
            .retry_config(RetryConfig::disabled());
        Self {
            config,
            default_region: sdk.region().map_or(ANY_REGION, Region::as_ref).to_owned(),
            found: Mutex::default(),
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, bucket: &str) -> Client {
        let mut found = self.found();
        let region = found.homes.get(bucket).unwrap_or(&self.default_region);
        if let Some(client) = found.clients.get(region) {
            return client.clone();
        }
        let region = region.clone();
        let config = self.config.clone().region(Region::new(region.clone()));
        let client = Client::from_conf(config.build());
        put(&mut found.clients, REGIONS, region, client.clone());
        client
    }

    async fn page(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<KeyPage, CallError> {
        let client = self.client(bucket);
        let output = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(KEYS_PER_PAGE)
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| failed(&client, "s3:ListBucket", error))?;
        let encoding = output.encoding_type;
        let objects = output.contents.unwrap_or_default().into_iter();
        let keys = objects.map(|object| decoded(object.key, encoding.as_ref()));
        let page = KeyPage {
            keys: keys.collect::<Result<_, _>>()?,
            more: output
                .is_truncated
                .ok_or_else(|| unreadable("it does not say whether there is more"))?,
        };
        if page.more && page.keys.is_empty() {
            return Err(unreadable("a page is empty, but not the last one"));
        }
        if !in_order(&page.keys, prefix, after) {
            return Err(unreadable("keys are not those that were asked for"));
        }
        Ok(page)
    }
}

#[async_trait]
impl KeyListing for S3KeyListing {
    async fn keys(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<KeyPage, KeyListingError> {
        let page = match self.page(bucket, prefix, after).await {
            Err(CallError::Elsewhere(home)) => {
                put(&mut self.found().homes, BUCKETS, bucket.to_owned(), home);
                self.page(bucket, prefix, after).await
            }
            page => page,
        };
        page.map_err(|error| judge(bucket, &error))
    }
}

/// Keeps a map from growing beyond `most` entries.
fn put<V>(map: &mut HashMap<String, V>, most: usize, key: String, value: V) {
    if map.len() >= most && !map.contains_key(&key) {
        map.clear();
    }
    map.insert(key, value);
}

/// Whether the keys are some of those that were asked for, in byte order. A listing that cannot be
/// trusted in this would make unchanged objects invisible.
fn in_order(keys: &[String], prefix: &str, after: Option<&str>) -> bool {
    let first = keys.first().map(String::as_str);
    keys.is_sorted()
        && keys.iter().all(|key| key.starts_with(prefix))
        && first.is_none_or(|first| after.is_none_or(|after| first > after))
}

fn judge(bucket: &str, error: &CallError) -> KeyListingError {
    // In one line, whoever wrote it.
    let text = error.to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match error {
        CallError::Denied(_) => KeyListingError::Denied(format!("{text} on the bucket {bucket}")),
        _ => KeyListingError::Failed(format!("{text} (bucket {bucket})")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use aws_config::BehaviorVersion;
    use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What comes of an answer of this endpoint, and how often it was asked.
    async fn answered(status: &str, body: &str) -> (Result<KeyPage, KeyListingError>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // A request of this size arrives at once.
                let mut request = [0; 8_192];
                if stream.read(&mut request).await.unwrap() > 0 {
                    counted.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        let page = S3KeyListing::new(&sdk).keys("site", "a/", None).await;
        (page, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_failed_call_is_not_repeated() {
        let slow = "<Error><Code>SlowDown</Code><Message>less</Message></Error>";
        let (page, asked) = answered("503 Slow Down", slow).await;
        let text = "s3:ListBucket: SlowDown: less (bucket site)".to_owned();
        assert_eq!(page, Err(KeyListingError::Failed(text)));
        assert_eq!(asked, 1);
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_believed_is_a_failure() {
        let list = |text: &str| format!("<ListBucketResult>{text}</ListBucketResult>");
        let key = |key: &str| format!("<Contents><Key>{key}</Key></Contents>");
        let (no, yes) = (
            "<IsTruncated>false</IsTruncated>",
            "<IsTruncated>true</IsTruncated>",
        );
        let (right, _) = answered("200 OK", &list(&(key("a/1+1") + no))).await;
        let page = right.unwrap();
        assert_eq!((page.keys, page.more), (vec!["a/1+1".to_owned()], false));
        for wrong in [
            key("a/1"),
            yes.to_owned(),
            key("b") + no,
            key("a/2") + &key("a/1") + no,
        ] {
            let (page, _) = answered("200 OK", &list(&wrong)).await;
            let Err(KeyListingError::Failed(text)) = page else {
                panic!("{wrong}: {page:?}");
            };
            assert!(text.starts_with("S3's listing cannot be read: "), "{text}");
        }
    }

    #[test]
    fn only_keys_that_were_asked_for_are_believed() {
        let keys = |all: &[&str]| all.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let page = keys(&["a/1", "a/Z", "a/a", "a/ü"]);
        assert!(in_order(&page, "a/", None) && in_order(&page, "a/", Some("a/0")));
        assert!(in_order(&page, "a/", Some("A")) && in_order(&[], "a/", Some("a/1")));
        assert!(!in_order(&page, "a/", Some("a/1")), "it begins again");
        assert!(!in_order(&page, "a/1", None), "another prefix");
        assert!(!in_order(&keys(&["a/a", "a/Z"]), "a/", None), "no order");
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let mut map = HashMap::new();
        for at in 0..10 {
            put(&mut map, 3, at.to_string(), at);
            assert!(map.len() <= 3 && map[&at.to_string()] == at);
        }
        let many = map.len();
        put(&mut map, many, "9".to_owned(), 0);
        assert_eq!((map["9"], map.len()), (0, many), "none is forgotten");
    }

    #[test]
    fn a_failure_names_the_bucket_in_one_line() {
        let denied = CallError::Denied("s3:ListBucket: no;\n grant it".to_owned());
        let denied = judge("site", &denied);
        let text = "s3:ListBucket: no; grant it on the bucket site".to_owned();
        assert_eq!(denied, KeyListingError::Denied(text));
        for other in [
            CallError::Missing("no".to_owned()),
            CallError::Credentials("no".to_owned()),
            CallError::Failed("no".to_owned()),
        ] {
            let text = "no (bucket site)".to_owned();
            assert_eq!(judge("site", &other), KeyListingError::Failed(text));
        }
    }
}
