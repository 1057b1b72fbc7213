//! HTTP Basic credentials on /sns, as SNS shows them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Signer, s3_records},
    until,
};

const CREDENTIALS: &str = "sns:a-long-enough-password";

async fn post(service: &Service, body: &str, authorization: Option<&str>) -> (u16, String) {
    let mut request = service.client.post(format!("{}/sns", service.url));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.body(body.to_owned()).send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate");
    let challenge = challenge.map_or("", |value| value.to_str().unwrap());
    (answer.status().as_u16(), challenge.to_owned())
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[tokio::test]
async fn basic_credentials_are_compared_in_constant_time_and_challenged_first() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let mut setup = Setup::new(&aws);
    let file = setup.store().with_file_name("basic");
    std::fs::write(&file, format!("{CREDENTIALS}\n")).unwrap();
    setup.set_env("PURGEFRONT_SNS__BASIC_AUTH_FILE", file.to_str().unwrap());
    let service = setup.start().await;
    let records = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let body = signer.notification(&records).body();
    // Without credentials, and with junk for a body: nothing is read before they are shown.
    for body in [&body, "junk"] {
        let (status, challenge) = post(&service, body, None).await;
        assert_eq!(status, 401);
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
    }
    for wrong in [
        basic("sns:a-long-enough-passworc"),
        basic("sns:a-long-enough-password "),
        basic("sns"),
        basic(""),
        "Basic !".to_owned(),
        format!("Bearer {}", STANDARD.encode(CREDENTIALS)),
    ] {
        assert_eq!(
            post(&service, &body, Some(&wrong)).await.0,
            401,
            "{wrong:?}"
        );
    }
    assert_eq!(
        aws.sns.fetches(&signer.file_name),
        0,
        "strangers do not even cost a certificate"
    );
    assert_eq!(
        post(&service, &body, Some(&basic(CREDENTIALS))).await.0,
        200
    );
    until("the path", || aws.cloudfront.paths("E1").pop()).await;
    let wrong = "purgefront_unauthorized_total{outcome=\"wrong-credentials\"}";
    assert_eq!(service.metric(wrong).await, 6);
    assert!(
        !service.log_text().contains("a-long-enough"),
        "never logged"
    );
    // The signature is asked for all the same.
    let forged = body.replacen("ObjectCreated", "ObjectRemoved", 1);
    assert_eq!(
        post(&service, &forged, Some(&basic(CREDENTIALS))).await.0,
        403
    );
}

#[test]
fn credentials_that_are_none_are_refused_at_the_start() {
    for (name, value, part) in [
        (
            "PURGEFRONT_SNS__BASIC_AUTH",
            "short:x",
            "at least 16 characters",
        ),
        (
            "PURGEFRONT_SNS__BASIC_AUTH",
            "nocolon-but-long-enough",
            "a user",
        ),
        (
            "PURGEFRONT_SNS__BASIC_AUTH_FILE",
            "/nowhere",
            "cannot be read",
        ),
    ] {
        let mut setup = Setup::alone();
        setup.set_env(name, value);
        let (code, _, complaint) = setup.run(&["check"]);
        assert_eq!(code, Some(2));
        assert!(complaint.contains(part), "{complaint}");
        assert!(
            !complaint.contains(value) || value.starts_with('/'),
            "not told on: {complaint}"
        );
    }
}
