//! What `/sns` does not believe: a clear answer, a counter, and no call to anywhere.

use std::collections::VecDeque;

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::{
    Patience,
    aws::FakeAws,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    sns::Certificate,
};

/// Posts a body and checks the whole refusal: status, type, counter.
async fn refuses(service: &Service, body: String, status: u16, slug: &str) {
    let counter = format!("purgefront_sns_messages_total{{outcome=\"{slug}\"}}");
    let before = service.metric(&counter).await;
    let answer = service.sns(body).await;
    assert_eq!(answer.status(), status, "{slug}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], format!("urn:purgefront:problem:{slug}"));
    assert_eq!(problem["status"], status);
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    assert_eq!(
        service.metric(&counter).await,
        before + 1,
        "{slug} is counted"
    );
}

fn tampered(mut fields: Value, field: &str, value: impl Into<Value>) -> String {
    fields[field] = value.into();
    fields.to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the service judges the age by real time"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A service whose signer SNS serves, and what that signer would sign.
async fn started() -> (FakeAws, Signer, Service, String) {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let service = Setup::new(&aws).start().await;
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    (aws, signer, service, text)
}

/// Bodies that are refused for what stands in them.
fn misshapen(signer: &Signer, text: &str) -> Vec<(String, u16, &'static str)> {
    let message = signer.notification(text);
    let good = message.signed();
    let twice = format!("{{\"Type\":\"Notification\",{}", &good.to_string()[1..]);
    let foreign = "arn:aws:sns:us-east-1:999999999999:site-changes";
    let altered = |field: &str, value: Value| tampered(good.clone(), field, value);
    vec![
        (String::new(), 400, "not-json"),
        ("{\"Type\":".to_owned(), 400, "not-json"),
        ("[]".to_owned(), 400, "not-an-object"),
        (twice, 400, "duplicate-key"),
        (altered("Type", json!("Notifications")), 400, "unknown-type"),
        (text.to_owned(), 400, "raw-delivery"),
        (
            message.clone().with("TopicArn", foreign).body(),
            403,
            "topic-not-allowed",
        ),
        (altered("MessageId", json!("no uuid")), 400, "bad-field"),
        (altered("Message", json!(7)), 400, "bad-field"),
        (message.fields.to_string(), 400, "bad-field"),
        (
            altered("SignatureVersion", json!("3")),
            400,
            "signature-version",
        ),
    ]
}

#[tokio::test]
async fn what_is_not_from_sns_is_refused_and_reaches_nobody() {
    let (aws, signer, service, text) = started().await;
    for (body, status, slug) in misshapen(&signer, &text) {
        refuses(&service, body, status, slug).await;
    }
    let good = signer.notification(&text).signed();
    let url = good["SigningCertURL"].as_str().unwrap().to_owned();
    let host = "sns.us-east-1.amazonaws.com";
    for bad in [
        url.replace(host, &format!("{host}.evil.example")),
        url.replace("us-east-1", "us-west-2"),
        url.replace("https:", "http:"),
        url.replace(".com/", ".com:8443/"),
        url.replace(".com/", ".com/elsewhere/"),
        format!("{url}?x=.pem"),
        format!("{url}#.pem"),
        "https://127.0.0.1/SimpleNotificationService-00000000000000000000000000000000.pem".into(),
    ] {
        let body = tampered(good.clone(), "SigningCertURL", bad);
        refuses(&service, body, 403, "certificate-url").await;
    }
    let raw = service
        .client
        .post(format!("{}/sns", service.url))
        .body(good.to_string());
    let raw = raw
        .header("x-amz-sns-rawdelivery", "true")
        .send()
        .await
        .unwrap();
    assert_eq!(raw.status(), 400);
    assert!(raw.text().await.unwrap().contains("raw-delivery"));
    refuses(&service, "x".repeat(512 * 1024 + 1), 413, "too-large").await;
    assert!(
        !aws.hosts().contains(&format!("{host}:443")),
        "nothing was fetched for any of these"
    );
}

#[tokio::test]
async fn what_sns_did_not_sign_or_not_lately_is_refused() {
    let (aws, signer, service, text) = started().await;
    let message = || signer.notification(&text);
    let good = message().signed();
    let version_1 = message().with("SignatureVersion", "1").signed();
    assert_eq!(service.sns(version_1.to_string()).await.status(), 200);
    for (body, slug) in [
        (tampered(good.clone(), "Signature", "AAAA"), "signature"),
        (tampered(good, "Message", "another"), "signature"),
        (tampered(version_1, "SignatureVersion", "2"), "signature"),
        (message().at(now() - 25.hours()).body(), "too-old"),
    ] {
        refuses(&service, body, 403, slug).await;
    }
    let early = message().at(now() + 1.hour()).body();
    refuses(&service, early, 503, "from-the-future").await;
    let hosts = aws.hosts();
    let known = |host: &String| host.ends_with(".amazonaws.com:443");
    assert!(hosts.iter().all(known), "{hosts:?}");
}

#[tokio::test]
async fn certificates_that_are_not_snss_are_refused() {
    let aws = FakeAws::start().await;
    let service = Setup::new(&aws).start().await;
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let signer = Signer::new();
    let pem = signer.certificate_pem.clone();
    let foreign = Signer::named("sns.example.com", (2020, 2040));
    let expired = Signer::named("sns.amazonaws.com", (2020, 2021));
    let served = |body: &str| Certificate {
        body: body.as_bytes().to_vec(),
        ..Certificate::default()
    };
    let second = Signer::new();
    for (at, (signer, certificate)) in [
        (&foreign, foreign.certificate()),
        (&expired, expired.certificate()),
        (&signer, served("<html>not here</html>")),
        (&signer, served(&format!("{pem}{}", second.certificate_pem))),
        (&signer, served(&format!("// {pem}"))),
        (&signer, served(&format!("{pem}{}", "\n".repeat(20_000)))),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("SimpleNotificationService-{at:032x}.pem");
        aws.sns.serve(&name, certificate);
        let url = format!("https://sns.us-east-1.amazonaws.com/{name}");
        let body = signer
            .notification(&text)
            .with("SigningCertURL", url)
            .body();
        refuses(&service, body, 403, "certificate").await;
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_now_is_asked_for_again() {
    let aws = FakeAws::start().await;
    let service = Setup::new(&aws).start().await;
    let signer = Signer::new();
    let body = signer
        .notification(&s3_records("site", &[("ObjectCreated:Put", "a")]))
        .body();
    refuses(&service, body.clone(), 503, "certificate-unavailable").await;
    aws.sns.serve(
        &signer.file_name,
        Certificate {
            failures: VecDeque::from([500, 302]),
            location: Some("https://evil.example/x.pem".to_owned()),
            ..signer.certificate()
        },
    );
    refuses(&service, body.clone(), 503, "certificate-unavailable").await;
    // A failure is remembered for a moment, not for ever.
    let patience = Patience::new();
    while aws.sns.fetches(&signer.file_name) < 4 {
        assert!([200, 503].contains(&service.sns(body.clone()).await.status().as_u16()));
        patience.pause("the certificate is asked for again").await;
    }
    assert_eq!(service.sns(body).await.status(), 200);
    assert!(aws.hosts().iter().all(|host| !host.contains("evil")));
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let service = Setup::new(&aws).start().await;
    let token = "0123456789abcdef".repeat(14);
    let confirmation = signer.subscription_confirmation(&token);
    service.sns(confirmation.body()).await;
    service
        .sns(tampered(confirmation.signed(), "Message", "x"))
        .await;
    service
        .sns(tampered(confirmation.signed(), "Token", json!("zz")))
        .await;
    service.sns(signer.notification("hello").body()).await;
    service.invalidate("E1", &["/a"]).await;
    eventually!(service.log_text().contains("dead letter"));
    let log = service.log_text();
    for secret in [
        token.as_str(),
        "Unsubscribe&secret",
        crate::support::service::TOKEN,
        "secretexample",
    ] {
        assert!(!log.contains(secret), "{secret} stands in the log");
    }
}
