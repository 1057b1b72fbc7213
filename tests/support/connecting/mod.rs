//! An account whose bucket is connected, and made good after an outage: the calls of S3, SNS, SQS, STS,
//! IAM and CloudFront that this needs, with AWS's rules, behind one proxy, and the endpoint. It keeps what
//! it is given as text, so that nothing of the service stands between a test and what was sent.

mod identity;
mod listing;
mod s3;
mod sns;
mod sqs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};

use jiff::Timestamp;

pub use self::listing::Objects;
use super::{
    aws::unescape,
    cloudfront::{CloudFront, views},
    proxy::Proxy,
    service::Setup,
    shell,
};

pub const OWNER: &str = "123456789012";
pub const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";
/// What SNS gives to a topic of its own accord.
pub const OWNERS_POLICY: &str = r#"{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},"Action":["SNS:Publish","SNS:Subscribe"],"Resource":"arn:aws:sns:us-east-1:123456789012:site-changes","Condition":{"StringEquals":{"AWS:SourceOwner":"123456789012"}}}]}"#;

pub type Attributes = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub topic: String,
    pub protocol: String,
    pub endpoint: String,
    pub confirmed: bool,
    pub attributes: Attributes,
}

impl Subscription {
    pub fn arn(&self) -> String {
        format!("{}:{}", self.topic, self.endpoint.len())
    }
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Things {
    /// The elements of the bucket's notification configuration.
    pub notifications: Vec<String>,
    pub topics: BTreeMap<String, Attributes>,
    pub subscriptions: Vec<Subscription>,
    /// By name.
    pub queues: BTreeMap<String, Attributes>,
}

/// A message in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub id: String,
    pub body: String,
    /// What deletes it, since it was last received.
    receipt: String,
    /// Nobody else receives it before.
    visible_at: Timestamp,
}

#[derive(Default)]
pub struct State {
    pub things: Things,
    /// What is in the bucket.
    pub objects: Objects,
    /// Messages by the name of their queue.
    pub messages: BTreeMap<String, Vec<Queued>>,
    /// How many messages can't be deleted, though the call works.
    pub undeletable: usize,
    /// The permissions that were used, in order.
    pub calls: Vec<String>,
    /// Permissions that the credentials do not have.
    pub denied: BTreeSet<String>,
    /// Where the bucket is.
    pub region: String,
    /// How often S3 has said so to somebody who asked elsewhere.
    pub redirects: usize,
    /// How often SNS has asked for a confirmation.
    pub confirmations: usize,
    /// Written by somebody else right after the next write.
    pub race: Option<Vec<String>>,
    /// The rules of the bucket's lifecycle configuration.
    pub lifecycle: Option<String>,
    /// Whether AWS refuses the credentials.
    pub expired: bool,
    /// By how many seconds AWS's clock is ahead.
    pub ahead: i64,
    /// What the endpoint answers to its health check and to messages: a status and a type of problem.
    pub endpoint: Option<(u16, u16, String)>,
}

impl State {
    /// Puts a message into a queue.
    pub fn put(&mut self, queue: &str, body: impl Into<String>) {
        let messages = self.messages.entry(queue.to_owned()).or_default();
        messages.push(Queued {
            id: uuid::Uuid::new_v4().to_string(),
            body: body.into(),
            receipt: String::new(),
            visible_at: Timestamp::UNIX_EPOCH,
        });
    }
}

/// A running account; it ends with the test's runtime.
pub struct Account {
    pub cloudfront: Arc<CloudFront>,
    state: Arc<Mutex<State>>,
    proxy: Proxy,
    ca: PathBuf,
    _directory: tempfile::TempDir,
}

impl Account {
    /// With a bucket `site`, and the topic, that have nothing to do with each other.
    pub async fn start() -> Self {
        Self::beside(Arc::default()).await
    }

    /// The same, with this CloudFront, which a service may speak to as well.
    pub async fn beside(cloudfront: Arc<CloudFront>) -> Self {
        let mut state = State {
            region: "us-east-1".to_owned(),
            ..State::default()
        };
        let policy = ("Policy".to_owned(), OWNERS_POLICY.to_owned());
        let topic = Attributes::from([policy]);
        state.things.topics.insert(TOPIC.to_owned(), topic);
        let state = Arc::new(Mutex::new(state));
        let routes = Router::new()
            .fallback(answer)
            .with_state((Arc::clone(&state), Arc::clone(&cloudfront)));
        let known = |host: &str| host.ends_with(".amazonaws.com") || host == "purge.example";
        let proxy = Proxy::start(routes, known).await;
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, &proxy.ca_pem).unwrap();
        Self {
            cloudfront,
            state,
            proxy,
            ca,
            _directory: directory,
        }
    }

    /// A command that speaks to this account.
    pub fn setup(&self) -> Setup {
        let mut setup = Setup::alone();
        for (name, value) in [
            ("HTTPS_PROXY", format!("http://{}", self.proxy.address)),
            ("SSL_CERT_FILE", self.ca.display().to_string()),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secretexample".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ] {
            setup.set_env(name, value);
        }
        setup
    }

    /// Runs a command as somebody with AWS's command line.
    pub fn shell(&self, commands: &str, setup: &Setup) -> (Option<i32>, String, String) {
        let mut environment = setup.environment();
        environment.push(("AWS_CA_BUNDLE".to_owned(), self.ca.display().to_string()));
        environment.push(("AWS_DEFAULT_REGION".to_owned(), "us-east-1".to_owned()));
        shell::run(commands, setup.home(), environment)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn things(&self) -> Things {
        self.state().things.clone()
    }

    /// The permissions that were used since this was last asked.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }
}

/// A call, as it came.
struct Call<'a> {
    host: &'a str,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a str,
}

async fn answer(
    Shared((state, cloudfront)): Shared<(Arc<Mutex<State>>, Arc<CloudFront>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let host = headers[header::HOST].to_str().unwrap().to_owned();
    if host == "purge.example" {
        return identity::endpoint(&state.lock().unwrap(), &method);
    }
    assert!(headers.contains_key(header::AUTHORIZATION), "it is signed");
    if host.starts_with("cloudfront.") {
        let permission = identity::of_cloudfront(&method, uri.path());
        if !state.lock().unwrap().may(permission) {
            return views::denied();
        }
        return cloudfront.answer(&method, &uri, &body).await;
    }
    let mut state = state.lock().unwrap();
    let call = Call {
        host: &host,
        method: &method,
        uri: &uri,
        headers: &headers,
        body: std::str::from_utf8(&body).unwrap(),
    };
    match call.host {
        host if host.contains("s3.") => s3::answer(&mut state, &call),
        host if host.starts_with("sns.") => sns::answer(&mut state, &call),
        host if host.starts_with("sqs.") => sqs::answer(&mut state, &call),
        host if host.starts_with("sts.") => identity::of_caller(&mut state),
        host if host.starts_with("iam.") => identity::grant(&mut state, &call),
        host => panic!("nobody is at {host}"),
    }
}

impl State {
    /// Notes the use of a permission, and whether it is there.
    fn may(&mut self, permission: &str) -> bool {
        self.calls.push(permission.to_owned());
        !self.denied.contains(permission)
    }
}

/// The texts of all elements of this name.
fn texts(xml: &str, name: &str) -> Vec<String> {
    let opening = format!("<{name}>");
    let parts = xml.split(&opening).skip(1);
    let parts = parts.filter_map(|part| part.split_once(&format!("</{name}>")));
    parts.map(|(text, _)| unescape(text)).collect()
}
