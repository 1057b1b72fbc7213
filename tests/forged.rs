//! Forged, replayed and misread messages, each named after its row of the table in
//! tests/weaknesses.rs: a clear answer, nothing kept, nobody asked.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::{
    Patience,
    aws::FakeAws,
    service::{Service, Setup},
    signer::{Message, Signer, TOPIC, s3_records},
    sns::Certificate,
    until,
    world::World,
};

/// A message that is right in everything but its certificate's address is refused for that, and
/// the address is not asked.
async fn refuses_addresses(addresses: &[&str]) {
    let world = World::start().await;
    let file = world.signer.file_name.clone();
    for address in addresses {
        let url = address.replace("FILE", &file);
        let body = world.upload().with("SigningCertURL", url).body();
        world.refuses(body, 403, "certificate-url").await;
    }
    world.asked_nobody();
}

#[tokio::test]
async fn b14_1_certificates_come_from_sns_hosts_alone() {
    refuses_addresses(&[
        "https://evil.s3.amazonaws.com/FILE",
        "https://evil.s3.us-east-1.amazonaws.com/FILE",
        "https://ec2-192-0-2-1.compute-1.amazonaws.com/FILE",
        "https://evil.execute-api.us-east-1.amazonaws.com/FILE",
        "https://sqs.us-east-1.amazonaws.com/FILE",
        "https://evil-sns.us-east-1.amazonaws.com/FILE",
        // SNS, but not where the topic is.
        "https://sns.eu-west-1.amazonaws.com/FILE",
    ])
    .await;
}

#[tokio::test]
async fn b14_2_s3_is_not_sns() {
    refuses_addresses(&[
        "https://s3.amazonaws.com/sns/FILE",
        "https://s3.us-east-1.amazonaws.com/sns.us-east-1.amazonaws.com/FILE",
        "https://sns.s3.amazonaws.com/FILE",
    ])
    .await;
}

#[tokio::test]
async fn b14_3_a_certificate_within_another_answer_is_refused() {
    let world = World::start().await;
    let pem = world.signer.certificate_pem.trim();
    let told = format!("<Message>Invalid parameter: {pem}</Message>");
    for body in [
        format!("<ErrorResponse><Error>{told}</Error></ErrorResponse>"),
        format!("{{\"message\": {}}}", json!(pem)),
        format!("x\n{pem}\n"),
        format!("{pem}\nx"),
    ] {
        let certificate = Certificate {
            body: body.into_bytes(),
            ..Certificate::default()
        };
        world.aws.sns.serve(&world.signer.file_name, certificate);
        let forged = world.upload().body();
        world.refuses(forged, 403, "certificate").await;
    }
}

#[tokio::test]
async fn b14_4_s3_hosts_that_look_like_sns_are_refused() {
    refuses_addresses(&[
        "https://sns.s3-us-west-2.amazonaws.com/FILE",
        "https://sns.s3-accelerate.amazonaws.com/FILE",
        "https://sns.s3-external-1.amazonaws.com/FILE",
        "https://sns.s3-website-us-east-1.amazonaws.com/FILE",
        // What a loose end of a pattern lets through on the right host.
        "https://sns.us-east-1.amazonaws.com/?Action=GetTopicAttributes&x=.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com/FILE#f",
        "https://sns.us-east-1.amazonaws.com/FILE\n",
    ])
    .await;
}

#[tokio::test]
async fn b14_5_other_schemes_and_hosts_are_refused() {
    refuses_addresses(&[
        "http://sns.us-east-1.amazonaws.com/FILE",
        "file:///etc/passwd",
        "https://evil.example/FILE",
        "https://sns.us-east-1.amazonaws.com.evil.example/FILE",
        "https://sns.us-east-1.amazonaws.com@evil.example/FILE",
        "https://169.254.169.254/FILE",
        "https://[::1]/FILE",
        "//sns.us-east-1.amazonaws.com/FILE",
    ])
    .await;
}

#[tokio::test]
async fn b14_6_the_subscribe_url_is_never_fetched() {
    let world = World::start().await;
    let token = "0123456789abcdef".repeat(14);
    let confirmation = |url: &str| {
        let confirmation = world.signer.subscription_confirmation(&token);
        confirmation.with("SubscribeURL", url)
    };
    // Forged: nothing is done at all.
    let mut forged = confirmation("https://sns.us-east-1.amazonaws.com/?x").signed();
    forged["SubscribeURL"] = json!("https://evil.example/");
    world.refuses(forged.to_string(), 403, "signature").await;
    // Signed: confirmed by SNS's API, wherever the address points.
    for url in [
        "https://evil.example/",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:9090/resume",
    ] {
        world.accepts(confirmation(url).body()).await;
    }
    let confirmed = until("the confirmation", || {
        Some(world.aws.sns.confirmations()).filter(|all| !all.is_empty())
    });
    assert_eq!(confirmed.await[0].host, "sns.us-east-1.amazonaws.com");
    let hosts = world.aws.hosts();
    let known = |host: &String| host.ends_with(".amazonaws.com:443");
    assert!(hosts.iter().all(known), "{hosts:?}");
}

#[tokio::test]
async fn b14_7_nothing_is_believed_unsigned() {
    let world = World::start().await;
    let good = world.upload().signed();
    let stranger = Signer::new();
    let url = good["SigningCertURL"].as_str().unwrap();
    let signed_by_another = stranger
        .notification(good["Message"].as_str().unwrap())
        .with("SigningCertURL", url)
        .signed();
    let mut unsigned = good.clone();
    unsigned.as_object_mut().unwrap().remove("Signature");
    world.refuses(unsigned.to_string(), 400, "bad-field").await;
    world.asked_nobody();
    let mut empty = good.clone();
    empty["Signature"] = json!("");
    world.refuses(empty.to_string(), 400, "bad-field").await;
    let mut zeros = good.clone();
    zeros["Signature"] = json!("A".repeat(342) + "==");
    let mut anothers = good.clone();
    anothers["Signature"] = world.upload().signed()["Signature"].clone();
    for forged in [zeros, anothers, signed_by_another] {
        world.refuses(forged.to_string(), 403, "signature").await;
    }
    assert!(world.aws.cloudfront.calls().is_empty());
}

#[tokio::test]
async fn b14_8_a_strangers_topic_is_refused_though_sns_signed() {
    let world = World::start().await;
    let token = "ab".repeat(112);
    for topic in [
        TOPIC.replace("123456789012", "999999999999"),
        TOPIC.replace("us-east-1", "us-west-2"),
        format!("{TOPIC}-2"),
        format!("{TOPIC}:6b0e71bd-7e97-4d97-80ce-4a0994e55286"),
        TOPIC.to_uppercase(),
    ] {
        for message in [
            world.upload(),
            world.signer.subscription_confirmation(&token),
            world.signer.unsubscribe_confirmation(&token),
        ] {
            let body = message.with("TopicArn", topic.as_str()).body();
            world.refuses(body, 403, "topic-not-allowed").await;
        }
    }
    world.asked_nobody();
    assert!(world.aws.sns.confirmations().is_empty());
}

#[tokio::test]
async fn b3_what_is_not_signed_decides_nothing() {
    let world = World::start().await;
    let mut fields = world.upload().signed();
    fields["UnsubscribeURL"] = json!("https://evil.example/unsubscribe");
    fields["MessageAttributes"] = json!({"Type": {"Type": "String", "Value": "x"}});
    fields["Token"] = json!("ab".repeat(112));
    fields["SubscribeURL"] = json!("https://evil.example/subscribe");
    let post = async |body: String| {
        let request = world
            .service
            .client
            .post(format!("{}/sns", world.service.url));
        let request = request
            .header("x-amz-sns-message-type", "SubscriptionConfirmation")
            .header("x-amz-sns-message-id", "evil")
            .header(
                "x-amz-sns-topic-arn",
                "arn:aws:sns:us-east-1:999999999999:evil",
            );
        let answer = request.body(body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    assert_eq!(post(fields.to_string()).await["outcome"], "accepted");
    // Another subscriber's copy of the same publication: other unsigned parts, one message.
    fields["UnsubscribeURL"] = json!("https://sns.us-east-1.amazonaws.com/?another");
    assert_eq!(post(fields.to_string()).await["outcome"], "duplicate");
    // Headers make no stranger's topic ours, either.
    fields["TopicArn"] = json!("arn:aws:sns:us-east-1:999999999999:evil");
    let refused = post(fields.to_string()).await;
    assert_eq!(refused["type"], "urn:purgefront:problem:topic-not-allowed");
    until("the invalidation", || {
        (world.aws.cloudfront.paths("E1") == ["/a"]).then_some(())
    })
    .await;
    assert_eq!(world.kept().await, (1, 1, 0));
    assert!(world.aws.sns.confirmations().is_empty());
    assert!(!world.aws.hosts().iter().any(|host| host.contains("evil")));
}

#[tokio::test]
async fn b4_the_timestamp_is_kept_as_text() {
    let world = World::start().await;
    // Printed anew, these would lose `.000`, `00` and `0`.
    for milliseconds in [0, 100, 120] {
        let message = world.upload();
        let published: Timestamp = message.fields["Timestamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let second = Timestamp::from_second(published.as_second() - 1).unwrap();
        let message = message.at(second + milliseconds.milliseconds());
        let text = message.fields["Timestamp"].as_str().unwrap();
        assert!(text.ends_with(&format!(".{milliseconds:03}Z")), "{text}");
        world.accepts(message.body()).await;
    }
}

#[tokio::test]
async fn b7_two_certificates_may_be_live_at_once() {
    let world = World::start().await;
    let next = Signer::new();
    world.aws.sns.serve(&next.file_name, next.certificate());
    let text = s3_records("site", &[("ObjectCreated:Put", "a")]);
    for _ in 0..3 {
        for signer in [&world.signer, &next] {
            world.accepts(signer.notification(&text).body()).await;
        }
    }
    for signer in [&world.signer, &next] {
        assert_eq!(world.aws.sns.fetches(&signer.file_name), 1);
    }
}

#[tokio::test]
async fn b9_junk_addresses_are_no_request_cannon() {
    let world = World::start_with(&[
        ("PURGEFRONT_SNS__CERT_FETCHES_PER_MINUTE", "1"),
        ("PURGEFRONT_SNS__CERT_FETCH_BURST", "3"),
    ])
    .await;
    let began = Patience::new();
    world.accepts(world.upload().body()).await;
    let names: Vec<_> = (0..10)
        .map(|at| format!("SimpleNotificationService-{at:032x}.pem"))
        .collect();
    for name in &names {
        let url = format!("https://sns.us-east-1.amazonaws.com/{name}");
        let junk = world.upload().with("SigningCertURL", url).body();
        world.refuses(junk, 503, "certificate-unavailable").await;
    }
    let fetched: u64 = names
        .iter()
        .map(|name| world.aws.sns.fetches(name) as u64)
        .sum();
    // Another one may be fetched each minute.
    let most = 2 + began.lasted().as_secs() / 60;
    assert!(fetched <= most, "{fetched} of ten were fetched");
    // And those who need no fetch are not kept out.
    world.accepts(world.upload().body()).await;
}

#[tokio::test]
async fn b11_late_messages_are_believed() {
    let world = World::start().await;
    let published = |message: &Message| -> Timestamp {
        message.fields["Timestamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    // SNS tries for an hour, and a throttled subscription may lag by more; clocks differ.
    for shift in [(-65).minutes(), (-23).hours(), 10.minutes()] {
        let message = world.upload();
        let at = published(&message) + shift;
        world.accepts(message.at(at).body()).await;
    }
    let message = world.upload();
    let at = published(&message) - 25.hours();
    world.refuses(message.at(at).body(), 403, "too-old").await;
}

/// History may be forgotten only when no message in it could be believed again.
#[tokio::test]
async fn b11_a_replay_is_known_for_as_long_as_its_age_lets_it_in() {
    let aws = FakeAws::start().await;
    let signer = Signer::new();
    aws.sns.serve(&signer.file_name, signer.certificate());
    let mut setup = Setup::new(&aws);
    setup.set_env("PURGEFRONT_SNS__MAX_AGE", "3s");
    setup.set_env("PURGEFRONT_SNS__MAX_SKEW", "1s");
    setup.set_env("PURGEFRONT_STORE__KEEP", "4s");
    let too_old = "urn:purgefront:problem:too-old";
    let answered = async |service: &Service, body: &str| -> Value {
        service.sns(body).await.json().await.unwrap()
    };
    let service = setup.start().await;
    let patience = Patience::new();
    let body = loop {
        let confirmation = signer.subscription_confirmation(&"ab".repeat(112));
        let body = confirmation.body();
        let answer = answered(&service, &body).await;
        if answer["outcome"] == "accepted" {
            break body;
        }
        // On a busy machine its three seconds may be over when it arrives.
        assert_eq!(answer["type"], too_old);
        patience.pause("one that is young enough").await;
    };
    service.kill();
    loop {
        // A start forgets what is old enough.
        let service = setup.start().await;
        let answer = answered(&service, &body).await;
        if answer["type"] == too_old {
            break;
        }
        assert_eq!(answer["outcome"], "duplicate");
        service.kill();
        patience.pause("it is too old").await;
    }

    setup.set_env("PURGEFRONT_STORE__KEEP", "3s");
    let (status, said) = setup.spawn().ended().await;
    assert_eq!(status.code(), Some(2));
    assert!(
        said.contains("store.keep") && said.contains("sns.max_age"),
        "{said}"
    );
}

#[tokio::test]
async fn b12_checks_come_cheapest_first_and_acts_last() {
    let world = World::start().await;
    let good = world.signer.subscription_confirmation(&"ab".repeat(112));
    let published: Timestamp = good.fields["Timestamp"].as_str().unwrap().parse().unwrap();
    // Everything is wrong with it; then, from the cheapest check on, one thing less each time.
    let old = good.at(published - 25.hours()).signed();
    let right = |field: &str| old[field].clone();
    let mut body = old.clone();
    body["Type"] = json!("Evil");
    body["TopicArn"] = json!("evil");
    body["MessageId"] = json!("evil");
    body["SignatureVersion"] = json!("3");
    body["SigningCertURL"] = json!("https://evil.example/x.pem");
    body["Signature"] = json!("AAAA");
    let huge = format!("{}{}", " ".repeat(512 * 1024), body);
    world.refuses(huge, 413, "too-large").await;
    let text = body.to_string();
    world.refuses(text.replace('}', ","), 400, "not-json").await;
    let twice = text.replacen('{', "{\"Type\":\"x\",", 1);
    world.refuses(twice, 400, "duplicate-key").await;
    for (field, status, slug) in [
        ("Type", 400, "unknown-type"),
        ("TopicArn", 403, "topic-not-allowed"),
        ("MessageId", 400, "bad-field"),
        ("SignatureVersion", 400, "signature-version"),
        ("SigningCertURL", 403, "certificate-url"),
    ] {
        world.refuses(body.to_string(), status, slug).await;
        body[field] = right(field);
    }
    world.asked_nobody();
    world.refuses(body.to_string(), 403, "signature").await;
    body["Signature"] = right("Signature");
    world.refuses(body.to_string(), 403, "too-old").await;
    assert!(world.aws.sns.confirmations().is_empty());
    assert_eq!(world.kept().await, (0, 0, 0));
}

#[tokio::test]
async fn b13_the_ambiguous_pair_is_told_apart() {
    let world = World::start().await;
    let id = "11111111-2222-3333-4444-555555555555";
    let text = s3_records("site", &[("ObjectRemoved:Delete", "forged")]);
    // Whoever may publish can have SNS sign this, which is no S3 event,
    let hidden = format!("{text}\nMessageId\n{id}\nSubject\nx");
    let genuine = world.signer.notification(&hidden);
    let real_id = genuine.fields["MessageId"].as_str().unwrap();
    // and read the same signed bytes as one.
    let subject = format!("x\nMessageId\n{real_id}");
    let forged = genuine.clone().with("Message", text).with("MessageId", id);
    let forged = forged.with("Subject", subject).signed();
    let genuine = genuine.signed();
    assert_eq!(forged["Signature"], genuine["Signature"]);
    world.refuses(forged.to_string(), 400, "bad-field").await;
    world.accepts(genuine.to_string()).await;
    assert_eq!(world.kept().await, (1, 0, 1), "kept as a dead letter");
}
