//! The `SnsTrust` port for SNS: verifies messages and confirms subscriptions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_sns::Client;
use aws_sdk_sns::config::{Builder, SharedHttpClient};
use aws_sdk_sns::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sns::operation::confirm_subscription::ConfirmSubscriptionError;
use aws_smithy_http_client::{
    Builder as ClientBuilder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{trust::SigningCertificates, with_causes};
use crate::domain::{
    sns_message::{Refusal, SnsMessage, Token},
    topic::TopicArn,
};
use crate::ports::{ConfirmError, SnsTrust};

const CONNECT: Duration = Duration::from_secs(5);
/// The timeout of a whole call.
const OPERATION: Duration = Duration::from_secs(30);

/// Verifies messages with [`SigningCertificates`] and confirms subscriptions with the SDK.
pub struct AwsSnsTrust {
    certificates: SigningCertificates,
    config: Builder,
    /// One client per region: SNS accepts a confirmation only in the topic's region.
    clients: Mutex<HashMap<String, Client>>,
}

impl AwsSnsTrust {
    /// Takes credentials from `sdk`, but sets its own timeouts and retries. `emulator` replaces the
    /// SNS endpoint.
    pub fn new(certificates: SigningCertificates, sdk: &SdkConfig, emulator: Option<&str>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_timeout(OPERATION)
            .build();
        let config = Builder::from(sdk)
            .timeout_config(timeouts)
            // The caller retries, and records each attempt.
            .retry_config(RetryConfig::disabled());
        let config = match emulator {
            Some(origin) => config.endpoint_url(origin).http_client(without_proxy()),
            None => config,
        };
        Self {
            certificates,
            config,
            clients: Mutex::default(),
        }
    }

    fn client(&self, region: &str) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        let config = self.config.clone().region(Region::new(region.to_owned()));
        let client = Client::from_conf(config.build());
        clients.insert(region.to_owned(), client.clone());
        client
    }
}

#[async_trait]
impl SnsTrust for AwsSnsTrust {
    async fn verify(&self, message: &SnsMessage, deadline: Timestamp) -> Result<(), Refusal> {
        self.certificates.verify(message, deadline).await
    }

    async fn confirm_subscription(
        &self,
        topic: &TopicArn,
        token: &Token,
        authenticate_on_unsubscribe: bool,
    ) -> Result<String, ConfirmError> {
        // The only value is "true"; otherwise the parameter is omitted (Amazon SNS API Reference,
        // ConfirmSubscription).
        let authenticate = authenticate_on_unsubscribe.then(|| "true".to_owned());
        let confirmed = self
            .client(topic.region())
            .confirm_subscription()
            .topic_arn(topic.as_str())
            .token(token.expose())
            .set_authenticate_on_unsubscribe(authenticate)
            .send()
            .await;
        match confirmed {
            Ok(answer) => answer.subscription_arn.ok_or_else(|| {
                ConfirmError::Retry("SNS confirmed, but returned no subscription ARN".into())
            }),
            Err(error) => Err(judge(error, token)),
        }
    }
}

/// A client that connects directly: an emulator is on this machine or in its network, as for
/// certificates.
fn without_proxy() -> SharedHttpClient {
    ClientBuilder::new().build_with_connector_fn(|settings, _| {
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .proxy_config(ProxyConfig::disabled());
        match settings {
            Some(settings) => connector.connector_settings(settings.clone()).build(),
            None => connector.build(),
        }
    })
}

/// Decides whether a retry can succeed. Errors about the request itself are permanent;
/// permissions, quotas and outages can change.
fn judge(error: SdkError<ConfirmSubscriptionError>, token: &Token) -> ConfirmError {
    use ConfirmSubscriptionError as Sns;
    let permanent = matches!(
        error.as_service_error(),
        Some(Sns::InvalidParameterException(_) | Sns::NotFoundException(_))
    );
    let text = match error.as_service_error() {
        Some(said) => format!(
            "{}: {}",
            said.code().unwrap_or("unknown error"),
            said.message().unwrap_or("no message")
        ),
        None => with_causes(error),
    };
    // The text is stored and shown, and it may quote the request, in its encoding.
    let text = text.replace(token.expose(), "(token)");
    let encoded = utf8_percent_encode(token.expose(), NON_ALPHANUMERIC).to_string();
    let text = text.replace(&encoded, "(token)");
    let text = text.chars().take(500).collect();
    if permanent {
        ConfirmError::Permanent(text)
    } else {
        ConfirmError::Retry(text)
    }
}

#[cfg(test)]
mod tests {
    //! What is sent to SNS, and how its answers are interpreted.

    use super::*;
    use crate::aws::certificate::testing::TOPIC;
    use crate::aws::trust::{FetchLimits, HttpFetch};
    use crate::ports::{CertificateCache, Clock, StoreError};
    use aws_config::BehaviorVersion;
    use aws_sdk_sns::config::{Credentials, SharedCredentialsProvider};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    struct NoCertificateCache;

    #[async_trait]
    impl CertificateCache for NoCertificateCache {
        async fn certificate(&self, _: &str) -> Result<Option<String>, StoreError> {
            unreachable!("no certificate is asked for")
        }

        async fn keep_certificate(&self, _: &str, _: &str) -> Result<(), StoreError> {
            unreachable!("no certificate is kept")
        }
    }

    struct NoClock;

    #[async_trait]
    impl Clock for NoClock {
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        async fn sleep_until(&self, _at: Timestamp) {
            std::future::pending::<()>().await;
        }
    }

    /// Confirms against a server with one fixed answer. Returns the result and the request.
    async fn confirm(
        status: u16,
        answer: &str,
        authenticate: bool,
    ) -> (Result<String, ConfirmError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !is_whole(&request) {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let confirmed = trust(&origin)
            .confirm_subscription(&TOPIC.parse().unwrap(), &token(), authenticate)
            .await;
        (confirmed, asked.await.unwrap())
    }

    fn trust(endpoint: &str) -> AwsSnsTrust {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        let fetch = HttpFetch::new(None).unwrap();
        let clock = Arc::new(NoClock);
        let limits = FetchLimits {
            per_minute: 1500,
            burst: 50,
            most: 256,
        };
        let certificates =
            SigningCertificates::new(fetch, Arc::new(NoCertificateCache), clock, limits);
        AwsSnsTrust::new(certificates, &sdk, None)
    }

    /// Whether the request's body has reached its `content-length`.
    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            length.is_some_and(|length| body.len() >= length.parse().unwrap())
        })
    }

    fn token() -> Token {
        Token::new("ab".repeat(112)).unwrap()
    }

    fn refusal(code: &str, message: &str) -> String {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error></ErrorResponse>"
        )
    }

    #[tokio::test]
    async fn a_confirmation_is_made_of_topic_and_token_in_the_topics_region() {
        let answer = "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult>\
            <SubscriptionArn>arn:aws:sns:us-east-1:123456789012:site-changes:1</SubscriptionArn>\
            </ConfirmSubscriptionResult></ConfirmSubscriptionResponse>";
        let (confirmed, asked) = confirm(200, answer, true).await;
        let arn = "arn:aws:sns:us-east-1:123456789012:site-changes:1";
        assert_eq!(confirmed, Ok(arn.to_owned()));
        for part in [
            "Action=ConfirmSubscription",
            "TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Asite-changes",
            &format!("Token={}", token().expose()),
            "AuthenticateOnUnsubscribe=true",
            "/us-east-1/sns/aws4_request",
        ] {
            assert!(asked.contains(part), "{part}: {asked}");
        }
        let (_, asked) = confirm(200, answer, false).await;
        assert!(!asked.contains("AuthenticateOnUnsubscribe"));
    }

    #[tokio::test]
    async fn what_sns_says_of_the_request_is_final_and_the_rest_passes() {
        for (status, code) in [(400, "InvalidParameter"), (404, "NotFound")] {
            let message = format!("Invalid parameter: Token {}", token().expose());
            let (confirmed, _) = confirm(status, &refusal(code, &message), true).await;
            match confirmed {
                Err(ConfirmError::Permanent(text)) => {
                    assert_eq!(text, format!("{code}: Invalid parameter: Token (token)"));
                }
                other => panic!("{other:?}"),
            }
        }
        for (status, code) in [
            (403, "AuthorizationError"),
            (403, "SubscriptionLimitExceeded"),
            (400, "Throttling"),
            (403, "ExpiredToken"),
            (500, "InternalError"),
            (503, "ServiceUnavailable"),
        ] {
            let (confirmed, _) = confirm(status, &refusal(code, "later"), true).await;
            assert!(
                matches!(confirmed, Err(ConfirmError::Retry(_))),
                "{code}: {confirmed:?}"
            );
        }
    }

    #[test]
    fn a_confirmation_is_tried_once_and_never_hangs() {
        let client = trust("http://127.0.0.1:9").client("us-east-1");
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.connect_timeout(), Some(CONNECT));
        assert_eq!(timeouts.operation_timeout(), Some(OPERATION));
        let retries = client.config().retry_config().unwrap();
        assert_eq!(retries.max_attempts(), 1);
    }
}
