//! One full life of a service, with everything logged that can be logged: nothing that opens a
//! door stands in it, nor in what the command line says.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    aws::FakeAws,
    cloudfront::Distribution,
    service::{Service, Setup},
    signer::{Message, Signer, TOPIC, s3_records},
    sns::Certificate,
    until,
};

const API_TOKEN: &str = "api-token-3f1c9a5be0";
const GUESSED_TOKEN: &str = "guess-of-a-token-77d1";
const PASSWORD: &str = "password-of-sns-91ab4";
const GUESSED_PASSWORD: &str = "guess-of-a-password-5";
const ACCESS_KEY: &str = "AKIA6D2SECRETKEYID01";
const SECRET_KEY: &str = "aws-secret-key/8dk3+x";
const SESSION_TOKEN: &str = "aws-session-token-c0ffee";
const UNSUBSCRIBE: &str = "unsubscribe-with-this-4be";

/// What nobody may read. The SNS Token is told by any sixteen of its digits, and what is sent in
/// another form by that.
fn secrets(sns_token: &str) -> Vec<String> {
    let plain = [
        API_TOKEN,
        GUESSED_TOKEN,
        PASSWORD,
        GUESSED_PASSWORD,
        SECRET_KEY,
        SESSION_TOKEN,
        UNSUBSCRIBE,
        &sns_token[..16],
        &sns_token[64..80],
        &sns_token[sns_token.len() - 16..],
    ];
    let encoded = [PASSWORD, GUESSED_PASSWORD].map(|password| basic(password).split_off(6));
    plain
        .into_iter()
        .map(str::to_owned)
        .chain(encoded)
        .collect()
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("sns:{password}")))
}

/// The Token of a subscription, as long as SNS's.
fn sns_token() -> String {
    (0..64)
        .map(|at| format!("{:02x}", (at * 37 + 11) % 251))
        .collect()
}

async fn post(service: &Service, body: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = service.client.post(format!("{}/sns", service.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(body.to_owned())
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

async fn call(service: &Service, token: &str, url: &str, body: Option<Value>) -> (u16, String) {
    let request = match body {
        Some(body) => service.client.post(url).body(body.to_string()),
        None => service.client.get(url),
    };
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// A configured service whose every secret is one of ours.
fn setup(aws: &FakeAws) -> Setup {
    let mut setup = Setup::new(aws);
    let file = |name: &str, content: &str| {
        let path = setup.store().with_file_name(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let basic_file = file("basic", &format!("sns:{PASSWORD}\n"));
    file("token", API_TOKEN);
    setup.forget_token();
    for (name, value) in [
        ("PURGEFRONT_SNS__BASIC_AUTH_FILE", basic_file.as_str()),
        ("PURGEFRONT_API_TOKEN", API_TOKEN),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ("RUST_LOG", "trace"),
    ] {
        setup.set_env(name, value);
    }
    setup
}

/// What a sender of messages can make the service say about them.
async fn send_all(service: &Service, signer: &Signer, token: &str) {
    let right = basic(PASSWORD);
    let authorized = [("authorization", right.as_str())];
    let link = format!("https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&{UNSUBSCRIBE}");
    let records = s3_records("site", &[("ObjectCreated:Put", "a")]);
    let upload = signer.notification(&records).with("UnsubscribeURL", &*link);
    let confirmation = signer.subscription_confirmation(token);
    let ended = signer.unsubscribe_confirmation(token);
    let foreign = signer
        .notification("no event of S3's")
        .with("UnsubscribeURL", &*link);
    for message in [&upload, &upload, &confirmation, &foreign, &ended] {
        assert_eq!(post(service, &message.body(), &authorized).await, 200);
    }
    let wrong = basic(GUESSED_PASSWORD);
    let bearer = format!("Bearer {PASSWORD}");
    assert_eq!(post(service, &upload.body(), &[]).await, 401);
    for header in [&wrong, &bearer] {
        let headers = [("authorization", header.as_str())];
        assert_eq!(post(service, &upload.body(), &headers).await, 401);
    }
    let altered = |message: &Message, field: &str, value: Value| {
        let mut fields = message.signed();
        fields[field] = value;
        fields.to_string()
    };
    let body = confirmation.body();
    let doubled = format!("{{\"Token\": \"{token}\", {}", &body[1..]);
    for (body, status) in [
        (altered(&confirmation, "Message", json!("x")), 403),
        (altered(&upload, "Message", json!("x")), 403),
        (
            altered(&confirmation, "Token", json!(format!("{token} "))),
            400,
        ),
        (altered(&confirmation, "Token", json!([token])), 400),
        (
            altered(&confirmation, "SubscribeURL", json!(format!("{token}\n"))),
            400,
        ),
        (
            altered(&confirmation, "SubscribeURL", json!({ token: 1 })),
            400,
        ),
        (altered(&confirmation, "Type", json!(token)), 400),
        (altered(&confirmation, "TopicArn", json!(token)), 403),
        (altered(&confirmation, "SigningCertURL", json!(link)), 403),
        (altered(&confirmation, "Signature", json!(token)), 403),
        (altered(&upload, "MessageId", json!(link)), 400),
        (altered(&upload, "Subject", json!(format!("{link}\n"))), 400),
        (body[..body.len() - 9].to_owned(), 400),
        (doubled, 400),
        (format!("{{\"{token}\": 1, \"{token}\": 2}}"), 400),
        (token.to_owned(), 400),
        (format!("{body}{}", " ".repeat(600_000)), 413),
    ] {
        assert_eq!(
            post(service, &body, &authorized).await,
            status,
            "{body:.300}"
        );
    }
    let raw = [authorized[0], ("x-amz-sns-rawdelivery", "true")];
    assert_eq!(post(service, &body, &raw).await, 400);
    for name in [
        "x-amz-sns-message-id",
        "cookie",
        "x-forwarded-for",
        "user-agent",
    ] {
        post(service, &upload.body(), &[authorized[0], (name, token)]).await;
    }
}

/// What the API and the operators' listener say, asked rightly and wrongly. What a caller may
/// see of its own request is left out.
async fn ask_all(service: &Service, token: &str) -> String {
    let mut said = String::new();
    let (url, admin) = (&service.url, &service.admin_url);
    let request = json!({"distribution_id": "E1", "paths": ["/b"], "reason": "a test"});
    let invalidate = format!("{url}/invalidate");
    let (status, answer) = call(service, API_TOKEN, &invalidate, Some(request.clone())).await;
    assert_eq!(status, 202, "{answer}");
    let (status, answer) = call(service, GUESSED_TOKEN, &invalidate, Some(request)).await;
    assert_eq!(status, 401);
    said += &answer;
    let bad = json!({"distribution_id": token, "paths": [token], "token": API_TOKEN});
    let (_, answer) = call(service, API_TOKEN, &invalidate, Some(bad)).await;
    said += &answer.replace(token, "");
    for url in [
        format!("{admin}/metrics"),
        format!("{admin}/readyz"),
        format!("{admin}/deadletters"),
        format!("{url}/invalidations"),
        format!("{url}/requests/x"),
        format!("{url}/readyz"),
    ] {
        said += &call(service, API_TOKEN, &url, None).await.1;
    }
    said
}

/// What the command line says.
fn type_all(setup: &Setup, admin: &str) -> String {
    let mut said = String::new();
    let file = setup.store().with_file_name("token");
    let file = file.to_str().unwrap();
    let operations = [
        &["deadletters", "list"][..],
        &["deadletters", "list", "--json"],
        &["deadletters", "replay", "1"],
        &["deadletters", "list", "--token-file", file],
        &["pause"],
        &["resume"],
    ];
    let to = ["--admin-url", admin];
    let operations = operations.map(|words| [words, &to].concat());
    let others = [&["check"][..], &["serve", "--help"], &["pause", "--help"]];
    for words in operations.into_iter().chain(others.map(<[_]>::to_vec)) {
        let (_, out, err) = setup.run(&words);
        assert!(
            !out.contains("panicked") && !err.contains("panicked"),
            "{err}"
        );
        said += &(out + &err);
    }
    said
}

/// That what was looked at is a whole run's, at its loudest.
fn assert_whole(said: &str) {
    for expected in [
        "TRACE",
        "subscription confirmed",
        "message refused",
        "dead letter",
        "invalidation created",
        "CreateInvalidation",
    ] {
        assert!(said.contains(expected), "nothing was said of: {expected}");
    }
}

fn assert_nothing_secret(said: &str, sns_token: &str) {
    let found: Vec<_> = said
        .lines()
        .flat_map(|line| {
            // The SDK's debugging tells the id of a key, which opens nothing by itself.
            let by_sdk = line.contains("\"target\":\"aws_");
            let id = (!by_sdk).then(|| ACCESS_KEY.to_owned());
            let held = secrets(sns_token).into_iter().chain(id);
            held.filter(|secret| line.contains(secret))
                .map(move |secret| format!("{secret}: {line:.600}"))
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} times:\n{}",
        found.len(),
        found[..found.len().min(8)].join("\n")
    );
}

#[tokio::test]
async fn nothing_secret_is_logged_in_a_full_run() {
    let aws = FakeAws::start().await;
    aws.cloudfront.put(Distribution::of("E1", "site"));
    let signer = Signer::new();
    let failing = Certificate {
        failures: [500].into(),
        ..signer.certificate()
    };
    aws.sns.serve(&signer.file_name, failing);
    aws.sns.set_down(true);
    let setup = setup(&aws);
    let token = sns_token();

    let service = setup.start().await;
    let right = basic(PASSWORD);
    let authorized = [("authorization", right.as_str())];
    let first = signer.subscription_confirmation(&token).body();
    assert_eq!(post(&service, &first, &authorized).await, 503);
    until_taken(&service, &first, &authorized).await;
    send_all(&service, &signer, &token).await;
    let retried = "purgefront_subscription_confirmations_total{outcome=\"retry\"}";
    eventually!(service.metric(retried).await > 0);

    aws.cloudfront.set_down(true);
    let mut said = ask_all(&service, &token).await;
    said += &type_all(&setup, &service.admin_url);
    aws.cloudfront.set_down(false);
    aws.sns.set_down(false);
    until("the confirmation", || aws.sns.confirmations().pop()).await;
    until("the invalidations", || {
        (aws.cloudfront.paths("E1").len() >= 2).then_some(())
    })
    .await;
    // Said when CloudFront and SNS have answered, which is after they have done it.
    for last in ["subscription confirmed", "invalidation created"] {
        eventually!(service.log_text().contains(last));
    }
    said += &service.log_text();
    service.kill();
    let service = setup.start().await;
    until_taken(&service, &first, &authorized).await;
    let logs = std::sync::Arc::clone(&service.logs);
    assert!(service.terminate().await.success());
    said += &logs.lock().unwrap().join("\n");

    assert_whole(&said);
    assert_nothing_secret(&said, &token);
}

async fn until_taken(service: &Service, body: &str, headers: &[(&str, &str)]) {
    eventually!(post(service, body, headers).await == 200);
}

/// A configuration that is wrong is told without what is secret in it.
#[test]
fn faults_of_a_configuration_do_not_show_what_is_secret_in_it() {
    for (name, value) in [
        ("PURGEFRONT_API_TOKEN", "short-7x"),
        ("PURGEFRONT_API_TOKEN", "with-a-line\nend-7x"),
        ("PURGEFRONT_SNS__BASIC_AUTH", "no-colon-in-this-7x"),
        ("PURGEFRONT_SNS__BASIC_AUTH", "sns:short-7x"),
        (
            "PURGEFRONT_SNS__BASIC_AUTH_FILE",
            "sns:the-password-itself-7x",
        ),
        ("PURGEFRONT_SNS__BASIC_AUTH", "[\"sns:short-7x\"]"),
        ("PURGEFRONT_API__TOKEN", "unknown-key-7x"),
        (
            "PURGEFRONT_API__TOKENS",
            "[{\"name\": \"x\", \"sha256\": \"token-itself-7x\"}]",
        ),
        (
            "PURGEFRONT_STORE__URL",
            "postgres://user:password-7x@host:port/db",
        ),
        ("PURGEFRONT_STORE__URL", "mysql://user:password-7x@host/db"),
    ] {
        let mut setup = Setup::alone();
        setup.forget_token();
        setup.set_env("PURGEFRONT_SNS__TOPICS", format!("[\"{TOPIC}\"]"));
        assert_eq!(setup.run(&["check"]).0, Some(0));
        setup.set_env(name, value);
        let (code, out, err) = setup.run(&["check"]);
        assert_eq!(code, Some(2), "{name}={value}: {out}");
        assert!(
            !format!("{out}{err}").contains("7x"),
            "{name}={value}: {err}"
        );
    }
    // Nor what is right.
    let mut setup = Setup::alone();
    setup.set_env("PURGEFRONT_SNS__TOPICS", format!("[\"{TOPIC}\"]"));
    setup.set_env(
        "PURGEFRONT_STORE__URL",
        "postgres://user:password-7x@host/db",
    );
    let (code, out, err) = setup.run(&["check"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!format!("{out}{err}").contains("7x"), "{out}{err}");
    // In a file, too.
    let setup = Setup::alone();
    let file = setup.store().with_file_name("wrong.toml");
    let topics = format!("[sns]\ntopics = [\"{TOPIC}\"]\n");
    for text in [
        "[[api.tokens]]\nname = \"x\"\nsha256 = \"token-itself-7x\"",
        "[[api.tokens]]\nname = \"x\"\ntoken = \"token-itself-7x\"",
        "basic_auth = \"sns:short-7x\"",
        "basic_auth = \"sns:password-never-closed-7x",
        "[store]\nurl = \"postgres://user:password-7x@host:port/db\"",
    ] {
        fs::write(&file, format!("{topics}{text}")).unwrap();
        let (code, out, err) = setup.run(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{text}: {out}");
        assert!(!format!("{out}{err}").contains("7x"), "{text}: {err}");
    }
}
