//! Which bodies are accepted, and which are refused.

use super::*;
use serde_json::{Value as Json, json};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:site-changes";
const URL: &str = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem";
const ID: &str = "26858270-545e-5848-82a2-e05566af3dcf";

fn topics() -> HashSet<TopicArn> {
    HashSet::from([TOPIC.parse().unwrap()])
}

fn notification() -> Json {
    json!({
        "Type": "Notification",
        "MessageId": ID,
        "TopicArn": TOPIC,
        "Subject": "Amazon S3 Notification",
        "Message": "{\"Records\":[]}",
        "Timestamp": "2026-03-06T19:53:21.000Z",
        "SignatureVersion": "1",
        "Signature": "c2VjcmV0LXNpZ25hdHVyZQ==",
        "SigningCertURL": URL,
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&secret-unsubscribe",
    })
}

fn confirmation() -> Json {
    let mut body = with("Type", json!("SubscriptionConfirmation"));
    body["Token"] = json!("0123456789abcdef".repeat(16));
    body["SubscribeURL"] = json!("https://sns.us-east-1.amazonaws.com/?secret-subscribe");
    body
}

fn with(field: &str, value: Json) -> Json {
    let mut body = notification();
    body[field] = value;
    body
}

fn without(mut body: Json, field: &str) -> Json {
    body.as_object_mut().unwrap().remove(field);
    body
}

fn parse(body: &Json) -> Result<SnsMessage, Refusal> {
    SnsMessage::parse(body.to_string().as_bytes(), false, &topics(), None)
}

fn refusal(body: &str) -> Refusal {
    SnsMessage::parse(body.as_bytes(), false, &topics(), None).unwrap_err()
}

fn slug(body: &Json) -> &'static str {
    parse(body).map_or_else(|refusal| refusal.slug(), |_| "believed")
}

fn faulty_field(body: &Json) -> &'static str {
    match parse(body) {
        Err(Refusal::BadField { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_notification_is_read() {
    let message = parse(&notification()).unwrap();
    assert_eq!(message.kind(), &MessageKind::Notification);
    assert_eq!(message.message_id().to_string(), ID);
    assert_eq!(message.topic().as_str(), TOPIC);
    assert_eq!(message.text(), "{\"Records\":[]}");
    assert_eq!(message.timestamp().as_second(), 1_772_826_801);
    assert_eq!(message.signature(), b"secret-signature");
    assert_eq!(message.certificate_url().as_str(), URL);
}

#[test]
fn a_notification_signs_its_fields_sorted_and_as_they_came() {
    let expected = "Message\n{\"Records\":[]}\nMessageId\n26858270-545e-5848-82a2-e05566af3dcf\n\
        Subject\nAmazon S3 Notification\nTimestamp\n2026-03-06T19:53:21.000Z\n\
        TopicArn\narn:aws:sns:us-east-1:123456789012:site-changes\nType\nNotification\n";
    assert_eq!(parse(&notification()).unwrap().string_to_sign(), expected);
}

#[test]
fn a_subject_that_is_null_or_absent_is_not_signed() {
    let expected = "Message\n{\"Records\":[]}\nMessageId\n26858270-545e-5848-82a2-e05566af3dcf\n\
        Timestamp\n2026-03-06T19:53:21.000Z\n\
        TopicArn\narn:aws:sns:us-east-1:123456789012:site-changes\nType\nNotification\n";
    for body in [
        with("Subject", Json::Null),
        without(notification(), "Subject"),
    ] {
        assert_eq!(parse(&body).unwrap().string_to_sign(), expected);
    }
}

#[test]
fn a_confirmation_signs_its_token_and_url_and_no_subject() {
    let message = parse(&confirmation()).unwrap();
    let token = "0123456789abcdef".repeat(16);
    let expected = format!(
        "Message\n{{\"Records\":[]}}\nMessageId\n{ID}\n\
         SubscribeURL\nhttps://sns.us-east-1.amazonaws.com/?secret-subscribe\n\
         Timestamp\n2026-03-06T19:53:21.000Z\nToken\n{token}\nTopicArn\n{TOPIC}\n\
         Type\nSubscriptionConfirmation\n"
    );
    assert_eq!(message.string_to_sign(), expected);
}

#[test]
fn what_is_not_signed_may_be_anything() {
    let mut body = with(
        "MessageAttributes",
        json!({"a": {"Type": "String", "Value": "x"}}),
    );
    body["UnsubscribeURL"] = json!(17);
    body["Unknown"] = json!([{"deep": [1.5e3, true, null]}]);
    assert_eq!(slug(&body), "believed");
}

#[test]
fn bodies_that_are_no_single_object() {
    for body in [
        "",
        "{",
        "x",
        "{}{}",
        "{\"Type\":\"Notification\",}",
        "\u{feff}{}",
    ] {
        assert_eq!(refusal(body), Refusal::NotJson, "{body}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(refusal(&deep), Refusal::NotJson);
    assert_eq!(
        SnsMessage::parse(b"{\"Type\":\"\xff\"}", false, &topics(), None).unwrap_err(),
        Refusal::NotJson
    );
    for body in ["[]", "\"Notification\"", "1", "null", "true"] {
        assert_eq!(refusal(body), Refusal::NotAnObject, "{body}");
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_at_every_depth() {
    let body = notification().to_string();
    let twice = |extra: &str| body.replacen('{', &format!("{{{extra},"), 1);
    let duplicate = |name: &str| Refusal::DuplicateKey(name.into());
    assert_eq!(
        refusal(&twice("\"Type\":\"Notification\"")),
        duplicate("Type")
    );
    // The same key, spelled with an escape.
    assert_eq!(refusal(&twice("\"\\u0054ype\":\"x\"")), duplicate("Type"));
    let nested = twice("\"MessageAttributes\":{\"a\":[{\"b\":1,\"b\":2}]}");
    assert_eq!(refusal(&nested), duplicate("b"));
    let hostile = refusal(&twice("\"<b>\":1,\"<b>\":2"));
    assert!(!hostile.to_string().contains('<'));
}

#[test]
fn raw_delivery_is_named_and_says_the_way_out() {
    let raw = SnsMessage::parse(b"anything", true, &topics(), None).unwrap_err();
    assert_eq!(raw, Refusal::RawDelivery);
    assert!(raw.to_string().contains("RawMessageDelivery"));
    for body in [
        json!({"Records": []}),
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
        json!({"detail-type": "Object Created", "source": "aws.s3"}),
    ] {
        assert_eq!(slug(&body), "raw-delivery");
    }
}

#[test]
fn types_that_sns_does_not_send() {
    for value in [
        json!("notification"),
        json!(""),
        json!(1),
        Json::Null,
        json!("Notification "),
    ] {
        assert_eq!(slug(&with("Type", value)), "unknown-type");
    }
    assert_eq!(slug(&json!({})), "unknown-type");
}

#[test]
fn topics_are_compared_exactly() {
    for topic in [
        "arn:aws:sns:us-east-1:123456789012:site-changes2",
        "arn:aws:sns:us-east-1:123456789012:Site-changes",
        "arn:aws:sns:us-east-1:999999999999:site-changes",
        "arn:aws:sns:us-east-1:123456789012:site-changes ",
        "arn:aws:sns:us-east-1:123456789012:site-changes\n",
        "",
    ] {
        assert_eq!(slug(&with("TopicArn", json!(topic))), "topic-not-allowed");
    }
    let nobody = SnsMessage::parse(
        notification().to_string().as_bytes(),
        false,
        &HashSet::new(),
        None,
    );
    assert_eq!(nobody.unwrap_err(), Refusal::TopicNotAllowed);
}

#[test]
fn the_topic_is_judged_before_the_shapes() {
    let mut body = with("TopicArn", json!("arn:aws:sns:us-east-1:1:x"));
    body["MessageId"] = json!(1);
    body["SignatureVersion"] = json!("9");
    assert_eq!(slug(&body), "topic-not-allowed");
}

#[test]
fn signed_and_used_fields_must_be_there_and_be_strings() {
    let needed = [
        "TopicArn",
        "MessageId",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertURL",
    ];
    for field in needed {
        assert_eq!(faulty_field(&without(notification(), field)), field);
        for value in [Json::Null, json!(1), json!(["x"]), json!({})] {
            assert_eq!(faulty_field(&with(field, value)), field);
        }
    }
    for field in ["Token", "SubscribeURL"] {
        assert_eq!(faulty_field(&without(confirmation(), field)), field);
    }
    for value in [
        json!(1),
        json!("line\nend"),
        json!("\u{7f}"),
        json!("\u{85}"),
    ] {
        assert_eq!(faulty_field(&with("Subject", value)), "Subject");
    }
    for value in [json!([]), json!("x"), Json::Null] {
        assert_eq!(
            faulty_field(&with("MessageAttributes", value)),
            "MessageAttributes"
        );
    }
}

#[test]
fn shapes_are_exact() {
    for id in [
        "",
        "26858270545e584882a2e05566af3dcf",
        "{26858270-545e-5848-82a2-e05566af3dcf}",
        "urn:uuid:26858270-545e-5848-82a2-e05566af3dcf",
        "26858270-545E-5848-82A2-E05566AF3DCF",
        "26858270-545e-5848-82a2-e05566af3dcf\n",
        "26858270-545e-5848-82a2-e05566af3dcg",
    ] {
        assert_eq!(
            faulty_field(&with("MessageId", json!(id))),
            "MessageId",
            "{id}"
        );
    }
    for time in [
        "",
        "2026-03-06T19:53:21Z",
        "2026-03-06T19:53:21.42Z",
        "2026-03-06T19:53:21.4242Z",
        "2026-03-06 19:53:21.424Z",
        "2026-03-06T19:53:21.424z",
        "2026-03-06T19:53:21.424+00:00",
        "2026-13-06T19:53:21.424Z",
        "2026-02-30T19:53:21.424Z",
        "2026-03-06T25:53:21.424Z",
        "2026-03-06T19:53:21,424Z",
        "2026-03-06T19:53:21.424Z\n",
        "+026-03-06T19:53:21.424Z",
    ] {
        assert_eq!(
            faulty_field(&with("Timestamp", json!(time))),
            "Timestamp",
            "{time}"
        );
    }
    let too_long = "AAAA".repeat(342);
    for signature in ["", "*", "YWJj\n", "YWJ", "YWJj=", "-_-_", &too_long] {
        let body = with("Signature", json!(signature));
        assert_eq!(faulty_field(&body), "Signature", "{signature}");
    }
    for token in ["", "a b", "a\n", "é", "a\u{7f}", &"a".repeat(1025)] {
        let mut body = confirmation();
        body["Token"] = json!(token);
        assert_eq!(faulty_field(&body), "Token");
    }
    let mut body = confirmation();
    body["SubscribeURL"] = json!("https://sns\n");
    assert_eq!(faulty_field(&body), "SubscribeURL");
}

#[test]
fn only_two_signature_versions_exist() {
    for version in ["", "0", "3", "01", "1 ", "2.0"] {
        assert_eq!(
            slug(&with("SignatureVersion", json!(version))),
            "signature-version"
        );
    }
    let second = parse(&with("SignatureVersion", json!("2"))).unwrap();
    assert_eq!(second.signature_version(), SignatureVersion::V2);
}

#[test]
fn lambdas_spelling_is_not_https_spelling() {
    let mut body = without(notification(), "SigningCertURL");
    body["SigningCertUrl"] = json!(URL);
    assert_eq!(faulty_field(&body), "SigningCertURL");
}

#[test]
fn the_certificates_address_must_be_the_topics_regions() {
    let other = URL.replace("us-east-1", "us-west-2");
    assert_eq!(
        slug(&with("SigningCertURL", json!(other))),
        "certificate-url"
    );
}

/// Both messages would have the same signed text, but SNS only sends the first.
#[test]
fn one_signature_has_one_reading() {
    let other = "11111111-2222-3333-4444-555555555555";
    let mut genuine = with(
        "Message",
        json!(format!("hello\nMessageId\n{other}\nSubject\nx")),
    );
    genuine["Subject"] = Json::Null;
    let signed = parse(&genuine).unwrap().string_to_sign();

    let mut forged = with("Message", json!("hello"));
    forged["MessageId"] = json!(other);
    forged["Subject"] = json!(format!("x\nMessageId\n{ID}"));
    assert!(signed.starts_with(&format!("Message\nhello\nMessageId\n{other}\nSubject\nx\n")));
    assert_eq!(faulty_field(&forged), "Subject");

    let mut shifted = with("Message", json!("hello"));
    shifted["MessageId"] = json!(format!("{other}\nSubject\nx\nMessageId\n{ID}"));
    assert_eq!(faulty_field(&shifted), "MessageId");
}

#[test]
fn age_is_judged_from_the_signed_time() {
    let message = parse(&notification()).unwrap();
    let (day, quarter) = (Duration::from_hours(24), Duration::from_mins(15));
    let at = |seconds: i64| {
        let now = Timestamp::from_second(message.timestamp().as_second() + seconds).unwrap();
        message.check_age(now, day, quarter)
    };
    assert_eq!(at(0), Ok(()));
    assert_eq!(at(86_400), Ok(()));
    assert_eq!(at(86_401), Err(Refusal::TooOld));
    assert_eq!(at(-900), Ok(()));
    assert_eq!(at(-901), Err(Refusal::FromTheFuture));
}

#[test]
fn nothing_that_opens_doors_is_shown() {
    let shown = format!("{:?}", parse(&confirmation()).unwrap());
    let kind = format!("{:?}", parse(&confirmation()).unwrap().kind());
    for secret in ["0123456789abcdef", "secret", "Records"] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!kind.contains(secret), "{kind}");
    }
}

#[test]
fn refusals_say_what_the_sender_should_do() {
    assert_eq!(Refusal::NotJson.class(), RefusalClass::Malformed);
    assert_eq!(Refusal::TooOld.class(), RefusalClass::Forbidden);
    assert_eq!(Refusal::FromTheFuture.class(), RefusalClass::TryAgain);
    let unavailable = Refusal::CertificateUnavailable(String::new());
    assert_eq!(unavailable.class(), RefusalClass::TryAgain);
    assert_eq!(Refusal::Signature.class(), RefusalClass::Forbidden);
}

/// What AWS's tokens are made of is its own affair; fakecloud's are alphanumeric.
#[test]
fn point_21_tokens_are_visible_ascii_characters() {
    for token in [
        "a",
        "Zx9-_.~+/=",
        &"x".repeat(1024),
        &"0123456789abcdef".repeat(14),
    ] {
        let mut body = confirmation();
        body["Token"] = json!(token);
        let message = parse(&body).unwrap();
        let MessageKind::SubscriptionConfirmation { token: read, .. } = message.kind() else {
            panic!("{message:?}");
        };
        assert_eq!(read.expose(), token);
        assert!(
            message
                .string_to_sign()
                .contains(&format!("Token\n{token}\nTopicArn\n"))
        );
    }
}

#[test]
fn point_18_an_emulators_other_name_is_told() {
    let topics = HashSet::from([TOPIC.parse().unwrap()]);
    let parse = |body: &Json| {
        let emulator = Some("http://127.0.0.1:4566");
        SnsMessage::parse(body.to_string().as_bytes(), false, &topics, emulator)
    };
    let mut body = confirmation();
    body["SigningCertURL"] = json!("http://localhost:4566/cert.pem");
    let told = parse(&body).unwrap_err().to_string();
    assert!(
        told.contains("sns.emulator, exactly as the emulator writes it"),
        "{told}"
    );
    assert!(
        !told.contains("4566"),
        "it has no value from the body: {told}"
    );
}
