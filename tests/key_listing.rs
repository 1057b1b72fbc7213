//! The keys of buckets, as merging asks for them: pages from moto, and a region and a refusal as AWS has them.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use jiff::Timestamp;
use purgefront::{
    aws::S3KeyListing,
    ports::key_listing::{KeyListing, KeyListingError, KeyPage},
};

use crate::support::{connecting::Account, moto::Moto};

/// Keys that are no text of XML, or look encoded, or are.
const ODD: [&str; 10] = [
    "odd/",
    "odd/\u{1}\n\u{7f}",
    "odd/ space  s ",
    "odd/%20%zz+100%",
    "odd/&lt;\"'>",
    "odd/+plus+",
    "odd/a/b//c",
    "odd/z",
    "odd/ä ö\u{fffd}",
    "odd/𝕏",
];

const PREPARE: &str = r#"
s3.create_bucket(Bucket="site")
# Ten times as fast as over TLS, for which moto wants a connection each.
s3 = boto3.client("s3", region_name="us-east-1", endpoint_url="http://s3.amazonaws.com",
    config=Config(proxies={"http": os.environ["HTTPS_PROXY"]}))
for at in range(1_010):
    s3.put_object(Bucket="site", Key=f"many/{at:04}+ü %.html", Body=b"")
for key in ODD + ["mane", "manz", "zz"]:
    s3.put_object(Bucket="site", Key=key, Body=b"")
"#;

/// What an SDK is given by the environment, in which a test cannot set anything for itself.
fn sdk(environment: &[(impl AsRef<str>, String)]) -> SdkConfig {
    let of = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| name.as_ref() == wanted);
        &found.unwrap().1
    };
    let authorities = std::fs::read(of("SSL_CERT_FILE")).unwrap();
    let proxy = ProxyConfig::https(of("HTTPS_PROXY")).unwrap();
    let credentials = Credentials::new("id", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(through(proxy, &authorities))
        .build()
}

fn through(proxy: ProxyConfig, authorities: &[u8]) -> SharedHttpClient {
    let trusted = TrustStore::empty().with_pem_certificate(authorities);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.unwrap();
    Builder::new().build_with_connector_fn(move |settings, _| {
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context.clone())
            .proxy_config(proxy.clone());
        match settings {
            Some(settings) => connector.connector_settings(settings.clone()).build(),
            None => connector.build(),
        }
    })
}

/// All keys with a prefix, page by page, and how many each page had.
async fn all(listing: &dyn KeyListing, prefix: &str) -> (Vec<String>, Vec<usize>) {
    let (mut keys, mut pages) = (Vec::new(), Vec::new());
    loop {
        let after = keys.last().map(String::as_str);
        let page = listing.keys("site", prefix, after).await.unwrap();
        pages.push(page.keys.len());
        keys.extend(page.keys);
        if !page.more {
            return (keys, pages);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_lists_keys_page_by_page_as_they_are() {
    let Some(moto) = Moto::start().await else {
        return;
    };
    let odd = serde_json::to_string(&ODD).unwrap();
    moto.script(&format!("ODD = json.loads(r'''{odd}''')\n{PREPARE}"));
    let listing = S3KeyListing::new(&sdk(moto.environment()));
    let (keys, pages) = all(&listing, "many/").await;
    assert_eq!(pages, [1_000, 10]);
    let many = (0..1_010).map(|at| format!("many/{at:04}+ü %.html"));
    assert_eq!(keys, many.collect::<Vec<_>>());
    assert_eq!(all(&listing, "odd/").await.0, ODD);
    for (at, key) in ODD.iter().enumerate() {
        // Unlike S3, moto gives back what was asked for without encoding it.
        if key.contains(char::is_control) {
            continue;
        }
        let page = listing.keys("site", "odd/", Some(key)).await.unwrap();
        assert_eq!(page.keys, ODD[at + 1..], "{key:?}");
        assert!(!page.more);
        let (keys, _) = all(&listing, key).await;
        assert!(keys.iter().any(|found| found == key), "{key:?}: {keys:?}");
    }
    assert_eq!(all(&listing, "").await.0.len(), 1_010 + ODD.len() + 3);
    let none = listing.keys("site", "nothing/", None).await.unwrap();
    assert_eq!(none, KeyPage::default());

    let missing = listing.keys("no-such-bucket", "", None).await.unwrap_err();
    let KeyListingError::Failed(text) = missing else {
        panic!("{missing:?}");
    };
    assert!(
        text.starts_with("s3:ListBucket: NoSuchBucket: ") && text.ends_with("no-such-bucket)"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_found_in_its_region_once_and_a_refusal_says_what_to_grant() {
    let account = Account::start().await;
    let keys: Vec<_> = (0..7).map(|at| format!("k/{at}")).collect();
    {
        let mut state = account.state();
        state.region = "eu-central-1".to_owned();
        for key in &keys {
            state.objects.put(key, Timestamp::UNIX_EPOCH);
        }
    }
    let listing = S3KeyListing::new(&sdk(&account.setup().environment()));
    // The model's pages have three keys.
    assert_eq!(all(&listing, "k/").await, (keys, vec![3, 3, 1]));
    assert_eq!(account.calls(), ["s3:ListBucket"; 3]);
    assert_eq!(account.state().redirects, 1, "the region is remembered");

    account.state().region = "us-east-1".to_owned();
    listing.keys("site", "k/", None).await.unwrap();
    assert_eq!(account.state().redirects, 2, "and is found again");

    account.state().denied.insert("s3:ListBucket".to_owned());
    let denied = listing.keys("site", "k/", None).await.unwrap_err();
    let KeyListingError::Denied(text) = denied else {
        panic!("{denied:?}");
    };
    assert!(text.starts_with("s3:ListBucket: AccessDenied: "), "{text}");
    assert!(text.ends_with(" on the bucket site"), "{text}");
}
