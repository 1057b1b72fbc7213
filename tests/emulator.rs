//! An emulator of SNS: believed where it is configured, and nowhere else.

use axum::{Router, body::Body, http::Response, routing::any};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::Setup,
    signer::{Signer, s3_records},
    until,
};

/// Serves a certificate at any path, and takes confirmations. Its name is nothing of SNS's.
async fn emulator(signer: &Signer) -> String {
    let pem = signer.certificate_pem.clone();
    let answer = move |request: axum::extract::Request| {
        let pem = pem.clone();
        async move {
            if request.method() == "GET" {
                return Response::new(Body::from(pem));
            }
            Response::new(Body::from(
                "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult>\
                 <SubscriptionArn>arn:aws:sns:us-east-1:123456789012:site-changes:1</SubscriptionArn>\
                 </ConfirmSubscriptionResult></ConfirmSubscriptionResponse>",
            ))
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    origin
}

#[tokio::test]
async fn an_emulators_certificate_is_believed_only_from_its_own_origin() {
    let aws = FakeAws::start().await;
    let signer = Signer::named("emulator", (2020, 2040));
    let origin = emulator(&signer).await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let message = |url: &str| signer.notification(&text).with("SigningCertURL", url);
    let url = format!("{origin}/_aws/sns/certificate.pem");

    // Not configured: refused like any stranger.
    let service = Setup::new(&aws).start().await;
    assert_eq!(service.sns(message(&url).body()).await.status(), 403);

    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_SNS__EMULATOR", &origin);
    let service = setup.start().await;
    eventually!(service.log_text().contains("never in production"));
    eventually!(service.ready().await.1["checks"]["emulator"]["state"] == "warn");
    let odd_time = message(&url).with("Timestamp", json!(now_with_micros()));
    assert_eq!(service.sns(odd_time.body()).await.status(), 200);
    until("the path", || aws.cloudfront.paths("E1").pop()).await;
    // Topic, signature, age are asked for all the same, and other origins are strangers.
    for (message, status) in [
        (
            message(&url)
                .with("TopicArn", "arn:aws:sns:us-east-1:123456789012:x")
                .body(),
            403,
        ),
        (
            message(&url)
                .body()
                .replacen("ObjectCreated", "ObjectRemoved", 1),
            403,
        ),
        (
            message(&url)
                .with("Timestamp", "2020-01-01T00:00:00.000Z")
                .body(),
            403,
        ),
        (message("http://127.0.0.1:9/x.pem").body(), 403),
        (
            message(&format!("{origin}/?Action=DeleteTopic&x=.pem")).body(),
            403,
        ),
        (message(&format!("{origin}.evil.example/x.pem")).body(), 403),
        (message(&format!("{origin}@evil.example/x.pem")).body(), 403),
    ] {
        assert_eq!(
            service.sns(message.clone()).await.status(),
            status,
            "{message}"
        );
    }
    let token = "0123456789abcdef".repeat(14);
    let confirmation = signer
        .subscription_confirmation(&token)
        .with("SigningCertURL", &*url);
    assert_eq!(service.sns(confirmation.body()).await.status(), 200);
    let confirmed = "purgefront_subscription_confirmations_total{outcome=\"confirmed\"}";
    eventually!(service.metric(confirmed).await != 0);
    assert!(aws.sns.confirmations().is_empty(), "AWS was not asked");
}

/// What HTTP_PROXY leads to knows nothing of an emulator on this machine.
#[tokio::test]
async fn point_22_an_emulator_is_asked_without_a_proxy() {
    let aws = FakeAws::start().await;
    let signer = Signer::named("emulator", (2020, 2040));
    let origin = emulator(&signer).await;
    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_SNS__EMULATOR", &origin);
    setup.set_env("HTTP_PROXY", "http://127.0.0.1:9");
    setup.set_env("http_proxy", "http://127.0.0.1:9");
    let service = setup.start().await;
    let url = format!("{origin}/_aws/sns/certificate.pem");
    let confirmation = signer
        .subscription_confirmation(&"ab".repeat(112))
        .with("SigningCertURL", &*url);
    assert_eq!(service.sns(confirmation.body()).await.status(), 200);
    let outcome = |outcome: &str| {
        format!("purgefront_subscription_confirmations_total{{outcome=\"{outcome}\"}}")
    };
    let (confirmed, retry) = (outcome("confirmed"), outcome("retry"));
    eventually!(service.metric(&confirmed).await + service.metric(&retry).await != 0);
    assert_eq!(service.metric(&confirmed).await, 1);
}

fn now_with_micros() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the service judges the age by real time"
    )]
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
