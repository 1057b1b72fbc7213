//! The AWS of the tests: SNS, CloudFront and S3 behind one proxy, under their real names.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};

use super::{cloudfront::CloudFront, permissions::Permissions, proxy::Proxy, s3::S3, sns::Sns};

/// All of AWS that the service talks to.
pub struct FakeAws {
    pub cloudfront: Arc<CloudFront>,
    pub sns: Arc<Sns>,
    pub s3: Arc<S3>,
    pub permissions: Arc<Permissions>,
    proxy: Proxy,
    ca: PathBuf,
    _directory: tempfile::TempDir,
}

impl FakeAws {
    pub async fn start() -> Self {
        let cloudfront = Arc::new(CloudFront::default());
        let sns = Arc::new(Sns::default());
        let s3 = Arc::new(S3::default());
        let permissions = Arc::new(Permissions::default());
        let services = (
            Arc::clone(&cloudfront),
            Arc::clone(&sns),
            Arc::clone(&s3),
            Arc::clone(&permissions),
        );
        let routes = Router::new().fallback(answer).with_state(services);
        let proxy = Proxy::start(routes, is_aws).await;
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, &proxy.ca_pem).unwrap();
        Self {
            cloudfront,
            sns,
            s3,
            permissions,
            proxy,
            ca,
            _directory: directory,
        }
    }

    /// What a client has to be told: the proxy's address and the CA to trust.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HTTPS_PROXY", self.proxy()),
            ("SSL_CERT_FILE", self.ca().display().to_string()),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secretexample".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Where its proxy listens.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Every host and port that anybody asked for.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.proxy.hosts.lock().unwrap().clone()
    }
}

fn is_aws(host: &str) -> bool {
    host == "cloudfront.amazonaws.com"
        || S3::is_meant(host)
        || (host.starts_with("sns.")
            && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")))
}

type Services = (Arc<CloudFront>, Arc<Sns>, Arc<S3>, Arc<Permissions>);

async fn answer(
    State((cloudfront, sns, s3, permissions)): State<Services>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let host = headers[header::HOST].to_str().unwrap().to_owned();
    if S3::is_meant(&host) {
        let answer = s3.answer(&host, &uri);
        if answer.status().is_success() {
            permissions.note("s3:ListBucket", &S3::arn(&host, &uri));
        }
        return answer;
    }
    if let Some(refusal) = permissions.check(&host, &method, &uri, &body) {
        return refusal;
    }
    if host.starts_with("cloudfront.") {
        return cloudfront.answer(&method, &uri, &body).await;
    }
    sns.answer(&method, &host, &uri, &headers, &body).await
}

/// Closes the connection without an answer, as a lost one looks.
pub fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the connection is lost"))
}

/// An answer in XML, as AWS's older APIs give.
pub fn xml(status: u16, body: String) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "text/xml")
        .body(Body::from(format!("<?xml version=\"1.0\"?>\n{body}")))
        .unwrap()
}

/// A text as it stands in XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A text as XML meant it.
pub fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}
